"""The precedence of thresholds: set by the user, tuned, generated, automatic."""

from __future__ import annotations

import json
from typing import Any

import pytest

from singula.config import Config, config_from_dict
from singula.config.load import config_and_notices
from singula.config.thresholds import KEYS, marks, origin, resolve_sources, with_tuned
from singula.errors import UserError

SEG = "PROBLEM.INSTANCE_SEG"
TYPE, CONTOUR = f"{SEG}.DATA_MW_TH_TYPE", f"{SEG}.DATA_MW_TH_CONTOUR"
GENERATED = f"{SEG}.GENERATED_THRESHOLDS"


def load(keys: dict[str, object], *overrides: str) -> tuple[Config, list[str]]:
    tree = {"TEST.ENABLE": True, "DATA.TEST.LOAD_GT": True, **keys}
    config, notices = config_and_notices(tree, overrides)
    return config, list(notices)


def contour(config: Config) -> tuple[float | None, str]:
    """Return the number in use (None for automatic) and its source."""
    found = resolve_sources(config)["TH_CONTOUR"]
    return (None if found.source == "automatic" else found.value), found.source


# The user's value is 0.4, the tuned one 0.3, the generated one 0.2, the default 0.1.
TABLE: list[tuple[str, str, float | None, str]] = [
    # sources, TH_TYPE of the user, value, source
    ("", "", None, "automatic"),
    ("", "auto", None, "automatic"),
    ("", "manual", 0.1, "default"),
    ("g", "", 0.2, "generated"),
    ("g", "auto", None, "automatic"),
    ("g", "manual", 0.2, "generated"),
    ("t", "", 0.3, "tuned"),
    ("t", "auto", None, "automatic"),
    ("t", "manual", 0.3, "tuned"),
    ("gt", "", 0.3, "tuned"),
    ("gt", "auto", None, "automatic"),
    ("gt", "manual", 0.3, "tuned"),
    ("u", "", 0.4, "user"),
    ("u", "auto", None, "automatic"),
    ("u", "manual", 0.4, "user"),
    ("gu", "", 0.4, "user"),
    ("gu", "auto", None, "automatic"),
    ("gu", "manual", 0.4, "user"),
]


@pytest.mark.parametrize(("sources", "kind", "value", "source"), TABLE)
def test_the_table_of_precedence(sources: str, kind: str, value: float | None, source: str) -> None:
    keys: dict[str, object] = {}
    if "g" in sources:
        keys = {CONTOUR: 0.2, GENERATED: ["TH_CONTOUR=0.2"]}
    if "u" in sources:
        keys[CONTOUR] = 0.4
    if kind:
        keys[TYPE] = kind
    config, said = load(keys)
    if "t" in sources:
        config = with_tuned(config, {"TH_CONTOUR": 0.3})
    assert contour(config) == (value, source)
    idle = kind == "auto" and CONTOUR in keys
    assert any("auto, so the automatic thresholds are used" in line for line in said) == idle


def test_only_the_threshold_that_was_set_is_manual() -> None:
    found = resolve_sources(load({CONTOUR: 0.2})[0])
    manual = [name for name, threshold in found.items() if threshold.source == "user"]
    assert manual == ["TH_CONTOUR"]
    assert {found[n].source for n in ("TH_BINARY_MASK", "TH_FOREGROUND", "TH_POINTS")} == {
        "automatic"
    }
    assert found["TH_DISTANCE"].source == found["REMOVE_SMALL_OBJ"].source == "default"


@pytest.mark.parametrize("own", ["tuned", "generated"])
@pytest.mark.parametrize("word", ["auto", "manual"])
def test_a_type_of_lower_rank_keeps_values_of_the_user(own: str, word: str) -> None:
    config, _ = load({CONTOUR: 0.4, f"{SEG}.DATA_MW_TH_POINTS": 0.6})
    if own == "tuned":
        config = with_tuned(config, {"TH_TYPE": word, "TH_POINTS": 0.7})
    else:
        listed = [f"TH_TYPE={word}", "TH_POINTS=0.6"]
        config, _ = load(
            {CONTOUR: 0.4, f"{SEG}.DATA_MW_TH_POINTS": 0.6, TYPE: word, GENERATED: listed}
        )
    found = resolve_sources(config)
    assert (found["TH_CONTOUR"].value, found["TH_CONTOUR"].source) == (0.4, "user")
    assert found["TH_POINTS"].source == (own if word == "manual" else "automatic")
    assert found["TH_BINARY_MASK"].source == ("default" if word == "manual" else "automatic")


def test_changed_values_and_options_count_as_set_by_the_user() -> None:
    keys = {CONTOUR: 0.2, TYPE: "manual", GENERATED: ["TH_TYPE=manual", "TH_CONTOUR=0.2"]}
    assert origin(load(keys)[0], "TH_CONTOUR") == "generated"
    assert origin(load({**keys, CONTOUR: 0.25})[0], "TH_CONTOUR") == "user"
    assert origin(load(keys, f"{CONTOUR}=0.2")[0], "TH_CONTOUR") == "user"
    assert origin(load(keys, f"{GENERATED}=[]")[0], "TH_CONTOUR") == "user"
    assert origin(load(keys, f"{TYPE}=manual")[0], "TH_TYPE") == "user"
    assert origin(load(keys, f"{TYPE}=manual")[0], "TH_CONTOUR") == "generated"


@pytest.mark.parametrize(("sources", "kind", "value", "source"), TABLE)
def test_a_written_configuration_keeps_the_sources(
    sources: str, kind: str, value: float | None, source: str
) -> None:
    """The checkpoint, run.json and tuned.yaml contain such configurations."""
    import yaml

    keys: dict[str, object] = {TYPE: kind} if kind else {}
    if "g" in sources:
        keys |= {CONTOUR: 0.2, GENERATED: ["TH_CONTOUR=0.2"]}
    if "u" in sources:
        keys[CONTOUR] = 0.4
    config, _ = load(keys)
    if "t" in sources:
        config = with_tuned(config, {"TH_CONTOUR": 0.3})
    for tree in (yaml.safe_load(config.to_yaml()), json.loads(json.dumps(config.written()))):
        again = config_from_dict(tree)
        assert again == config
        assert resolve_sources(again) == resolve_sources(config)


@pytest.mark.parametrize("entry", ["TH_CONTOUR", "TH_CONTUR=0.2", "TH_CONTOUR=high", 3])
def test_a_mark_that_cannot_be_read_is_refused(entry: Any) -> None:
    with pytest.raises(UserError, match="GENERATED_THRESHOLDS"):
        load({GENERATED: [entry]})


def test_marks_are_read_back() -> None:
    values = {"TH_TYPE": "manual", "TH_CONTOUR": 1 / 3, "TH_DISTANCE": 2, "REMOVE_SMALL_OBJ": 20}
    keys: dict[str, object] = {KEYS[name]: value for name, value in values.items()}
    config, _ = load({**keys, GENERATED: marks(values)})
    assert {origin(config, name) for name in values} == {"generated"}
    assert marks(keys) == marks(values)

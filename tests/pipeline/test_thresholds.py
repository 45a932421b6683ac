"""Thresholds of a run: from the configuration, or saved with the weights."""

from __future__ import annotations

import pytest

from singula.config import Config, config_from_dict
from singula.config.thresholds import KEYS, resolve_sources
from singula.pipeline.from_config import decode_settings
from singula.pipeline.thresholds import (
    apply_tuned,
    configured,
    threshold_line,
    threshold_lines,
    threshold_sources,
)

TUNED = {"tuned": {"thresholds": {"TH_TYPE": "manual", "TH_CONTOUR": 0.35, "REMOVE_SMALL_OBJ": 44}}}
PROBLEM = "PROBLEM.INSTANCE_SEG"


def config(**keys: object) -> Config:
    return config_from_dict(
        {"TRAIN.ENABLE": True, **{f"{PROBLEM}.{k}": v for k, v in keys.items()}}
    )


def sources(found: Config) -> dict[str, str]:
    return {name: threshold.source for name, threshold in resolve_sources(found).items()}


def test_without_thresholds_in_the_file_the_tuned_ones_are_used() -> None:
    plain = config()
    new, notices = apply_tuned(plain, TUNED)
    assert configured(new).items() >= TUNED["tuned"]["thresholds"].items()
    assert len(notices) == 1
    assert "TH_CONTOUR 0.35" in notices[0]
    assert sources(new)["TH_CONTOUR"] == sources(new)["REMOVE_SMALL_OBJ"] == "tuned"
    assert apply_tuned(plain, {}) == (plain, [])
    assert apply_tuned(plain, {"tuned": None}) == (plain, [])


def test_a_threshold_in_the_file_precedes_the_tuned_one_and_no_other() -> None:
    own = config(DATA_MW_TH_BINARY_MASK=0.6, DATA_MW_TH_CONTOUR=0.2)
    new, notices = apply_tuned(own, TUNED)
    assert (configured(new)["TH_BINARY_MASK"], configured(new)["TH_CONTOUR"]) == (0.6, 0.2)
    assert sources(new)["TH_CONTOUR"] == "user"
    assert sources(new)["REMOVE_SMALL_OBJ"] == "tuned"
    assert len(notices) == 2
    assert "because it sets PROBLEM.INSTANCE_SEG.DATA_MW_TH_CONTOUR;" in notices[1]
    sized, _ = apply_tuned(config(DATA_REMOVE_SMALL_OBJ_BEFORE=5), TUNED)
    assert configured(sized)["TH_CONTOUR"] == 0.35
    assert configured(sized)["REMOVE_SMALL_OBJ"] == 5


def test_tuned_thresholds_precede_generated_ones_unless_they_were_changed() -> None:
    marks = ["TH_TYPE=manual", "TH_BINARY_MASK=0.5", "TH_CONTOUR=0.2", "REMOVE_SMALL_OBJ=20"]
    keys = {"DATA_MW_TH_TYPE": "manual", "DATA_MW_TH_BINARY_MASK": 0.5}
    size = {"DATA_REMOVE_SMALL_OBJ_BEFORE": 20}
    written = config(**keys, **size, DATA_MW_TH_CONTOUR=0.2, GENERATED_THRESHOLDS=marks)
    new, notices = apply_tuned(written, TUNED)
    assert sources(written)["TH_CONTOUR"] == "generated"
    assert sources(new) == {
        **sources(written), "TH_CONTOUR": "tuned", "REMOVE_SMALL_OBJ": "tuned"
    }  # fmt: skip
    assert (len(notices), configured(new)["TH_CONTOUR"]) == (1, 0.35)
    changed = config(**keys, **size, DATA_MW_TH_CONTOUR=0.25, GENERATED_THRESHOLDS=marks)
    assert configured(apply_tuned(changed, TUNED)[0])["TH_CONTOUR"] == 0.25
    assert configured(apply_tuned(changed, TUNED)[0])["REMOVE_SMALL_OBJ"] == 44


def test_an_automatic_type_of_the_user_precedes_tuned_thresholds() -> None:
    new, notices = apply_tuned(config(DATA_MW_TH_TYPE="auto"), TUNED)
    assert configured(new)["TH_TYPE"] == "auto"
    assert sources(new)["TH_CONTOUR"] == "automatic"
    assert configured(new)["REMOVE_SMALL_OBJ"] == 44
    assert any("DATA_MW_TH_TYPE; remove these keys" in line for line in notices)


def test_a_manual_type_of_the_user_takes_tuned_thresholds() -> None:
    new, _ = apply_tuned(config(DATA_MW_TH_TYPE="manual"), TUNED)
    assert configured(new)["TH_CONTOUR"] == 0.35
    assert sources(new)["TH_BINARY_MASK"] == "default"


def test_the_configuration_of_the_training_is_older_than_the_tuning() -> None:
    own = config(DATA_MW_TH_CONTOUR=0.2, DATA_MW_TH_TYPE="manual")
    new, _ = apply_tuned(own, TUNED, always=True)
    assert configured(new).items() >= TUNED["tuned"]["thresholds"].items()
    # A test in blocks of `singula predict` takes them once more.
    assert apply_tuned(new, TUNED) == (new, [])


def test_a_file_with_tuned_values_precedes_the_checkpoint() -> None:
    tuned = config(DATA_MW_TH_CONTOUR=0.3, TUNED_THRESHOLDS=["TH_CONTOUR=0.3"])
    new, _ = apply_tuned(tuned, TUNED)
    assert configured(new)["TH_CONTOUR"] == 0.3
    assert sources(new)["TH_CONTOUR"] == "tuned"


def test_equal_values_are_not_reported() -> None:
    same = config(
        DATA_MW_TH_TYPE="manual", DATA_MW_TH_CONTOUR=0.35, DATA_REMOVE_SMALL_OBJ_BEFORE=44
    )
    assert apply_tuned(same, TUNED) == (same, [])


def test_every_key_is_one_of_the_format() -> None:
    values = config().dotted()
    assert all(key in values for key in KEYS.values())


def test_decoding_follows_the_sources() -> None:
    chosen = decode_settings(config(DATA_MW_TH_BINARY_MASK=0.6, DATA_MW_TH_CONTOUR=0.2))
    assert (chosen.thresholds["TH_BINARY_MASK"], chosen.thresholds["TH_CONTOUR"]) == (0.6, 0.2)
    assert (chosen.th_type, chosen.manual_keys) == ("auto", {"TH_BINARY_MASK", "TH_CONTOUR"})
    assert decode_settings(config(DATA_MW_TH_TYPE="manual")).th_type == "manual"
    explicit = decode_settings(config(DATA_MW_TH_TYPE="auto", DATA_MW_TH_CONTOUR=0.2))
    assert explicit.is_automatic("TH_CONTOUR")
    assert explicit.thresholds["TH_CONTOUR"] == 0.2  # where an image has nothing to separate


@pytest.mark.parametrize(
    ("channels", "into", "names"),
    [
        ("BC", False, ["TH_BINARY_MASK", "TH_CONTOUR", "TH_FOREGROUND"]),
        ("BC", True, ["TH_BINARY_MASK", "TH_CONTOUR"]),
        ("BCM", True, ["TH_BINARY_MASK", "TH_CONTOUR", "TH_FOREGROUND"]),
        ("BP", False, ["TH_POINTS", "TH_FOREGROUND"]),
        ("BCDv2", False, ["TH_BINARY_MASK", "TH_DISTANCE", "TH_CONTOUR"]),
    ],
)
def test_only_thresholds_that_matter_are_shown(channels: str, into: bool, names: list[str]) -> None:
    chosen = config(DATA_CHANNELS=channels, GROW_INTO_CONTOUR=into, DATA_MW_TH_CONTOUR=0.2)
    assert list(threshold_sources(chosen)) == [*names, "REMOVE_SMALL_OBJ"]
    line = threshold_line(chosen)
    assert ("TH_CONTOUR 0.2 (set by you)" in line) == ("TH_CONTOUR" in names)
    assert "REMOVE_SMALL_OBJ 10 (default)" in line


@pytest.mark.parametrize(
    ("keys", "idle"),
    [
        ({"DATA_CHANNELS": "BP", "DATA_MW_TH_CONTOUR": 0.2}, ["DATA_MW_TH_CONTOUR"]),
        ({"DATA_CHANNELS": "BC", "DATA_MW_TH_CONTOUR": 0.2}, []),
        ({"DATA_CHANNELS": "BDv2", "DATA_MW_TH_FOREGROUND": 0.4}, ["DATA_MW_TH_FOREGROUND"]),
        (
            {"DATA_CHANNELS": "BC", "GROW_INTO_CONTOUR": True, "DATA_MW_TH_FOREGROUND": 0.4},
            ["DATA_MW_TH_FOREGROUND"],
        ),
        ({"DATA_CHANNELS": "BC", "DATA_MW_TH_TYPE": "manual"}, []),
        (
            {
                "DATA_CHANNELS": "BP",
                "DATA_MW_TH_CONTOUR": 0.2,
                "GENERATED_THRESHOLDS": ["TH_CONTOUR=0.2"],
            },
            [],
        ),
    ],
)
def test_thresholds_of_the_user_without_effect_are_named(keys: dict, idle: list[str]) -> None:
    chosen = config(**keys)
    lines = threshold_lines(chosen)
    assert lines[0] == threshold_line(chosen)
    assert threshold_lines(chosen, published=True) == [threshold_line(chosen, published=True)]
    named = [key for key in KEYS.values() if any(key in line for line in lines[1:])]
    assert named == [f"{PROBLEM}.{key}" for key in idle]

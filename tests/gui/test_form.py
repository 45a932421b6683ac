"""The command line reads the same configuration that the form saves."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.config import load_config
from singula.config.keys import key_table
from singula.config.search_terms import SEARCH_TERMS
from singula.config.thresholds import GENERATED, origin, resolve_sources
from singula.errors import UserError
from singula.gui.form import Field, Form, as_text, fields, sections
from singula.gui.guard import Guard
from singula.gui.settings import BASIC_SETTINGS, folder_errors

TEMPLATES = sorted((Path(__file__).parents[2] / "templates").rglob("*.yaml"))
BASE = {
    "TRAIN.ENABLE": True, "DATA.TRAIN.PATH": "x", "DATA.TRAIN.GT_PATH": "y",
    "DATA.VAL.FROM_TRAIN": True,
}  # fmt: skip
# Values other than the default that agree with each other
OTHERS = {
    "TRAIN.EPOCHS": "7", "TRAIN.LR": "1.E-5", "DATA.PATCH_SIZE": "(128, 64, 1)",
    "AUGMENTOR.ENABLE": True, "AUGMENTOR.ZOOM_RANGE": "[0.5, 1.5]", "TRAIN.OPTIMIZER": "ADAMW",
    "PROBLEM.INSTANCE_SEG.DATA_CHANNELS": "BCD", "SYSTEM.NUM_CPUS": "2",
    "PROBLEM.INSTANCE_SEG.SEED_MORPH_SEQUENCE": "['erode', 'dilate']",
    "PROBLEM.INSTANCE_SEG.SEED_MORPH_RADIUS": "[2, 1]", "LOG.LOG_FILE_PREFIX": "my log: #1 'x'",
    "MODEL.FEATURE_MAPS": "[8, 16, 32]", "DATA.PREPROCESS.CANNY.LOW_THRESHOLD": "0.25",
    "TEST.MATCHING_STATS_THS": "[0.5]", "DATA.TRAIN.PATH": "é ü/ß, {1}",
}  # fmt: skip


def field(name: str) -> Field:
    return next(item for item in fields() if item.name == name)


@given(st.sets(st.sampled_from(sorted(OTHERS))))
@settings(max_examples=60, deadline=None)
def test_the_saved_file_loads_to_the_form(tmp_path_factory, chosen: set[str]) -> None:
    if any("SEED_MORPH" in name for name in chosen):
        chosen |= {name for name in OTHERS if "SEED_MORPH" in name}
    form = Form(dict(BASE), {"TRAIN.EPOCHS": "a comment: with # signs"}, ["made by a test"])
    for name in chosen:
        form.set(name, OTHERS[name])
    path = form.save(tmp_path_factory.mktemp("form") / "config.yaml")
    assert load_config(path) == form.config()
    again = Form.of_file(path)
    assert again.config() == form.config()
    assert again.values.keys() == form.values.keys()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_a_template_goes_through_the_form_unchanged(path: Path, tmp_path: Path) -> None:
    form = Form.of_file(path)
    assert load_config(form.save(tmp_path / "copy.yaml")) == load_config(path)


def test_every_key_is_a_field_with_help() -> None:
    shown = fields()
    assert [item.name for item in shown] == list(key_table())
    assert all(item.key.description and item.key.description in item.help for item in shown)
    assert {item.name.partition(".")[0] for item in shown} == set(sections())
    assert "an integer in [1, " in field("TRAIN.EPOCHS").help


def test_displayed_values_can_be_entered() -> None:
    """Check that entering the displayed defaults changes nothing and raises no error."""
    before = Form(dict(BASE))
    for item in fields():
        form = Form(dict(BASE))
        form.set(item.name, form.shown(item))
        assert form.values == BASE, item.name
        form.values[item.name] = "elsewhere"
        form.set(item.name, before.shown(item))
        assert form.examine()[0] == before.examine()[0], item.name
        assert not form.examine()[1], item.name


def test_an_error_is_shown_at_its_field() -> None:
    form = Form(dict(BASE))
    form.set("TRAIN.EPOCHS", "many")
    form.set("TRAIN.OPTIMIZER", "ADAMS")
    form.set("TRAIN.LR", "-1")
    _, errors, _ = form.examine()
    assert errors.keys() == {"TRAIN.EPOCHS", "TRAIN.OPTIMIZER", "TRAIN.LR"}
    assert "an integer in [1, " in errors["TRAIN.EPOCHS"]
    assert "did you mean" in errors["TRAIN.OPTIMIZER"]
    with pytest.raises(UserError, match="3 problems") as error:
        form.yaml()
    assert "form:" not in str(error.value)


@pytest.mark.parametrize("term", SEARCH_TERMS)
def test_a_common_term_leads_to_its_keys(term: str) -> None:
    names = {item.name for item in fields(query=term)}
    for key in SEARCH_TERMS[term]:
        assert any(name == key or name.startswith(f"{key}.") for name in names), key


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("rotation", "AUGMENTOR.RANDOM_ROT"),
        ("diameter", "PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE"),
        ("touching", "PROBLEM.INSTANCE_SEG.DATA_CHANNELS"),
        ("Speed", "TRAIN.PRECISION"),
        ("overfitting", "MODEL.DROPOUT_VALUES"),
        ("early stopping", "TRAIN.PATIENCE"),
        ("rotation degrees", "AUGMENTOR.RANDOM_ROT_RANGE"),
    ],
)
def test_words_of_a_user_find_keys(query: str, key: str) -> None:
    assert key in {item.name for item in fields(query=query)}


def test_keys_without_effect_say_so() -> None:
    unused = {item.name for item in fields() if not item.has_effect}
    assert "SYSTEM.NUM_GPUS" in unused
    assert all("Has no effect" in field(name).help for name in unused)
    assert not unused & {s.key for group in BASIC_SETTINGS.values() for s in group}


def test_basic_settings_are_few_and_different_keys() -> None:
    keys = [setting.key for group in BASIC_SETTINGS.values() for setting in group]
    assert 10 <= len(keys) == len(set(keys)) <= 14
    for group in BASIC_SETTINGS.values():
        assert all(setting.field.name == setting.key for setting in group)


def test_folders_of_the_data_are_validated(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("x", "y", "empty"):
        (home / name).mkdir(parents=True)
    for name in ("x", "y"):
        (home / name / "a.tif").write_bytes(b"")
    guard = Guard.of([home])
    form = Form(dict(BASE))
    assert folder_errors(form.config(), guard) == {}
    for folder, reason in (
        ("nothing", "does not exist"),
        ("x/a.tif", "is not a folder"),
        ("empty", "empty"),
        ("..", "outside"),
    ):
        form.set("DATA.TRAIN.GT_PATH", folder)
        errors = folder_errors(form.config(), guard)
        assert errors.keys() == {"DATA.TRAIN.GT_PATH"}
        assert reason in errors["DATA.TRAIN.GT_PATH"]


def test_search_and_sections() -> None:
    assert {item.name for item in fields("TRAIN", "epochs")} >= {"TRAIN.EPOCHS"}
    assert all(item.name.startswith("MODEL.") for item in fields("MODEL"))
    assert fields(query="no such words at all") == []


def test_a_file_is_not_replaced_by_accident(tmp_path: Path) -> None:
    form = Form(dict(BASE))
    path = form.save(tmp_path / "a.yaml")
    with pytest.raises(UserError) as error:
        form.save(path)
    assert error.value.code == "gui.file_exists"
    form.save(path, replace=True)
    with pytest.raises(UserError) as error:
        form.save(tmp_path / "a.txt")
    assert error.value.code == "gui.not_yaml"


def test_a_reason_is_removed_with_its_value() -> None:
    form = Form({**BASE, "TRAIN.EPOCHS": 20}, {"TRAIN.EPOCHS": "fits into half an hour"})
    assert "EPOCHS: 20" in form.yaml()
    assert "# fits into half an hour" in form.yaml()
    form.set("TRAIN.EPOCHS", "30")
    assert "half an hour" not in form.yaml()
    form.reset("TRAIN.EPOCHS")
    assert "EPOCHS" not in form.yaml()


def test_unknown_keys_of_a_file_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("TRAIN:\n  EPOCHSS: 3\n  ENABLE: true\nCOLOURS:\n  RED: 1\n  BLUE: 2\n")
    form = Form.of_file(path)
    assert form.values == {"TRAIN.ENABLE": True}
    first, second = form.ignored
    assert first == f"{path}:2: TRAIN.EPOCHSS: unknown key; did you mean TRAIN.EPOCHS?"
    assert second.startswith(f"{path}:4: COLOURS: unknown section")
    assert yaml.safe_load(form.yaml()) == {"TRAIN": {"ENABLE": True}}


def test_values_as_text() -> None:
    assert as_text((1, 2.5)) == "[1, 2.5]"
    assert as_text(("erode",)) == "['erode']"
    assert as_text(None) == as_text("") == ""


def test_a_generated_threshold_changed_in_the_form_counts_as_set_by_the_user(
    tmp_path: Path,
) -> None:
    contour = "PROBLEM.INSTANCE_SEG.DATA_MW_TH_CONTOUR"
    mask = "PROBLEM.INSTANCE_SEG.DATA_MW_TH_BINARY_MASK"
    written = {
        "TRAIN.ENABLE": True,
        contour: 0.2,
        mask: 0.5,
        GENERATED: ["TH_CONTOUR=0.2", "TH_BINARY_MASK=0.5"],
    }
    form = Form(dict(written))
    form.set(contour, "0.25")
    config = load_config(form.save(tmp_path / "a.yaml"))
    assert (origin(config, "TH_CONTOUR"), origin(config, "TH_BINARY_MASK")) == ("user", "generated")
    again = load_config(Form.of_file(tmp_path / "a.yaml").save(tmp_path / "b.yaml"))
    assert resolve_sources(again) == resolve_sources(config)

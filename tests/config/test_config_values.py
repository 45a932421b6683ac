"""Values are read in every usual spelling, and in no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.config import Config, config_from_dict

Problems = Callable[..., list[str]]
few = settings(deadline=None, max_examples=25)


def value(key: str, written: object) -> Any:
    config = config_from_dict({"TEST.ENABLE": True, key: written})
    return config.dotted()[key]


@pytest.mark.parametrize(
    ("key", "written", "read"),
    [
        ("TRAIN.LR", "1.E-4", 1e-4),
        ("TRAIN.LR", "1e-4", 1e-4),
        ("TRAIN.LR", "1.", 1.0),
        ("TRAIN.LR", 1, 1.0),
        ("TRAIN.EPOCHS", 20.0, 20),
        ("TRAIN.EPOCHS", "2.E1", 20),
        ("TRAIN.ENABLE", True, True),
        ("TRAIN.ENABLE", "True", True),
        ("TRAIN.ENABLE", "no", False),
        ("DATA.PATCH_SIZE", "(256, 128, 1)", (256, 128, 1)),
        ("DATA.PATCH_SIZE", "(256, 128, 1,)", (256, 128, 1)),
        ("DATA.PATCH_SIZE", "[256,128,1]", (256, 128, 1)),
        ("DATA.PATCH_SIZE", [256, 128, 1], (256, 128, 1)),
        ("DATA.PATCH_SIZE", (256.0, "128", 1), (256, 128, 1)),
        ("DATA.TEST.RESOLUTION", "(-1,)", (-1.0,)),
        ("DATA.TEST.RESOLUTION", -1, (-1.0,)),
        ("DATA.TEST.PADDING", 32, (32, 32)),
        ("DATA.TEST.OVERLAP", "0.5", (0.5, 0.5)),
        ("MODEL.Z_DOWN", 1, (1, 1, 1, 1)),
        ("MODEL.DROPOUT_VALUES", [0.1], (0.1,) * 5),
        ("MODEL.DROPOUT_VALUES", [0.1, 0.1, 0.1], (0.1,) * 5),
        ("MODEL.DROPOUT_VALUES", "(0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2)", (0.2,) * 5),
        ("TEST.MATCHING_STATS_THS", 0.3, (0.3,)),
        ("TRAIN.OPT_BETAS", ["9.E-1", 0.99], (0.9, 0.99)),
        ("AUGMENTOR.RANDOM_ROT_RANGE", "(-90, 90)", (-90.0, 90.0)),
        ("DATA.PREPROCESS.CANNY.LOW_THRESHOLD", "None", None),
        ("DATA.PREPROCESS.CANNY.LOW_THRESHOLD", "1.E2", 100.0),
        ("DATA.PREPROCESS.CLAHE.KERNEL_SIZE", "(8, 8)", (8, 8)),
        ("DATA.PREPROCESS.GAUSSIAN_BLUR.CHANNEL_AXIS", None, None),
        ("DATA.PREPROCESS.GAUSSIAN_BLUR.CHANNEL_AXIS", -1, -1),
        ("TRAIN.OPTIMIZER", "adamw", "ADAMW"),
        ("TRAIN.PRECISION", 32, "32"),
        ("TEST.PRECISION", 32, "32"),
        ("MODEL.ACTIVATION", "elu", "ELU"),
        ("PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE", "Manual", "manual"),
        ("TEST.BY_CHUNKS.INPUT_IMG_AXES_ORDER", "ZYXC", "ZYXC"),
        ("PATHS.CHECKPOINT_FILE", "", ""),
    ],
)
def test_accepted_spellings(key: str, written: object, read: object) -> None:
    found = value(key, written)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("key", "written", "allowed"),
    [
        ("TRAIN.LR", "abc", "a number > 0"),
        ("TRAIN.LR", 0, "a number > 0"),
        ("TRAIN.LR", True, "a number > 0"),
        ("TRAIN.LR", float("nan"), "a number > 0"),
        ("TRAIN.LR", float("inf"), "a number > 0"),
        ("TRAIN.LR", 10**400, "a number > 0"),
        ("TRAIN.LR", None, "a number > 0"),
        ("TRAIN.LR", [1e-4, 1e-3], "a number > 0"),
        ("TRAIN.EPOCHS", 2.5, "an integer in [1, 1\u202f000\u202f000]"),
        ("TRAIN.EPOCHS", "two", "an integer in [1, 1\u202f000\u202f000]"),
        ("TRAIN.PATIENCE", 0, "an integer in [1, 1\u202f000\u202f000], or -1"),
        ("TRAIN.VERBOSE", 1, "true or false"),
        ("TRAIN.VERBOSE", 0, "true or false"),
        ("TRAIN.VERBOSE", "maybe", "true or false"),
        (
            "DATA.PATCH_SIZE",
            "256",
            "a list of integers in [1, 1\u202f000\u202f000], 3 to 4 of them",
        ),
        (
            "DATA.PATCH_SIZE",
            "(256, 256, 0)",
            "a list of integers in [1, 1\u202f000\u202f000], 3 to 4 of them",
        ),
        (
            "DATA.PATCH_SIZE",
            "(256, x, 1)",
            "a list of integers in [1, 1\u202f000\u202f000], 3 to 4 of them",
        ),
        (
            "DATA.PATCH_SIZE",
            "(" * 5000,
            "a list of integers in [1, 1\u202f000\u202f000], 3 to 4 of them",
        ),
        ("DATA.TEST.OVERLAP", "(0, 1)", "a list of numbers in [0, 1)"),
        (
            "DATA.TEST.RESOLUTION",
            "(0, 1)",
            "a list of numbers in [1e-09, 1\u202f000\u202f000\u202f000], or -1",
        ),
        ("MODEL.Z_DOWN", "(3, 1, 1, 1)", "a list of integers in [0, 2]"),
        ("AUGMENTOR.ZOOM_RANGE", "(1.2, 0.8)", "two numbers in [0.01, 100]"),
        ("AUGMENTOR.ZOOM_RANGE", "(0.8, 1.0, 1.2)", "two numbers in [0.01, 100]"),
        ("DATA.PREPROCESS.CANNY.LOW_THRESHOLD", "few", "a number, or None"),
        ("TRAIN.OPTIMIZER", 3, "'SGD', 'ADAM', 'ADAMW'"),
        ("DATA.TRAIN.PATH", 2024, "text (put it in quotes)"),
        ("DATA.TRAIN.PATH", None, "text (write '' for none)"),
        ("TEST.BY_CHUNKS.INPUT_IMG_AXES_ORDER", "ZZ", "text (each of T, Z, C, Y, X at most once"),
        ("PROBLEM.INSTANCE_SEG.SEED_MORPH_SEQUENCE", ["erode", "melt"], "'erode', 'dilate'"),
        ("PROBLEM.INSTANCE_SEG.DATA_CONTOUR_MODE", "subpixel", "'dense' (it doubles the size"),
        ("PROBLEM.INSTANCE_SEG.DATA_CHANNELS", "BX", "'BDv2', 'Dv2'"),
        ("PROBLEM.TYPE", "SEMANTIC_SEG", "'INSTANCE_SEG' (only instance segmentation is supported"),
    ],
)
def test_refused_values(key: str, written: object, allowed: str, problems: Problems) -> None:
    (line,) = problems({key: written})
    assert line.startswith(f"configuration: {key}: got ")
    assert f"expected {allowed}" in line or allowed in line
    assert len(line) < 300


def test_a_misspelled_choice_gets_a_suggestion(problems: Problems) -> None:
    (line,) = problems({"MODEL.UPSAMPLE_LAYER": "convtranpose"})
    assert line.endswith("did you mean 'convtranspose'?")


@pytest.mark.parametrize("text", ["FCDb", "F,C,Db", "F; C; Db"])
def test_codes_of_channels_without_their_separator_are_explained(
    text: str, problems: Problems
) -> None:
    (line,) = problems({"PROBLEM.INSTANCE_SEG.DATA_CHANNELS": text})
    assert line.endswith("(write F+C+Db or [F, C, Db])")
    (line,) = problems({"PROBLEM.INSTANCE_SEG.DATA_CHANNELS": "BCQ"})
    assert line.endswith("did you mean 'BC'?")


def test_order_of_a_range_is_explained(problems: Problems) -> None:
    (line,) = problems({"AUGMENTOR.G_SIGMA": [2, 1]})
    assert line.endswith("(the first must not exceed the second)")


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert value("DATA.TRAIN.PATH", "~/x") == "/home/somebody/x"


@few
@given(st.floats(min_value=1e-37, max_value=1e38))
def test_numbers_survive_as_text(number: float) -> None:
    assert value("TRAIN.LR", repr(number)) == number
    assert value("TRAIN.LR", f"{number:.17E}") == number


@few
@given(st.lists(st.integers(1, 512), min_size=2, max_size=6))
def test_lists_in_every_spelling(sizes: list[int]) -> None:
    for written in (sizes, tuple(sizes), str(sizes), str(tuple(sizes)), [str(s) for s in sizes]):
        tree = {"MODEL": {"FEATURE_MAPS": written}}
        found = Config.model_validate(tree).MODEL.FEATURE_MAPS
        assert found == tuple(sizes)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("DATA_CHANNELS", ["F", "F"], "repeated codes F"),
        ("DATA_CHANNELS", "F+C+Db+", "an empty code"),
        ("DATA_CHANNELS", "f+c", "write F+C"),
        ("DATA_CHANNELS_EXTRA_OPTS", ["Db.nrm=False"], "DATA_CHANNELS_EXTRA_OPTS.Db: got 'nrm'"),
    ],
)
def test_a_wrong_channel_is_explained_once(problems, key: str, value: object, named: str) -> None:
    (line,) = problems({f"PROBLEM.INSTANCE_SEG.{key}": value})
    assert named in line
    assert line.count("expected") == 1

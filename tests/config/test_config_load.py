"""Whole files: loading, and reported problems with their lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.config import config_from_dict, load_config
from singula.config.keys import key_table
from singula.errors import UserError
from singula.util.paths import path_problem

Write = Callable[[str], Path]
Lines = Callable[..., list[str]]
few = settings(deadline=None, max_examples=25)

FILE_2D = """\
SYSTEM:
    NUM_CPUS: -1
    NUM_WORKERS: 5

PROBLEM:
    TYPE: INSTANCE_SEG
    NDIM: 2D
    INSTANCE_SEG:
        DATA_CHANNELS: BCD
        DATA_CHANNEL_WEIGHTS: (1, 1, 0.5)
        DATA_MW_TH_TYPE: "auto"

DATA:
    PATCH_SIZE: (256, 256, 3)
    REFLECT_TO_COMPLETE_SHAPE: True
    TRAIN:
        PATH: /data/train/x
        GT_PATH: /data/train/y/
        IN_MEMORY: True
    VAL:
        SPLIT_TRAIN: 0.1
    TEST:
        PATH: /data/test/x
        GT_PATH: /data/test/y
        LOAD_GT: True
        PADDING: (32,32)

AUGMENTOR:
    ENABLE: True
    RANDOM_ROT: True
    VFLIP: True

MODEL:
    ARCHITECTURE: unet
    DROPOUT_VALUES: [0.1, 0.1, 0.2, 0.2, 0.3]
    ACTIVATION: 'elu'

TRAIN:
    ENABLE: True
    OPTIMIZER: ADAMW
    LR: 1.E-4
    BATCH_SIZE: 6
    EPOCHS: 360
    PATIENCE: 50

TEST:
    ENABLE: True
    FULL_IMG: False
"""

FILE_3D = """\
PROBLEM:
    TYPE: INSTANCE_SEG
    NDIM: 3D
    INSTANCE_SEG:
        DATA_CHANNELS: BCM
        DATA_MW_TH_TYPE: manual
        DATA_MW_TH_BINARY_MASK: 0.2
        DATA_REMOVE_BEFORE_MW: True
DATA:
    PATCH_SIZE: (80, 80, 80, 1)
    TRAIN:
        PATH: data/train/x
        GT_PATH: data/train/y
        RESOLUTION: (2., 0.5, 0.5)
    VAL:
        FROM_TRAIN: False
        PATH: data/val/x
        GT_PATH: data/val/y
    TEST:
        PATH: data/test/x
        PADDING: (16,16,16)
MODEL:
    FEATURE_MAPS: [36, 48, 64]
    Z_DOWN: [1,1]
TRAIN:
    ENABLE: True
    LR: 1.E-3
    LR_SCHEDULER:
        NAME: warmupcosine
        MIN_LR: 5.E-6
        WARMUP_COSINE_DECAY_EPOCHS: 10
"""

FILE_LATER = """\
PROBLEM:
    TYPE: INSTANCE_SEG
    NDIM: 2D
    PRINT_OLD_KEY_CHANGES: False
    INSTANCE_SEG:
        TYPE: regular
        DATA_CHANNELS: ["B", "C"]
        WATERSHED:
            DATA_REMOVE_SMALL_OBJ_BEFORE: 20
            BY_2D_SLICES: False
            SEED_CHANNELS_THRESH: ["auto", "auto"]
DATA:
    N_CLASSES: 3
    PATCH_SIZE: (128, 128, 1)
    NORMALIZATION:
        TYPE: zero_mean_unit_variance
        MEASURE_BY: image
        PERC_CLIP:
            ENABLE: True
            LOWER_PERC: 0.5
            UPPER_PERC: 99.5
    TRAIN:
        FILTER_SAMPLES:
            ENABLE: False
            PROPS: [['foreground']]
MODEL:
    NORMALIZATION: bn
    CONVNEXT_LAYERS: [2, 2, 2, 2, 2]
LOSS:
    CLASS_REBALANCE: none
    TYPE: ''
TRAIN:
    ENABLE: False
TEST:
    ENABLE: True
    METRICS: []
    DET_TOLERANCE: 10
    POST_PROCESSING:
        MEASURE_PROPERTIES:
            REMOVE_BY_PROPERTIES:
                SIGNS: [['lt']]
"""


def test_a_2d_file(write: Write, messages: list[str]) -> None:
    config = load_config(write(FILE_2D))
    assert messages == []
    assert (config.ndim, config.patch, config.in_channels) == (2, (256, 256), 3)
    assert config.TRAIN.LR == 1e-4
    assert config.DATA.TEST.PADDING == (32, 32)
    assert config.channel_weights == (1, 1, 0.5)
    assert config.DATA.TRAIN.INSTANCE_CHANNELS_DIR == "/data/train/x_BCD"
    assert config.DATA.TRAIN.INSTANCE_CHANNELS_MASK_DIR == "/data/train/y_BCD"
    assert config.DATA.VAL.INSTANCE_CHANNELS_DIR == "user_data/val/x_BCD"
    assert config.DATA.TRAIN.spacing is None


def test_a_3d_file(write: Write) -> None:
    config = load_config(write(FILE_3D))
    assert (config.ndim, config.patch, config.in_channels) == (3, (80, 80, 80), 1)
    assert config.DATA.TRAIN.OVERLAP == (0, 0, 0)
    assert config.DATA.TEST.PADDING == (16, 16, 16)
    assert config.MODEL.DROPOUT_VALUES == (0, 0, 0)
    assert config.channel_weights == (1, 1, 1)
    assert config.DATA.TRAIN.spacing == (2.0, 0.5, 0.5)
    assert config.TRAIN.LR_SCHEDULER.MIN_LR == 5e-6


def test_a_file_of_a_later_version(write: Write, messages: list[str]) -> None:
    config = load_config(write(FILE_LATER))
    assert config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS == "BC"
    assert config.PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE == 20
    assert config.MODEL.N_CLASSES == 3
    norm = config.DATA.NORMALIZATION
    assert (norm.TYPE, norm.PERC_CLIP, norm.PERC_LOWER, norm.PERC_UPPER) == (
        "custom", True, 0.5, 99.5
    )  # fmt: skip
    assert config.LOSS.TYPE == "CE"
    workflows, idle = (line for line in messages if "not used" in line or "no effect in" in line)
    assert workflows == "keys of other workflows, not used here: TEST.DET_TOLERANCE"
    assert [line.partition(":")[0].strip() for line in idle.splitlines()[1:]] == [
        "PROBLEM.PRINT_OLD_KEY_CHANGES",
        "MODEL.CONVNEXT_LAYERS",
    ]


def test_all_problems_at_once_with_their_lines(write: Write, problem_lines: Lines) -> None:
    path = write(
        "PROBLEM:\n"  # 1
        "  NDIM: 4D\n"
        "DATA:\n"  # 3
        "  PATCH_SZE: (256, 256, 1)\n"
        "  TRAIN:\n"  # 5
        "    OVERLAP: (0, 2)\n"
        "TRIAN:\n"  # 7
        "  LR: 1\n"
        "  EPOCHS: 2\n"  # 9
        "TRAIN:\n"
        "  ENABLE: yes\n"  # 11
        "  LR: fast\n"
        "  LR_SCHEDULER: {NAME: onecycle, NAME: reduceonplateau}\n"  # 13
        "MODEL: unet\n"
        "LOSS: {TYPE: {A: 1}}\n"  # 15
    )
    assert problem_lines(path, "TEST.ENABLE=perhaps", "nonsense", "TEST.ENABEL=True") == [
        "11 problems in the configuration:",
        f"{path}:2: PROBLEM.NDIM: got '4D', expected '2D', '3D'",
        f"{path}:4: DATA.PATCH_SZE: unknown key; did you mean DATA.PATCH_SIZE?",
        f"{path}:6: DATA.TRAIN.OVERLAP: got '(0, 2)', expected a list of numbers in [0, 1)",
        f"{path}:7: TRIAN: unknown section; did you mean TRAIN?",
        f"{path}:12: TRAIN.LR: got 'fast', expected a number > 0",
        f"{path}:13: TRAIN.LR_SCHEDULER.NAME: written twice, here and in line 13",
        f"{path}:14: MODEL: got 'unet', expected keys below it, as it is a section",
        f"{path}:15: LOSS.TYPE: got keys below it, expected 'CE', 'DICE', 'W_CE_DICE', 'FOCAL'",
        "--set: TEST.ENABEL: unknown key; did you mean TEST.ENABLE?",
        "--set: TEST.ENABLE: got 'perhaps', expected true or false",
        "--set: got 'nonsense', expected KEY=VALUE",
    ]


def test_rules_that_span_keys_are_listed_with_the_rest(write: Write, problem_lines: Lines) -> None:
    path = write(
        "TRAIN: {ENABLE: True, LR: 0}\n"
        "DATA: {PATCH_SIZE: [250, 256, 1]}\n"
        "MODEL:\n  KERNEL_SIZE: 4\n"
    )
    assert problem_lines(path)[1:] == [
        f"{path}:1: TRAIN.LR: got 0, expected a number > 0",
        f"{path}:2: DATA.PATCH_SIZE: got 250 along y, expected multiples of 16, as "
        "MODEL.FEATURE_MAPS and MODEL.Z_DOWN halve the patch: 240 or 256",
        f"{path}:4: MODEL.KERNEL_SIZE: got 4, expected odd numbers",
    ]


def test_a_mistake_is_reported_once(write: Write, problem_lines: Lines) -> None:
    # The patch would not fit 3D if the mistyped key were taken as absent.
    path = write(
        "PROBLEM: {NDIM: 3D}\nTRAIN: {ENABLE: True}\nDATA:\n  PATCHSIZE: (16, 64, 64, 1)\n"
    )
    assert problem_lines(path)[1:] == [
        f"{path}:4: DATA.PATCHSIZE: unknown key; did you mean DATA.PATCH_SIZE?"
    ]


def test_dotted_and_empty_sections(write: Write) -> None:
    path = write("TRAIN.ENABLE: True\nDATA:\nMODEL: {}\nDATA.VAL:\n  SPLIT_TRAIN: 0.3\n")
    config = load_config(path)
    assert config.TRAIN.ENABLE
    assert config.DATA.VAL.SPLIT_TRAIN == 0.3


def test_overrides_win_and_are_read_like_yaml(write: Write, messages: list[str]) -> None:
    path = write("TRAIN: {ENABLE: True, LR: 1}\nDATA: {TRAIN: {MASK_PATH: a}}\n")
    config = load_config(
        path,
        [
            "TRAIN.LR=1.E-4",
            "TRAIN.EPOCHS = 7",
            "DATA.PATCH_SIZE=(64, 64, 1)",
            "DATA.TRAIN.GT_PATH=b",
            "DATA.VAL.MASK_PATH=c: d",
            "TEST.MATCHING_STATS_THS=[0.5, 0.9]",
            "TRAIN.EPOCHS=8",
            "PATHS.CHECKPOINT_FILE=",
        ],
    )
    assert (config.TRAIN.LR, config.TRAIN.EPOCHS) == (1e-4, 8)
    assert config.DATA.PATCH_SIZE == (64, 64, 1)
    assert (config.DATA.TRAIN.GT_PATH, config.DATA.VAL.GT_PATH) == ("b", "c: d")
    assert config.TEST.MATCHING_STATS_THS == (0.5, 0.9)
    assert config.TEST.MATCHING_STATS_THS_COLORED_IMG == ()
    assert "--set: DATA.VAL.MASK_PATH is read as DATA.VAL.GT_PATH" in messages


def test_is_set(write: Write) -> None:
    text = "TRAIN: {ENABLE: True}\nPROBLEM: {NDIM: 3D}\nDATA: {PATCH_SIZE: [16, 64, 64, 1]}\n"
    config = load_config(write(text), ["TRAIN.LR=1"])
    assert config.is_set("TRAIN.LR")
    assert config.is_set("DATA.PATCH_SIZE")
    assert not config.is_set("TRAIN.EPOCHS")
    assert not config.is_set("DATA.TRAIN.OVERLAP")  # filled in, but not by the user
    for wrong in ("TRAIN.EPOCH", "NOTHING", "TRAIN.LR.MORE", "PROBLEM.NDIM.X"):
        with pytest.raises(KeyError):
            config.is_set(wrong)


def test_path_overrides() -> None:
    config = config_from_dict({"TEST.ENABLE": True, "PATHS": {"CHARTS": "/tmp/charts"}})
    assert config.path_overrides() == {"PATHS.CHARTS": "/tmp/charts"}


@pytest.mark.parametrize("text", [FILE_2D, FILE_3D, FILE_LATER])
def test_round_trip_of_files(text: str, write: Write, tmp_path: Path) -> None:
    config = load_config(write(text))
    again = tmp_path / "again.yaml"
    again.write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(again) == config
    assert load_config(again).to_yaml() == config.to_yaml()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def is_path(text: str) -> bool:
    """Return True for a path; one with characters such as \\r is taken for a mistake."""
    return not text or (path_problem(text) is None and not re.search(r"[\x00-\x1f]", text))


@few
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "TRAIN.LR": st.floats(1e-30, 1e30, exclude_min=True),
            "TRAIN.EPOCHS": st.integers(1, 10**6),
            "TRAIN.VERBOSE": st.booleans(),
            "TRAIN.CHECKPOINT_MONITOR": st.sampled_from(["val_loss", "train_loss"]),
            "DATA.TRAIN.PATH": TEXTS.filter(is_path),
            "DATA.PATCH_SIZE": st.sampled_from(["(64, 64, 2)", (32, 48, 1)]),
            "PROBLEM.INSTANCE_SEG.DATA_CHANNELS": st.sampled_from(
                key_table()["PROBLEM.INSTANCE_SEG.DATA_CHANNELS"].choices
            ),
            "AUGMENTOR.GC_GAMMA": st.tuples(st.floats(0.1, 1), st.floats(1, 9)),
            "DATA.PREPROCESS.CANNY.LOW_THRESHOLD": st.none()
            | st.floats(-9, 9).map(lambda number: round(number, 6)),
        },
    )
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, object]) -> None:
    config = config_from_dict({"TRAIN.ENABLE": True, **keys})
    path = tmp_path_factory.mktemp("round") / "run.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(path) == config
    assert config_from_dict(config.dotted()) == config


def test_a_dict_is_not_changed() -> None:
    tree = {"TRAIN": {"ENABLE": True}, "DATA": {"TRAIN": {"MASK_PATH": "a"}}}
    config_from_dict(tree)
    assert tree == {"TRAIN": {"ENABLE": True}, "DATA": {"TRAIN": {"MASK_PATH": "a"}}}


def test_a_tuple_split_by_a_flow_mapping_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "torn.yaml"
    path.write_text("DATA: {TEST: {PADDING: (6, 16)}}\nTRAIN: {ENABLE: True}\n")
    with pytest.raises(UserError, match=r'DATA.TEST.16\): unknown key; .* needs quotes, "\(6, 16'):
        load_config(path)

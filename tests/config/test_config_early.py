"""Files of 2021 and 2022, with channels and thresholds as keys of DATA."""

from __future__ import annotations

from pathlib import Path

import pytest

from singula.config import config_from_dict, load_config
from singula.config.biapy.ignored import NO_EFFECT, UNUSED, matches
from singula.config.biapy.older_names import EARLY
from singula.config.biapy.translate import RENAMED
from singula.config.keys import key_table
from singula.config.load import config_and_notices
from singula.errors import UserError
from singula.util.messages import captured_messages

SEG = "PROBLEM.INSTANCE_SEG"

VOLUMES_2021 = """\
SYSTEM: {NUM_GPUS: 1, NUM_CPUS: 1}
PROBLEM:
  TYPE: INSTANCE_SEG
  NDIM: 3D
DATA:
  CHANNELS: BCD
  CHANNEL_WEIGHTS: (1, 0.2)
  CONTOUR_MODE: inner
  MW_TH1: 0.7
  MW_TH2: 0.15
  MW_TH3: 0.35
  MW_TH4: 4.5
  MW_TH5: 2.0
  REMOVE_SMALL_OBJ: 25
  MW_OPTIMIZE_THS: False
  CHECK_MW: True
  PATCH_SIZE: (48, 48, 48, 1)
  CHECK_GENERATORS: False
  TRAIN:
    PATH: nuclei/train/x
    MASK_PATH: nuclei/train/y
    CHECK_CROP: True
    PADDING: (0,0,0)
    OVERLAP: (0,0,0)
  VAL:
    FROM_TRAIN: False
    PATH: nuclei/val/x
    MASK_PATH: nuclei/val/y
    MEDIAN_PADDING: False
    BINARY_MASKS: nuclei/val/bin_mask
  TEST:
    PATH: nuclei/test/x
    MASK_PATH: nuclei/test/y
    LOAD_GT: True
    PADDING: (8,8,8)
AUGMENTOR:
  ENABLE: True
  RANDOM_ROT: True
  MISSING_PARTS: True
MODEL:
  ARCHITECTURE: resunet
  FEATURE_MAPS: [36, 48, 64]
  DROPOUT_VALUES: [0, 0, 0]
  DEPTH: 3
  KERNEL_INIT: he_normal
  SPATIAL_DROPOUT: False
  N_CLASSES: 1
  OUT_CHANNELS: 1
  Z_DOWN: 1
  LOAD_CHECKPOINT: False
LOSS: {TYPE: CE}
TRAIN:
  ENABLE: True
  OPTIMIZER: ADAM
  LR: 1.E-3
  EPOCHS: 150
  PATIENCE: 20
  LR_SCHEDULER: {ENABLE: False, NAME: cosine}
  EARLYSTOPPING_MONITOR: val_loss
TEST:
  ENABLE: True
  APPLY_MASK: False
  VORONOI_ON_MASK: True
  MAP: False
  MATCHING_STATS: True
  MATCHING_VJI_PAI: False
  STATS: {PER_PATCH: True, MERGE_PATCHES: True, FULL_IMG: True}
  POST_PROCESSING: {BLENDING: False, Z_FILTERING: True}
PATHS:
  MAP_CODE_DIR: ''
  RESULT_DIR: {FULL_POST_PROCESSING: elsewhere}
"""

IMAGES_2022 = """\
PROBLEM:
  TYPE: INSTANCE_SEG
  NDIM: 2D
  INSTANCE_SEG:
    DATA_CHANNELS: BC
    DATA_MW_TH1: 0.2
    DATA_MW_TH2: 0.1
    DATA_MW_TH3: 0.3
    DATA_REMOVE_SMALL_OBJ: 30
    DATA_REMOVE_BEFORE_MW: False
DATA:
  PATCH_SIZE: (256, 256, 1)
  TRAIN: {PATH: cells/train/x, MASK_PATH: cells/train/y, SSL_TARGET_DIR: ''}
  VAL: {SPLIT_TRAIN: 0.1}
  TEST: {PATH: cells/test/x, MASK_PATH: cells/test/y, LOAD_GT: True}
AUGMENTOR: {ENABLE: True, VFLIP: True, RANDOM_CROP_SCALE: 1}
MODEL: {ARCHITECTURE: unet, TIRAMISU_DEPTH: 3}
TRAIN: {ENABLE: True, OPTIMIZER: SGD, LR: 2.E-3, BATCH_SIZE: 6, EPOCHS: 360, PATIENCE: 50}
TEST:
  ENABLE: True
  STATS: {PER_PATCH: False, MERGE_PATCHES: False, FULL_IMG: True}
"""


def loaded(text: str, folder: Path) -> tuple[dict[str, object], list[str], object]:
    path = folder / "old.yaml"
    path.write_text(text, encoding="utf-8")
    with captured_messages() as notices:
        config = load_config(path)
    return config.dotted(), notices, config


def test_a_file_of_2021_is_translated(tmp_path: Path) -> None:
    values, notices, config = loaded(VOLUMES_2021, tmp_path)
    expected: dict[str, object] = {
        f"{SEG}.DATA_CHANNELS": "BCD",
        f"{SEG}.DATA_CHANNEL_WEIGHTS": (1, 1, 0.2),
        f"{SEG}.DATA_CONTOUR_MODE": "inner",
        f"{SEG}.DATA_MW_TH_BINARY_MASK": 0.7,
        f"{SEG}.DATA_MW_TH_CONTOUR": 0.15,
        f"{SEG}.DATA_MW_TH_FOREGROUND": 0.35,
        f"{SEG}.DATA_MW_TH_DISTANCE": 4.5,
        f"{SEG}.DATA_MW_TH_DIST_FOREGROUND": 2.0,
        f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE": 25,
        f"{SEG}.DATA_CHECK_MW": True,
        "DATA.PATCH_SIZE": (48, 48, 48, 1),
        "DATA.TRAIN.GT_PATH": "nuclei/train/y",
        "DATA.VAL.GT_PATH": "nuclei/val/y",
        "DATA.TEST.GT_PATH": "nuclei/test/y",
        "DATA.TEST.PADDING": (8, 8, 8),
        "AUGMENTOR.MISSING_SECTIONS": True,
        "MODEL.N_CLASSES": 2,
        "MODEL.Z_DOWN": (1, 1),
        "MODEL.DROPOUT_VALUES": (0, 0, 0),
        "TRAIN.LR_SCHEDULER.NAME": "",
        "TRAIN.PATIENCE": 20,
        "TEST.FULL_IMG": False,  # these versions did not predict whole volumes
        "TEST.STATS.PER_PATCH": True,
        "TEST.POST_PROCESSING.VORONOI_ON_MASK": True,
        "TEST.POST_PROCESSING.Z_FILTERING": True,
        "PATHS.RESULT_DIR.FULL_IMAGE_POST_PROCESSING": "elsewhere",
    }
    assert {name: values[name] for name in expected} == expected
    for name in ("BINARY_MASK", "CONTOUR", "FOREGROUND", "DISTANCE", "DIST_FOREGROUND"):
        assert config.is_set(f"{SEG}.DATA_MW_TH_{name}")  # type: ignore[attr-defined]
    said = "\n".join(notices)
    for number in range(1, 6):
        assert f"DATA.MW_TH{number} is read as {SEG}.DATA_MW_TH_" in said
    assert "DATA.CHANNELS is read as" in said
    assert "LR_SCHEDULER.ENABLE: False" in said


def test_a_file_of_2022_is_translated(tmp_path: Path) -> None:
    values, notices, _ = loaded(IMAGES_2022, tmp_path)
    expected: dict[str, object] = {
        f"{SEG}.DATA_CHANNELS": "BC",
        f"{SEG}.DATA_CHANNEL_WEIGHTS": (1, 1),
        f"{SEG}.DATA_MW_TH_BINARY_MASK": 0.2,
        f"{SEG}.DATA_MW_TH_CONTOUR": 0.1,
        f"{SEG}.DATA_MW_TH_FOREGROUND": 0.3,
        f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE": 30,
        f"{SEG}.DATA_REMOVE_BEFORE_MW": False,
        "DATA.TEST.GT_PATH": "cells/test/y",
        "TEST.FULL_IMG": True,
        "TEST.STATS.PER_PATCH": False,
    }
    assert {name: values[name] for name in expected} == expected
    assert not any("z, y, x" in line for line in notices)


@pytest.mark.parametrize(
    ("channels", "found", "expected"),
    [
        ("BCD", (1, 0.2), (1, 1, 0.2)),
        ("BC", (1, 0.2), (1, 1)),
        ("BCM", "(0.5, 0.2)", (0.5, 0.5, 0.5)),
        ("BCDv2", (1, 0.3), (1, 1, 0.3)),
        ("BDv2", (1, 0.3), (1, 0.3)),
        ("Dv2", (1, 0.3), (0.3,)),
        ("BCD", (1, 1), (1, 1, 1)),
    ],
)
@pytest.mark.parametrize("year", [2021, 2022])
def test_two_weights_apply_to_binary_channels_and_distances(
    year, channels, found, expected
) -> None:
    place = "DATA." if year == 2021 else f"{SEG}.DATA_"
    keys = {f"{place}CHANNELS": channels, f"{place}CHANNEL_WEIGHTS": found, f"{place}MW_TH1": 0.5}
    config = config_from_dict({"TRAIN.ENABLE": True, **keys})
    assert expected == config.PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS


def test_two_weights_of_later_versions_are_an_error() -> None:
    keys = {f"{SEG}.DATA_CHANNELS": "BCD", f"{SEG}.DATA_CHANNEL_WEIGHTS": (1, 0.2)}
    with pytest.raises(UserError, match="DATA_CHANNEL_WEIGHTS"):
        config_from_dict({"TRAIN.ENABLE": True, **keys})


def test_folders_are_derived_from_the_data_folder() -> None:
    keys = {"DATA.ROOT_DIR": "/data/cells/", "DATA.TEST.PATH": "other", "DATA.TEST.MASK_PATH": "gt"}
    config = config_from_dict({"TRAIN.ENABLE": True, **keys})
    assert config.DATA.TRAIN.PATH == "/data/cells/train/x"
    assert config.DATA.VAL.GT_PATH == "/data/cells/val/y"
    assert (config.DATA.TEST.PATH, config.DATA.TEST.GT_PATH) == ("other", "gt")


def test_an_uncertain_order_of_axes_is_named() -> None:
    keys = {"PROBLEM.NDIM": "3D", "DATA.CHANNELS": "BC", "DATA.PATCH_SIZE": "(128, 128, 16, 1)"}
    notices = config_and_notices({"TRAIN.ENABLE": True, **keys})[1]
    assert any("DATA.PATCH_SIZE" in line and "z, y, x" in line for line in notices)
    del keys["DATA.CHANNELS"]
    notices = config_and_notices({"TRAIN.ENABLE": True, **keys})[1]
    assert not any("z, y, x" in line for line in notices)


def test_an_old_and_a_new_key_that_differ_are_an_error() -> None:
    keys = {"DATA.MW_TH1": 0.4, f"{SEG}.DATA_MW_TH_BINARY_MASK": 0.6}
    with pytest.raises(UserError, match=r"DATA\.MW_TH1"):
        config_from_dict({"TRAIN.ENABLE": True, **keys})
    same = {**keys, f"{SEG}.DATA_MW_TH_BINARY_MASK": 0.4}
    config = config_from_dict({"TRAIN.ENABLE": True, **same})
    assert config.PROBLEM.INSTANCE_SEG.DATA_MW_TH_BINARY_MASK == 0.4


def test_keys_without_an_effect_are_named() -> None:
    keys = {"DATA.MW_OPTIMIZE_THS": True, "TEST.MAP": True, "MODEL.SPATIAL_DROPOUT": True}
    notices = list(config_and_notices({"TRAIN.ENABLE": True, **keys})[1])
    for key in ("DATA_MW_OPTIMIZE_THS", "TEST.MAP", "MODEL.SPATIAL_DROPOUT"):
        assert any(key in line and "no effect" in line for line in notices)


def test_each_early_name_is_translated_to_a_known_key() -> None:
    known = {*key_table(), *RENAMED, *NO_EFFECT}
    assert {new for new in EARLY.values() if new not in known} == set()
    assert not set(EARLY) & set(key_table())
    assert not any(matches(old, UNUSED) for old in EARLY)

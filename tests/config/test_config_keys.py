"""The schema compared with the list of keys of the format."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from singula.config import Config, config_from_dict, known_keys
from singula.config.keys import key_table, nearest

DATA = Path(__file__).parent / "data"
# Keys of this program alone, and the one default that differs: there is one workflow here.
ADDED = {
    "AUGMENTOR.BACKGROUND",
    "AUGMENTOR.BACKGROUND_STRENGTH",
    "AUGMENTOR.INVERT",
    "DATA.CHANNEL",
    "DATA.EXTERNAL_FILES",
    "DATA.PAIR_BY_SORTED_ORDER",
    "DATA.PREPROCESS.MEDIAN_BLUR.KERNEL_SIZE",
    "DATA.PREPROCESS.SPACING",
    "DATA.TEST.IGNORE_PATH",
    "DATA.TRAIN.IGNORE_PATH",
    "DATA.VAL.IGNORE_PATH",
    "LOSS.CLASS_REBALANCE",
    "LOSS.CLASS_WEIGHTS",
    "LOSS.DICE_SMOOTH",
    "LOSS.FOCAL_ALPHA",
    "LOSS.FOCAL_GAMMA",
    "LOSS.WEIGHTS",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_DIST_FOREGROUND",
    "PROBLEM.INSTANCE_SEG.DATA_CHANNELS_EXTRA_OPTS",
    "PROBLEM.INSTANCE_SEG.DATA_CHANNELS_LOSSES",
    "PROBLEM.INSTANCE_SEG.DECODER",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_AFFINITY",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_BACKGROUND",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_BORDER_DISTANCE",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_BORDER_GROWTH",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_CENTER_DISTANCE",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_CENTER_GROWTH",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_CENTER_RADIUS",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_CLUSTER",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_CONTOUR_GROWTH",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_EDGES",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_FLOW_ERROR",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_FLOW_STEPS",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_NEIGHBOR",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_NMS",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_PROBABILITY",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_SEEDINESS",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_SIGNED_DISTANCE",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_SIGNED_GROWTH",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_TOUCHING",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_VOTES",
    "PROBLEM.INSTANCE_SEG.GROWTH_MASK_CHANNELS",
    "PROBLEM.INSTANCE_SEG.SEED_CHANNELS",
    "PROBLEM.INSTANCE_SEG.TOPOGRAPHIC_SURFACE_CHANNEL",
    "PROBLEM.INSTANCE_SEG.GENERATED_THRESHOLDS",
    "PROBLEM.INSTANCE_SEG.GROW_INTO_CONTOUR",
    "PROBLEM.INSTANCE_SEG.POINT_RADIUS",
    "PROBLEM.INSTANCE_SEG.REMOVE_SMALL_OBJ_AT_BORDER",
    "PROBLEM.INSTANCE_SEG.TUNED_THRESHOLDS",
    "SYSTEM.MAX_MEMORY",
    "TEST.BACKEND",
    "TEST.BY_CHUNKS.BLOCK_SHAPE",
    "TEST.PRECISION",
    "TEST.STATS.PER_PATCH",
    "TEST.TILE_SIZE",
    "TRAIN.GRADIENT_CLIP",
    "TRAIN.COMPILE",
    "TRAIN.PRECISION",
}
DIFFERENT = {"PROBLEM.TYPE": "INSTANCE_SEG"}


def listed() -> dict[str, object]:
    lines = (DATA / "keys.tsv").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t") for line in lines)
    return {name: ast.literal_eval(default) for name, default in pairs}


def as_tuples(value: object) -> object:
    return tuple(map(as_tuples, value)) if isinstance(value, list | tuple) else value


def test_the_keys_are_those_of_the_format() -> None:
    assert {key.name for key in known_keys()} == set(listed()) | ADDED


@pytest.mark.parametrize(("name", "default"), listed().items())
def test_default(name: str, default: object) -> None:
    assert key_table()[name].default == as_tuples(DIFFERENT.get(name, default))


def test_every_default_is_an_allowed_value() -> None:
    assert config_from_dict({**Config().dotted(), "TEST.ENABLE": True}) == config_from_dict(
        {"TEST.ENABLE": True}
    )


def test_every_key_is_described() -> None:
    for key in known_keys():
        assert key.description.endswith("."), key.name
        assert "\n" not in key.description, key.name
        assert key.type, key.name
        assert key.allowed, key.name
    table = key_table()
    assert table["TRAIN.LR"].allowed == "a number > 0"
    assert table["TRAIN.PATIENCE"].allowed == "an integer in [1, 1\u202f000\u202f000], or -1"
    assert table["DATA.TRAIN.OVERLAP"].allowed == "a list of numbers in [0, 1)"
    assert table["DATA.TRAIN.OVERLAP"].type == "list of float"
    assert table["AUGMENTOR.MB_KERNEL"].type == "(int, int)"
    assert table["DATA.PREPROCESS.CLAHE.KERNEL_SIZE"].type == "list of int or None"
    assert table["PROBLEM.NDIM"].choices == ("2D", "3D")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("DATA.PATCH_SZE", "DATA.PATCH_SIZE"),
        ("MODEL.PATCH_SIZE", "DATA.PATCH_SIZE"),
        ("TRAIN.EPOCS", "TRAIN.EPOCHS"),
        ("train.batch_size", "TRAIN.BATCH_SIZE"),
        ("TEST.THINGS.QQQ", None),
    ],
)
def test_the_most_similar_key(wrong: str, right: str | None) -> None:
    assert nearest(wrong, key_table()) == right


def test_a_configuration_does_not_change() -> None:
    config = config_from_dict({"TEST.ENABLE": True})
    with pytest.raises(ValidationError):
        config.TEST.ENABLE = False  # type: ignore[misc]
    copy = config.replaced({"TRAIN.LR": 0.5})
    assert (config.TRAIN.LR, copy.TRAIN.LR) == (1e-4, 0.5)
    assert not copy.is_set("TRAIN.LR")
    assert pickle.loads(pickle.dumps(copy)) == copy


def test_importing_needs_no_heavy_library() -> None:
    code = (
        "import sys, singula.config; "
        "print([m for m in ('numpy', 'torch', 'skimage', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

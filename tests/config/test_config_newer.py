"""Keys and values of BiaPy 3.7."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from singula.config.load import config_and_notices, load_config
from singula.representations.table import METHODS

Problems = Callable[..., list[str]]
DATA = Path(__file__).parent / "data"
SEG = "PROBLEM.INSTANCE_SEG"
LINES = (DATA / "version_3_7.tsv").read_text(encoding="utf-8").splitlines()
DEFAULTS: dict[str, Any] = {
    key: json.loads(value) for key, _, value in (line.partition("\t") for line in LINES)
}


def load(**keys: object) -> tuple[dict[str, Any], str]:
    return load_keys({name.replace("__", "."): value for name, value in keys.items()})


def load_keys(keys: dict[str, object]) -> tuple[dict[str, Any], str]:
    tree = {"TRAIN.ENABLE": True, "TEST.ENABLE": True, **keys}
    config, notices = config_and_notices(tree)
    return config.dotted(), "\n".join(notices)


def test_all_default_values_of_the_version_load_together() -> None:
    config, _ = load_keys({"MODEL.ARCHITECTURE": "unet", **DEFAULTS})
    assert config["TRAIN.LR"] == 1e-4
    assert config["TRAIN.OPTIMIZER"] == "SGD"
    assert config["TRAIN.OPT_BETAS"] == (0.9, 0.999)
    assert config["TRAIN.GRADIENT_CLIP"] == -1
    assert config["LOSS.TYPE"] == "CE"
    assert config["MODEL.LOAD_CHECKPOINT_ONLY_WEIGHTS"] is True


@pytest.mark.parametrize(
    ("old", "value", "new", "expected"),
    [
        ("TRAIN.LR", [2e-3], "TRAIN.LR", 2e-3),
        ("LOSS.TYPE", ["DICE"], "LOSS.TYPE", "DICE"),
        ("TRAIN.GRADIENT_CLIP_NORM", 1.5, "TRAIN.GRADIENT_CLIP", 1.5),
        ("DATA.TRAIN.W_FOREGROUND", 0.7, "DATA.W_FOREGROUND", 0.7),
        ("MODEL.NORMALIZATION", "none", "MODEL.BATCH_NORMALIZATION", False),
        (
            "MODEL.ITEMS_TO_LOAD_FROM_CHECKPOINT",
            ["weights", "optimizer", "epoch"],
            "MODEL.LOAD_CHECKPOINT_ONLY_WEIGHTS",
            False,
        ),
    ],
)
def test_translated(old: str, value: object, new: str, expected: object) -> None:
    assert load_keys({old: value})[0][new] == expected


def test_thresholds_of_rays_have_the_same_effect_on_equal_objects() -> None:
    config, _ = load_keys(
        {
            f"{SEG}.DATA_CHANNELS": ["Db", "R"],
            f"{SEG}.STARDIST.PROB_THRESH": 0.6,
            f"{SEG}.STARDIST.NMS_IOU_THRESH": 1 / 3,
        }
    )
    # Two objects of 100 pixels with 50 in common: 50 / 150 of their union, 50 / 100 of each.
    assert config[f"{SEG}.DATA_MW_TH_NMS"] == 0.5
    assert config[f"{SEG}.DATA_MW_TH_PROBABILITY"] == 0.6


@pytest.mark.parametrize("name", ["in", "gn", "ln", "IN"])
def test_other_normalizations_are_reported(name: str) -> None:
    config, notices = load(MODEL__NORMALIZATION=name)
    assert config["MODEL.BATCH_NORMALIZATION"] is True
    assert "MODEL.NORMALIZATION" in notices


def test_skip_connections_of_a_deep_transformer() -> None:
    config, _ = load_keys(
        {
            "MODEL.ARCHITECTURE": "unetr",
            "MODEL.VIT_NUM_LAYERS": 32,
            "MODEL.VIT_TOKEN_SIZE": 16,
            "MODEL.UNETR_VIT_HIDD_MULT": -1,
        }
    )
    assert config["MODEL.UNETR_VIT_HIDD_MULT"] == 8  # 32 layers, 4 levels of the decoder


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DATA.RESOLUTION_NORM.ENABLE", True),
        ("DATA.TEST.ROI_MASK.ENABLE", True),
        ("MODEL.FREEZE_LAYERS_MATCHING", ["encoder"]),
        ("MODEL.YX_DOWN", [2, 2, 1, 2]),
        ("MODEL.VIT_PRETRAINED_WEIGHTS", "weights.pth"),
        ("TEST.BY_CHUNKS.Z_START", 100),
        ("TEST.BY_CHUNKS.PHASES", ["prediction"]),
        ("MODEL.ITEMS_TO_LOAD_FROM_CHECKPOINT", ["model_arch"]),
        ("MODEL.ARCHITECTURE", "hrnet48"),
        ("TRAIN.LR", [1e-3, 1e-4]),
    ],
)
def test_values_that_change_the_result_are_errors(
    key: str, value: object, problems: Problems
) -> None:
    (line,) = problems({key: value})
    assert key in line


@pytest.mark.parametrize("value", [[2, 2, 2, 2], [0, 0, 0, 0], []])
def test_lists_of_neutral_values_have_no_message(value: object) -> None:
    assert "MODEL" not in load(MODEL__YX_DOWN=value)[1]


def test_a_disabled_section_is_not_listed() -> None:
    section = "DATA.TEST.FILTER_SAMPLES"
    keys = {f"{section}.ENABLE": False, f"{section}.PROPS": [["mean"]]}
    assert section not in load_keys(dict(keys))[1]
    keys[f"{section}.ENABLE"] = True
    assert f"{section}.PROPS" in load_keys(dict(keys))[1]


def test_a_key_that_is_written_twice_with_one_value(tmp_path: Path, problem_lines) -> None:
    path = tmp_path / "twice.yaml"
    text = "TEST: {ENABLE: true, REDUCE_MEMORY: true, REDUCE_MEMORY: TRUE}\n"
    path.write_text(text, encoding="utf-8")
    assert load_config(path).TEST.REDUCE_MEMORY is True
    path.write_text(text.replace("TRUE", "false"), encoding="utf-8")
    (line,) = problem_lines(path)[1:]
    assert "written twice" in line


@pytest.mark.parametrize(
    ("process", "is_supported"),
    [
        ("", True),
        ("watershed", True),
        ("stardist", "polygons" in METHODS),
        ("agglomeration", "mutex" in METHODS),
        ("embeddings", "embedding" in METHODS),
        ("gradient-flow", "flows" in METHODS),
        ("other", False),
    ],
)
def test_processes_without_a_decoder_are_errors(
    process: str, is_supported: bool, problems: Problems
) -> None:
    channels = {"stardist": ["Db", "R"], "agglomeration": ["A"], "embeddings": ["E"]}
    channels["gradient-flow"] = ["F", "Gh", "Gv"]
    keys = {
        f"{SEG}.INSTANCE_CREATION_PROCESS": process,
        f"{SEG}.DATA_CHANNELS": channels.get(process, ["F", "C"]),
    }
    lines = problems(keys)
    assert any("INSTANCE_CREATION_PROCESS" in line for line in lines) is not is_supported


PARTS = ["E_offset", "E_sigma", "E_seediness"]


def test_an_embedding_in_parts() -> None:
    config, notices = load_keys(
        {
            f"{SEG}.DATA_CHANNELS": PARTS,
            f"{SEG}.DATA_CHANNEL_WEIGHTS": [10, 1, 10, 1],
            f"{SEG}.DATA_CHANNELS_LOSSES": ["embedseg"] * 3,
            f"{SEG}.INSTANCE_CREATION_PROCESS": "embeddings",
            f"{SEG}.EMBEDSEG.GRID_SIZE": -1,
            f"{SEG}.EMBEDSEG.FG_THRESH": 0.4,
            f"{SEG}.EMBEDSEG.SEED_THRESH": 0.7,
        }
    )
    assert config[f"{SEG}.DATA_CHANNELS"] == "E2"
    assert config[f"{SEG}.DATA_CHANNELS_EXTRA_OPTS"] == ("E.center_mode=medoid",)
    assert config[f"{SEG}.DATA_CHANNEL_WEIGHTS"] == (1,)
    assert config[f"{SEG}.DECODER"] == "embedding"
    assert config[f"{SEG}.DATA_MW_TH_CLUSTER"] == 0.4
    assert config[f"{SEG}.DATA_MW_TH_SEEDINESS"] == 0.7
    assert "GRID_SIZE" not in notices


def test_the_center_of_an_embedding() -> None:
    options = [{"E_offset": {"center_mode": "centroid"}, "E_sigma": {}, "E_seediness": {}}]
    keys = {f"{SEG}.DATA_CHANNELS": PARTS, f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": options}
    config, _ = load_keys(keys)
    assert config[f"{SEG}.DATA_CHANNELS_EXTRA_OPTS"] == ("E.center_mode=centroid",)


def test_a_part_of_an_embedding_is_an_error(problems: Problems) -> None:
    (line,) = problems({f"{SEG}.DATA_CHANNELS": PARTS[:2]})
    assert f"{SEG}.DATA_CHANNELS" in line
    assert PARTS[2] in line


@pytest.mark.parametrize(
    ("ndim", "options", "expected"),
    [
        (2, {"y_affinities": [1], "x_affinities": [1]}, "A[-1,0;0,-1]"),
        (
            3,
            {"z_affinities": [1, 2], "y_affinities": [1, 3], "x_affinities": [1, 3]},
            "A[-1,0,0;0,-1,0;0,0,-1;-2,0,0;0,-3,0;0,0,-3]",
        ),
        (3, {"widen_borders": 0}, "A[-1,0,0;0,-1,0;0,0,-1]"),
    ],
)
def test_the_offsets_of_affinities(ndim: int, options: dict[str, object], expected: str) -> None:
    patch = (16, 64, 64, 1)[3 - ndim :]
    config, _ = load_keys(
        {
            "PROBLEM.NDIM": f"{ndim}D",
            "DATA.PATCH_SIZE": patch,
            f"{SEG}.DATA_CHANNELS": ["A"],
            f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"A": options}],
        }
    )
    assert config[f"{SEG}.DATA_CHANNELS"] == expected


def test_lists_of_affinities_have_equal_lengths(problems: Problems) -> None:
    options = [{"A": {"y_affinities": [1, 3], "x_affinities": [1]}}]
    keys = {f"{SEG}.DATA_CHANNELS": ["A"], f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": options}
    (line,) = problems(keys)
    assert "y_affinities" in line


def test_affinities_are_flooded_by_a_watershed() -> None:
    config, _ = load_keys(
        {
            f"{SEG}.DATA_CHANNELS": ["A"],
            f"{SEG}.INSTANCE_CREATION_PROCESS": "watershed",
            f"{SEG}.WATERSHED.SEED_CHANNELS": ["A"],
            f"{SEG}.WATERSHED.SEED_CHANNELS_THRESH": [0.8],
        }
    )
    assert config[f"{SEG}.DECODER"] == "watershed"
    assert config[f"{SEG}.DATA_MW_TH_AFFINITY"] == 0.8


def test_a_wrong_code_is_one_problem(problems: Problems) -> None:
    (line,) = problems(
        {
            f"{SEG}.DATA_CHANNELS": ["F", "Q", "Db"],
            f"{SEG}.DATA_CHANNEL_WEIGHTS": [1, 1, 1],
            f"{SEG}.DATA_CHANNELS_LOSSES": ["bce", "bce", "l1"],
            f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"Db": {"norm": True}, "Q": {"a": 1}}],
            f"{SEG}.WATERSHED.SEED_CHANNELS": ["F", "Db"],
            f"{SEG}.WATERSHED.SEED_CHANNELS_THRESH": [0.5, 0.5, 0.5],
            f"{SEG}.WATERSHED.TOPOGRAPHIC_SURFACE_CHANNEL": "Db",
            "TRAIN.CHECKPOINT_MONITOR": "val_iou_F",
        }
    )
    assert f"{SEG}.DATA_CHANNELS:" in line


def test_thresholds_that_the_decoder_does_not_use_are_reported() -> None:
    key = f"{SEG}.DATA_MW_TH_AFFINITY"
    assert key in load_keys({key: 0.3})[1]
    assert key not in load_keys({key: 0.3, f"{SEG}.DATA_CHANNELS": ["A"]})[1]
    assert key not in load_keys({})[1]
    generated = {key: 0.3, f"{SEG}.GENERATED_THRESHOLDS": ["TH_AFFINITY=0.3"]}
    assert key not in load_keys(generated)[1]


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        ([], "got no channels, expected"),
        (["I"], "got no channels, expected"),
        (["A[0,1;0,-1]"], "the offsets 0,1 and 0,-1, which compare the same pixels"),
        (["F", "A[-1,0;-1,0]"], "the offsets -1,0 and -1,0"),
        (["F", "A[-1,0;0,0]"], "the offset 0,0"),
        (["F", "A[-1,0;0,-999]"], "the offset 0,-999"),
        (["A[-1,0;0,-1,0]"], "different numbers of axes"),
    ],
)
def test_lists_that_are_refused_name_the_cause(
    listed: list[str], text: str, problems: Problems
) -> None:
    keys = {f"{SEG}.DATA_CHANNELS": listed, f"{SEG}.DATA_CHANNEL_WEIGHTS": [1] * 2}
    (line,) = problems(keys)
    assert text in line


def options_of(listed: list[str], options: dict[str, Any]) -> tuple[Any, str]:
    """Return the options by channel as texts, and the notices."""
    volume = {"PROBLEM.NDIM": "3D", "DATA.PATCH_SIZE": (16, 64, 64, 1)} if "Z" in listed else {}
    keys = {f"{SEG}.DATA_CHANNELS": listed, f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [options]}
    config, notices = load_keys({**keys, **volume})
    return config[f"{SEG}.DATA_CHANNELS_EXTRA_OPTS"], notices


def test_the_options_of_one_offset_are_those_of_all() -> None:
    options, notices = options_of(["F", "H", "V", "Z"], {"V": {"norm": False}})
    assert set(options) == {"H.norm=False", "V.norm=False", "Z.norm=False"}
    assert "H, Z have the options of V" in notices
    given = {"H": {"norm": True, "act": "tanh"}, "V": {"norm": True}}
    options, notices = options_of(["F", "H", "V"], given)
    assert options == ("H.norm=True", "H.activation=tanh", "V.norm=True")
    assert "the options of" not in notices


@pytest.mark.parametrize("norm", [True, False])
def test_the_normalization_of_rays_which_version_3_6_never_applied(norm: bool) -> None:
    options, _ = options_of(["Db", "R"], {"R": {"nrays": 16, "norm": norm, "mask_values": True}})
    assert options == ("R.nrays=16", "R.mask_values=True")


def test_a_part_of_a_skeleton_is_an_error(problems: Problems) -> None:
    options = [{"P": {"type": "skeleton", "skeleton_mode": "main"}}]
    keys = {f"{SEG}.DATA_CHANNELS": ["F", "P"], f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": options}
    (line,) = problems(keys)
    assert "P.skeleton_mode: got 'main', expected 'full'" in line


@pytest.mark.parametrize("alpha", [1, 8])
@pytest.mark.parametrize("norm", [True, False])
def test_seeds_of_signed_distances_have_one_depth(alpha: int, norm: bool) -> None:
    key = f"{SEG}.DATA_MW_TH_SIGNED_DISTANCE"
    given = {
        f"{SEG}.DATA_CHANNELS": ["F", "D"],
        f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"D": {"alpha": alpha, "norm": norm}}],
    }
    config, notices = load_keys(given)
    threshold = math.atanh(config[key]) if norm else config[key]
    assert threshold * alpha == pytest.approx(math.atanh(0.9), abs=1e-3)
    assert key not in notices
    assert load_keys({**given, key: 0.5})[0][key] == 0.5

"""Load checkpoints of BiaPy: the maps equal those that BiaPy computed with the same weights.

``scripts/make_biapy_fixtures.py`` computed the maps with BiaPy.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import singula
from singula.config.biapy.checkpoint import config_for_prediction
from singula.errors import UserError
from singula.models import ModelSettings, build_model
from singula.pipeline.checkpoints import trained_config
from singula.pipeline.from_config import model_settings, outputs
from singula.training.biapy_checkpoint import Placeholder, convert_biapy, read_biapy
from singula.training.checkpoint import load_checkpoint, load_fitting_weights, load_weights

FOLDER = Path(__file__).parents[1] / "models" / "biapy"


def _recipe() -> Any:
    spec = importlib.util.spec_from_file_location("biapy_recipe", FOLDER / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recipe = _recipe()
CASES: dict[str, Any] = {
    f"{file.name.split('_')[1].removesuffix('.json.gz')}-{name}": case
    for file in sorted(FOLDER.glob("cases_*.json.gz"))
    for name, case in json.loads(gzip.decompress(file.read_bytes())).items()
}


def contents_of(case: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of a checkpoint of BiaPy."""
    arrays = recipe.weights(case["shapes"])
    return {
        "model": {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()},
        "cfg": recipe.nested({"PROBLEM.TYPE": "INSTANCE_SEG", **case["keys"]}),
        "epoch": 3,
    }


def stored(tmp_path: Path, contents: dict[str, Any]) -> Path:
    path = tmp_path / "cells-checkpoint-best.pth"
    torch.save(contents, path)
    return path


def written_by_biapy(tmp_path: Path, version: str) -> Path:
    path = tmp_path / "cells-checkpoint-best.pth"
    path.write_bytes(gzip.decompress((FOLDER / f"checkpoint_{version}.pth.gz").read_bytes()))
    return path


@pytest.mark.parametrize("name", CASES)
def test_maps_equal_those_of_biapy(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    checkpoint = load_checkpoint(stored(tmp_path, contents_of(case)))
    network = build_model(ModelSettings.from_dict(checkpoint.description["model"])).eval()
    load_weights(network, checkpoint)
    *sides, channels = case["keys"]["DATA.PATCH_SIZE"]
    with torch.no_grad():
        maps = network(torch.from_numpy(recipe.image((1, channels, *sides)))).numpy()
    expected = np.array(case["maps"]).reshape(case["shape"])
    assert expected.std() > 0.01
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-4 * max(1, abs(expected).max()))


@pytest.mark.parametrize("version", ["3.4.6", "3.5.13", "3.6.8", "3.7.1"])
def test_a_model_loads_from_a_file_of_biapy(version: str, tmp_path: Path) -> None:
    model = singula.load(written_by_biapy(tmp_path, version))
    case = CASES[f"{version}-unet_2d"]
    image = recipe.image((1, 1, 16, 16))[0, 0]
    expected = 1 / (1 + np.exp(-np.array(case["maps"]).reshape(2, 16, 16)))
    maps = model.predict_maps(image)
    assert list(maps) == ["B", "C"]
    np.testing.assert_allclose(np.stack(list(maps.values())), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("architecture", ["unet", "resunet"])
def test_a_training_has_the_layout_of_a_file_with_the_same_architecture(
    architecture: str, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(written_by_biapy(tmp_path, "3.7.1"))
    config = trained_config(checkpoint).replaced({"MODEL.ARCHITECTURE": architecture})
    settings = model_settings(config, checkpoint.description["model"])
    same = architecture == "unet"
    assert settings.layout.program == ("biapy" if same else "singula")
    if same:
        assert load_fitting_weights(build_model(settings), checkpoint) == []


def test_channels_have_the_order_of_the_file(tmp_path: Path) -> None:
    case = CASES["3.7.1-unet_2d"]
    contents = contents_of(case)
    contents["cfg"]["PROBLEM"]["INSTANCE_SEG"] = {"DATA_CHANNELS": ["C", "B"]}
    contents["cfg"]["DATA"]["NORMALIZATION"] = {"TYPE": "div"}
    maps = singula.load(stored(tmp_path, contents)).predict_maps(recipe.image((1, 1, 16, 16))[0, 0])
    expected = 1 / (1 + np.exp(-np.array(case["maps"]).reshape(2, 16, 16)))
    np.testing.assert_allclose(maps["C"], expected[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(maps["B"], expected[1], rtol=0, atol=1e-4)


def test_distances_with_another_activation_need_a_configuration(tmp_path: Path) -> None:
    contents = contents_of(CASES["3.7.1-unet_2d"])
    contents["cfg"]["PROBLEM"]["INSTANCE_SEG"] = {"DATA_CHANNELS": ["B", "D"]}
    assert "tanh" in load_checkpoint(stored(tmp_path, contents)).config_problem
    contents["cfg"]["PROBLEM"]["INSTANCE_SEG"]["DATA_CHANNELS_EXTRA_OPTS"] = [
        {"D": {"act": "linear"}}
    ]
    assert not load_checkpoint(stored(tmp_path, contents)).config_problem


@pytest.mark.parametrize(
    ("options", "activation"),
    [
        ([], "tanh"),
        ([{"D": {"act": "linear"}}], "linear"),
        ([{"D": {"act": "tanh"}, "F": {"erosion": 0}}], "tanh"),
    ],
)
def test_signed_distances_have_the_activation_of_the_file(options, activation, tmp_path) -> None:
    contents = contents_of(CASES["3.7.1-unet_2d"])
    contents["cfg"]["PROBLEM"]["INSTANCE_SEG"] = {
        "DATA_CHANNELS": ["F", "D"], "DATA_CHANNELS_EXTRA_OPTS": options
    }  # fmt: skip
    config = trained_config(load_checkpoint(stored(tmp_path, contents)))
    assert outputs(config)[1].activation == activation


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (["F", "Db"], {"Db": {"val_type": "discretize"}}),
        (["F", "Db"], {"Db": {"val_type": "omnipose", "mask_values": False}}),
        (["F", "P"], {"P": {"type": "skeleton", "skeleton_mode": "main"}}),
        (["F", "Dc"], {"Dc": {"unknown": 1}}),
        (["F", "C"], {"C": {"mode": "subpixel"}}),
    ],
)
def test_maps_with_another_meaning_are_an_error(
    channels: list[str], options: dict[str, Any], tmp_path: Path
) -> None:
    contents = contents_of(CASES["3.7.1-unet_2d"])
    section = {"DATA_CHANNELS": channels, "DATA_CHANNELS_EXTRA_OPTS": [options]}
    contents["cfg"]["PROBLEM"]["INSTANCE_SEG"] = section
    with pytest.raises(UserError) as raised:
        load_checkpoint(stored(tmp_path, contents))
    assert raised.value.code == "checkpoint.biapy_channels"
    assert next(iter(options)) in raised.value.message


@pytest.mark.parametrize(
    ("options", "differs"),
    [({"act": "tanh"}, True), ({"act": "tanh", "alpha": 8, "beta": 50, "norm": True}, False)],
)
def test_signed_distances_of_the_newest_version_have_a_notice(
    options: dict[str, Any], differs: bool
) -> None:
    section = {"DATA_CHANNELS": ["F", "D"], "DATA_CHANNELS_EXTRA_OPTS": [{"D": options}]}
    cfg = {
        "PROBLEM": {"TYPE": "INSTANCE_SEG", "NDIM": "2D", "INSTANCE_SEG": section},
        "DATA": {"PATCH_SIZE": [32, 32, 1]},
    }
    network = {"MODEL.FEATURE_MAPS": (8, 16), "MODEL.Z_DOWN": (0,)}
    assert (
        any("D of BiaPy 3.7" in line for line in config_for_prediction(cfg, network)[1]) == differs
    )


def test_embeddings_have_other_offsets_and_bandwidths() -> None:
    section = {"DATA_CHANNELS": ["E_offset", "E_sigma", "E_seediness"]}
    cfg = {
        "PROBLEM": {"TYPE": "INSTANCE_SEG", "NDIM": "2D", "INSTANCE_SEG": section},
        "DATA": {"PATCH_SIZE": [32, 32, 1]},
    }
    with pytest.raises(UserError) as raised:
        config_for_prediction(cfg, {"MODEL.FEATURE_MAPS": (8, 16), "MODEL.Z_DOWN": (0,)})
    assert raised.value.code == "checkpoint.biapy_channels"


@pytest.mark.parametrize("ndim", [2, 3])
def test_rays_of_volumes_have_other_directions(ndim: int) -> None:
    section = {
        "DATA_CHANNELS": ["Db", "R"],
        "DATA_CHANNELS_EXTRA_OPTS": [{"R": {"nrays": 16, "norm": True, "mask_values": True}}],
    }
    cfg = {
        "PROBLEM": {"TYPE": "INSTANCE_SEG", "NDIM": f"{ndim}D", "INSTANCE_SEG": section},
        "DATA": {"PATCH_SIZE": [32] * ndim + [1]},
    }
    network = {"MODEL.FEATURE_MAPS": (8, 16), "MODEL.Z_DOWN": (0,)}
    if ndim == 2:
        config, _ = config_for_prediction(cfg, network)
        assert config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS == "Db+R16"
        return
    with pytest.raises(UserError) as raised:
        config_for_prediction(cfg, network)
    assert raised.value.code == "checkpoint.biapy_channels"


NETWORK = {"MODEL.FEATURE_MAPS": (8, 16), "MODEL.Z_DOWN": (0,)}


def biapy_config(channels: list[str], **sections: Any) -> dict[str, Any]:
    """Return a small configuration of BiaPy for 2D images."""
    section = {"DATA_CHANNELS": channels, "CELLPOSE": {"DIAM_MEAN": 30.0}}
    return {
        "PROBLEM": {"TYPE": "INSTANCE_SEG", "NDIM": "2D", "INSTANCE_SEG": section},
        "DATA": {"PATCH_SIZE": [32, 32, 1], **sections.get("data", {})},
        "TEST": {"POST_PROCESSING": sections.get("post", {})},
    }


def test_steps_before_the_network_that_are_missing_are_an_error() -> None:
    for enabled in (False, True):
        steps = {"PREPROCESS": {"ZOOM": {"ENABLE": enabled, "ZOOM_FACTOR": [1, 1, 2]}}}
        cfg = biapy_config(["F", "C"], data=steps)
        if not enabled:
            assert config_for_prediction(cfg, NETWORK)[1] == []
            continue
        with pytest.raises(UserError, match=r"DATA\.PREPROCESS\.ZOOM\.ENABLE: True"):
            config_for_prediction(cfg, NETWORK)


def test_steps_after_the_network_that_are_missing_have_a_notice() -> None:
    refinement = {"ENABLE": True, "OPERATIONS": ["fill_holes"], "VALUES": [[]]}
    post = {"INSTANCE_REFINEMENT": refinement, "REMOVE_CLOSE_POINTS_RADIUS": 0}
    (line,) = config_for_prediction(biapy_config(["F", "C"], post=post), NETWORK)[1]
    assert "fill_holes" in line
    (line,) = config_for_prediction(biapy_config(["F", "Gh", "Gv"]), NETWORK)[1]
    assert "objects of 30 pixels" in line


def test_options_that_version_3_7_writes_for_all_channels_are_read(tmp_path: Path) -> None:
    contents = contents_of(CASES["3.7.1-unet_2d"])
    contents["cfg"]["PROBLEM"]["INSTANCE_SEG"] = {
        "DATA_CHANNELS": ["F", "P"],
        "DATA_CHANNELS_EXTRA_OPTS": [
            {
                "F": {"erosion": [0, 0], "dilation": 0},
                "P": {
                    "type": "centroid", "skeleton_mode": "full", "dilation": [2, 2], "erosion": 0
                },
            }
        ],
    }  # fmt: skip
    config = trained_config(load_checkpoint(stored(tmp_path, contents)))
    assert config.channel_options["P"]["dilation"] == 2


def test_labels_that_version_3_7_adds_to_the_channels_are_not_predicted(tmp_path: Path) -> None:
    contents = contents_of(CASES["3.7.1-unet_2d"])
    contents["cfg"]["PROBLEM"]["INSTANCE_SEG"] = {"DATA_CHANNELS": ["F", "C", "I"]}
    config = trained_config(load_checkpoint(stored(tmp_path, contents)))
    assert config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS == "F+C"


class Executes:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("module", ["shutil", "os", "builtins"])
def test_reading_executes_nothing(module: str, tmp_path: Path) -> None:
    target = tmp_path / "executed"
    call = {
        "shutil": Executes(shutil.copy, __file__, str(target)),
        "os": Executes(os.mkdir, str(target)),
        "builtins": Executes(exec, f"open({str(target)!r}, 'w')"),
    }[module]
    contents = contents_of(CASES["3.7.1-unet_2d"])
    contents["cfg"]["SYSTEM"] = {"SEED": call}
    path = stored(tmp_path, contents)
    # A blocked module makes the file unreadable; other objects are not built.
    code = _code(lambda: load_checkpoint(path))
    assert code == ("checkpoint.unreadable" if module == "os" else None)
    assert not target.exists()


def _code(action: Any) -> str | None:
    try:
        action()
    except UserError as error:
        return error.code
    return None


def test_an_object_has_neither_content_nor_state(tmp_path: Path) -> None:
    contents = contents_of(CASES["3.7.1-unet_2d"])
    contents["cfg"]["SYSTEM"] = {"SEED": np.float64(3), "PATH": Path("a")}
    read = read_biapy(stored(tmp_path, contents))
    assert read is not None
    assert {type(value) for value in read["cfg"]["SYSTEM"].values()} == {Placeholder}


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "order", "head"])
def test_every_weight_must_be_used(change: str, tmp_path: Path) -> None:
    contents = contents_of(CASES["3.7.1-unet_2d"])
    weights, name = contents["model"], "down_path.1.block.0.block.0.weight"
    if change == "missing":
        del weights[name]
        name = "down_path.1: 13 weights in the file, 14 expected"
    elif change == "head":
        weights["heads.0.weight"] = torch.ones(2, 5, 1, 1)
        name = "head.weight"
    elif change == "extra":
        weights["down_path.1.block.2.weight"] = torch.ones(3)
        name = "down_path.1.block.2.weight"
    elif change == "shape":
        weights[name] = torch.ones(6, 4, 5, 5)
    else:
        moved = weights.pop(name)
        contents["model"] = {**weights, name: moved}
        name = "down_path.1.block.0.block.0.bias"
    with pytest.raises(UserError, match=re.escape(name)) as raised:
        load_checkpoint(stored(tmp_path, contents))
    assert raised.value.code == "checkpoint.biapy_weights"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.NORMALIZATION", "gn"),
        ("MODEL.ARCHITECTURE", "hrnet"),
        ("MODEL.CONV_LAYERS", [2, 3, 2]),
        ("MODEL.CONV_BLOCK_ORDER", "norm_act_conv"),
        ("MODEL.YX_DOWN", [1, 2]),
        ("MODEL.FEATURE_MAPS", "wide"),
        ("MODEL.FEATURE_MAPS", [4, "x", 8]),
        ("DATA.PATCH_SIZE", None),
        ("PROBLEM.TYPE", "SEMANTIC_SEG"),
    ],
)
def test_other_networks_are_refused(key: str, value: Any, tmp_path: Path) -> None:
    contents = contents_of({**CASES["3.7.1-unet_2d"]})
    section, name = key.split(".")
    contents["cfg"][section][name] = value
    with pytest.raises(UserError) as raised:
        load_checkpoint(stored(tmp_path, contents))
    assert raised.value.code == "checkpoint.biapy_network"


def test_unknown_channels_need_a_configuration(tmp_path: Path) -> None:
    contents = contents_of(CASES["3.7.1-unet_2d"])
    contents["cfg"]["PROBLEM"]["INSTANCE_SEG"] = {"DATA_CHANNELS": ["Q", "R"]}
    path = stored(tmp_path, contents)
    assert load_checkpoint(path).description["model"]["out_channels"] == 2
    with pytest.raises(UserError) as raised:
        singula.load(path)
    assert raised.value.code == "checkpoint.no_config"


def _deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    return nested


WRONG = {
    "none": None,
    "tensor": torch.zeros(3),
    "object": Path("a"),
    "list": [[{"a": 1}]],
    "nan": float("nan"),
    "large": 10**30,
    "deep": _deep(),
}


@pytest.mark.parametrize("kind", WRONG)
def test_no_value_of_the_configuration_crashes(kind: str, tmp_path: Path) -> None:
    read = read_biapy(written_by_biapy(tmp_path, "3.7.1"))
    assert read is not None
    for key in (
        "MODEL.FEATURE_MAPS",
        "MODEL.NORMALIZATION",
        "DATA.PATCH_SIZE",
        "DATA.NORMALIZATION.ZERO_MEAN_UNIT_VAR.MEAN_VAL",
        "PROBLEM.INSTANCE_SEG.DATA_CHANNELS",
        "PROBLEM.INSTANCE_SEG.DATA_CHANNELS_LOSSES",
        "PROBLEM.INSTANCE_SEG",
        "MODEL",
    ):
        *sections, name = key.split(".")
        cfg = place = {**read["cfg"]}
        for section in sections:
            place[section] = {**place[section]}
            place = place[section]
        place[name] = WRONG[kind]
        with contextlib.suppress(UserError):
            convert_biapy(tmp_path, {**read, "cfg": cfg})


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_damaged_files_are_unreadable(damage: str, tmp_path: Path) -> None:
    path = written_by_biapy(tmp_path, "3.4.6")
    path.write_bytes(path.read_bytes()[:9000] if damage == "cut" else b"weights")
    assert _code(lambda: load_checkpoint(path)) == "checkpoint.unreadable"

"""Compute maps of BiaPy's networks for the tests of Singula, in an environment with BiaPy.

    python scripts/make_biapy_fixtures.py tests/models/biapy

The weights follow from their names (tests/models/biapy/recipe.py), so only names, shapes, the
configuration and the maps are stored, for the installed version of BiaPy: ``cases_VERSION.json.gz``
and ``checkpoint_VERSION.pth.gz``, a checkpoint of a small U-Net that BiaPy's function wrote.
Further versions: ``PYTHONPATH=FOLDER``, with an unpacked package of BiaPy in the folder.
"""

from __future__ import annotations

import gzip
import importlib
import inspect
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

SMALL = {
    "MODEL.FEATURE_MAPS": [4, 6, 8],
    "MODEL.DROPOUT_VALUES": [0.1, 0.0, 0.2],
    "MODEL.Z_DOWN": [2, 2],
    "MODEL.YX_DOWN": [2, 2],
    "MODEL.CONV_LAYERS": [2, 2, 2],
    "MODEL.ISOTROPY": [True, True, True],
}
EXCITED = {**SMALL, "MODEL.FEATURE_MAPS": [16, 32, 16]}
DEEP = {
    **EXCITED,
    "MODEL.FEATURE_MAPS": [16, 24, 32, 16],
    "MODEL.DROPOUT_VALUES": [0.0, 0.1, 0.0, 0.0],
    "MODEL.Z_DOWN": [2, 2, 2],
    "MODEL.YX_DOWN": [2, 2, 2],
    "MODEL.CONV_LAYERS": [2, 2, 2, 2],
    "MODEL.ISOTROPY": [True, True, True, True],
}
TRANSFORMER = {
    "MODEL.VIT_TOKEN_SIZE": 4,
    "MODEL.VIT_EMBED_DIM": 12,
    "MODEL.VIT_NUM_LAYERS": 4,
    "MODEL.VIT_NUM_HEADS": 3,
    "MODEL.VIT_MLP_RATIO": 2.0,
    "MODEL.UNETR_VIT_NUM_FILTERS": 4,
    "MODEL.UNETR_VIT_HIDD_MULT": 2,
    "MODEL.UNETR_DEC_ACTIVATION": "relu",
}
BATCH = {"MODEL.NORMALIZATION": "bn", "MODEL.BATCH_NORMALIZATION": True}
INSTANCE = {"MODEL.NORMALIZATION": "in"}
NONE = {"MODEL.NORMALIZATION": "none", "MODEL.BATCH_NORMALIZATION": False}
CLASSES = {"MODEL.N_CLASSES": 3, "DATA.N_CLASSES": 3}
PLANE: dict[str, Any] = {"PROBLEM.NDIM": "2D", "DATA.PATCH_SIZE": (16, 16, 1)}
VOLUME: dict[str, Any] = {"PROBLEM.NDIM": "3D", "DATA.PATCH_SIZE": (4, 8, 8, 1)}
CUBE: dict[str, Any] = {"PROBLEM.NDIM": "3D", "DATA.PATCH_SIZE": (8, 8, 8, 1)}
DEEPEST = {**CUBE, "DATA.PATCH_SIZE": (2, 16, 16, 1), "MODEL.Z_DOWN": [2, 1, 1, 1]}
LINEAR = {"MODEL.UPSAMPLE_LAYER": "upsampling"}
WIDE = {"MODEL.LARGER_IO": True}
FLAT = {"MODEL.ISOTROPY": [False, True, True], "MODEL.Z_DOWN": [1, 2]}


def network(name: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a case."""
    keys: dict[str, Any] = {"MODEL.ARCHITECTURE": name}
    for part in parts:
        keys |= part
    return keys


CASES: dict[str, dict[str, Any]] = {
    "unet_2d": network("unet", SMALL, PLANE, BATCH),
    "unet_3d": network("unet", SMALL, VOLUME, BATCH),
    "unet_linear": network("unet", SMALL, PLANE, NONE, LINEAR, {"MODEL.ACTIVATION": "relu"}),
    "unet_classes": network("unet", SMALL, PLANE, BATCH, CLASSES),
    "resunet_2d": network("resunet", SMALL, PLANE, BATCH),
    "resunet_3d": network("resunet", SMALL, VOLUME, BATCH, LINEAR),
    "attention_unet_2d": network("attention_unet", SMALL, PLANE, BATCH),
    "attention_unet_3d": network("attention_unet", SMALL, VOLUME, BATCH),
    "seunet_2d": network("seunet", EXCITED, PLANE, BATCH),
    "seunet_3d": network("seunet", EXCITED, CUBE, BATCH),
    "multiresunet_2d": network("multiresunet", PLANE),
    "resunet++_2d": network("resunet++", DEEP, PLANE, BATCH),
    "resunet++_3d": network("resunet++", DEEP, CUBE, BATCH),
    "unetr_2d": network("unetr", TRANSFORMER, PLANE, BATCH),
    "unetr_3d": network("unetr", TRANSFORMER, CUBE, BATCH),
}
NEWER: dict[str, dict[str, Any]] = {
    "unet_2d_instance": network("unet", SMALL, PLANE, INSTANCE),
    "unet_3d_flat": network("unet", SMALL, VOLUME, INSTANCE, FLAT, WIDE),
    "resunet_2d_instance": network("resunet", SMALL, PLANE, INSTANCE, WIDE),
    "attention_unet_2d_instance": network("attention_unet", SMALL, PLANE, INSTANCE, WIDE),
    "seunet_2d_instance": network("seunet", EXCITED, PLANE, INSTANCE),
    "resunet++_2d_instance": network("resunet++", DEEP, PLANE, INSTANCE, WIDE),
    "multiresunet_3d": network("multiresunet", DEEPEST),
}
"""Cases that only the newest version computes."""


def configuration(keys: dict[str, Any]) -> Any:
    """Return BiaPy's configuration with some keys, without those that the version lacks."""
    from biapy.config.config import Config

    with tempfile.TemporaryDirectory() as folder:
        cfg = Config(folder, "case").get_cfg_defaults()
    wanted = {"PROBLEM.TYPE": "INSTANCE_SEG", "DATA.NORMALIZATION.TYPE": "div", **keys}
    for key, value in wanted.items():
        *sections, name = key.split(".")
        place = cfg
        for section in sections:
            place = place.get(section, {})
        if name in place:
            place[name] = value
    return cfg


def build(cfg: Any) -> torch.nn.Module:
    """Return the network of a configuration, with BiaPy's own function."""
    from biapy.models import build_model

    names = inspect.signature(build_model).parameters
    classes = cfg.DATA.get("N_CLASSES", cfg.MODEL.get("N_CLASSES", 2))
    heads, kinds = ([2, classes], ["BC", "class"]) if classes > 2 else ([2], ["BC"])
    activations = ["ce_sigmoid", "ce_sigmoid", *["ce_softmax"] * (classes > 2)]
    offered = {
        "output_channels": heads,
        "output_channel_info": kinds,
        "head_activations": activations,
        "activations": [activations[:2], activations[2:]],
        "job_identifier": "case",
    }
    result = build_model(
        cfg,
        **{name: offered[name] for name in names if name in offered},
        device=torch.device("cpu"),
    )
    return result[0] if isinstance(result, tuple) else result


def maps(result: Any) -> np.ndarray:
    """Return the logits of all heads, that of the classes last."""
    if isinstance(result, dict):
        result = [result["pred"], result["class"]] if "class" in result else [result["pred"]]
    parts = result if isinstance(result, list | tuple) else [result]
    return torch.cat(list(parts), dim=1).numpy()


def compute(keys: dict[str, Any], recipe: Any) -> tuple[dict[str, Any], torch.nn.Module, Any]:
    """Return the record of a case, its network and its configuration."""
    cfg = configuration(keys)
    net = build(cfg).eval()
    state = net.state_dict()
    shapes = {name: list(value.shape) for name, value in state.items()}
    arrays = recipe.weights(shapes)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    *sides, channels = cfg.DATA.PATCH_SIZE
    image = torch.from_numpy(recipe.image((1, channels, *sides)))
    with torch.no_grad():
        result = maps(net(image))
    record = {
        "keys": {key: value for key, value in keys.items() if has(cfg, key)},
        "shapes": shapes,
        "shape": list(result.shape),
        "maps": [float(f"{value:.6g}") for value in result.ravel().tolist()],
    }
    return record, net, cfg


def has(cfg: Any, key: str) -> bool:
    """Return True if the version has a key."""
    for name in key.split("."):
        if name not in cfg:
            return False
        cfg = cfg[name]
    return True


def save(folder: Path, release: str, net: torch.nn.Module, cfg: Any) -> None:
    """Write a checkpoint with BiaPy's own function, and compress it."""
    from biapy.utils import misc

    parameters = inspect.signature(misc.save_model).parameters
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with tempfile.TemporaryDirectory() as work:
        cfg.PATHS.CHECKPOINT = work
        offered = {
            "cfg": cfg,
            "biapy_version": release,
            "jobname": "case",
            "epoch": 3,
            "model": net,
            "model_without_ddp": net,
            "optimizer": [optimizer] if "output_dir" in parameters else optimizer,
            "loss_scaler": None,
            "output_dir": work,
        }
        misc.save_model(**{name: offered[name] for name in parameters if name in offered})
        written = next(Path(work).glob("*.pth"))
        target = folder / f"checkpoint_{release}.pth.gz"
        target.write_bytes(gzip.compress(written.read_bytes(), 9, mtime=0))


def main() -> None:
    """Compute all cases of the installed version."""
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder))
    recipe = importlib.import_module("recipe")
    torch.manual_seed(0)
    release = version("biapy")
    newest = release.startswith("3.7")
    records = {}
    for name, keys in {**CASES, **(NEWER if newest else {})}.items():
        try:
            records[name], net, cfg = compute(keys, recipe)
        except Exception as error:
            print(f"{release} {name}: {type(error).__name__}: {error}")
            continue
        largest = max(map(abs, records[name]["maps"]))
        print(f"{release} {name}: {records[name]['shape']}, at most {largest:.3g}")
        if name == "unet_2d":
            save(folder, release, net, cfg)
    text = json.dumps(records, separators=(",", ":")).encode()
    (folder / f"cases_{release}.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))


if __name__ == "__main__":
    main()

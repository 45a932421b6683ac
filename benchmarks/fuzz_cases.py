"""Valid inputs of Singula, damaged copies of them, and calls that read the copies.

A case is a folder: a copy of a valid sample, in which a generator of random numbers changed one or
more files. `fuzz.py` runs the calls, counts how they end, and keeps what failed.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import yaml
from hypothesis import strategies as st
from microscope_files import write_czi, write_lif, write_nd2, write_oib, write_oif

from singula.config.keys import key_table
from singula.io.formats.table import FORMATS

SHAPE = (20, 24)
VALUES_AT_ONCE, POOLS = 300, 10  # of values that are drawn together
OUT = Path("../out")  # of a call, relative to the folder of its case
NUMBERS = [0, 1, 2, 3, 4, 7, 8, 16, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31]
NUMBERS += [2**32 - 1, 2**48, 2**63 - 1, 2**63, 2**64 - 1]
EXTREMES: list[Any] = [-1, 0, 1, 2**31, 2**63, 2**64, 10**30, 10**400, -(2**63), 0.0, -0.5, 0.5]
EXTREMES += [1e-300, 1e300, float("nan"), float("inf"), None, True, False, "", " ", "None", "\0"]
EXTREMES += ["a\0b", "x" * 300, "../..", "/", "~", "~nosuchuser", "JOB_DIR", "/dev/zero", "é", "\n"]
EXTREMES += [[], [0], [0, 0], [1, 1, 1], [1.5], [[1, 2], [3, 4]], ["a", "b"], [None], {}, {"a": 1}]
# Values that do not make a run long; used where a case trains a network.
CHEAP: list[Any] = [
    -1,
    0,
    1,
    2,
    3,
    0.0,
    0.1,
    0.5,
    1.0,
    -0.5,
    1e-300,
    1e300,
    True,
    False,
    "",
    "auto",
]
CHEAP += ["nothing", "a\0b", "~nosuchuser", None, [], [0], [0, 0], [1, 1], [1, 2, 3], [0.5, 0.5]]
TOKENS = [
    "!!int ''",
    "!!float x",
    "!!timestamp 99-99",
    "!!binary '*'",
    "!!set {a, b}",
    "!!omap [a]",
]
TOKENS += [
    "&a ",
    "*a",
    "<<: *a",
    "<<: [1]",
    "!!python/object/apply:os.system [ls]",
    "!x ",
    "? [a]\n: b",
]
TOKENS += [
    "---\n",
    "...\n",
    "%YAML 9.9\n",
    "\t",
    "\0",
    "\ufeff",
    "\u2028",
    "'",
    '"',
    "{",
    "}",
    "[",
    "]",
]
TOKENS += [
    ": ",
    "#",
    "|",
    ">",
    "- ",
    "\r",
    "0x",
    "1e999",
    "9" * 5000,
    "[" * 200,
    "\U0001f52c",
    "=",
    "~",
]
CONFIGURATION: dict[str, Any] = {
    "PROBLEM": {"TYPE": "INSTANCE_SEG", "NDIM": "2D", "INSTANCE_SEG": {"DATA_CHANNELS": "BC"}},
    "DATA": {
        "PATCH_SIZE": "(16, 16, 1)",
        "NORMALIZATION": {"TYPE": "scale_range"},
        "TRAIN": {"PATH": "train/x", "GT_PATH": "train/y"},
        "VAL": {"PATH": "val/x", "GT_PATH": "val/y", "FROM_TRAIN": False},
        "TEST": {"PATH": "test/x", "GT_PATH": "test/y", "LOAD_GT": True, "PADDING": "(4, 4)"},
    },
    "MODEL": {"FEATURE_MAPS": [2, 4]},
    "SYSTEM": {"NUM_WORKERS": 0, "NUM_CPUS": 1},
    "TRAIN": {"ENABLE": True, "EPOCHS": 1, "BATCH_SIZE": 2, "LR": "1.E-3", "PRECISION": "32"},
    "TEST": {"ENABLE": True},
}


@dataclass(frozen=True)
class Call:
    """A function of Singula that reads a damaged input.

    Parameters
    ----------
    name : str
    function : callable
        Called in the folder of the case, with a generator of random numbers.
    weight : int
        Frequency; small for slow functions.
    cheap : bool
        It trains: configurations must not make that long.
    """

    name: str
    function: Callable[[random.Random], object]
    weight: int = 10
    cheap: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Parameters
    ----------
    name : str
        Row of the table.
    samples : tuple of str
        Folders of valid inputs.
    files : tuple of str
        Patterns of the files that are damaged, relative to the sample.
    calls : tuple of Call
    damage : callable
        Changes a case; takes its files, a generator of random numbers and the call.
    weight : int
    """

    name: str
    samples: tuple[str, ...]
    files: tuple[str, ...]
    calls: tuple[Call, ...]
    damage: Callable[[list[Path], random.Random, Call], None]
    weight: int = 1


# Samples


def write_samples(folder: Path) -> None:
    """Write every valid input below a folder."""
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.uint16)
    for number in range(6):
        y, x = 10 * (number // 3) + 1, 8 * (number % 3) + 1
        labels[y : y + 7, x : x + 6] = number + 1
    for name, array in (("labels", labels), ("volume", np.stack([labels] * 4))):
        for suffix, write in image_writers():
            made = folder / f"{name} {write.__name__} {suffix}"
            made.mkdir(parents=True)
            write(made / f"image{suffix}", array)
    _write_dataset(folder / "configuration", rng)
    _write_run(folder / "run", folder / "configuration")


def image_writers() -> Iterator[tuple[str, Callable[[Path, np.ndarray], object]]]:
    """Pair each suffix that Singula reads with each way to write it.

    Raises
    ------
    SystemExit
        A format without a sample.
    """
    writers = {
        "TIFF": (imagej, ome_tiff, tiled_tiff, big_tiff, paged_tiff),
        "PNG": (png, palette_png, color_png),
        "JPEG": (jpeg,),
        "NPY": (npy, float_npy),
        "Zarr": (zarr_2, zarr_3, sharded_zarr, ome_zarr_4, ome_zarr_5),
        "HDF5": (hdf5, chunked_hdf5, labeled_hdf5),
        "N5": (n5, multiscale_n5),
        "NIfTI": (nifti,),
        "whole slide": (slide,),
        "CZI": (czi,),
        "LIF": (lif,),
        "ND2": (nd2,),
        "OIF": (oif,),
        "OIB": (oib,),
    }
    for suffix, kind in FORMATS.items():
        if kind.name not in writers:
            raise SystemExit(f"{__file__}: no sample for {kind.name}; add one to image_writers")
        for write in writers[kind.name]:
            yield suffix, write


def imagej(path: Path, array: np.ndarray) -> None:
    from singula.io.write import write_tiff

    axes = "ZYX"[-array.ndim :]
    write_tiff(path, array, axes, (2.0, 0.5, 0.5)[-array.ndim :], "µm", compress=False)


def ome_tiff(path: Path, array: np.ndarray) -> None:
    import tifffile

    tifffile.imwrite(path, array, ome=True, metadata={"axes": "ZYX"[-array.ndim :]})


def tiled_tiff(path: Path, array: np.ndarray) -> None:
    import tifffile

    tifffile.imwrite(path, array, tile=(16, 16), compression="zlib", predictor=True)


def big_tiff(path: Path, array: np.ndarray) -> None:
    import tifffile

    tifffile.imwrite(path, array, bigtiff=True, compression="lzw", byteorder=">")


def paged_tiff(path: Path, array: np.ndarray) -> None:
    import PIL.Image

    pages = [PIL.Image.fromarray(page) for page in array.reshape(-1, *SHAPE)]
    pages[0].save(path, format="TIFF", save_all=True, append_images=pages[1:])


def _plane(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 2 else array[0]


def png(path: Path, array: np.ndarray) -> None:
    import PIL.Image

    PIL.Image.fromarray(_plane(array)).save(path, format="PNG")


def palette_png(path: Path, array: np.ndarray) -> None:
    import PIL.Image

    image = PIL.Image.fromarray(_plane(array).astype(np.uint8), "P")
    image.putpalette(list(range(30)))
    image.save(path, format="PNG")


def color_png(path: Path, array: np.ndarray) -> None:
    import PIL.Image

    image = PIL.Image.fromarray(np.stack([_plane(array).astype(np.uint8)] * 4, -1))
    exif = PIL.Image.Exif()
    exif[274] = 6
    image.save(path, format="PNG", exif=exif)


def jpeg(path: Path, array: np.ndarray) -> None:
    import PIL.Image

    exif = PIL.Image.Exif()
    exif[274] = 3
    PIL.Image.fromarray(_plane(array).astype(np.uint8)).save(path, format="JPEG", exif=exif)


def npy(path: Path, array: np.ndarray) -> None:
    np.save(path, array)


def float_npy(path: Path, array: np.ndarray) -> None:
    np.save(path, np.asfortranarray(array.astype(">f4")))


def _zarr(path: Path, array: np.ndarray, **options: Any) -> None:
    import zarr

    zarr.create_array(path, data=array, **options)


def zarr_2(path: Path, array: np.ndarray) -> None:
    _zarr(path, array, zarr_format=2, chunks=(8,) * array.ndim)


def zarr_3(path: Path, array: np.ndarray) -> None:
    _zarr(path, array, chunks=(8,) * array.ndim)


def sharded_zarr(path: Path, array: np.ndarray) -> None:
    _zarr(path, array, chunks=(4,) * array.ndim, shards=(8,) * array.ndim)


def _ome_zarr(path: Path, array: np.ndarray, version: str) -> None:
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    names = "zyx"[-array.ndim :]
    for number in range(2):
        group.create_array(str(number), data=array[..., :: 2**number, :: 2**number])
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in names]
    levels = [
        {
            "path": str(number),
            "coordinateTransformations": [
                {"type": "scale", "scale": [0.5 * 2**number] * array.ndim}
            ],
        }
        for number in range(2)
    ]
    entry = {"axes": axes, "datasets": levels}
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": [entry]}
    else:
        group.attrs["multiscales"] = [{"version": version, **entry}]


def ome_zarr_4(path: Path, array: np.ndarray) -> None:
    _ome_zarr(path, array, "0.4")


def ome_zarr_5(path: Path, array: np.ndarray) -> None:
    _ome_zarr(path, array, "0.5")


def _hdf5(path: Path, array: np.ndarray, **options: Any) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=array, **options)
        data.attrs["element_size_um"] = [2.0, 0.5, 0.5][-array.ndim :]


def hdf5(path: Path, array: np.ndarray) -> None:
    _hdf5(path, array)


def chunked_hdf5(path: Path, array: np.ndarray) -> None:
    _hdf5(path, array, chunks=(4,) * array.ndim, compression="gzip", shuffle=True)


def labeled_hdf5(path: Path, array: np.ndarray) -> None:
    import h5py

    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("raw", data=array)
        file.create_dataset("label", data=array, fletcher32=True)


def _n5(path: Path, array: np.ndarray, compression: str, attributes: dict[str, Any]) -> None:
    import tensorstore

    metadata = {
        "compression": {"type": compression},
        "dataType": array.dtype.name,
        "dimensions": array.shape[::-1],
        "blockSize": (8,) * array.ndim,
    }
    place = {"driver": "file", "path": str(path)}
    spec = {"driver": "n5", "kvstore": place, "metadata": metadata, "create": True}
    tensorstore.open(spec).result().write(array.T).result()
    file = path / "attributes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **attributes}))


def n5(path: Path, array: np.ndarray) -> None:
    _n5(path, array, "raw", {"resolution": [0.5] * array.ndim, "units": ["um"] * array.ndim})


def multiscale_n5(path: Path, array: np.ndarray) -> None:
    for number in range(2):
        level = array[..., :: 2**number, :: 2**number]
        factors = [1, 1, 1][: array.ndim] if not number else [2, 2, 1][: array.ndim]
        _n5(path / f"s{number}", level, "gzip", {"downsamplingFactors": factors})
    scales = [[1] * array.ndim, [2, 2, 1][: array.ndim]]
    (path / "attributes.json").write_text(json.dumps({"n5": "2.0.0", "scales": scales}))


def nifti(path: Path, array: np.ndarray) -> None:
    import nibabel

    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    # The compressed form must be the same in every run: gzip would store the time.
    data = nibabel.Nifti1Image(array.T, affine).to_bytes()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def slide(path: Path, array: np.ndarray) -> None:
    import tifffile

    color = np.stack([_plane(array).astype(np.uint8)] * 3, -1)
    text = "Aperio Image Library v12.0.15 \r\n|AppMag = 40|MPP = 0.25"
    tifffile.imwrite(path, color, tile=(16, 16), photometric="rgb", description=text, metadata=None)


def czi(path: Path, array: np.ndarray) -> None:
    write_czi(path, array, "ZYX"[-array.ndim :], ["DAPI"], scale_x=1e-7, scale_y=1e-7)


def lif(path: Path, array: np.ndarray) -> None:
    write_lif(path, {"cells": (array, "ZYX"[-array.ndim :])}, 1e-7)


def nd2(path: Path, array: np.ndarray) -> None:
    write_nd2(path, array[..., None, :, :], "ZCYX"[-array.ndim - 1 :], ["DAPI"], 0.1, 0.5)


def oif(path: Path, array: np.ndarray) -> None:
    write_oif(path, array[None], "CZYX"[: array.ndim - 1] + "YX", ["DAPI"], 0.1, 0.5)


def oib(path: Path, array: np.ndarray) -> None:
    write_oib(path, array[None], "CZYX"[: array.ndim - 1] + "YX", ["DAPI"], 0.1, 0.5)


def _write_dataset(folder: Path, rng: np.random.Generator) -> None:
    from singula.synthetic.fluorescence import make_dataset

    make_dataset(folder, 2, rng, n_train=2, n_val=1, n_test=2, shape=(32, 32))
    (folder / "job.yaml").write_text(yaml.safe_dump(CONFIGURATION))


def _write_run(folder: Path, dataset: Path) -> None:
    """Write a finished run with its data set, tuned thresholds and records of the interface."""
    import os

    from singula.pipeline.run import Job, run
    from singula.tuning import tune

    shutil.copytree(dataset, folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        run(Job(Path("job.yaml"), Path("results"), gpu="cpu"))
        made = Path("results/job/results/job_1")
        tune(made, device="cpu")
    finally:
        os.chdir(before)
    record = {"pid": 1, "created": 5.0, "began": 5.0, "command": [], "config": "job.yaml",
              "result_dir": "results", "name": "job", "run_id": 1, "gpu": None,
              "resume": False, "stopped": False}  # fmt: skip
    made = folder / made
    (made / "gui_run.json").write_text(json.dumps(record))
    search = {"pid": 1, "created": 5.0, "began": 5.0, "metric": "pq", "iou": 0.5, "stopped": False}
    (made / "tuning" / "gui_search.json").write_text(json.dumps(search))


# Damage


@cache
def _drawn(seed: int) -> list[Any]:
    """Draw random trees of plain values; the same for a seed."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-4, 40),
        st.floats(),
        st.text(max_size=12),
        st.sampled_from(EXTREMES),
    )
    trees = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
        ),
        max_leaves=8,
    )
    found: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=VALUES_AT_ONCE,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(trees)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def draw_values() -> None:
    """Draw all values that `any_value` returns; processes that fork later share them."""
    for seed in range(POOLS):
        _drawn(seed)


def any_value(rng: random.Random) -> Any:
    """Return an extreme value or a random tree."""
    return rng.choice(EXTREMES) if rng.random() < 0.4 else rng.choice(_drawn(rng.randrange(POOLS)))


def change_tree(tree: Any, rng: random.Random) -> Any:
    """Return a tree of plain values in which one value is replaced, removed, added or doubled."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree))
        if rng.random() < 0.15:
            return {k: v for k, v in tree.items() if k != key}
        if rng.random() < 0.05:
            return {**tree, str(any_value(rng)): any_value(rng)}
        return {**tree, key: change_tree(tree[key], rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.7:
        place = rng.randrange(len(tree))
        replaced = rng.choice(
            [
                [],
                [tree[place]] * 2,
                [change_tree(tree[place], rng)],
                [change_tree(tree[place], rng)],
            ]
        )
        return [*tree[:place], *replaced, *tree[place + 1 :]]
    if isinstance(tree, int | float) and not isinstance(tree, bool) and rng.random() < 0.4:
        return rng.choice([-tree, tree + 1, tree * 1000, float(tree), str(tree), tree / 3])
    return any_value(rng)


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to four changes, half of them near the beginning."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        data = _change_once(bytearray(data), rng)
    return data


def _change_once(data: bytearray, rng: random.Random) -> bytes:
    size = len(data)
    start = rng.randrange(min(size, rng.choice([64, 512, size])) or 1) if size else 0
    length = rng.choice([1, 2, 4, 8, 16, 200])
    match rng.randrange(9):
        case 0 | 1 if size:
            data[start] ^= 1 << rng.randrange(8)
        case 2 if size:
            data[start] = rng.choice([0, 1, 0x20, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        case 3 | 4:
            order, width = rng.choice("<>"), rng.choice("BHIQ")
            number = rng.choice(NUMBERS) % 2 ** (8 * struct.calcsize(width))
            packed = struct.pack(order + width, number)
            data[start : start + len(packed)] = packed
        case 5:
            del data[start:]
        case 6:
            del data[start : start + length]
        case 7:
            data[start:start] = rng.choice([rng.randbytes(length), bytes(length)])
        case _:
            other = rng.randrange(size) if size else 0
            data[start : start + length] = data[other : other + length]
    return bytes(data)


def change_text(text: str, rng: random.Random) -> str:
    """Return text with tokens inserted, lines doubled, removed or swapped, or words replaced."""
    lines = text.splitlines(keepends=True) or [""]
    for _ in range(rng.choice([1, 1, 2, 5])):
        place = rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                at = rng.randrange(len(lines[place]) + 1)
                lines[place] = lines[place][:at] + rng.choice(TOKENS) + lines[place][at:]
            case 1:
                lines.insert(place, lines[place])
            case 2 if len(lines) > 1:
                del lines[place]
            case 3:
                other = rng.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case _:
                name, colon, _ = lines[place].partition(":")
                lines[place] = (
                    f"{name}{colon or ','} {rng.choice([*TOKENS, *map(str, EXTREMES)])}\n"
                )
    return "".join(lines)


def damage_files(files: list[Path], rng: random.Random, call: Call) -> None:
    """Change one or two files as their format suggests, or put something else in their place."""
    for path in rng.sample(files, min(len(files), rng.choice([1, 1, 1, 2]))):
        if rng.random() < 0.03:
            _replace(path, rng)
        elif path.suffix == ".pth" and rng.random() < 0.5:
            _change_checkpoint(path, rng)
        elif path.suffix == ".png" and rng.random() < 0.5:
            path.write_bytes(_change_png(path.read_bytes(), rng))
        elif path.suffix == ".gz" and rng.random() < 0.7:
            data = change_bytes(gzip.decompress(path.read_bytes()), rng)
            path.write_bytes(gzip.compress(data, mtime=0))
        elif path.suffix == ".json" or path.name in (".zarray", ".zattrs", ".zgroup"):
            _change_json(path, rng)
        elif path.suffix in (".jsonl", ".csv", ".yaml"):
            _change_lines(path, rng)
        else:
            path.write_bytes(change_bytes(path.read_bytes(), rng))


def _replace(path: Path, rng: random.Random) -> None:
    path.unlink()
    match rng.randrange(5):
        case 0:
            path.mkdir()
        case 1:
            path.touch()
        case 2:
            path.symlink_to(rng.choice([path.name, "nowhere", "/dev/zero"]))
        case 3:
            path.write_bytes(rng.randbytes(500))
        case _:
            pass


def _change_json(path: Path, rng: random.Random) -> None:
    text = path.read_text()
    if rng.random() < 0.75:
        text = json.dumps(change_tree(json.loads(text), rng))
    else:
        text = change_bytes(text.encode(), rng).decode("latin-1")
    path.write_text(text, errors="surrogatepass")


def _change_lines(path: Path, rng: random.Random) -> None:
    lines = path.read_text().splitlines()
    if path.suffix == ".jsonl" and lines and rng.random() < 0.6:
        place = rng.randrange(len(lines))
        lines[place] = json.dumps(change_tree(json.loads(lines[place]), rng))
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix == ".csv" and lines and rng.random() < 0.6:
        place = rng.randrange(len(lines))
        cells = lines[place].split(",")
        cells[rng.randrange(len(cells))] = str(any_value(rng))
        lines[place] = ",".join(cells)
        path.write_text("\n".join(lines) + "\n", errors="replace")
    elif rng.random() < 0.5:
        path.write_text(change_text("\n".join(lines), rng), errors="replace")
    else:
        path.write_bytes(change_bytes(path.read_bytes(), rng))


def _change_png(data: bytes, rng: random.Random) -> bytes:
    """Change the contents of a chunk and correct its checksum."""
    chunks, start = [], 8
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        chunks.append((kind, data[start + 8 : start + 8 + size]))
        start += 12 + size
    place = rng.randrange(len(chunks))
    kind, body = chunks[place]
    if kind == b"IDAT" and rng.random() < 0.7:
        body = zlib.compress(change_bytes(zlib.decompress(body), rng))
    else:
        body = change_bytes(body, rng)
    chunks[place] = (kind, body)
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def _change_checkpoint(path: Path, rng: random.Random) -> None:
    """Change a field or a weight, and write the checkpoint with its digest again."""
    import torch

    from singula.training.checkpoint import write_checkpoint

    contents = torch.load(path, weights_only=True)
    if rng.random() < 0.7:
        contents = change_tree(contents, rng)
    else:
        weights = contents["state_dict"]
        name = rng.choice([name for name, value in weights.items() if value.ndim])
        changes: list[Callable[[Any], Any]] = [
            lambda value: value.double(),
            lambda value: value.to(torch.int8),
            lambda value: value.to(torch.complex64),
            lambda value: value[:1],
            lambda value: value * float("nan"),
            lambda value: value.to_sparse(),
            lambda value: value.tolist(),
            lambda value: value.to("meta"),
        ]
        weights[name] = rng.choice(changes)(weights[name])
    with suppress(Exception):  # what torch or Singula does not write stays as it was
        write_checkpoint(contents, path)


def damage_configuration(files: list[Path], rng: random.Random, call: Call) -> None:
    """Set some keys to other values; allow only cheap values if the call trains a network."""
    tree = json.loads(json.dumps(CONFIGURATION))
    keys = list(key_table().values())
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        key = rng.choice(keys)
        plausible = [*key.choices, key.default, key.default, rng.choice(CHEAP)]
        values: list[Any] = plausible if rng.random() < 0.6 else CHEAP if call.cheap else EXTREMES
        value = rng.choice(values)
        if not call.cheap and rng.random() < 0.15:
            value = any_value(rng)
        elif isinstance(key.default, tuple) and rng.random() < 0.5:
            value = [rng.choice([*values, *key.default]) for _ in range(rng.randrange(5))]
        branch = tree
        *sections, last = key.name.split(".")
        for section in sections:
            branch = branch.setdefault(section, {})
            if not isinstance(branch, dict):
                break
        else:
            branch[last] = list(value) if isinstance(value, tuple) else value
    if not call.cheap and rng.random() < 0.2:
        tree = change_tree(tree, rng)
    text = yaml.safe_dump(tree, allow_unicode=rng.random() < 0.5)
    files[0].write_text(text, encoding="utf-8", errors="replace")


def damage_text(files: list[Path], rng: random.Random, call: Call) -> None:
    """Change the text of a configuration."""
    text = files[0].read_text()
    changed = change_text(text, rng).encode(errors="replace")
    files[0].write_bytes(changed if rng.random() < 0.7 else change_bytes(changed, rng))


# Calls; each runs in the folder of its case


def _image() -> Path:
    return next(iter(sorted(Path().glob("image*"))), Path("missing.tif"))


def _headers(rng: random.Random) -> None:
    from singula.io.read import list_series, read_header

    list_series(_image())
    read_header(_image())


def _read_image(rng: random.Random) -> None:
    from singula.io.read import read_image

    read_image(_image(), rng.choice([2, 3]), rng.choice([None, 1, 3]))


def _read_labels(rng: random.Random) -> None:
    from singula.io.read import read_labels

    read_labels(_image(), rng.choice([2, 3]), rng.random() < 0.2)


def _open_lazily(rng: random.Random) -> None:
    from singula.io.lazy import open_image, open_labels

    opened = rng.choice([open_image, open_labels])(_image(), rng.choice([2, 3]))
    opened.read([slice(0, 8)] * opened.ndim)
    opened.read([slice(max(0, size - 8), size) for size in opened.spatial_shape])


def _export(rng: random.Random) -> None:
    import singula

    singula.export(_image(), rng.choice(["csv", "imagej", "coco", "ome-zarr", "qupath"]), OUT)


def _check_folder(rng: random.Random) -> None:
    from singula.commands.check import check_data

    _as_dataset()
    check_data(OUT / "data", None, html=OUT / "page.html", fix=OUT / "fixed")


def _init_folder(rng: random.Random) -> None:
    from singula.autoconfig.report import init_dataset

    _as_dataset()
    init_dataset(OUT / "data", OUT / "config.yaml", minutes=30)


def _as_dataset() -> None:
    """Put the image where `check` and `init` look for images and for labels."""
    for part in ("train/x", "train/y"):
        folder = OUT / "data" / part
        folder.mkdir(parents=True)
        (folder / _image().name).symlink_to(_image().resolve())


@cache
def _model(path: Path) -> Any:
    import singula

    return singula.load(path, device="cpu")


def _predict(rng: random.Random) -> None:
    from singula.inference import gather_images, plan_predictions, predict_files

    model = _model(next(Path("../samples").resolve().glob("run/results/job/checkpoints/*best.pth")))
    tasks = plan_predictions(model, gather_images([_image()]), OUT)
    predict_files(model, tasks, OUT, augment=None, tables=True, resume=False)


def _load_configuration(rng: random.Random) -> None:
    from singula.config import load_config

    overrides = []
    if rng.random() < 0.2:
        key = rng.choice(list(key_table()))
        overrides = [f"{key}={rng.choice([*TOKENS, *map(str, EXTREMES)])}"]
    load_config(Path("job.yaml"), overrides)


def _reload_configuration(rng: random.Random) -> None:
    """Write the configuration as Singula does; reading that must give the same values."""
    from singula.config import load_config

    config = load_config(Path("job.yaml"))
    written = OUT / "again.yaml"
    written.write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(written).dotted() == config.dotted(), "other values after writing"


def _check_configuration(rng: random.Random) -> None:
    from singula.commands.check import check_data

    check_data(None, Path("job.yaml"), timed=False)


def _edit_configuration(rng: random.Random) -> None:
    from singula.gui.form import Form

    form = Form.of_file(Path("job.yaml"))
    form.examine()
    form.yaml()


def _run(rng: random.Random) -> None:
    from singula.pipeline.run import Job, run

    run(Job(Path("job.yaml"), OUT, gpu="cpu"))


def _resume(rng: random.Random) -> None:
    from singula.pipeline.run import Job, run

    run(Job(Path("job.yaml"), Path("results"), gpu="cpu", resume=True))


def _run_folder() -> Path:
    return Path("results/job/results/job_1")


def _load_and_predict(rng: random.Random) -> None:
    import singula

    model = singula.load(_run_folder(), device="cpu")
    model.predict(np.arange(400, dtype=np.uint8).reshape(20, 20))


def _open_run(rng: random.Random) -> None:
    from singula.runs.run import open_run

    files = open_run(_run_folder())
    for stage in files.stages:
        files.instance_files(stage)


def _export_run(rng: random.Random) -> None:
    import singula

    singula.export(_run_folder(), rng.choice(["csv", "imagej", "coco"]), OUT)


def _report(rng: random.Random) -> None:
    from singula.report.build import build_report

    build_report(_run_folder())


def _view(rng: random.Random) -> None:
    from singula.gui.guard import Guard
    from singula.gui.results import measurements, open_results
    from singula.gui.runs import find_runs, finished_runs, state_of, view_run
    from singula.gui.search import view_search
    from singula.io.run_folder import ResultsTree

    guard = Guard.of([Path()])
    find_runs(guard)
    finished_runs(guard)
    folder = _run_folder().resolve()
    state_of(folder)
    view_run(folder)
    view_search(ResultsTree.of_run(folder))
    results = open_results(folder, guard)
    for stage in results.run.stages:
        for name in results.run.image_names(stage):
            instances = results.instances(name, stage)
            results.scene(name, stage, instances.labels)
            measurements(instances)


def _tune(rng: random.Random) -> None:
    from singula.tuning import tune

    tune(_run_folder(), device="cpu")


IMAGE_CALLS = (
    Call("header", _headers),
    Call("image", _read_image, 20),
    Call("labels", _read_labels, 20),
    Call("boxes", _open_lazily, 20),
    Call("export", _export, 6),
    Call("predict", _predict, 6),
    Call("check", _check_folder, 3),
    Call("init", _init_folder, 3),
)
RUN_CALLS = (
    Call("open", _open_run, 20),
    Call("export", _export_run, 10),
    Call("interface", _view, 10),
    Call("predict", _load_and_predict, 4),
    Call("report", _report, 1),
    Call("run --resume", _resume, 2),
    Call("tune", _tune, 1),
)
CHECKPOINT_CALLS = (
    Call("predict", _load_and_predict, 20),
    Call("run --resume", _resume, 2),
    Call("tune", _tune, 1),
)
CONFIGURATION_CALLS = (
    Call("load", _load_configuration, 10),
    Call("write and load", _reload_configuration, 10),
    Call("edit", _edit_configuration, 5),
    Call("check", _check_configuration, 5),
    Call("run", _run, 2, cheap=True),
)
RUN_FILES = ("run.json", "metrics.csv", "progress.jsonl", "predictions.jsonl", "gui_run.json")


def kinds() -> list[Kind]:
    """Return every kind of input, in the order of the table."""
    job = "results/job"
    configuration = replace(
        Kind("", ("configuration",), ("job.yaml",), CONFIGURATION_CALLS, damage_configuration, 4)
    )
    found = [
        replace(configuration, name="configuration, values"),
        replace(
            configuration,
            name="configuration, text",
            damage=damage_text,
            calls=tuple(call for call in CONFIGURATION_CALLS if not call.cheap),
        ),
    ]
    samples: dict[str, list[str]] = {}
    for array in ("labels", "volume"):
        for suffix, write in image_writers():
            name = f"{array} {write.__name__} {suffix}"
            samples.setdefault(FORMATS[suffix].name, []).append(name)
    for name, folders in samples.items():
        found.append(
            Kind(f"image, {name}", tuple(folders), ("image*",), IMAGE_CALLS, damage_files, 2)
        )
    run = Kind("", ("run",), (), RUN_CALLS, damage_files, 1)
    found.append(
        replace(
            run,
            name="checkpoint",
            files=(f"{job}/checkpoints/*.pth",),
            calls=CHECKPOINT_CALLS,
            weight=4,
        )
    )
    for file in RUN_FILES:
        found.append(replace(run, name=file, files=(f"{job}/results/job_1/{file}",)))
    found += [
        replace(run, name="training log", files=(f"{job}/results/job_1/train_logs/*.csv",)),
        replace(run, name="tuning records", files=(f"{job}/results/job_1/tuning/*.*",)),
        replace(
            run,
            name="stored channels",
            files=("train/x_*/*", "train/y_*/*", "val/*_*/*"),
            calls=(Call("run", _run),),
        ),
        replace(
            run, name="instances and maps of a run", files=(f"{job}/results/job_1/per_image*/*",)
        ),
    ]
    return found


def choose(seed: int, number: int, only: str = "") -> tuple[Kind, Call, str, random.Random]:
    """Return kind, call and sample of a case, and the generator that damages it."""
    rng = random.Random(f"{seed}/{number}")
    known = [kind for kind in kinds() if only in kind.name]
    kind = rng.choices(known, [kind.weight for kind in known])[0]
    call = rng.choices(kind.calls, [call.weight for call in kind.calls])[0]
    return kind, call, rng.choice(kind.samples), rng


def write_case(samples: Path, folder: Path, kind: Kind, call: Call, sample: str, rng: Any) -> None:
    """Copy a sample and damage it."""
    shutil.copytree(samples / sample, folder)
    found = [path for pattern in kind.files for path in sorted(folder.glob(pattern))]
    files = [
        inner
        for path in found
        for inner in (sorted(path.rglob("*")) if path.is_dir() else [path])
        if inner.is_file()
    ]
    kind.damage(files, rng, call)

"""Files of arrays, written by the reference libraries of the formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def write_zarr(path: Path, array: np.ndarray, name: str = "", **options: Any) -> Path:
    import zarr

    if name:
        zarr.open_group(path, mode="a", zarr_format=options.get("zarr_format", 3))
    zarr.create_array(path / name, data=array, **options)
    return path


def write_ome(
    path: Path, array: np.ndarray, axes: str, scale: list[float], version: str = "0.5"
) -> Path:
    """Write an OME-Zarr image with two levels."""
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    coarse = array[tuple(slice(None, None, 2 if name in "yx" else 1) for name in axes)]
    for number, level in enumerate((array, coarse)):
        group.create_array(str(number), data=level)
    types = {"t": "time", "c": "channel"}
    entry = {
        "axes": [
            {"name": name, "type": types.get(name, "space")}
            | ({"unit": "micrometer"} if name in "zyx" else {})
            for name in axes
        ],
        "datasets": [
            {
                "path": str(number),
                "coordinateTransformations": [
                    {
                        "type": "scale",
                        "scale": [
                            s * (2**number if name in "yx" else 1)
                            for name, s in zip(axes, scale, strict=True)
                        ],
                    }
                ],
            }
            for number in range(2)
        ],
    }
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]}
    else:
        group.attrs["multiscales"] = [{"version": version, **entry}]
    return path


def write_hdf5(path: Path, array: np.ndarray, name: str = "data", **options: Any) -> Path:
    import h5py

    with h5py.File(path, "a") as file:
        file.create_dataset(name, data=array, **options)
    return path


def write_n5(
    path: Path,
    array: np.ndarray,
    name: str = "",
    blocks: tuple[int, ...] | None = None,
    compression: dict[str, Any] | None = None,
    **attributes: Any,
) -> Path:
    import tensorstore

    folder = path / name
    store = tensorstore.open(
        {
            "driver": "n5",
            "kvstore": {"driver": "file", "path": str(folder)},
            "metadata": {
                "compression": compression or {"type": "gzip"},
                "dataType": array.dtype.name,
                "dimensions": array.shape[::-1],
                "blockSize": (blocks or array.shape)[::-1],
            },
            "create": True,
        }
    ).result()
    store.write(array.T).result()
    if attributes:
        file = folder / "attributes.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **attributes}))
    return path

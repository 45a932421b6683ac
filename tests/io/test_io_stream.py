"""A file written in parts equals a file written at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from selection import fast_first

import singula.io.write_large as stream
from singula.io.block_array import BlockArray, write_hdf5_from, write_tiff_from
from singula.io.lazy import open_image, open_labels
from singula.io.read import read_header, read_image, read_labels
from singula.io.write import write_tiff

RNG = np.random.default_rng(0)


def block_array(path: Path, array: np.ndarray, ndim: int, **options: Any) -> BlockArray:
    kind = "labels" if array.ndim == ndim else "image"
    blocks = BlockArray.create(
        path, array.shape, array.dtype, ndim=ndim, kind=kind, spacing=(2.0, 0.5, 0.25)[-ndim:],
        unit="µm", **options,
    )  # fmt: skip
    for box in blocks.blocks():
        blocks.write(box, array[box])
    return blocks


@pytest.mark.parametrize(
    "dtype", fast_first(["uint16", "float32", "uint8", "uint32", "int16", "bool"])
)
@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3), (1, 30, 40), (9, 30, 40), (9, 30, 40, 2)])
@pytest.mark.parametrize("held", [2**28, 9000, 700])
@pytest.mark.parametrize("compress", [True, False])
def test_the_tiff_is_the_one_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, shape: tuple[int, ...],
    held: int, compress: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(stream, "_MAX_BYTES", held)
    monkeypatch.setattr(stream, "_STRIP", 700)
    ndim = 2 if shape in ((30, 40), (30, 40, 3)) else 3
    array = (RNG.random(shape) * 200).astype(dtype)
    blocks = block_array(tmp_path / "a.zarr", array, ndim, chunks=(4, 16, 16)[-ndim:])
    path = write_tiff_from(tmp_path / "a.tif", blocks, compress=compress)
    axes = "ZYXC"[-ndim - 1 :][: array.ndim]
    once = write_tiff(tmp_path / "b.tif", array, axes, blocks.spacing, "µm", compress)
    found, wanted = read_image(path, ndim), read_image(once, ndim)
    np.testing.assert_array_equal(found.array, wanted.array)
    assert (found.spacing, found.unit) == (wanted.spacing, wanted.unit)
    assert found.array.dtype == wanted.array.dtype
    with tifffile.TiffFile(path) as tif, tifffile.TiffFile(once) as other:
        assert tif.is_imagej == other.is_imagej
        assert tif.series[0].axes == other.series[0].axes
        assert tif.pages[0].compression == other.pages[0].compression


def test_above_4_gb_it_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("singula.io.write._CLASSIC_LIMIT", 1000)
    ids = RNG.integers(0, 9000, (9, 30, 40)).astype(np.uint32)
    blocks = block_array(tmp_path / "a.zarr", ids, 3, chunks=(4, 16, 16))
    for compress in (True, False):
        path = write_tiff_from(
            tmp_path / "a.tif", blocks, dtype=np.dtype("uint16"), compress=compress
        )
        assert path.read_bytes()[:4] == b"II\x2b\x00"
        found = read_labels(path, 3)
        np.testing.assert_array_equal(found.array[..., 0], ids)
        assert found.array.dtype == np.uint16
        assert (found.spacing, found.unit) == ((2.0, 0.5, 0.25), "µm")


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3), (9, 30, 40), (9, 30, 40, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "uint64", "float32"])
def test_hdf5_is_read_back(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    ndim = 2 if shape[0] == 30 else 3
    array = (RNG.random(shape) * 200).astype(dtype)
    blocks = block_array(tmp_path / "a.zarr", array, ndim, chunks=(4, 16, 16)[-ndim:])
    path = write_hdf5_from(tmp_path / "a.h5", blocks)
    found = read_image(path, ndim)
    np.testing.assert_array_equal(found.array, array.reshape(found.array.shape))
    assert found.array.dtype == array.dtype
    assert (found.spacing, found.unit) == (blocks.spacing, "µm")
    assert read_header(path).source == "HDF5 dimension labels"
    again = write_hdf5_from(tmp_path / "b.h5", open_image(path, ndim))
    np.testing.assert_array_equal(read_image(again, ndim).array, found.array)


def test_a_lazy_image_becomes_a_tiff(tmp_path: Path) -> None:
    ids = RNG.integers(0, 90_000, (9, 30, 40)).astype(np.uint32)
    np.save(tmp_path / "a.npy", ids)
    path = write_tiff_from(tmp_path / "a.tif", open_labels(tmp_path / "a.npy", 3))
    np.testing.assert_array_equal(read_labels(path, 3).array[..., 0], ids)


def test_a_failing_source_leaves_no_file(tmp_path: Path) -> None:
    array = RNG.random((9, 30, 40)).astype(np.float32)
    array[8, 3, 3] = np.nan
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(Exception, match="NaN"):
        write_tiff_from(tmp_path / "out" / "a.tif", open_image(tmp_path / "a.npy", 3))
    with pytest.raises(Exception, match="NaN"):
        write_hdf5_from(tmp_path / "out" / "a.h5", open_image(tmp_path / "a.npy", 3))
    assert not list((tmp_path / "out").iterdir())

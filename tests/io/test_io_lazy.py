"""Boxes of images on disk equal those of the whole image, in every format."""

from __future__ import annotations

import importlib.util
import os
import pickle
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from imagecodecs import lz4_encode

from singula.errors import UserError
from singula.io.image import ArrayPlace
from singula.io.lazy import LazyImage, boxes, open_image, open_labels
from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff

_SPEC = importlib.util.spec_from_file_location(
    "containers", Path(__file__).with_name("containers.py")
)
made = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(made)

RNG = np.random.default_rng(0)
N5_TYPES = ["uint8", "uint16", "uint32", "int16", "float32", "float64"]
TYPES = [*N5_TYPES, "bool", "int8", "uint64", ">u2", ">f4"]
COMPRESSIONS: list[dict[str, Any]] = [
    {"type": "raw"},
    {"type": "gzip"},
    {"type": "gzip", "useZlib": True},
    {"type": "bzip2"},
    {"type": "xz"},
    {"type": "zstd"},
    {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
    {"type": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 2},
]


def values(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Draw a few values of any type."""
    return (np.random.default_rng(list(shape)).random(shape) * 100).astype(dtype)


def as_stored(array: np.ndarray, axes: str) -> np.ndarray:
    """Return a channel-last array in another order of axes; T is an axis of size 1."""
    own = "ZYXC"[-array.ndim :]
    stored = array.transpose([own.index(name) for name in axes if name != "T"])
    return np.ascontiguousarray(np.expand_dims(stored, axes.index("T")) if "T" in axes else stored)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an array, the order of its axes, its chunks, and a box."""
    ndim = draw(st.sampled_from([2, 3]))
    channels = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(2, 12)) for _ in range(ndim))
    letters = draw(st.permutations("ZYXC"[-ndim - 1 :] + ("T" if draw(st.booleans()) else "")))
    axes = "".join(letters)
    chunks = tuple(draw(st.integers(1, 7)) for _ in axes)
    box = []
    for size in shape:
        low = draw(st.integers(0, size - 1))
        box.append(slice(low, draw(st.integers(low, size))))
    return {
        "array": values((*shape, channels), draw(st.sampled_from(TYPES))),
        "axes": axes,
        "chunks": chunks,
        "box": tuple(box),
    }


def agree(lazy: LazyImage, array: np.ndarray, box: tuple[slice, ...]) -> None:
    for one in (lazy, pickle.loads(pickle.dumps(lazy))):
        assert one.shape == array.shape
        assert one.dtype == array.dtype.newbyteorder("=")
        part = one.read(box)
        assert part.dtype == one.dtype
        assert part.flags.c_contiguous
        np.testing.assert_array_equal(part, array[box])


@pytest.mark.parametrize("kind", ["zarr2", "zarr3", "sharded", "hdf5", "hdf5 whole", "n5"])
@settings(max_examples=25, deadline=None)
@given(case=cases(), data=st.data())
def test_any_box_of_a_container(kind: str, case: dict[str, Any], data: st.DataObject) -> None:
    array, axes = case["array"], case["axes"]
    stored = as_stored(array, axes)
    chunks = tuple(min(c, n) for c, n in zip(case["chunks"], stored.shape, strict=True))
    if kind == "n5" and array.dtype.name not in N5_TYPES:
        array, stored = array.astype("uint16"), stored.astype("uint16")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / {"z": "a.zarr", "s": "a.zarr", "h": "a.h5", "n": "a.n5"}[kind[0]]
        if kind in ("zarr2", "zarr3"):
            made.write_zarr(path, stored, chunks=chunks, zarr_format=int(kind[-1]))
        elif kind == "sharded":
            shards = tuple(c * data.draw(st.integers(1, 3)) for c in chunks)
            made.write_zarr(path, stored, chunks=chunks, shards=shards)
        elif kind == "n5":
            made.write_n5(
                path, stored, blocks=chunks, compression=data.draw(st.sampled_from(COMPRESSIONS))
            )
        else:
            options = {} if kind.endswith("whole") else {"chunks": chunks, "compression": "gzip"}
            made.write_hdf5(path, stored, **options)
        ndim, place = array.ndim - 1, ArrayPlace(axes=axes)
        np.testing.assert_array_equal(
            read_image(path, ndim, array.shape[-1], arrays=place).array, array
        )
        agree(open_image(path, ndim, array.shape[-1], arrays=place), array, case["box"])


@settings(max_examples=80, deadline=None)
@given(case=cases(), data=st.data())
def test_any_box_of_a_tiff(case: dict[str, Any], data: st.DataObject) -> None:
    array = case["array"]
    if array.dtype.name in ("bool", "uint64"):
        array = array.astype("uint8")
    ndim = array.ndim - 1
    axes = data.draw(st.sampled_from(["CZYX", "ZCYX"] if ndim == 3 else ["CYX"]))
    options: dict[str, Any] = {
        "compression": data.draw(st.sampled_from([None, "zlib", "lzw", "zstd"])),
        "bigtiff": data.draw(st.booleans()),
        "photometric": "minisblack",
        "predictor": data.draw(st.booleans()) if array.dtype.itemsize < 8 else None,
    }
    if options["compression"] is None:
        options["predictor"] = None
    how = data.draw(st.sampled_from(["strips", "tiles", "page"]))
    if how == "tiles":
        options["tile"] = (16, 16)
    elif how == "strips":
        options["rowsperstrip"] = data.draw(st.integers(1, 5))
    stored = as_stored(array, axes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ome.tif"
        tifffile.imwrite(path, stored, ome=True, metadata={"axes": axes}, **options)
        whole = read_image(path, ndim).array
        np.testing.assert_array_equal(whole, array)
        agree(open_image(path, ndim), array, case["box"])


def test_boxes_of_a_contiguous_tiff_are_read_without_its_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsing many pages is slow, and a large image is read in many boxes."""
    path, array = tmp_path / "a.ome.tif", RNG.integers(0, 255, (9, 20, 30), np.uint8)
    tifffile.imwrite(path, array, metadata={"axes": "ZYX"})
    opened = open_image(path, 3, 1)
    opened.read((slice(0, 1),) * 3)
    with monkeypatch.context() as patch:
        patch.setattr(tifffile.TiffFile, "__init__", lambda *_, **__: pytest.fail("parsed again"))
        box = (slice(2, 5), slice(0, 20), slice(7, 9))
        np.testing.assert_array_equal(opened.read(box)[..., 0], array[box])
    # Another file of the same shape in its place, with pixels elsewhere, is not mixed up.
    tifffile.imwrite(path, array[::-1], metadata={"axes": "ZYX"}, description="longer " * 99)
    np.testing.assert_array_equal(opened.read(box)[..., 0], array[::-1][box])


@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_colors_of_a_tiff(
    tmp_path: Path, photometric: str, planar: str, tile: Any, compression: Any
) -> None:
    array = RNG.integers(0, 200, (50, 70, 3), dtype=np.uint8)
    stored = array if planar == "contig" else np.moveaxis(array, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric=photometric, planarconfig=planar,
        tile=tile, compression=compression,
    )  # fmt: skip
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 2, 3).array, array)
    agree(open_image(tmp_path / "a.tif", 2, 3), array, (slice(11, 41), slice(5, 66)))


VOLUME = RNG.integers(0, 999, (6, 96, 112))
SMOOTH = (np.add.outer(np.arange(100), np.arange(120))[..., None] + [0, 20, 40]).astype(np.uint8)


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (SMOOTH, {"photometric": "rgb", "compression": "jpeg", "tile": (32, 48)}),
        (SMOOTH, {"photometric": "rgb", "compression": "jpeg", "rowsperstrip": 16}),
        (SMOOTH, {"photometric": "rgb", "compression": "jpeg2000", "tile": (32, 48)}),
        (VOLUME[0] > 500, {"photometric": "minisblack"}),
        (VOLUME[0] > 500, {"compression": "packbits", "rowsperstrip": 7}),
        (VOLUME.astype(">u2"), {"byteorder": ">", "imagej": True, "metadata": {"axes": "ZYX"}}),
        (VOLUME.astype(">u2"), {"byteorder": ">", "predictor": 2, "compression": "lzw"}),
        (VOLUME.astype("u2"), {"tile": (16, 32, 48), "volumetric": True, "compression": "zlib"}),
        (VOLUME.astype("f2"), {"compression": "zlib", "metadata": {"axes": "ZYX"}}),
        (VOLUME.astype("f4"), {"tile": (32, 48), "predictor": 3, "compression": "zlib"}),
    ],
)
def test_kinds_of_tiff(tmp_path: Path, array: np.ndarray, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    ndim = 2 if array.shape[-1] == 3 or array.ndim == 2 else 3
    box = (slice(1, 3), slice(7, 61), slice(33, 111))[-ndim:]
    agree(open_image(tmp_path / "a.tif", ndim), read_image(tmp_path / "a.tif", ndim).array, box)


def test_the_first_level_of_a_tiff_pyramid(tmp_path: Path) -> None:
    array = VOLUME.astype("u2")
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=True) as writer:
        writer.write(array, subifds=1, tile=(16, 16), metadata={"axes": "ZYX"})
        writer.write(array[:, ::2, ::2], subfiletype=1, tile=(16, 16))
    agree(open_image(tmp_path / "a.tif", 3), array[..., None], (slice(1, 3),) * 3)


def test_a_truncated_tiff_is_reported(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", VOLUME.astype("u2"), compression="zlib")
    lazy = open_image(tmp_path / "a.tif", 3)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="cut off"):
        lazy.read((slice(None),) * 3)
    with pytest.raises(UserError, match="cannot be read as TIFF"):
        open_image(tmp_path / "a.tif", 3)


def test_other_files_are_read_in_boxes_too(tmp_path: Path) -> None:
    import PIL.Image

    gray = RNG.integers(0, 200, (50, 70), dtype=np.uint8)
    box = (slice(3, 40), slice(0, 70))
    PIL.Image.fromarray(gray).save(tmp_path / "a.png")
    indexed = PIL.Image.fromarray(gray % 4)
    indexed.putpalette([0, 0, 0, 250, 0, 0, 0, 250, 0, 0, 0, 250])
    indexed.save(tmp_path / "b.png")
    np.save(tmp_path / "c.npy", np.asfortranarray(gray.astype(">u2")))
    for name in ("a.png", "b.png", "c.npy"):
        whole = read_image(tmp_path / name, 2).array
        agree(open_image(tmp_path / name, 2), whole, box)
    assert open_image(tmp_path / "b.png", 2).shape == (50, 70, 3)
    repeated = open_image(tmp_path / "a.png", 2, 3, allow_gray=True)
    np.testing.assert_array_equal(repeated.read(box), np.repeat(gray[box][..., None], 3, -1))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "czyx", "zyx"])
def test_ome_metadata_give_axes_size_and_unit(tmp_path: Path, version: str, axes: str) -> None:
    array = values((6, 20, 30, 2 if "c" in axes else 1), "uint16")
    stored = as_stored(array, axes.upper()) if "c" in axes else array[..., 0]
    sizes = {"t": 1.0, "c": 1.0, "z": 2.0, "y": 0.5, "x": 0.25}
    path = made.write_ome(
        tmp_path / "a.ome.zarr", stored, axes, [sizes[name] for name in axes], version
    )
    found = read_image(path, 3)
    np.testing.assert_array_equal(found.array, array)
    assert (found.spacing, found.unit, found.name) == ((2, 0.5, 0.25), "µm", "a")
    lazy = open_image(path, 3)
    assert (lazy.spacing, lazy.unit, lazy.name) == ((2, 0.5, 0.25), "µm", "a")
    agree(lazy, array, (slice(1, 4), slice(0, 20), slice(7, 9)))
    # The coarser level by its name, and the first one by its own.
    coarser = open_image(path, 3, arrays=ArrayPlace("1", axes.upper()))
    assert coarser.spatial_shape == (6, 10, 15)
    assert open_image(path, 3, arrays=ArrayPlace("0")).spacing == (2, 0.5, 0.25)


def test_named_dimensions_and_sizes_of_the_others(tmp_path: Path) -> None:
    array = values((6, 20, 30, 2), "uint16")
    stored = as_stored(array, "YCXZ")
    zarr.create_array(tmp_path / "a.zarr", data=stored, dimension_names=list("ycxz"))
    two = zarr.create_array(tmp_path / "b.zarr", data=stored, zarr_format=2)
    two.attrs["_ARRAY_DIMENSIONS"] = list("ycxz")
    import h5py

    with h5py.File(tmp_path / "c.h5", "w") as file:
        made_one = file.create_dataset("x/y", data=stored)
        for dim, name in zip(made_one.dims, "ycxz", strict=True):
            dim.label = name
        made_one.attrs["element_size_um"] = (2.0, 0.5, 0.25)
    made.write_n5(
        tmp_path / "d.n5", stored, axes=list("zxcy"), units=["nm", "um", "", "um"],
        resolution=[2000, 0.25, 1, 0.5],
    )  # fmt: skip
    for name, sized in (("a.zarr", 0), ("b.zarr", 0), ("c.h5", 1), ("d.n5", 1)):
        found = read_image(tmp_path / name, 3)
        np.testing.assert_array_equal(found.array, array)
        assert found.spacing == ((2, 0.5, 0.25) if sized else None), name
        assert found.unit == ("µm" if sized else None)


def test_five_axes_are_tzcyx_and_fewer_follow_from_the_shape(tmp_path: Path) -> None:
    array = values((6, 20, 30, 2), "uint16")
    made.write_zarr(tmp_path / "a.zarr", as_stored(array, "TZCYX"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr", 3).array, array)
    made.write_zarr(tmp_path / "b.zarr", as_stored(array, "ZCYX"))
    np.testing.assert_array_equal(read_image(tmp_path / "b.zarr", 3, 2).array, array)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32", "bool"])
@pytest.mark.parametrize("suffix", [".zarr", ".h5", ".tif", ".npy"])
def test_labels_have_the_same_type_in_every_box(tmp_path: Path, dtype: str, suffix: str) -> None:
    ids = np.zeros((40, 50), dtype)
    ids[20:, 20:] = 100
    path = tmp_path / f"a{suffix}"
    if suffix == ".zarr":
        made.write_zarr(path, ids, chunks=(16, 16))
    elif suffix == ".h5":
        made.write_hdf5(path, ids)
    elif suffix == ".npy":
        np.save(path, ids)
    elif dtype in ("bool", "int64"):
        pytest.skip("a TIFF does not hold them")
    else:
        write_tiff(path, ids, "YX")
    lazy, whole = open_labels(path, 2), read_labels(path, 2).array
    parts = [lazy.read(box) for box in boxes((40, 50), (16, 20))]
    assert {part.dtype for part in parts} == {lazy.dtype}
    assert lazy.dtype.kind == "u"
    assert lazy.dtype.itemsize <= 4
    for box in boxes((40, 50), (16, 20)):
        np.testing.assert_array_equal(lazy.read(box), whole[box])


def test_labels_with_classes(tmp_path: Path) -> None:
    ids = RNG.integers(0, 9, (40, 50, 2)).astype(np.uint16)
    path = made.write_zarr(tmp_path / "a.zarr", ids)
    assert open_labels(path, 2, True).shape == (40, 50, 2)
    np.testing.assert_array_equal(open_labels(path, 2, True).read((slice(None),) * 2), ids)
    np.testing.assert_array_equal(open_labels(path, 2).read((slice(None),) * 2), ids[..., :1])


def test_n5_compressed_by_lz4_blocks(tmp_path: Path) -> None:
    """Blocks as written by LZ4BlockOutputStream of lz4-java; no library here writes them."""
    array = values((20, 30), "uint16")
    path = made.write_n5(tmp_path / "a.n5", array, compression={"type": "raw"})
    file = path / "attributes.json"
    file.write_text(file.read_text().replace('"raw"', '"lz4"'))
    block = path / "0" / "0"
    data = block.read_bytes()
    packed = data[:12]
    for part in (data[12:700], data[700:]):
        squeezed = lz4_encode(part)
        sizes = np.array([len(squeezed), len(part), 0], "<u4").tobytes()
        packed += b"LZ4Block\x25" + sizes + squeezed
    packed += b"LZ4Block\x15" + bytes(12)
    block.write_bytes(packed)
    np.testing.assert_array_equal(read_image(path, 2).array[..., 0], array)


def _sum(job: tuple[LazyImage, tuple[slice, ...]]) -> int:
    lazy, box = job
    return int(lazy.read(box).sum())


@pytest.fixture(params=["a.zarr", "a.h5", "a.n5", "a.tif", "b.tif", "a.npy"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Write one volume in each format."""
    array = RNG.integers(0, 999, (12, 90, 80)).astype(np.uint16)
    path = tmp_path / request.param
    if path.suffix == ".zarr":
        made.write_zarr(path, array, chunks=(5, 32, 32))
    elif path.suffix == ".h5":
        made.write_hdf5(path, array, chunks=(5, 32, 32), compression="gzip")
    elif path.suffix == ".n5":
        made.write_n5(path, array, blocks=(5, 32, 32))
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        write_tiff(path, array, "ZYX", compress=path.stem == "a")
    return path, array


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_open_it_for_themselves(stored: tuple[Path, np.ndarray], method: str) -> None:
    path, array = stored
    lazy = open_image(path, 3, 1)
    parts = list(boxes(lazy.spatial_shape, (7, 40, 40)))
    assert _sum((lazy, parts[0])) == array[parts[0]].sum()  # it is open before the fork
    with ProcessPoolExecutor(2, get_context(method)) as pool:
        found = list(pool.map(_sum, [(lazy, box) for box in parts]))
    assert found == [array[box].sum() for box in parts]


def test_a_forked_process_opens_the_file_again(stored: tuple[Path, np.ndarray]) -> None:
    path, array = stored
    lazy = open_image(path, 3, 1)
    lazy.read((slice(0, 3),) * 3)
    child = os.fork()
    if not child:
        same = np.array_equal(lazy.read((slice(2, 9),) * 3)[..., 0], array[2:9, 2:9, 2:9])
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_read_at_the_same_time(stored: tuple[Path, np.ndarray]) -> None:
    path, array = stored
    lazy = open_image(path, 3, 1)
    parts = list(boxes(lazy.spatial_shape, (3, 30, 30))) * 3
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lazy.read, parts))
    for box, part in zip(parts, found, strict=True):
        np.testing.assert_array_equal(part[..., 0], array[box])


def test_the_size_of_decoded_chunks_is_reported(stored: tuple[Path, np.ndarray]) -> None:
    path, _ = stored
    chunks = open_image(path, 3, 1).chunks
    if path.suffix in (".zarr", ".h5", ".n5"):
        assert chunks == (5, 32, 32)
    elif path.name == "a.tif":
        assert chunks[0] == 1
        assert chunks[2] == 80
    else:
        assert chunks == (1, 1, 1)

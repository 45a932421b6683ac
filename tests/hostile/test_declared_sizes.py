"""Headers that declare more pixels than the file holds, and damaged metadata of containers."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import tifffile
from selection import fast_first
from tests.io.containers import write_hdf5, write_n5, write_ome, write_zarr

from singula.errors import UserError
from singula.io.lazy import open_image
from singula.io.read import list_series, map_image, read_header, read_image, read_labels
from singula.io.sizes import check_size

PIXELS = np.arange(24 * 20, dtype=np.uint16).reshape(24, 20)
Sizes = tuple[int, int]


def npy(path: Path, sizes: Sizes) -> Path:
    np.save(path / "a.npy", PIXELS)
    data = (path / "a.npy").read_bytes()
    # The header is padded, so that a longer shape fits.
    old = b"'shape': (24, 20), }"
    new = b"'shape': (%d, %d), }" % sizes
    place = data.index(old)
    tail = data[place + len(old) :].replace(b" " * (len(new) - len(old)), b"", 1)
    (path / "a.npy").write_bytes(data[:place] + new + tail)
    return path / "a.npy"


def png(path: Path, sizes: Sizes) -> Path:
    PIL.Image.fromarray(PIXELS.astype(np.uint8)).save(path / "a.png")
    data = bytearray((path / "a.png").read_bytes())
    data[16:24] = struct.pack(">II", sizes[1], sizes[0])
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (path / "a.png").write_bytes(data)
    return path / "a.png"


def jpeg(path: Path, sizes: Sizes) -> Path:
    PIL.Image.fromarray(PIXELS.astype(np.uint8)).save(path / "a.jpg")
    data = bytearray((path / "a.jpg").read_bytes())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", *(min(size, 65500) for size in sizes))
    (path / "a.jpg").write_bytes(data)
    return path / "a.jpg"


def tiff(**options: object) -> Callable[[Path, Sizes], Path]:
    def make(path: Path, sizes: Sizes) -> Path:
        tifffile.imwrite(path / "a.tif", PIXELS, metadata=None, **options)
        with tifffile.TiffFile(path / "a.tif", mode="r+") as tif:
            tags = tif.pages.first.tags
            for name, size in zip(("ImageLength", "ImageWidth"), sizes, strict=True):
                tags[name].overwrite(min(size, 2**31 - 1))
            if "RowsPerStrip" in tags:
                tags["RowsPerStrip"].overwrite(min(sizes[0], 2**31 - 1))
        return path / "a.tif"

    return make


def nifti(suffix: str) -> Callable[[Path, Sizes], Path]:
    def make(path: Path, sizes: Sizes) -> Path:
        nibabel = pytest.importorskip("nibabel")
        import gzip

        nibabel.save(nibabel.Nifti1Image(PIXELS.T.astype(np.int16), np.eye(4)), path / "a.nii")
        data = bytearray((path / "a.nii").read_bytes())
        data[42:46] = struct.pack("<hh", *(min(size, 32000) for size in sizes[::-1]))
        packed = gzip.compress(data) if suffix.endswith("gz") else bytes(data)
        (path / f"a{suffix}").write_bytes(packed)
        return path / f"a{suffix}"

    return make


def hdf5(path: Path, sizes: Sizes) -> Path:
    write_hdf5(path / "a.h5", PIXELS)
    data = (path / "a.h5").read_bytes()
    assert struct.pack("<QQ", 24, 20) in data
    (path / "a.h5").write_bytes(
        data.replace(struct.pack("<QQ", 24, 20), struct.pack("<QQ", *sizes))
    )
    return path / "a.h5"


def _edited(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def zarr(path: Path, sizes: Sizes) -> Path:
    write_zarr(path / "a.zarr", PIXELS, "data", chunks=(12, 10))
    _edited(path / "a.zarr/data/zarr.json", shape=sizes)
    return path / "a.zarr"


def zarr2(path: Path, sizes: Sizes) -> Path:
    write_zarr(path / "a.zarr", PIXELS, "data", chunks=(12, 10), zarr_format=2)
    _edited(path / "a.zarr/data/.zarray", shape=sizes)
    return path / "a.zarr"


def n5(path: Path, sizes: Sizes) -> Path:
    write_n5(path / "a.n5", PIXELS, "data", blocks=(12, 10))
    _edited(path / "a.n5/data/attributes.json", dimensions=sizes[::-1])
    return path / "a.n5"


# All pixels are in the file, or a compression whose ratio has a bound
COMPLETE = {
    "npy": npy,
    "png": png,
    "jpeg": jpeg,
    "tiff": tiff(),
    "tiff_zlib": tiff(compression="zlib"),
    "tiff_lzw": tiff(compression="lzw"),
    "nii": nifti(".nii"),
    "nii_gz": nifti(".nii.gz"),
    "hdf5": hdf5,
}
# Pixels that are not stored have a fill value
SPARSE = {"zarr": zarr, "zarr2": zarr2, "n5": n5}
CALLS: dict[str, Callable[[Path], object]] = {
    "header": read_header,
    "read": lambda path: read_image(path, 2),
    "labels": lambda path: read_labels(path, 2),
    "map": lambda path: map_image(path, 2),
    "lazy": lambda path: open_image(path, 2),
}


@pytest.mark.parametrize("call", CALLS)
class TestDeclaredSizes:
    @pytest.mark.parametrize("sizes", [(12000, 12000), (2**32, 2**32), (2**62, 2), (2**62, 4)])
    @pytest.mark.parametrize("kind", COMPLETE)
    def test_more_than_stored(self, tmp_path: Path, kind: str, sizes: Sizes, call: str) -> None:
        if kind in ("png", "tiff", "tiff_zlib", "tiff_lzw"):
            sizes = (min(sizes[0], 2**31 - 1), min(sizes[1], 2**31 - 1))
        if kind in ("jpeg", "nii_gz"):
            sizes = (sizes[0], sizes[0])  # sizes have 16 bits, and small images may be compressed
        path = COMPLETE[kind](tmp_path, sizes)
        if (kind, call) in (("jpeg", "labels"), ("hdf5", "map")):
            pytest.skip("not read at all")
        with pytest.raises(UserError) as caught:
            CALLS[call](path)
        assert caught.value.code in ("io.cut_off", "io.impossible_size", "io.unreadable")
        assert str(path) in caught.value.message

    @pytest.mark.parametrize("sizes", [(2**62, 4), (2**63, 2**63), (-24, -20), (-24, 20)])
    @pytest.mark.parametrize("kind", SPARSE)
    def test_impossible(self, tmp_path: Path, kind: str, sizes: Sizes, call: str) -> None:
        path = SPARSE[kind](tmp_path, sizes)
        if call == "map":
            pytest.skip("containers are not mapped")
        with pytest.raises(UserError) as caught:
            CALLS[call](path)
        assert caught.value.code in ("io.impossible_size", "io.unreadable")


class TestValid:
    @pytest.mark.parametrize("kind", [*COMPLETE, *SPARSE])
    def test_true_sizes(self, tmp_path: Path, kind: str) -> None:
        path = (COMPLETE | SPARSE)[kind](tmp_path, PIXELS.shape)
        array = read_image(path, 2).array[..., 0]
        assert array.shape == PIXELS.shape
        assert kind in ("png", "jpeg") or (array == PIXELS).all()

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "lzw.tif", "packbits.tif", "one_bit.tif"])
    def test_the_most_compressible_pixels(self, tmp_path: Path, name: str) -> None:
        pixels = np.zeros((3000, 4000), bool if name == "one_bit.tif" else np.uint8)
        path = tmp_path / name
        if name == "a.png":
            PIL.Image.fromarray(pixels).save(path, compress_level=9)
        else:
            method = {"a.tif": "zlib", "lzw.tif": "lzw", "packbits.tif": "packbits"}.get(name)
            tifffile.imwrite(path, pixels, compression=method)
        assert not read_image(path, 2).array.any()

    def test_one_bit_png(self, tmp_path: Path) -> None:
        PIL.Image.new("1", (4000, 3000)).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png", 2).spatial_shape == (3000, 4000)

    def test_blank_jpeg(self, tmp_path: Path) -> None:
        for progressive in (False, True):
            path = tmp_path / f"{progressive}.jpg"
            image = PIL.Image.new("L", (4000, 3000))
            image.save(path, quality=1, optimize=True, progressive=progressive)
            assert read_image(path, 2).spatial_shape == (3000, 4000)

    def test_missing_chunks(self, tmp_path: Path) -> None:
        path = zarr(tmp_path, (2**40, 2**18))
        image = open_image(path, 2)
        assert not image.read((slice(2**39, 2**39 + 8), slice(0, 8))).any()


def test_too_many_blocks() -> None:
    from singula.pipeline.blocks.memory import block_shape

    budget = SimpleNamespace(block=(1024, 1024))
    assert block_shape(budget, (2**20, 2**20), ()) == (1024, 1024)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        block_shape(budget, (2**31, 2**31), ())  # type: ignore[arg-type]
    assert caught.value.code == "chunks.too_many_blocks"


def test_products_are_exact() -> None:
    with pytest.raises(UserError) as caught:
        check_size(Path("a"), (2**32, 2**32), 1, 10)
    assert caught.value.code == "io.impossible_size"
    with pytest.raises(UserError) as caught:
        check_size(Path("a"), (3, 5), 2, 29)
    assert caught.value.code == "io.cut_off"
    check_size(Path("a"), (3, 5), 2, 30)
    check_size(Path("a"), (3, 5), 2, 3, ratio=10)


VALUES = (-1, 0, 1e300, "x", None, [], {}, True, 10**30, 1.5, "<U5", [0, 0], [1], "object")


def fields(value: object, way: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Return the paths of all values in a JSON document."""
    inner = list(value.items() if isinstance(value, dict) else enumerate(value)
                 if isinstance(value, list) else ())  # fmt: skip
    return [way] * bool(way) + [found for k, v in inner for found in fields(v, (*way, k))]


class TestDamaged:
    """Changes of every field of the metadata, and of bytes of small files."""

    @pytest.mark.parametrize("kind", fast_first(["ome", "zarr", "zarr2", "n5"]))
    def test_metadata(self, tmp_path: Path, kind: str) -> None:
        seed = {
            "zarr": lambda: write_zarr(tmp_path / "a.zarr", PIXELS, "data", chunks=(12, 10)),
            "zarr2": lambda: write_zarr(
                tmp_path / "a.zarr", PIXELS, "data", chunks=(12, 10), zarr_format=2
            ),
            "ome": lambda: write_ome(tmp_path / "a.zarr", PIXELS, "yx", [1, 1]),
            "n5": lambda: write_n5(
                tmp_path / "a.n5",
                PIXELS,
                "data",
                blocks=(12, 10),
                resolution=[1, 2],
                axes=["x", "y"],
            ),
        }[kind]()
        names = ("zarr.json", ".zarray", ".zgroup", ".zattrs", "attributes.json")
        for file in sorted(one for one in seed.rglob("*") if one.name in names):
            text = file.read_text()
            cases = fields(json.loads(text))
            chosen = random.Random(kind).sample(
                [(way, value) for way in cases for value in VALUES], k=min(60, 14 * len(cases))
            )
            for way, value in chosen:
                document = json.loads(text)
                place = document
                for step in way[:-1]:
                    place = place[step]
                place[way[-1]] = value
                file.write_text(json.dumps(document))
                only_user_errors(seed)
            for broken in ("", "[]", "{", "[" * 20_000, '"x"', "\x00"):
                file.write_text(broken)
                only_user_errors(seed)
            file.write_text(text)

    @pytest.mark.parametrize("kind", ["npy", "png", "jpeg", "tiff", "tiff_zlib", "nii", "hdf5"])
    def test_bytes(self, tmp_path: Path, kind: str) -> None:
        path = COMPLETE[kind](tmp_path, PIXELS.shape)
        data, source = path.read_bytes(), random.Random(kind)
        for _ in range(60):
            broken = bytearray(data)
            for _ in range(source.choice((1, 2, 8))):
                broken[source.randrange(min(400, len(data)))] = source.choice((0, 1, 127, 128, 255))
            path.write_bytes(broken[: source.choice((len(data), source.randrange(len(data))))])
            only_user_errors(path)


def only_user_errors(path: Path) -> None:
    """Read a file with every reader; any other error fails the test."""
    calls = {
        **CALLS,
        "series": list_series,
        "box": lambda path: open_image(path, 2).read((slice(0, 8), slice(0, 8))),
    }
    for name, call in calls.items():
        try:
            call(path)
        except UserError as refused:
            message = refused.message
        else:
            message = str(path)
        assert str(path) in message, name


def test_blocks_of_damaged_files(tmp_path: Path) -> None:
    """The header of a block declares more than the attributes allow."""
    path = write_n5(tmp_path / "a.n5", PIXELS, "data", blocks=(12, 10), compression={"type": "raw"})
    block = path / "data/0/0"
    data = block.read_bytes()
    block.write_bytes(data[:4] + struct.pack(">II", 2**31, 2**31) + data[12:])
    with pytest.raises(UserError) as caught:
        read_image(path, 2)
    assert caught.value.code == "io.unreadable"

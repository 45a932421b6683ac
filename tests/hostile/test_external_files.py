"""Image files that refer to other files are refused unless a key or an option allows it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.io.containers import write_hdf5, write_n5, write_ome, write_zarr

from singula.dataset.checks import InspectSettings, inspect_dataset
from singula.dataset.facts import find_folders, survey_dataset
from singula.errors import UserError
from singula.exports import export
from singula.io.block_array import BlockArray
from singula.io.files import change_stamp
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image
from singula.io.read import read_header, read_image, read_labels

PIXELS = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
ALLOWED = ArrayPlace(external_files=True)
Make = Callable[[Path], Path]


def outside(folder: Path) -> Path:
    """Return a folder with the pixels as a raw file, an HDF5, a Zarr and an N5."""
    place = folder / "elsewhere"
    place.mkdir()
    PIXELS.tofile(place / "pixels.raw")
    write_hdf5(place / "pixels.h5", PIXELS)
    write_zarr(place / "pixels.zarr", PIXELS, chunks=(16, 16))
    write_n5(place / "pixels.n5", PIXELS, blocks=(16, 16))
    return place


def external_storage(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        raw = outside(folder) / "pixels.raw"
        file.create_dataset(
            "data", PIXELS.shape, "uint16", external=[(str(raw), 0, h5py.h5f.UNLIMITED)]
        )
    return folder / "a.h5"


def external_link(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        file["data"] = h5py.ExternalLink(str(outside(folder) / "pixels.h5"), "data")
    return folder / "a.h5"


def external_group(folder: Path) -> Path:
    """Create a soft link that passes through an external link."""
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        file["other"] = h5py.ExternalLink(str(outside(folder) / "pixels.h5"), "/")
        file["data"] = h5py.SoftLink("/other/data")
    return folder / "a.h5"


def virtual(folder: Path) -> Path:
    import h5py

    layout = h5py.VirtualLayout(PIXELS.shape, "uint16")
    layout[:] = h5py.VirtualSource(str(outside(folder) / "pixels.h5"), "data", PIXELS.shape)
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    return folder / "a.h5"


def virtual_pattern(folder: Path) -> Path:
    """Create a virtual dataset of files whose names HDF5 builds from a number."""
    import h5py

    space = h5py.h5s.create_simple((1, 32, 32), (h5py.h5s.UNLIMITED, 32, 32))
    part = space.copy()
    part.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (1, 1, 1), (1, 32, 32))
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    name = outside(folder) / "pixels%b.h5"
    plan.set_virtual(part, str(name).encode(), b"data", h5py.h5s.create_simple((32, 32)))
    with h5py.File(folder / "a.h5", "w") as file:
        h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, space, plan)
    return folder / "a.h5"


def virtual_chain(folder: Path) -> Path:
    """Create a virtual dataset of the file itself, whose source is in another file."""
    import h5py

    raw = outside(folder) / "pixels.raw"
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset(
            "raw/0", PIXELS.shape, "uint16", external=[(str(raw), 0, h5py.h5f.UNLIMITED)]
        )
        for number in range(2):
            layout = h5py.VirtualLayout(PIXELS.shape, "uint16")
            name = "raw/0" if number == 0 else "inner"
            layout[:] = h5py.VirtualSource(".", name, PIXELS.shape)
            file.create_virtual_dataset("inner" if number == 0 else "data", layout)
    return folder / "a.h5"


def zarr_link(inner: str, version: int = 3) -> Make:
    def make(folder: Path) -> Path:
        path = write_zarr(folder / "a.zarr", PIXELS, "data", chunks=(16, 16), zarr_format=version)
        write_zarr(outside(folder) / "twin.zarr", PIXELS, "data", chunks=(16, 16),
                   zarr_format=version)  # fmt: skip
        return _linked(path, folder / "elsewhere" / "twin.zarr", inner)

    return make


def n5_link(inner: str) -> Make:
    def make(folder: Path) -> Path:
        path = write_n5(folder / "a.n5", PIXELS, "data", blocks=(16, 16))
        write_n5(outside(folder) / "twin.n5", PIXELS, "data", blocks=(16, 16))
        return _linked(path, folder / "elsewhere" / "twin.n5", inner)

    return make


def ome_link(folder: Path) -> Path:
    path = write_ome(folder / "a.zarr", PIXELS, "yx", [1, 1])
    write_ome(outside(folder) / "twin.zarr", PIXELS, "yx", [1, 1])
    return _linked(path, folder / "elsewhere" / "twin.zarr", "0")


def _linked(path: Path, twin: Path, inner: str) -> Path:
    """Replace a file or folder of a container by a link to a copy elsewhere."""
    part = path / inner
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    part.symlink_to(twin / inner)
    return path


CASES: dict[str, Make] = {
    "hdf5_storage": external_storage,
    "hdf5_link": external_link,
    "hdf5_group": external_group,
    "hdf5_virtual": virtual,
    "zarr_chunk": zarr_link("data/c/0/1"),
    "zarr_row": zarr_link("data/c/1"),
    "zarr_metadata": zarr_link("data/zarr.json"),
    "zarr_array": zarr_link("data"),
    "zarr2_chunk": zarr_link("data/1.0", 2),
    "zarr2_metadata": zarr_link("data/.zarray", 2),
    "ome_level": ome_link,
    "n5_block": n5_link("data/0/1"),
    "n5_row": n5_link("data/1"),
    "n5_metadata": n5_link("data/attributes.json"),
    "n5_array": n5_link("data"),
}
READERS = {
    "read": lambda path, place: read_image(path, 2, arrays=place).array[..., 0],
    "labels": lambda path, place: read_labels(path, 2, arrays=place).array[..., 0],
    "lazy": lambda path, place: open_image(path, 2, arrays=place).read((slice(None),) * 2)[..., 0],
}


@pytest.fixture(params=CASES)
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return CASES[request.param](tmp_path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("inside", ["", "data"])
class TestReaders:
    def test_refused_values(self, container: Path, reader: str, inside: str) -> None:
        place = ArrayPlace("" if (container / "0").exists() else inside)
        with pytest.raises(UserError) as caught:
            READERS[reader](container, place)
        assert caught.value.code == "io.external_file"
        assert str(container) in caught.value.message
        assert "elsewhere" in caught.value.message
        assert "EXTERNAL_FILES" in (caught.value.hint or "")

    def test_allowed(self, container: Path, reader: str, inside: str) -> None:
        named = "" if (container / "0").exists() else "data"  # links are not listed
        place = ArrayPlace(named, external_files=True)
        assert (READERS[reader](container, place) == PIXELS).all()


@pytest.mark.parametrize("make", [virtual_pattern, virtual_chain])
def test_sources_of_virtual_datasets(tmp_path: Path, make: Make) -> None:
    with pytest.raises(UserError) as caught:
        read_header(make(tmp_path), ArrayPlace("data"))
    assert caught.value.code == "io.external_file"
    assert "elsewhere" in caught.value.message


@pytest.mark.parametrize("command", ["run", "predict"])
def test_the_hint_is_that_of_the_command(tmp_path: Path, command: str) -> None:
    with pytest.raises(UserError) as caught:
        read_header(external_storage(tmp_path), ArrayPlace(command=command))
    assert ("DATA.EXTERNAL_FILES" in str(caught.value.hint)) == (command == "run")


def test_the_stamp_of_a_container_does_not_leave_it(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", PIXELS, "data", chunks=(16, 16))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "large").write_bytes(bytes(10_000))
    before = change_stamp(path)[0]
    (path / "out").symlink_to(tmp_path / "elsewhere")
    (path / "circle").symlink_to(path)
    assert change_stamp(path)[0] - before < 5_000


class TestInside:
    """References that stay in the container."""

    def test_hdf5(self, tmp_path: Path) -> None:
        import h5py

        path = write_hdf5(tmp_path / "a.h5", PIXELS, "deep/real")
        layout = h5py.VirtualLayout(PIXELS.shape, "uint16")
        layout[:] = h5py.VirtualSource(".", "soft/real", PIXELS.shape)
        absolute = h5py.VirtualLayout(PIXELS.shape, "uint16")
        absolute[:] = h5py.VirtualSource(str(path), "deep/real", PIXELS.shape)
        with h5py.File(path, "a") as file:
            file["soft"] = h5py.SoftLink("deep")
            file["deep/again"] = h5py.SoftLink("real")
            file.create_virtual_dataset("virtual", layout)
            file.create_virtual_dataset("absolute", absolute)
            file["loop"] = h5py.SoftLink("/loop")
        for name in ("soft/real", "deep/again", "soft/again", "virtual", "absolute"):
            assert (read_image(path, 2, arrays=ArrayPlace(name)).array[..., 0] == PIXELS).all()
        with pytest.raises(UserError):
            read_image(path, 2, arrays=ArrayPlace("loop"))

    @pytest.mark.parametrize("kind", ["zarr", "n5"])
    def test_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        write, chunk = {
            "zarr": (lambda path: write_zarr(path, PIXELS, "data", chunks=(16, 16)), "data/c/0/0"),
            "n5": (lambda path: write_n5(path, PIXELS, "data", blocks=(16, 16)), "data/0/0"),
        }[kind]
        path = write(tmp_path / f"a.{kind}")
        (path / chunk).rename(path / "chunk")
        (path / chunk).symlink_to(path / "chunk")
        (path / "data" / "loop").symlink_to(path)
        (path / "loop").symlink_to(path)
        (path / "same").symlink_to("data")
        (tmp_path / f"link.{kind}").symlink_to(path)  # the container itself may be a link
        monkeypatch.chdir(tmp_path)
        for name in (
            path,
            tmp_path / f"link.{kind}",
            Path(f"a.{kind}"),
            Path(f"../{tmp_path.name}/a.{kind}"),
        ):
            assert (read_image(name, 2).array[..., 0] == PIXELS).all()
        assert (read_image(path, 2, arrays=ArrayPlace("same")).array[..., 0] == PIXELS).all()

    @pytest.mark.parametrize("inside", ["../elsewhere/pixels", "..elsewhere.pixels", "data/../.."])
    @pytest.mark.parametrize("kind", ["zarr", "n5", "h5"])
    def test_names_of_arrays(self, tmp_path: Path, kind: str, inside: str) -> None:
        make = {"zarr": zarr_link("data/c/0/1"), "n5": n5_link("data/0/1"), "h5": virtual}
        path = make[kind](tmp_path)
        with pytest.raises(UserError) as caught:
            read_header(path, ArrayPlace(f"{inside}.{kind}/data"))
        assert caught.value.code == "io.no_such_array"


@pytest.mark.parametrize("kind", ["zarr", "n5"])
def test_a_pipe_in_a_container_does_not_block(tmp_path: Path, kind: str) -> None:
    make, chunk = {"zarr": (write_zarr, "data/c/0/0"), "n5": (write_n5, "data/0/0")}[kind]
    path = make(tmp_path / f"a.{kind}", PIXELS, "data")
    (path / chunk).unlink()
    os.mkfifo(path / chunk)
    for place in (ArrayPlace(), ALLOWED):
        with pytest.raises(UserError) as caught:
            read_image(path, 2, arrays=place)
        assert caught.value.code == "io.not_a_file"


class TestSets:
    """TIFF files of a set: other files are never opened for their planes."""

    def write(self, path: Path, uuid: str, name: str, tag: str = "UUID") -> None:
        link = f'<{tag} FileName="{name}">{uuid}</{tag}>' if name else ""
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="32" SizeY="32" SizeZ="1" SizeC="1" SizeT="1"><TiffData IFD="0">{link}'
            "</TiffData></Pixels></Image></OME>"
        )
        tifffile.imwrite(path, PIXELS, description=xml, metadata=None)

    @pytest.mark.parametrize("tag", ["UUID", "otherUUID"])
    @pytest.mark.parametrize("uuid", ["urn:uuid:b", "urn:uuid:a ", "urn:uuid:A"])
    @pytest.mark.parametrize("where", ["absolute", "parent"])
    def test_ome(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uuid: str, tag: str, where: str
    ) -> None:
        (tmp_path / "in").mkdir()
        secret = tmp_path / "secret.ome.tif"
        tifffile.imwrite(secret, PIXELS + 1)
        name = str(secret) if where == "absolute" else "../secret.ome.tif"
        path = tmp_path / "in" / "a.ome.tif"
        self.write(path, uuid, name, tag)
        assert opened_by(lambda: read_image(path, 2), monkeypatch) == {path.name}
        assert (read_image(path, 2).array[..., 0] == PIXELS).all()

    def test_ndtiff(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import struct

        (tmp_path / "in").mkdir()
        tifffile.imwrite(tmp_path / "secret.tif", PIXELS + 1)
        path = tmp_path / "in" / "a_NDTiffStack.tif"
        tifffile.imwrite(path, PIXELS, metadata=None)
        monkeypatch.setattr(
            tifffile.TiffFile, "micromanager_metadata", {"MajorVersion": 3, "MinorVersion": 1}
        )
        entries = b""
        for number, name in enumerate([path.name, "../secret.tif"]):
            axes, raw = json.dumps({"z": number}).encode(), name.encode()
            entries += struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(raw)) + raw
            entries += struct.pack("<IiiiiIii", 8, 32, 32, 1, 0, 0, 0, 0)
        (path.parent / "NDTiff.index").write_bytes(entries)
        assert opened_by(lambda: read_image(path, 2), monkeypatch) == {path.name}

    def test_a_companion_that_is_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "set.companion.ome")
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
            '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:c"/></OME>'
        )
        path = tmp_path / "a.ome.tif"
        tifffile.imwrite(path, PIXELS, description=xml, metadata=None)
        assert (read_image(path, 2).array[..., 0] == PIXELS).all()


def opened_by(read: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the names of the TIFF files that tifffile opens."""
    opened: set[str] = set()
    plain = tifffile.tifffile.FileHandle.open

    def note(handle: tifffile.FileHandle) -> None:
        if isinstance(handle._file, str | os.PathLike):
            opened.add(Path(handle._file).name)
        plain(handle)

    with monkeypatch.context() as patch:
        patch.setattr(tifffile.tifffile.FileHandle, "open", note)
        read()
    return opened


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Return a data set with one image that is stored elsewhere."""
    labels = np.zeros((32, 32), np.uint8)
    labels[4:12, 4:12], labels[18:28, 18:28] = 1, 2
    for name in ("x", "y"):
        (tmp_path / "set" / "train" / name).mkdir(parents=True)
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 99, (32, 32))
        pixels = (noise + 100 * (labels > 0)).astype(np.uint16)
        write_zarr(tmp_path / f"set/train/x/{number}.zarr", pixels, "data", chunks=(16, 16))
        tifffile.imwrite(tmp_path / f"set/train/y/{number}.tif", labels)
    (tmp_path / "elsewhere").mkdir()
    chunk = tmp_path / "set/train/x/1.zarr/data/c/0/0"
    chunk.rename(tmp_path / "elsewhere" / "chunk")
    chunk.symlink_to(tmp_path / "elsewhere" / "chunk")
    return tmp_path / "set"


class TestCommands:
    def test_survey(self, data_set: Path) -> None:
        with pytest.raises(UserError) as caught:
            survey_dataset(data_set)
        assert caught.value.code == "io.external_file"
        folders, _ = find_folders(data_set, external_files=True)
        assert len(survey_dataset(data_set, folders=folders).images) == 3

    def test_check(self, data_set: Path) -> None:
        found = [one for one in inspect_dataset(data_set).findings if one.kind == "unreadable"]
        assert [one.file.name for one in found] == ["1.zarr"]
        allowed = inspect_dataset(data_set, InspectSettings(external_files=True))
        assert not any(one.kind == "unreadable" for one in allowed.findings)

    def test_export(self, data_set: Path, tmp_path: Path) -> None:
        labels = write_zarr(data_set / "labels.zarr", np.ones((8, 8), np.uint8), "data")
        chunk = labels / "data/c/0/0"
        chunk.rename(tmp_path / "elsewhere" / "labels")
        chunk.symlink_to(tmp_path / "elsewhere" / "labels")
        (tmp_path / "given").mkdir()
        labels.rename(tmp_path / "given" / "labels.zarr")
        with pytest.raises(UserError) as caught:
            export(tmp_path / "given", "csv", tmp_path / "out")
        assert caught.value.code == "io.external_file"
        assert export(tmp_path / "given", "csv", tmp_path / "out", external_files=True)

    def test_block_arrays(self, tmp_path: Path) -> None:
        made = BlockArray.create(tmp_path / "a.zarr", (32, 32), np.uint16, ndim=2, chunks=(16, 16))
        made.write((slice(None), slice(None)), PIXELS)
        chunk = tmp_path / "a.zarr/0/c/0/0"
        chunk.rename(tmp_path / "chunk")
        chunk.symlink_to(tmp_path / "chunk")
        with pytest.raises(UserError) as caught:
            BlockArray.open(tmp_path / "a.zarr").read((slice(0, 8), slice(0, 8)))
        assert caught.value.code == "io.external_file"

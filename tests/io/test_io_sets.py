"""One file of a set, one image of several, one time point of several."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_sets import (
    HEAD,
    ORDER,
    SHAPE,
    image_text,
    plane_text,
    planes,
    set_ome,
    write_collection,
    write_companion,
    write_micromanager,
    write_plain,
    write_plate,
    write_positions,
)

from singula.errors import UserError
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image
from singula.io.read import (
    file_notes,
    image_layout,
    list_series,
    map_image,
    read_header,
    read_image,
)
from singula.io.selection import count_time_points

_SPEC = importlib.util.spec_from_file_location(
    "containers", Path(__file__).with_name("containers.py")
)
made = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(made)
write_hdf5, write_n5 = made.write_hdf5, made.write_n5


def assert_reads(path: Path, expected: np.ndarray, ndim: int = 2, **place: Any) -> str:
    """Check the pixels with every reader; return the notes."""
    arrays = ArrayPlace(**place)
    image = read_image(path, ndim, arrays=arrays)
    np.testing.assert_array_equal(image.array.squeeze(), expected.squeeze())
    lazy = open_image(path, ndim, arrays=arrays)
    assert lazy.shape == image.array.shape
    assert lazy.spacing == image.spacing
    whole = tuple(slice(0, size) for size in lazy.spatial_shape)
    np.testing.assert_array_equal(lazy.read(whole), image.array)
    part = tuple(slice(size // 3, size - 1) for size in lazy.spatial_shape)
    np.testing.assert_array_equal(lazy.read(part), image.array[part])
    mapped = map_image(path, ndim, arrays=arrays)
    if mapped is not None:
        np.testing.assert_array_equal(mapped, image.array)
    header = read_header(path, arrays)
    return " ".join(file_notes(header, image_layout(path, header, ndim, None)))


# ---- OME-TIFF sets -------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_each_position_of_a_set_is_its_own_image(tmp_path: Path, options: dict[str, Any]) -> None:
    files = write_positions(tmp_path, 3, **options)
    for number, (path, page) in enumerate(zip(files, planes(3), strict=True)):
        assert "3 files of a set" in assert_reads(path, page)
        assert read_header(path).spacing == (number + 1, number + 1)
        assert len(list_series(path)) == 1


@pytest.mark.parametrize("ome", [True, False])
def test_positions_of_micro_manager_by_their_index(tmp_path: Path, ome: bool) -> None:
    """The index of each file leads tifffile to all files of the folder."""
    pixels = planes(6).reshape(3, 2, *SHAPE)
    files = write_micromanager(tmp_path, pixels, ome=ome)
    with tifffile.TiffFile(files[1]) as tif:
        assert tif.is_mmstack
        assert tif.series[0].is_multifile
    for number, path in enumerate(files):
        note = assert_reads(path, np.moveaxis(pixels[number], 0, -1))
        assert "of a set" in note
    for path in files[:2]:
        path.unlink()
    assert_reads(files[2], np.moveaxis(pixels[2], 0, -1))


def test_positions_of_micro_manager_in_one_file_are_series(tmp_path: Path) -> None:
    pixels = planes(6).reshape(3, 2, *SHAPE)
    (path,) = write_micromanager(tmp_path, pixels, ome=True, together=True)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_mmstack
        assert len(tif.series) == 1
    assert [one.name for one in list_series(path)] == ["0", "1", "2"]
    for number, stack in enumerate(pixels):
        assert assert_reads(path, np.moveaxis(stack, 0, -1), series=number) == ""


def test_a_position_without_the_other_files_is_complete(tmp_path: Path) -> None:
    path = write_positions(tmp_path, 3)[1]
    alone = Path(shutil.move(path, tmp_path / "alone.ome.tif"))
    for other in tmp_path.glob("Pos*"):
        other.unlink()
    assert "3 files of a set" in assert_reads(alone, planes(3)[1])


def test_names_precede_ids_that_are_equal_in_all_files(tmp_path: Path) -> None:
    """A writer copies the same text into every file."""
    names = ["A_0.ome.tif", "A_1.ome.tif"]
    text = "".join(image_text(n, plane_text(name, 0, f"id{n}")) for n, name in enumerate(names))
    for name, page in zip(names, planes(2), strict=True):
        write_plain(tmp_path / name, page, f'{HEAD} UUID="urn:uuid:id0">{text}</OME>')
    for name, page in zip(names, planes(2), strict=True):
        assert_reads(tmp_path / name, page)


def test_a_channel_file_is_one_channel_of_its_set(tmp_path: Path) -> None:
    names = ["cell_Ch1.ome.tif", "cell_Ch2.ome.tif"]
    text = "".join(plane_text(name, 0, f"id{c}", c=c) for c, name in enumerate(names))
    xml = image_text(0, text, c=2)
    for c, (name, page) in enumerate(zip(names, planes(2), strict=True)):
        write_plain(tmp_path / name, page, f'{HEAD} UUID="urn:uuid:id{c}">{xml}</OME>')
    for name, page in zip(names, planes(2), strict=True):
        note = assert_reads(tmp_path / name, page)
        assert "1 of 2 channels" in note
    (tmp_path / names[0]).unlink()
    assert_reads(tmp_path / names[1], planes(2)[1])


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    split=st.sampled_from("CZT"),
    order=st.permutations("CZT"),
    shuffled=st.booleans(),
)
def test_any_split_of_a_stack_over_files(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: tuple[int, int, int],
    split: str,
    order: Sequence[str],
    shuffled: bool,
) -> None:
    """Each file holds the planes of one channel, slice or time point, in any order of pages."""
    folder = tmp_path_factory.mktemp("split")
    size = dict(zip("CZT", sizes, strict=True))
    stack = planes(int(np.prod(sizes))).reshape(*sizes, *SHAPE)  # C, Z, T, Y, X
    text, pages = "", []
    for part in range(size[split]):
        chosen = [
            (c, z, t)
            for t in range(size["T"])
            for z in range(size["Z"])
            for c in range(size["C"])
            if dict(C=c, Z=z, T=t)[split] == part
        ]
        chosen = chosen[::-1] if shuffled else chosen
        pages.append(np.stack([stack[place] for place in chosen]))
        for ifd, (c, z, t) in enumerate(chosen):
            text += plane_text(f"p{part}.ome.tif", ifd, f"id{part}", c=c, z=z, t=t)
    xml = image_text(0, text, *sizes).replace(ORDER, "XY" + "".join(order))
    for part, page in enumerate(pages):
        write_plain(
            folder / f"p{part}.ome.tif", page, f'{HEAD} UUID="urn:uuid:id{part}">{xml}</OME>'
        )
    axis = "CZT".index(split)
    ndim = 3 if size["Z"] > 1 and split != "Z" else 2
    for part in range(size[split]):
        own = stack.take([part], axis)
        for t in range(own.shape[2]):
            frame = t if own.shape[2] > 1 else None
            expected = np.moveaxis(own[:, :, t], 0, -1)
            assert_reads(folder / f"p{part}.ome.tif", expected, ndim, frame=frame)


def test_metadata_in_a_companion_file(tmp_path: Path) -> None:
    files = write_companion(tmp_path, "all.companion.ome")
    size = 'PhysicalSizeX="0.5" PhysicalSizeY="0.25"'
    text = "".join(
        image_text(n, plane_text(path.name, 0, f"id{n}"), more=size) for n, path in enumerate(files)
    )
    (tmp_path / "all.companion.ome").write_text(f'{HEAD} UUID="urn:uuid:main">{text}</OME>')
    for path, page in zip(files, planes(2), strict=True):
        assert_reads(path, page)
        assert read_header(path).spacing == (0.25, 0.5)


def test_pages_are_read_if_the_companion_is_missing(tmp_path: Path) -> None:
    files = write_companion(tmp_path, "gone.companion.ome")
    for path, page in zip(files, planes(2), strict=True):
        assert "gone.companion.ome" in assert_reads(path, page)


def test_a_renamed_single_file_is_read(tmp_path: Path) -> None:
    xml = image_text(
        0, plane_text("old.ome.tif", 0, "id0", c=0) + plane_text("old.ome.tif", 1, "id0", c=1), c=2
    )
    path = write_plain(tmp_path / "new.ome.tif", planes(2), f"{HEAD}>{xml}</OME>")
    assert_reads(path, np.moveaxis(planes(2), 0, -1))


def test_a_stack_cut_in_its_middle_is_refused(tmp_path: Path) -> None:
    """A writer starts a new file at 4 GB: three of four planes of (2 channels, 2 slices)."""
    text = "".join(
        plane_text("f0.ome.tif", n, "id0", c=n % 2, z=n // 2) for n in range(3)
    ) + plane_text("f1.ome.tif", 0, "id1", c=1, z=1)
    xml = image_text(0, text, c=2, z=2)
    path = write_plain(
        tmp_path / "f0.ome.tif", planes(3), f'{HEAD} UUID="urn:uuid:id0">{xml}</OME>'
    )
    with pytest.raises(UserError) as caught:
        read_header(path)
    assert caught.value.code == "io.part_of_a_stack"


def test_a_plane_of_the_file_itself_that_is_missing_is_damage(tmp_path: Path) -> None:
    text = plane_text("a.ome.tif", 0, "id0", z=0) + plane_text("a.ome.tif", 1, "id0", z=1)
    xml = image_text(0, text, z=2) + image_text(1, plane_text("b.ome.tif", 0, "id1"))
    path = write_plain(tmp_path / "a.ome.tif", planes(1), f'{HEAD} UUID="urn:uuid:id0">{xml}</OME>')
    with pytest.raises(UserError, match="cut off or damaged"):
        read_image(path, 3)


# ---- Several images in one file ------------------------------------------------------------


def test_series_of_different_shapes_in_an_ome_tiff(tmp_path: Path) -> None:
    first, second = planes(1)[0], planes(3, (30, 16))
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(first, metadata={"axes": "YX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2})
        sizes = {"PhysicalSizeX": 3, "PhysicalSizeY": 4, "PhysicalSizeZ": 5}
        tif.write(second, metadata={"axes": "ZYX", **sizes})
    assert "(3, 30, 16)" in assert_reads(path, first)
    assert assert_reads(path, first, series=0) == ""
    assert assert_reads(path, second, 3, series=1) == ""
    assert [one.name for one in list_series(path)] == ["0", "1"]
    assert read_header(path, ArrayPlace(series=0)).spacing == (0.2, 0.1)
    assert read_header(path, ArrayPlace(series=1)).spacing == (5, 4, 3)


def test_pages_of_different_shapes_in_a_plain_tiff(tmp_path: Path) -> None:
    images = [planes(1)[0], planes(1, (9, 40))[0], planes(1, (50, 8))[0]]
    with tifffile.TiffWriter(tmp_path / "pages.tif") as tif:
        for image in images:
            tif.write(image, metadata=None, contiguous=False)
    for number, image in enumerate(images):
        assert_reads(tmp_path / "pages.tif", image, series=number)
    assert len(read_header(tmp_path / "pages.tif").left_out) == 2


def test_thumbnails_and_pyramids_are_not_series(tmp_path: Path) -> None:
    image = planes(1, (64, 64))[0]
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(image, metadata=None, subifds=1, contiguous=False)
        tif.write(image[::2, ::2], metadata=None, subfiletype=1)
        tif.write(image[:7, :9].copy(), metadata=None, subfiletype=1)
    assert [one.name for one in list_series(tmp_path / "a.tif")] == ["0"]
    assert assert_reads(tmp_path / "a.tif", image) == ""


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.png", "a.h5", "a.n5", "a.zarr"])
def test_a_series_that_a_file_does_not_have(tmp_path: Path, name: str) -> None:
    path, array = tmp_path / name, planes(1)[0]
    {
        ".tif": lambda: tifffile.imwrite(path, array),
        ".npy": lambda: np.save(path, array),
        ".png": lambda: __import__("imageio").imwrite(path, array.astype(np.uint8)),
        ".h5": lambda: write_hdf5(path, array),
        ".n5": lambda: write_n5(path, array, "s0"),
        ".zarr": lambda: zarr.create_array(path, data=array),
    }[path.suffix]()
    for read in (
        lambda place: read_header(path, place),
        lambda place: read_image(path, 2, arrays=place),
        lambda place: open_image(path, 2, arrays=place),
        lambda place: list_series(path, place),
    ):
        for place in (ArrayPlace(), ArrayPlace(series=0)):
            read(place)
        with pytest.raises(UserError) as caught:
            read(ArrayPlace(series=1))
        assert caught.value.code == "io.no_such_series"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("kind", ["plate", "listed", "numbered"])
def test_images_of_plates_and_collections(tmp_path: Path, version: str, kind: str) -> None:
    path = tmp_path / "many.zarr"
    if kind == "plate":
        images = write_plate(path, version)
    else:
        images = write_collection(path, version, listed=kind == "listed")
    found = list_series(path)
    assert [one.name for one in found] == list(images)
    assert read_header(path).left_out == tuple(images)[1:]
    for number, (one, (name, array)) in enumerate(zip(found, images.items(), strict=True)):
        assert assert_reads(path, array, series=number) == ""
        assert assert_reads(path, array, inside=name) == ""
        np.testing.assert_array_equal(read_image(path, 2, arrays=one.place).array[..., 0], array)
    assert list(images)[1] in assert_reads(path, next(iter(images.values())))


def test_one_well_of_a_plate(tmp_path: Path) -> None:
    images = write_plate(tmp_path / "p.zarr", "0.4")
    place = ArrayPlace(inside="A/1")
    assert [one.name for one in list_series(tmp_path / "p.zarr", place)] == ["A/1/0", "A/1/1"]
    assert_reads(tmp_path / "p.zarr", images["A/1/1"], inside="A/1", series=1)


@pytest.mark.parametrize("command", ["run", "predict"])
@pytest.mark.parametrize("suffix", [".h5", ".n5", ".zarr"])
def test_several_arrays_name_the_option_of_the_command(
    tmp_path: Path, suffix: str, command: str
) -> None:
    path = tmp_path / f"two{suffix}"
    for name, array in zip(("raw", "other"), planes(2), strict=True):
        if suffix == ".zarr":
            zarr.open_group(path, mode="a").create_array(name, data=array)
        else:
            (write_hdf5 if suffix == ".h5" else write_n5)(path, array, name)
    with pytest.raises(UserError, match=r"raw .*|other .*") as caught:
        read_header(path, ArrayPlace(command=command))
    assert caught.value.code == "io.several_arrays"
    hint = caught.value.hint or ""
    assert ("--array" in hint) == (command == "predict")
    assert ("INPUT_ZARR" in hint) == (command == "run")
    for name, array in zip(("raw", "other"), planes(2), strict=True):
        assert_reads(path, array, inside=name)
    with pytest.raises(UserError) as caught:
        read_header(path, ArrayPlace("none", command=command))
    assert caught.value.code == "io.no_such_array"
    assert ("--array" in (caught.value.hint or "")) == (command == "predict")


# ---- Time ----------------------------------------------------------------------------------


def write_time_zarr(path: Path, array: np.ndarray, axes: list[Any], version: str) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    group.create_array("0", data=array)
    set_ome(group, version, {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]})
    return path


def typed(*names: str) -> list[dict[str, str]]:
    kinds = ("time", "space", "space")
    return [{"name": n, "type": kind} for n, kind in zip(names, kinds, strict=True)]


TIME_AXES = [
    typed("t", "y", "x"),
    typed("T", "Y", "X"),
    typed("time", "y", "x"),
    typed("duration", "row", "column"),
    typed("z", "y", "x"),  # the type takes precedence over the name
    typed("c", "dim_1", "dim_2"),
    ["t", "y", "x"],
    ["TIME", "Y", "X"],
    [{"name": "Time"}, {"name": "y"}, {"name": "x"}],
    [{"name": "frame"}, {"name": "unknown"}, {"name": "x"}],
]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", TIME_AXES)
def test_a_time_axis_of_ome_zarr_is_never_another(
    tmp_path: Path, axes: list[Any], version: str
) -> None:
    path = write_time_zarr(tmp_path / "t.zarr", planes(3), axes, version)
    assert_refuses_time(path, 3)


def assert_refuses_time(path: Path, count: int) -> None:
    """Check that a time-lapse is neither channels nor slices, with both kinds of hints."""
    assert count_time_points(read_header(path)) == count
    for ndim in (2, 3):
        for channels in (None, 1, count):
            for command, word in (("run", "one file per time point"), ("predict", "--frames all")):
                place = ArrayPlace(command=command)
                for read in (read_image, open_image):
                    with pytest.raises(UserError, match=f"{count} time points") as caught:
                        read(path, ndim, channels, arrays=place)
                    assert caught.value.code == "io.time_points"
                    assert word in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("axes", "letters"),
    [
        ([{"name": "Channel", "type": "channel"}, *typed("t", "Y", "X")[1:]], "CYX"),
        ([{"name": "z", "type": "channel"}, *typed("t", "y", "x")[1:]], "CYX"),
        ([{"name": "depth", "type": "space"}, *typed("t", "a", "b")[1:]], None),
        ([{"name": "i", "type": "space"}, *typed("t", "j", "k")[1:]], "ZYX"),
        (["Channels", "Rows", "Columns"], "CYX"),
        (["SLICE", "y", "x"], "ZYX"),
    ],
)
def test_axes_of_ome_zarr_by_type_and_name(
    tmp_path: Path, axes: list[Any], letters: str | None
) -> None:
    path = write_time_zarr(tmp_path / "a.zarr", planes(3), axes, "0.4")
    assert read_header(path).axes == letters


def test_a_time_axis_of_plain_containers_is_never_another(tmp_path: Path) -> None:
    array = planes(3)
    tags = '{"axes": [{"key": "t"}, {"key": "y"}, {"key": "x"}]}'
    write_hdf5(tmp_path / "tags.h5", array)
    with h5py.File(tmp_path / "tags.h5", "a") as file:
        file["data"].attrs["axistags"] = tags
    for names in (("t", "y", "x"), ("Time", "", "")):
        write_hdf5(tmp_path / f"{names[0]}.h5", array)
        with h5py.File(tmp_path / f"{names[0]}.h5", "a") as file:
            for dim, label in zip(file["data"].dims, names, strict=True):
                dim.label = label
    zarr.create_array(tmp_path / "v3.zarr", data=array, dimension_names=["time", "y", "x"])
    old = zarr.create_array(tmp_path / "v2.zarr", data=array, zarr_format=2)
    old.attrs["_ARRAY_DIMENSIONS"] = ["T", "lat", "lon"]
    write_n5(tmp_path / "a.n5", array, "s0", axes=["x", "y", "time"])
    for path in tmp_path.iterdir():
        assert_refuses_time(path, 3)
        for frame, page in enumerate(array):
            if path.name not in ("v2.zarr", "Time.h5"):  # their other axes are not known
                assert_reads(path, page, frame=frame)


def write_time_tiff(path: Path, kind: str) -> np.ndarray:
    array = planes(3)
    if kind == "ome":
        tifffile.imwrite(path, array, ome=True, metadata={"axes": "TYX"})
    elif kind == "imagej":
        tifffile.imwrite(path, array, imagej=True, metadata={"axes": "TYX"})
    elif kind == "compressed":
        tifffile.imwrite(path, array, metadata={"axes": "TYX"}, compression="zlib")
    else:
        tifffile.imwrite(path, array, metadata={"axes": "tyx"})
    return array


@pytest.mark.parametrize("kind", ["ome", "imagej", "compressed", "lower"])
def test_a_time_axis_of_tiff_is_never_another(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "t.tif"
    array = write_time_tiff(path, kind)
    assert_refuses_time(path, 3)
    for frame, page in enumerate(array):
        assert_reads(path, page, frame=frame)
    for frame in (-1, 3):
        with pytest.raises(UserError) as caught:
            read_header(path, ArrayPlace(frame=frame))
        assert caught.value.code == "io.no_such_frame"


def test_time_points_of_volumes_with_channels(tmp_path: Path) -> None:
    array = planes(2 * 3 * 2).reshape(2, 3, 2, *SHAPE)  # T, Z, C
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TZCYX"})
    write_hdf5(tmp_path / "a.h5", array)
    for name in ("a.tif", "a.h5"):
        for frame in range(2):
            assert_reads(tmp_path / name, np.moveaxis(array[frame], 1, -1), 3, frame=frame)


def test_an_image_without_time_is_its_only_time_point(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", planes(1)[0])
    assert_reads(tmp_path / "a.npy", planes(1)[0], frame=0)
    with pytest.raises(UserError) as caught:
        read_image(tmp_path / "a.npy", 2, arrays=ArrayPlace(frame=1))
    assert caught.value.code == "io.no_such_frame"

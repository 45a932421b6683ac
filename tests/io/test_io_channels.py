"""Selection of one channel by its name or number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from selection import fast_first
from tests.io.containers import write_hdf5, write_n5, write_ome, write_zarr

from singula.errors import UserError
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image
from singula.io.read import file_notes, image_layout, map_image, read_header, read_image

NAMES = ("DAPI", "GFP", "mCherry")
PLANES = np.random.default_rng(0).integers(0, 999, (3, 20, 24), np.uint16)
VOLUME = np.random.default_rng(1).integers(0, 999, (5, 3, 20, 24), np.uint16)  # z, c, y, x
MOVIE = np.random.default_rng(2).integers(0, 999, (4, 3, 20, 24), np.uint16)  # t, c, y, x


def ome_tiff(path: Path, **options: Any) -> Path:
    metadata = {"axes": "CYX", "Channel": {"Name": list(NAMES)}}
    tifffile.imwrite(path / "a.ome.tif", PLANES, metadata=metadata, **options)
    return path / "a.ome.tif"


def ome_volume(path: Path) -> Path:
    metadata = {"axes": "ZCYX", "Channel": {"Name": list(NAMES)}, "PhysicalSizeZ": 2.0}
    tifffile.imwrite(path / "v.ome.tif", VOLUME, metadata=metadata)
    return path / "v.ome.tif"


def imagej(path: Path) -> Path:
    tifffile.imwrite(
        path / "a.tif", PLANES, imagej=True, metadata={"axes": "CYX", "Labels": list(NAMES)}
    )
    return path / "a.tif"


def imagej_volume(path: Path) -> Path:
    labels = [f"{name} {z}" for z in range(5) for name in NAMES]
    tifffile.imwrite(
        path / "v.tif", VOLUME, imagej=True, metadata={"axes": "ZCYX", "Labels": labels}
    )
    return path / "v.tif"


def ome_zarr(path: Path) -> Path:
    import zarr

    write_ome(path / "a.ome.zarr", PLANES, "cyx", [1, 0.5, 0.5])
    group = zarr.open_group(path / "a.ome.zarr", mode="a")
    described = {"channels": [{"label": name, "color": "FFFFFF"} for name in NAMES]}
    group.attrs["ome"] = {**group.attrs["ome"], "omero": described}
    return path / "a.ome.zarr"


def old_ome_zarr(path: Path) -> Path:
    import zarr

    write_ome(path / "a.zarr", PLANES, "cyx", [1, 0.5, 0.5], version="0.4")
    group = zarr.open_group(path / "a.zarr", mode="a")
    group.attrs["omero"] = {"channels": [{"label": name} for name in NAMES]}
    return path / "a.zarr"


def assert_selected(path: Path, expected: np.ndarray, ndim: int = 2, **place: Any) -> None:
    """Compare the pixels of every reader with those of the channel."""
    arrays = ArrayPlace(**place)
    image = read_image(path, ndim, 1, arrays=arrays)
    np.testing.assert_array_equal(image.array[..., 0], expected)
    assert image.array.shape[-1] == 1
    lazy = open_image(path, ndim, 1, arrays=arrays)
    assert lazy.spacing == image.spacing
    part = tuple(slice(size // 3, size - 1) for size in lazy.spatial_shape)
    np.testing.assert_array_equal(lazy.read(part), image.array[part])
    mapped = map_image(path, ndim, 1, arrays=arrays)
    if mapped is not None:
        np.testing.assert_array_equal(mapped, image.array)


@pytest.mark.parametrize("write", fast_first([ome_tiff, imagej, ome_zarr, old_ome_zarr], 4))
def test_names_and_numbers(write, tmp_path: Path) -> None:
    path = write(tmp_path)
    assert read_header(path).channel_names == NAMES
    for number, name in enumerate(NAMES):
        for text in (name, name.lower(), f" {name} ", str(number)):
            assert_selected(path, PLANES[number], channel=text)
    header = read_header(path, ArrayPlace(channel="gfp"))
    assert header.channel_names == ("GFP",)
    assert header.axes == "YX"


@pytest.mark.parametrize(
    "options", [{"compression": "zlib"}, {"tile": (16, 16)}, {"rowsperstrip": 3}]
)
def test_compressed_and_tiled_pixels(tmp_path: Path, options: dict[str, Any]) -> None:
    assert_selected(ome_tiff(tmp_path, **options), PLANES[1], channel="GFP")


def test_volumes_and_time_points(tmp_path: Path) -> None:
    assert_selected(ome_volume(tmp_path), VOLUME[:, 2], 3, channel="mCherry")
    # Labels of the slices of an ImageJ stack are names of channels only if they are different.
    assert_selected(imagej_volume(tmp_path), VOLUME[:, 1], 3, channel="1")
    movie = tmp_path / "movie.tif"
    tifffile.imwrite(movie, MOVIE, imagej=True, metadata={"axes": "TCYX"})
    assert_selected(movie, MOVIE[3, 1], frame=3, channel="1")
    write_hdf5(tmp_path / "movie.h5", MOVIE[:, :, None])  # five axes: t, z, c, y, x
    with pytest.raises(UserError) as caught:
        read_image(tmp_path / "movie.h5", 3, 1, arrays=ArrayPlace(channel="0"))
    assert caught.value.code == "io.time_points"


@pytest.mark.parametrize(
    ("shape", "ndim", "axis"),
    [((3, 20, 24), 2, 0), ((20, 24, 3), 2, 2), ((1, 3, 20, 24), 2, 1), ((5, 3, 20, 24), 3, 1),
     ((3, 5, 20, 24), 3, 0), ((5, 20, 24, 3), 3, 3)],
)  # fmt: skip
def test_axes_from_the_shape(tmp_path: Path, shape: tuple[int, ...], ndim: int, axis: int) -> None:
    """Without names of axes, the smallest axis that can be the channels is read as channels."""
    array = np.random.default_rng(3).integers(0, 999, shape, np.uint16)
    np.save(tmp_path / "a.npy", array)
    write_hdf5(tmp_path / "a.h5", array)
    write_zarr(tmp_path / "a.zarr", array)
    write_n5(tmp_path / "a.n5", array)
    for suffix in ("npy", "h5", "zarr", "n5"):
        path = tmp_path / f"a.{suffix}"
        expected = array.take(2, axis).squeeze()
        assert_selected(path, expected, ndim, channel="2")
        header = read_header(path, ArrayPlace(channel="2"))
        notes = file_notes(header, image_layout(path, header, ndim, 1))
        assert any(f"axis {axis} " in note for note in notes)


def test_a_color_of_a_picture(tmp_path: Path) -> None:
    colors = np.random.default_rng(4).integers(0, 255, (20, 24, 3), np.uint8)
    PIL.Image.fromarray(colors).save(tmp_path / "a.png")
    PIL.Image.fromarray(np.dstack([colors, colors[..., :1]])).save(tmp_path / "alpha.png")
    tifffile.imwrite(tmp_path / "a.tif", colors, tile=(16, 16), photometric="rgb")
    np.save(tmp_path / "a.npy", colors)
    for name in ("a.png", "alpha.png", "a.tif", "a.npy"):
        for number in range(3):
            assert_selected(tmp_path / name, colors[..., number], color=number)
    indices, palette = colors[..., 0] % 4, colors.reshape(-1, 3)[:4]
    indexed = PIL.Image.fromarray(indices, mode="P")
    indexed.putpalette(palette.ravel().tolist())
    indexed.save(tmp_path / "palette.png")
    assert_selected(tmp_path / "palette.png", palette[indices, 1], color=1)
    assert_selected(tmp_path / "palette.png", palette[indices, 2], channel="blue")
    tifffile.imwrite(tmp_path / "gray.tif", colors[..., 0])
    for name, number in (("a.png", 5), ("gray.tif", 0)):
        with pytest.raises(UserError) as caught:
            read_image(tmp_path / name, 2, arrays=ArrayPlace(color=number))
        assert caught.value.code == "io.no_such_color"


def test_errors_name_the_channels(tmp_path: Path) -> None:
    path = ome_tiff(tmp_path)
    for text in ("Cy5", "3", "-1", "1.0", "9" * 50):
        with pytest.raises(UserError) as caught:
            read_image(path, 2, 1, arrays=ArrayPlace(channel=text))
        assert caught.value.code == "io.no_such_channel"
        assert all(name in str(caught.value) for name in NAMES)
    for command, remedy in (("run", "DATA.CHANNEL"), ("predict", "--channel")):
        with pytest.raises(UserError) as caught:
            read_image(path, 2, 1, arrays=ArrayPlace(command=command))
        assert caught.value.code == "io.channel_count"
        assert "DAPI, GFP, mCherry" in str(caught.value)
        assert remedy in (caught.value.hint or "")


def test_a_single_channel(tmp_path: Path) -> None:
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, PLANES[0], metadata=None)
    # A file without names cannot contradict the name of its only channel.
    for text in ("0", "DAPI"):
        assert_selected(plain, PLANES[0], channel=text)
    named = tmp_path / "named.ome.tif"
    tifffile.imwrite(named, PLANES[0], metadata={"axes": "YX", "Channel": {"Name": "DAPI"}})
    assert_selected(named, PLANES[0], channel="DAPI")
    for path, text in ((plain, "1"), (named, "GFP")):
        with pytest.raises(UserError) as caught:
            read_image(path, 2, 1, arrays=ArrayPlace(channel=text))
        assert caught.value.code == "io.no_such_channel"


def test_numbers_as_names(tmp_path: Path) -> None:
    """A name takes precedence over a number."""
    metadata = {"axes": "CYX", "Channel": {"Name": ["488", "561", "1"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANES, metadata=metadata)
    for text, number in (("488", 0), ("561", 1), ("1", 2), ("0", 0), ("2", 2)):
        assert_selected(tmp_path / "a.ome.tif", PLANES[number], channel=text)


def test_names_that_do_not_distinguish_channels_are_ignored(tmp_path: Path) -> None:
    for names in (["a", "a", "b"], ["a", "", "b"]):
        metadata = {"axes": "CYX", "Channel": {"Name": names}}
        tifffile.imwrite(tmp_path / "a.ome.tif", PLANES, metadata=metadata)
        assert read_header(tmp_path / "a.ome.tif").channel_names == ()
        assert_selected(tmp_path / "a.ome.tif", PLANES[2], channel="2")


def test_a_color_is_selected_as_a_channel(tmp_path: Path) -> None:
    color = np.random.default_rng(0).integers(0, 255, (20, 24, 3), np.uint8)
    alpha = np.full((20, 24, 1), 255, np.uint8)
    PIL.Image.fromarray(color).save(tmp_path / "a.png")
    PIL.Image.fromarray(np.concatenate([color, alpha], -1)).save(tmp_path / "alpha.png")
    tifffile.imwrite(tmp_path / "a.tif", color, photometric="rgb")
    planes = np.moveaxis(color, -1, 0)
    tifffile.imwrite(tmp_path / "b.tif", planes, photometric="rgb", planarconfig="separate")
    for name in ("a.png", "alpha.png", "a.tif", "b.tif"):
        for text, number in (("R", 0), ("1", 1), ("blue", 2)):
            assert_selected(tmp_path / name, color[..., number], channel=text)
        for text in ("3", "DAPI", "-1"):
            with pytest.raises(UserError) as caught:
                read_image(tmp_path / name, 2, arrays=ArrayPlace(channel=text))
            assert caught.value.code == "io.color_channels"
    for name in ("a.png", "a.tif"):
        with pytest.raises(UserError) as caught:
            read_image(tmp_path / name, 2, 1, arrays=ArrayPlace(command="predict"))
        assert "--channel" not in (caught.value.hint or "")


def test_orientation_tags_of_channels(tmp_path: Path) -> None:
    """The axes of a rotated TIFF stay right if the channels, which are its first axis, go."""
    path = tmp_path / "a.ome.tif"
    tag = [(274, "H", 1, 6, True)]
    tifffile.imwrite(path, PLANES, metadata={"axes": "CYX"}, extratags=tag)
    whole = read_image(path, 2).array
    assert whole.shape[:2] == (24, 20)
    assert_selected(path, whole[..., 1], channel="1")


def test_an_unconfirmed_channel_name_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, PLANES[0], metadata=None)
    for text, has_note in (("DAPI", True), ("0", False)):
        notes = read_header(path, ArrayPlace(channel=text)).notes
        assert any(text in note for note in notes) == has_note

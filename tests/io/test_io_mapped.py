"""Memory-mapped files, and warnings about labels."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from singula.errors import UserError
from singula.io.read import map_image, map_labels, read_image, read_labels
from singula.io.write import write_tiff

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16"])
@pytest.mark.parametrize(
    ("axes", "shape"), [("YX", (9, 8)), ("YXC", (9, 8, 3)), ("ZYXC", (3, 9, 8, 2))]
)
def test_a_mapped_tiff_equals_the_read_image(
    tmp_path: Path, dtype: str, axes: str, shape: tuple[int, ...]
) -> None:
    array = (RNG.random(shape) * 100).astype(dtype)
    path = write_tiff(tmp_path / "a.tif", array, axes, compress=False)
    ndim, channels = (3 if "Z" in axes else 2), shape[-1] if "C" in axes else 1
    mapped, read = map_image(path, ndim, channels), read_image(path, ndim, channels).array
    assert mapped is not None
    assert not mapped.flags.writeable
    assert mapped.dtype == read.dtype
    np.testing.assert_array_equal(mapped, read)


def test_npy_is_mapped(tmp_path: Path) -> None:
    array = RNG.integers(0, 9, (3, 9, 8)).astype(np.uint16)
    for name, stored in (("c", array), ("fortran", np.asfortranarray(array))):
        np.save(tmp_path / f"{name}.npy", stored)
        mapped = map_image(tmp_path / f"{name}.npy", 3, 1)
        assert mapped is not None
        np.testing.assert_array_equal(mapped[..., 0], array)


def test_files_that_cannot_be_mapped_are_read(tmp_path: Path) -> None:
    array = RNG.integers(0, 999, (40, 30)).astype(np.uint16)
    write_tiff(tmp_path / "deflated.tif", array, "YX")
    tifffile.imwrite(tmp_path / "foreign.tif", array, byteorder=">")
    for name in ("deflated", "foreign"):
        assert map_image(tmp_path / f"{name}.tif", 2, 1) is None
    with pytest.raises(UserError, match=r"3 channel|ends in"):
        map_image(write_tiff(tmp_path / "b.tif", array, "YX", compress=False), 2, 3)


def test_labels_are_mapped_if_only_their_type_would_change(tmp_path: Path) -> None:
    labels = RNG.integers(0, 9, (20, 30)).astype(np.uint32)
    path = write_tiff(tmp_path / "a.tif", labels, "YX", compress=False)
    mapped = map_labels(path, 2)
    assert mapped is not None
    np.testing.assert_array_equal(mapped, read_labels(path, 2).array)
    both = np.stack([labels, labels % 2], axis=-1)
    path = write_tiff(tmp_path / "b.tif", both, "YXC", compress=False)
    assert map_labels(path, 2) is None  # its second channel is left out
    np.testing.assert_array_equal(map_labels(path, 2, True), both)
    path = write_tiff(tmp_path / "c.tif", labels.astype(np.float32), "YX")
    assert map_labels(path, 2) is None


def test_gray_images_become_color_images_if_allowed(tmp_path: Path) -> None:
    gray, color = RNG.integers(0, 9, (9, 8)), RNG.integers(0, 9, (9, 8, 3))
    one = write_tiff(tmp_path / "g.tif", gray.astype(np.uint8), "YX", compress=False)
    three = write_tiff(tmp_path / "c.tif", color.astype(np.uint8), "YXS", compress=False)
    for path, expected in ((one, np.stack([gray] * 3, axis=-1)), (three, color)):
        np.testing.assert_array_equal(read_image(path, 2, 3, allow_gray=True).array, expected)
        np.testing.assert_array_equal(map_image(path, 2, 3, allow_gray=True), expected)
    with pytest.raises(UserError, match="1 channel"):
        read_image(one, 2, 3)

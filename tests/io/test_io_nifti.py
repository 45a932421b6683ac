"""NIfTI volumes are read with their axes, sizes and scales."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from singula.dataset.checks import inspect_dataset
from singula.errors import UserError
from singula.io.formats import containers
from singula.io.formats.table import stem_of, suffix_of
from singula.io.lazy import open_image, open_labels
from singula.io.list_images import list_images
from singula.io.pairing import pair_files
from singula.io.read import map_image, read_header, read_image, read_labels
from singula.util.format import install_command

nibabel = pytest.importorskip("nibabel", reason="NIfTI files: pip install 'singula[nifti]'")
RNG = np.random.default_rng(0)


def save(path: Path, array: np.ndarray, sizes: tuple[float, ...] = (), unit: str = "mm") -> Path:
    """Write an array (…, z, y, x); NIfTI stores x first."""
    image = nibabel.Nifti1Image(array.T, np.eye(4), dtype=array.dtype)
    if sizes:
        image.header.set_zooms(sizes[::-1] + (1.0,) * (array.ndim - len(sizes)))
        image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, ">i2"])
def test_a_volume(tmp_path: Path, suffix: str, dtype: type) -> None:
    values = RNG.integers(0, 200, (5, 7, 9)).astype(dtype)
    path = save(tmp_path / f"a.b{suffix}", values, (2.0, 0.5, 0.25), "micron")
    assert (stem_of(path), suffix_of(path)) == ("a.b", suffix)
    header = read_header(path)
    assert (header.shape, header.axes, header.dtype) == (values.shape, "ZYX", header.dtype)
    assert header.dtype == np.dtype(dtype).newbyteorder("=")
    image = read_image(path, 3)
    np.testing.assert_array_equal(image.array[..., 0], values)
    assert image.array.dtype == header.dtype
    assert image.array.flags.c_contiguous
    assert image.spacing == (2.0, 0.5, 0.25)
    assert (image.unit, image.name) == ("µm", "a.b")
    box = (slice(1, 4), slice(0, 7), slice(3, 5))
    np.testing.assert_array_equal(open_image(path, 3).read(box)[..., 0], values[box])
    assert map_image(path, 3) is None


def test_sizes_that_are_not_set_are_unknown(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", np.ones((3, 4, 5), np.uint8))
    assert read_image(path, 3).spacing is None
    path = save(tmp_path / "b.nii.gz", np.ones((3, 4, 5), np.uint8), (1.0, 1.0, 1.0))
    assert (read_image(path, 3).spacing, read_image(path, 3).unit) == ((1.0, 1.0, 1.0), "mm")


def test_a_scale_in_the_header_is_applied(tmp_path: Path) -> None:
    stored = RNG.integers(0, 100, (3, 4, 5)).astype(np.int16)
    image = nibabel.Nifti1Image(stored.T, np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "a.nii")
    shown = np.asarray(nibabel.load(tmp_path / "a.nii").dataobj).T
    found = read_image(tmp_path / "a.nii", 3)
    np.testing.assert_allclose(found.array[..., 0], shown)
    assert read_header(tmp_path / "a.nii").dtype == found.array.dtype == np.float64


@pytest.mark.parametrize("shape", [(7, 9), (1, 7, 9)])
def test_an_image(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = RNG.integers(0, 200, shape).astype(np.uint8)
    path = save(tmp_path / "a.nii.gz", values)
    np.testing.assert_array_equal(read_image(path, 2).array[..., 0], values.reshape(7, 9))


def test_channels_and_classes_are_the_fifth_axis(tmp_path: Path) -> None:
    values = RNG.integers(0, 3, (2, 1, 4, 5, 6)).astype(np.uint8)
    path = save(tmp_path / "a.nii.gz", values)
    np.testing.assert_array_equal(read_image(path, 3, 2).array, np.moveaxis(values[:, 0], 0, -1))
    found = read_labels(path, 3, True, n_classes=3).array
    np.testing.assert_array_equal(found, np.moveaxis(values[:, 0], 0, -1))


def test_whole_floats_are_labels(tmp_path: Path) -> None:
    ids = RNG.integers(0, 9, (4, 5, 6))
    path = save(tmp_path / "a.nii.gz", ids.astype(np.float32))
    found = read_labels(path, 3).array
    np.testing.assert_array_equal(found[..., 0], ids)
    assert found.dtype == np.uint8
    assert open_labels(path, 3).read((slice(0, 2),) * 3).shape == (2, 2, 2, 1)


def test_unreadable_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving = save(tmp_path / "t.nii", np.zeros((3, 4, 5, 6), np.uint8))
    with pytest.raises(UserError, match=r"t\.nii"):
        read_image(moving, 3)
    (tmp_path / "bad.nii.gz").write_bytes(b"no volume")
    with pytest.raises(UserError, match=r"bad\.nii\.gz: cannot be read as NIfTI"):
        read_image(tmp_path / "bad.nii.gz", 3)
    colors = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colors, np.eye(4)), tmp_path / "rgb.nii")
    with pytest.raises(UserError, match="its values are colors"):
        read_image(tmp_path / "rgb.nii", 3)

    def gone(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(containers, "import_module", gone)
    with pytest.raises(UserError, match="the library nibabel is needed") as caught:
        read_image(moving, 3)
    assert caught.value.hint == install_command("nifti")


def test_a_folder_of_nnunet(tmp_path: Path) -> None:
    ids = np.zeros((12, 40, 40), np.uint16)
    ids[3:9, 5:15, 5:15], ids[3:9, 20:33, 20:33] = 1, 2
    for name in ("s_001", "s_002"):
        image = (60 * (ids > 0) + RNG.integers(0, 20, ids.shape)).astype(np.uint8)
        for folder, file, array in (
            ("imagesTr", f"{name}_0000.nii.gz", image),
            ("labelsTr", f"{name}.nii.gz", ids),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            save(tmp_path / folder / file, array, (2.0, 1.0, 1.0), "micron")
    (tmp_path / "labelsTr" / "notes.gz").write_bytes(b"x")
    assert len(list_images(tmp_path / "labelsTr", "y")) == 2
    pairs = pair_files(tmp_path / "imagesTr", tmp_path / "labelsTr", "x", "y")
    assert [(p.name, p.label.name) for p in pairs if p.label] == [
        ("s_001_0000", "s_001.nii.gz"), ("s_002_0000", "s_002.nii.gz"),
    ]  # fmt: skip
    found = inspect_dataset(tmp_path)
    assert (found.ndim, found.parts[0].objects) == (3, 4)
    assert not found.problems

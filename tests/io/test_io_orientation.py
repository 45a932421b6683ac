"""Orientation tags and affines: image and label are read as viewers show them."""

from __future__ import annotations

from io import BytesIO
from itertools import permutations, product
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile

from singula.dataset.checks import inspect_dataset
from singula.dataset.facts import survey_dataset
from singula.errors import UserError
from singula.io.lazy import open_image, open_labels
from singula.io.pairing import Pair, check_pairs, pair_files
from singula.io.read import map_image, read_header, read_image, read_labels
from singula.io.write import write_tiff

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (7, 10)).astype(np.uint8)
COLOR = RNG.integers(0, 255, (7, 10, 3)).astype(np.uint8)
TURNS = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a),
}  # fmt: skip


def shown(path: Path) -> np.ndarray:
    """Return the pixels as Pillow shows them, from memory, because mapped files are not rotated."""
    with PIL.Image.open(BytesIO(path.read_bytes())) as image:
        return np.array(PIL.ImageOps.exif_transpose(image))


def check_reads(path: Path, expected: np.ndarray, channels: int) -> None:
    """Compare the header, the whole image and boxes with the expected pixels (y, x, c)."""
    header = read_header(path)
    assert header.shape[: expected.ndim - 1] == expected.shape[:-1]
    np.testing.assert_array_equal(read_image(path, 2, channels).array, expected)
    lazy = open_image(path, 2, channels)
    assert lazy.spatial_shape == expected.shape[:2]
    for _ in range(5):
        starts = [int(RNG.integers(0, size)) for size in lazy.spatial_shape]
        box = tuple(
            slice(start, int(RNG.integers(start + 1, size + 1)))
            for start, size in zip(starts, lazy.spatial_shape, strict=True)
        )
        np.testing.assert_array_equal(lazy.read(box), expected[box])
    mapped = map_image(path, 2, channels)
    assert mapped is None or np.array_equal(mapped, expected)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_exif(tmp_path: Path, tag: int, suffix: str, mode: str) -> None:
    if (suffix, mode) == (".jpg", "P"):
        return
    exif = PIL.Image.Exif()
    exif[274] = tag
    path = tmp_path / f"a{suffix}"
    image = PIL.Image.fromarray(GREY if mode == "L" else COLOR)
    (image.convert("P") if mode == "P" else image).save(path, exif=exif.tobytes())
    with PIL.Image.open(path) as stored:
        turned = PIL.ImageOps.exif_transpose(stored)
        expected = np.array(turned.convert("RGB") if mode == "P" else turned)
    expected = expected if expected.ndim == 3 else expected[..., None]
    check_reads(path, expected, expected.shape[-1])
    assert any(f"tag, {tag}," in note for note in read_header(path).notes) == (tag > 1)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 3},
                                     {"compression": "zlib", "tile": (16, 16)}])  # fmt: skip
@pytest.mark.parametrize("color", [False, True])
def test_tiff(tmp_path: Path, tag: int, options: dict, color: bool) -> None:
    array, path = COLOR if color else GREY, tmp_path / "a.tif"
    extra = [(274, "H", 1, tag, True)]
    tifffile.imwrite(path, array, extratags=extra, metadata=None, **options,
                     photometric="rgb" if color else "minisblack")  # fmt: skip
    expected = TURNS[tag](array)
    np.testing.assert_array_equal(shown(path), expected)
    check_reads(path, expected.reshape(*expected.shape[:2], -1), 3 if color else 1)


@pytest.mark.parametrize("tag", range(1, 9))
def test_stack_with_sizes(tmp_path: Path, tag: int) -> None:
    """Each plane of a stack is rotated; the pixel sizes follow the axes."""
    stack, path = RNG.integers(0, 255, (4, 7, 10)).astype(np.uint8), tmp_path / "a.tif"
    tifffile.imwrite(
        path, stack, imagej=True, resolution=(1 / 0.5, 1 / 0.25),
        metadata={"axes": "ZYX", "spacing": 2, "unit": "um"},
        extratags=[(274, "H", 1, tag, True)],
    )  # fmt: skip
    found = read_image(path, 3)
    expected = np.stack([TURNS[tag](plane) for plane in stack])
    np.testing.assert_array_equal(found.array[..., 0], expected)
    assert found.spacing == ((2, 0.25, 0.5) if tag < 5 else (2, 0.5, 0.25))
    box = (slice(1, 3), slice(2, 6), slice(1, 5))
    np.testing.assert_array_equal(open_image(path, 3).read(box)[..., 0], expected[box])


def test_a_turned_photograph_and_its_label(tmp_path: Path, messages: list[str]) -> None:
    """Labels drawn on the displayed image fit it; the log and the check name the tag."""
    for part in "xy":
        (tmp_path / "train" / part).mkdir(parents=True)
    ids = np.zeros((60, 40), np.uint8)
    ids[5:20, 5:30], ids[30:50, 4:20] = 1, 2
    exif = PIL.Image.Exif()
    exif[274] = 6
    shown_pixels = (ids > 0) * 100 + RNG.integers(0, 60, ids.shape)
    stored = PIL.Image.fromarray(np.rot90(shown_pixels).astype(np.uint8))
    stored.save(tmp_path / "train/x/a.jpg", exif=exif.tobytes(), quality=97)
    write_tiff(tmp_path / "train/y/a.tif", ids, "YX")
    pairs = pair_files(tmp_path / "train/x", tmp_path / "train/y", "x", "y")
    assert check_pairs(pairs, 2, 1) == [(60, 40)]
    assert any("orientation tag, 6" in line for line in messages)
    found = inspect_dataset(tmp_path)
    assert not found.problems
    assert any("orientation tag, 6" in note for note in found.notes)
    image = read_image(pairs[0].image, 2, 1).array[..., 0]
    assert image[ids > 0].mean() > image[ids == 0].mean() + 80


nibabel = pytest.importorskip("nibabel", reason="NIfTI files need nibabel")
IDS = np.zeros((5, 8, 11), np.uint8)
IDS[1:4, 1:4, 1:6], IDS[0:2, 5:8, 3:10] = 1, 2
AFFINE = np.array([[0.2, 0, 0, -3], [0, 0.2, 0, 5], [0, 0, 1, 7], [0, 0, 0, 1.0]])


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write an array (x, y, z)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(array, AFFINE if affine is None else affine).to_filename(path)
    return path


def read_pair(folder: Path, label: np.ndarray, affine: np.ndarray | None) -> np.ndarray:
    """Write an image and a label, and read the label of their pair, whole and in boxes."""
    image = save(folder / "x/a.nii.gz", (IDS.T * 50).astype(np.int16))
    pair = Pair(image, save(folder / "y/a.nii.gz", label, affine), "a")
    assert pair.label is not None
    check_pairs([pair], 3, 1)
    found = read_labels(pair.label, 3, arrays=pair.label_arrays).array
    lazy = open_labels(pair.label, 3, arrays=pair.label_arrays)
    box = (slice(1, 4), slice(2, 7), slice(3, 9))
    np.testing.assert_array_equal(lazy.read(box), found[box])
    return found[..., 0]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_all_48_orientations_of_a_label(tmp_path: Path, order: tuple[int, ...]) -> None:
    """A label that nibabel stored in another orientation is read in that of its image."""
    original = nibabel.Nifti1Image(IDS.T, AFFINE)
    for number, flips in enumerate(product((1, -1), repeat=3)):
        change = np.column_stack([order, flips])
        stored = original.as_reoriented(change)
        label = read_pair(tmp_path / str(number), np.asarray(stored.dataobj), stored.affine)
        np.testing.assert_array_equal(label, IDS)


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({(0, 3): -3 + 0.08}, True),  # 0.4 voxels
        ({(0, 3): -3 + 0.12}, False),  # 0.6 voxels
        ({(0, 0): 0.25}, False),
        ({(0, 0): 1, (1, 1): 1, (0, 3): 0, (1, 3): 0, (2, 3): 0}, False),  # the identity
        ({(0, 1): 0.1, (1, 0): -0.1}, False),  # rotated
        ({(0, 0): 0.2005}, True),
    ],
)
def test_other_differences(tmp_path: Path, change: dict, fits: bool) -> None:
    """Half a voxel is tolerated; a pair on different grids is refused with both affines."""
    affine = AFFINE.copy()
    for place, value in change.items():
        affine[place] = value
    if fits:
        np.testing.assert_array_equal(read_pair(tmp_path, IDS.T, affine), IDS)
        return
    with pytest.raises(UserError) as caught:
        read_pair(tmp_path, IDS.T, affine)
    assert "0.2 0 0 -3" in str(caught.value)


def test_files_without_an_affine_are_read_as_stored(tmp_path: Path) -> None:
    image = save(tmp_path / "x/a.nii.gz", (IDS.T * 50).astype(np.int16))
    label = nibabel.Nifti1Image(IDS.T, None)
    (tmp_path / "y").mkdir()
    label.to_filename(tmp_path / "y/a.nii.gz")
    pair = Pair(image, tmp_path / "y/a.nii.gz", "a")
    found = read_labels(tmp_path / "y/a.nii.gz", 3, arrays=pair.label_arrays).array[..., 0]
    np.testing.assert_array_equal(found, IDS)
    np.testing.assert_array_equal(read_image(image, 3).array[..., 0], IDS * 50)  # never turned
    plain = write_tiff(tmp_path / "a.tif", IDS, "ZYX")
    assert Pair(image, plain, "a").label_arrays is None


@pytest.mark.parametrize("transposed", [False, True])
def test_planes(tmp_path: Path, transposed: bool) -> None:
    ids = IDS[2]
    image = save(tmp_path / "x/a.nii.gz", (ids.T * 50).astype(np.int16))
    affine = AFFINE.copy()
    if transposed:
        affine[:, :2] = affine[:, 1::-1]
        stored = ids
    else:
        affine[0, 0], affine[0, 3] = -0.2, -3 + 0.2 * 10
        stored = ids.T[::-1]
    pair = Pair(image, save(tmp_path / "y/a.nii.gz", stored, affine), "a")
    found = read_labels(tmp_path / "y/a.nii.gz", 2, arrays=pair.label_arrays).array[..., 0]
    np.testing.assert_array_equal(found, ids)


def test_check_and_init_of_a_data_set(tmp_path: Path) -> None:
    """Flipped labels raise no finding; a label on another grid is named with both affines."""
    flipped = np.diag([-0.2, 0.2, 1, 1.0])
    flipped[:3, 3] = -3 + 0.2 * 10, 5, 7
    noise = RNG.integers(0, 20, IDS.shape)
    for name in "ab":
        save(tmp_path / f"imagesTr/{name}_0000.nii.gz", (IDS * 50 + noise).T.astype(np.int16))
        save(tmp_path / f"labelsTr/{name}.nii.gz", IDS.T[::-1], flipped)
    found = inspect_dataset(tmp_path)
    assert not found.problems
    labels = survey_dataset(tmp_path).parts[0].labels
    assert [sorted(facts.objects.npixels) for facts in labels] == [sorted([45, 42])] * 2
    save(tmp_path / "labelsTr/b.nii.gz", IDS.T, np.diag([0.3, 0.3, 1, 1.0]))
    (problem,) = inspect_dataset(tmp_path).problems
    assert "0.3 0 0 0" in problem.text
    assert "0.2 0 0 -3" in problem.text
    with pytest.raises(UserError) as caught:
        survey_dataset(tmp_path)
    assert caught.value.code == "io.affines_differ"

"""Labels in other encodings: their conversion, and cases for a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from example_data import ExampleData, labels
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from singula.dataset.checks import inspect_dataset, write_fixed, write_page
from singula.dataset.checks.label_encodings import correct_encoding, link_slices, read_any_labels
from singula.dataset.checks.one_hot import one_hot_labels
from singula.io.read import read_labels


def same_objects(one: np.ndarray, two: np.ndarray) -> bool:
    """Return True if labels are equal except for the ids."""
    pairs = np.unique(np.stack([one.ravel(), two.ravel()]).astype(np.int64), axis=1)
    return len(set(pairs[0])) == len(set(pairs[1])) == pairs.shape[1]


def restarted(ids: np.ndarray, seed: int, *, unique: bool) -> np.ndarray:
    made = np.zeros(ids.shape, np.uint32)
    for z, plane in enumerate(ids):
        names = np.unique(plane[plane > 0])
        new = np.random.default_rng(seed + z).permutation(len(names)) + 1 + unique * 1000 * z
        made[z][plane > 0] = new[np.searchsorted(names, plane[plane > 0])]
    return made


# --- slices -------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_linked_slices_restore_the_objects(seed: int, unique: bool) -> None:
    """Oracle: bars that drift through a volume without meeting, cut at any depth."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((9, 80, 80), np.uint16)
    for number in range(1, 17):
        start = rng.integers(0, 5)
        for z in range(start, rng.integers(start + 1, 10)):
            y, x = 20 * ((number - 1) // 4) + z // 4, 20 * ((number - 1) % 4) + z // 3
            ids[z, y : y + 12, x : x + 12] = number
    linked, count = link_slices(restarted(ids, seed, unique=unique))
    assert count == len(np.unique(ids[ids > 0]))
    assert same_objects(linked, ids)


def test_a_cross_section_is_linked_to_one_other() -> None:
    """An object that splits continues in the larger half; the other half is a new object."""
    ids = np.zeros((2, 20, 20), np.uint8)
    ids[0, 2:18, 2:18] = 1
    ids[1, 2:12, 2:18], ids[1, 13:18, 2:18] = 5, 6
    linked, count = link_slices(ids)
    assert count == 2
    assert linked[1, 3, 3] == linked[0, 3, 3] != linked[1, 15, 3]


@pytest.mark.parametrize("unique", [False, True])
def test_a_volume_labeled_slice_by_slice(tmp_path: Path, unique: bool) -> None:
    data = ExampleData(tmp_path / "data", 3)
    for place in range(3):
        ids = data.ids("train", f"im{place}.tif")
        data.put("train", "y", f"im{place}.tif", restarted(ids, place, unique=unique))
    clean = data.ids("test", "im0.tif")
    found = inspect_dataset(data.folder)
    assert [one.kind for one in found.findings] == ["slices"] * 3
    assert all("link" in one.suggestion for one in found.findings)
    assert found.parts[0].objects == 3 * 16
    write_fixed(found, tmp_path / "fixed")
    fixed = read_labels(tmp_path / "fixed" / "train" / "y" / "im0.tif", 3).array[..., 0]
    assert same_objects(fixed, clean)
    assert inspect_dataset(tmp_path / "fixed").findings == ()


# --- background ---------------------------------------------------------------------------------


def test_the_background_id_of_other_images_is_recognized_in_a_crowded_image(tmp_path: Path) -> None:
    """There it does not surround objects; the other images decide."""
    data = ExampleData(tmp_path / "data")
    crowded = np.repeat(np.repeat(np.arange(2, 102).reshape(10, 10), 10, 0), 10, 1)
    crowded[:4, :4] = crowded[50:53, 20:60] = 1
    for place in (0, 1):
        data.put("train", "y", f"im{place}.tif", data.ids("train", f"im{place}.tif") + np.uint16(1))
    data.put("train", "y", "im2.tif", crowded.astype(np.uint16))
    turned, tag = data.folder / "train" / "y" / "im2.tif", (274, 3, 1, 3, True)  # by 180°
    tifffile.imwrite(turned, crowded[::-1, ::-1].astype(np.uint16), extratags=[tag])
    assert correct_encoding(crowded[..., None])[1] == ()
    (note,) = (one for one in inspect_dataset(data.folder).notes if "orientation" in one)
    assert "1 file)" in note, "a file that is looked at twice counts once"
    found = [one for one in inspect_dataset(data.folder).findings if one.kind == "background"]
    assert sorted(one.file.name for one in found) == ["im0.tif", "im1.tif", "im2.tif"]
    write_fixed(inspect_dataset(data.folder), tmp_path / "fixed")
    fixed = read_labels(tmp_path / "fixed" / "train" / "y" / "im2.tif", 2).array[..., 0]
    np.testing.assert_array_equal(fixed == 0, crowded == 1)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.float32])
def test_minus_one_of_every_type(tmp_path: Path, dtype) -> None:
    ids = np.where(labels() == 0, -1, labels()).astype(dtype)
    np.save(tmp_path / "a.npy", ids)
    given = read_any_labels(tmp_path / "a.npy", 2)
    np.testing.assert_array_equal(given.labels[..., 0], labels())
    assert [one.kind for one in given.issues] == ["background"]


def test_minus_one_with_background_0_is_not_annotated(tmp_path: Path) -> None:
    beside = labels().astype(np.int16)
    beside[3:6, 3:6] = -1
    strokes = np.where(labels() == 0, -1, labels()).astype(np.int16)
    strokes[::10, ::7] = 0  # strokes of background between the objects
    ring = ndimage.binary_dilation(labels() > 0, iterations=2)  # unsure pixels around all objects
    unsure = np.where(ring & (labels() == 0), -1, labels()).astype(np.int16)
    for name, ids in (("beside", beside), ("strokes", strokes), ("unsure", unsure)):
        np.save(tmp_path / f"{name}.npy", ids)
        given = read_any_labels(tmp_path / f"{name}.npy", 2)
        np.testing.assert_array_equal(given.labels[..., 0], np.maximum(ids, 0))
        np.testing.assert_array_equal(given.sparse_ids, ids)
        assert not given.issues
    data = ExampleData(tmp_path / "data")
    ids = data.ids("train", "im1.tif").astype(np.int16)
    ids[:, 20:] = -1
    data.put("train", "y", "im1.tif", ids)
    found = inspect_dataset(data.folder)
    assert not found.findings
    assert any("annotated" in note for note in found.notes)
    write_fixed(found, tmp_path / "fixed")
    stored = read_labels(tmp_path / "fixed" / "train" / "y" / "im1.tif", 2).array[..., 0]
    np.testing.assert_array_equal(stored, ids)


# --- inverted -----------------------------------------------------------------------------------


def hole(radius: int) -> np.ndarray:
    """Return an inverted mask with a single free region."""
    y, x = np.mgrid[:60, :60] - 30
    return np.where(y**2 + x**2 <= radius**2, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("ids", [hole(12), hole(0), np.full((60, 60), 255, np.uint8)])
def test_a_possible_object_with_a_hole_is_named_and_never_changed(
    tmp_path: Path, ids: np.ndarray
) -> None:
    data = ExampleData(tmp_path / "data")
    data.put(
        "train", "x", "im1.tif", np.arange(3600, dtype=np.uint16).reshape(60, 60).astype(np.uint8)
    )
    path = data.put("train", "y", "im1.tif", ids)
    before = path.read_bytes()
    found = inspect_dataset(data.folder)
    of_labels = [one for one in found.findings if one.file == path]
    assert [(one.kind, one.fixable) for one in of_labels] == [("inverted", False)]
    write_fixed(found, tmp_path / "fixed")
    assert (tmp_path / "fixed" / "train" / "y" / "im1.tif").read_bytes() == before
    assert "inverted" in write_page(found, tmp_path / "page.html").read_text()


# --- one-hot ------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [1, 255, 1.0])
@pytest.mark.parametrize("ndim", [2, 3])
def test_planes_of_classes(ndim: int, top: float) -> None:
    """Oracle: components of each class, numbered by SciPy."""
    ids = labels(ndim)
    classes = np.where(ids > 0, 1 + ids % 3, 0)
    planes = np.stack([(classes == kind) * top for kind in range(4)], -1)
    for given_planes in (planes, planes[..., 1:]):
        found = one_hot_labels(given_planes)
        assert found is not None
        assert found[2]
        made = found[0]
        np.testing.assert_array_equal(made[..., 1], classes)
        expected, count = ndimage.label(ids > 0)
        assert count == 16
        assert same_objects(made[..., 0], expected)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("count", [2, 3, 5, 16])
def test_a_plane_for_each_object_first_or_last(tmp_path: Path, count: int, first: bool) -> None:
    ids = np.where(labels() <= count, labels(), 0)
    planes = np.stack([ids == number for number in range(1, count + 1)], 0 if first else -1)
    for suffix in (".tif", ".npy"):
        path = tmp_path / f"a{suffix}"
        if suffix == ".tif":
            tifffile.imwrite(path, planes.astype(np.uint8), photometric="minisblack")
        else:
            np.save(path, planes)
        given = read_any_labels(path, 2)
        assert [one.kind for one in given.issues] == ["one_hot"]
        assert same_objects(given.labels[..., 0], ids)
        assert given.labels.shape[-1] == 1


def test_objects_that_touch_keep_their_planes() -> None:
    planes = np.zeros((20, 20, 4), np.uint8)
    for place in range(4):
        planes[5:15, 5 * place : 5 * place + 5, place] = 1
    found = one_hot_labels(planes)
    assert found is not None
    assert len(np.unique(found[0])) == 5


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_ids_with_a_class_channel_are_not_one_hot(seed: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    ids = np.where(rng.random((16, 16)) > 0.8, labels()[:16, :16], 0) + (
        rng.integers(0, 2, (16, 16)) * rng.integers(1, 3)
    )
    classes = np.where(ids > 0, rng.integers(1, kinds + 1), 0)
    if ids.any():
        assert one_hot_labels(np.stack([ids, classes], -1)) is None


def test_pictures_are_not_one_hot() -> None:
    rng = np.random.default_rng(0)
    assert one_hot_labels(rng.integers(0, 255, (20, 20, 3)).astype(np.uint8)) is None
    pure = np.zeros((20, 20, 3), np.uint8)
    pure[:5, :5, 0] = pure[10:, 10:, 1] = 255
    assert one_hot_labels(pure, in_color=True) is None
    assert one_hot_labels(pure) is not None

"""Label files with pixels that are not annotated: the id -1, and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from singula.errors import UserError
from singula.io.image import ArrayPlace
from singula.io.lazy import find_unannotated, open_labels
from singula.io.pair import Pair
from singula.io.read import read_labels
from singula.io.unannotated import with_masks

IDS = np.array([[0, 0, 3, 3], [0, -1, 3, 70], [-1, -1, 0, 70]])


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.float32])
def test_minus_one_next_to_zero_is_not_annotated(tmp_path: Path, dtype) -> None:
    path = tmp_path / "a.npy"
    np.save(path, IDS.astype(dtype))
    labels = read_labels(path, 2).array
    assert labels.dtype == np.int8
    np.testing.assert_array_equal(labels[..., 0], IDS)


def test_the_type_holds_the_ids_and_minus_one(tmp_path: Path) -> None:
    for highest, dtype in ((127, np.int8), (128, np.int16), (40_000, np.int32)):
        np.save(tmp_path / "a.npy", np.where(IDS == 70, highest, IDS).astype(np.int64))
        labels = read_labels(tmp_path / "a.npy", 2).array
        assert labels.dtype == dtype
        assert labels.max() == highest
        assert labels.min() == -1


def test_labels_without_minus_one_stay_unsigned(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IDS.clip(0).astype(np.int32))
    assert read_labels(tmp_path / "a.npy", 2).array.dtype == np.uint8


def test_minus_one_without_zero_depends_on_the_other_labels(tmp_path: Path) -> None:
    def code(path: Path) -> str:
        with pytest.raises(UserError) as error:
            read_labels(path, 2)
        return error.value.code

    path = tmp_path / "a_mask.npy"
    np.save(path, np.where(IDS == 0, -1, IDS))
    assert code(path) == "labels.minus_one"
    np.save(tmp_path / "b_mask.npy", np.where(IDS == 0, -1, IDS))
    np.save(tmp_path / "a.npy", np.zeros((3, 4), np.uint8))  # an image, not labels
    assert code(path) == "labels.minus_one"
    np.save(tmp_path / "c_mask.npy", IDS.clip(0))
    np.testing.assert_array_equal(read_labels(path, 2).array[..., 0], np.where(IDS == 0, -1, IDS))


def test_other_negative_ids_are_errors(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.where(IDS == 3, -2, IDS))
    with pytest.raises(UserError) as error:
        read_labels(tmp_path / "a.npy", 2)
    assert error.value.code == "labels.negative_id"


def test_the_class_of_pixels_that_are_not_annotated_is_0(tmp_path: Path) -> None:
    classes = np.where(IDS < 0, -1, IDS > 0)
    np.save(tmp_path / "a.npy", np.stack([IDS, classes], -1))
    labels = read_labels(tmp_path / "a.npy", 2, True, n_classes=2).array
    np.testing.assert_array_equal(labels[..., 0], IDS)
    np.testing.assert_array_equal(labels[..., 1], IDS > 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int16])
def test_masks_exclude_pixels(tmp_path: Path, dtype) -> None:
    (tmp_path / "ignore").mkdir()
    path, mask = tmp_path / "a.tif", tmp_path / "ignore" / "a.tif"
    tifffile.imwrite(path, np.where(IDS < 0, 5, IDS).astype(dtype))
    tifffile.imwrite(mask, np.where(IDS < 0, 255, 0).astype(np.uint8))
    (pair,) = with_masks([Pair(path, path, "a")], str(mask.parent), "KEY")
    assert pair.mask == mask
    labels = read_labels(path, 2, arrays=pair.label_arrays).array
    np.testing.assert_array_equal(labels[..., 0], IDS)
    lazy = open_labels(path, 2, arrays=pair.label_arrays)
    assert lazy.dtype.kind == "i"
    np.testing.assert_array_equal(lazy.read((slice(1, 3), slice(0, 3)))[..., 0], IDS[1:3, :3])


def test_masks_must_fit(tmp_path: Path) -> None:
    (tmp_path / "ignore").mkdir()
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IDS.clip(0).astype(np.uint8))
    tifffile.imwrite(tmp_path / "ignore" / "a.tif", np.ones((4, 4), np.uint8))
    (pair,) = with_masks([Pair(path, path, "a")], str(tmp_path / "ignore"), "KEY")
    for read in (read_labels, open_labels):
        with pytest.raises(UserError) as error:
            read(path, 2, arrays=pair.label_arrays)
        assert error.value.code == "labels.ignore_shape"
    with pytest.raises(UserError) as error:
        with_masks([Pair(path, tmp_path / "b.tif", "b")], str(tmp_path / "ignore"), "KEY")
    assert error.value.code == "labels.ignore_unpaired"


def test_boxes_of_sparse_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, IDS.astype(np.int16))
    place = find_unannotated(path, 2)
    assert place is not None
    assert place.sparse
    lazy = open_labels(path, 2, arrays=place)
    part = lazy.read((slice(2, 3), slice(0, 2)))[..., 0]  # without a zero
    assert part.dtype == lazy.dtype == np.int16
    assert part.tolist() == [[-1, -1]]
    np.save(path, IDS.clip(0).astype(np.int16))
    assert find_unannotated(path, 2) is None
    np.save(path, np.where(IDS == 0, -1, IDS).astype(np.int16))
    assert find_unannotated(path, 2, ArrayPlace()) == ArrayPlace()

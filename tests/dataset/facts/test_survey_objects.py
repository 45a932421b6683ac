"""Facts about instances, compared with computations for each instance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.measure import label as components
from skimage.segmentation import find_boundaries

from singula.dataset.facts.objects import survey_objects


def random_labels(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return random blobs that touch, with holes and several components."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 1.2)
    ids = np.digitize(smooth, np.quantile(smooth, [0.4, 0.6, 0.8, 0.93]))
    return (ids * np.array([0, 3, 7, 7, 1000])[ids].astype(bool)).astype(np.uint16)


def holes_of(labels: np.ndarray, number: int) -> int:
    """Return parts of the background enclosed by this instance only."""
    mask = labels == number
    filled = ndimage.binary_fill_holes(mask) & ~mask
    parts, count = ndimage.label(labels == 0)
    found = 0
    for part in range(1, count + 1):
        inside = parts == part
        rim = ndimage.binary_dilation(inside) & ~inside
        on_edge = any(
            np.take(inside, place, axis).any() for axis in range(inside.ndim) for place in (0, -1)
        )
        found += bool(not on_edge and (labels[rim] == number).all())
    assert found <= ndimage.label(filled)[1]
    return found


@pytest.mark.parametrize("shape", [(24, 31), (9, 14, 12)])
@pytest.mark.parametrize("seed", range(4))
def test_every_number_equals_that_of_the_instance_alone(seed: int, shape: tuple[int, ...]) -> None:
    labels = random_labels(seed, shape)
    found = survey_objects(labels)
    assert found.ids.tolist() == np.unique(labels[labels > 0]).tolist()
    thick = find_boundaries(labels, mode="thick")
    for row, number in enumerate(found.ids):
        mask = labels == number
        bounds = ndimage.find_objects(mask.astype(int))[0]
        assert found.npixels[row] == mask.sum()
        assert found.low[row].tolist() == [axis.start for axis in bounds]
        assert found.box[row].tolist() == [axis.stop - axis.start for axis in bounds]
        assert found.core[row] == (mask & ~thick).sum()
        contact = 0
        for axis in range(labels.ndim):
            a = np.take(labels, range(labels.shape[axis] - 1), axis)
            b = np.take(labels, range(1, labels.shape[axis]), axis)
            contact += int((((a == number) ^ (b == number)) & (a > 0) & (b > 0)).sum())
        assert found.contact[row] == contact
        assert (
            found.n_components[row]
            == components(mask, connectivity=labels.ndim, return_num=True)[1]
        )
        assert found.holes[row] == holes_of(labels, int(number))
        edge = any(np.take(mask, p, axis).any() for axis in range(mask.ndim) for p in (0, -1))
        assert found.border[row] == edge
        # The edge of the image is not outside: a wide rim of the same.
        wide = np.pad(mask, max(shape), mode="edge")
        inner = tuple(slice(max(shape), -max(shape)) for _ in shape)
        deep = ndimage.distance_transform_edt(wide)[inner][mask].max()
        assert found.radius[row] == pytest.approx(deep, rel=1e-5)


def test_a_ring_has_a_hole_and_a_gap_between_two_has_no_owner() -> None:
    labels = np.zeros((12, 20), np.uint8)
    labels[1:8, 1:8] = 1
    labels[3:6, 3:6] = 0
    labels[1:10, 10:15] = 2
    labels[1:10, 15:19] = 3
    labels[4:6, 14:16] = 0
    found = survey_objects(labels)
    assert found.holes.tolist() == [1, 0, 0]
    assert found.hole_pixels.tolist() == [9, 0, 0]
    assert found.touching.tolist() == [False, True, True]


SHAPES = array_shapes(min_dims=2, max_dims=3, max_side=5)


@given(arrays(np.uint32, SHAPES, elements=st.integers(0, 2**32 - 1)))
@settings(max_examples=60, deadline=None)
def test_wide_ids_keep_their_numbers(labels: np.ndarray) -> None:
    found = survey_objects(labels)
    ids, counts = np.unique(labels[labels > 0], return_counts=True)
    assert found.ids.tolist() == ids.tolist()
    assert found.npixels.tolist() == counts.tolist()
    assert np.isfinite(found.radius).all()


def test_no_instance_and_an_instance_that_fills_the_image() -> None:
    assert len(survey_objects(np.zeros((5, 5), np.uint8))) == 0
    full = survey_objects(np.ones((5, 7), np.uint8))
    assert full.core.tolist() == [35]
    assert full.radius.tolist() == [7]
    assert full.border.tolist() == [True]

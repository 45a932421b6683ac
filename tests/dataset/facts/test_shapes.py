"""Shapes of instances, compared with scikit-image and with shapes made by hand."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import ellipse
from skimage.measure import regionprops

from singula.dataset.facts.objects import survey_objects, survey_sparse
from singula.dataset.facts.sections import objects_from_sections
from singula.dataset.facts.shapes import MAX_HULLS, ShapeCollector, elongations


def blobs(seed: int, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Return connected blobs that touch, without very small ones."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    parts, _ = ndimage.label(smooth > np.quantile(smooth, 0.6))
    sizes = np.bincount(parts.ravel())
    labels = np.where(sizes[parts] >= 40, 3 * parts, 0)
    split = (labels > 0) & (np.arange(shape[-1]) > shape[-1] // 2)
    return np.where(split, labels + 1, labels)


@pytest.mark.parametrize(("shape", "sigma"), [((90, 110), 4.0), ((24, 30, 28), 2.5)])
@pytest.mark.parametrize("seed", range(3))
def test_elongation_and_convexity_equal_those_of_scikit_image(seed, shape, sigma) -> None:
    labels = blobs(seed, shape, sigma)
    objects = survey_objects(labels)
    regions = {region.label: region for region in regionprops(labels)}
    measured = elongations(objects, 1.0)
    assert len(objects) == len(regions) > 1
    for row, number in enumerate(objects.ids.tolist()):
        region = regions[number]
        variances = np.array(region.inertia_tensor_eigvals)
        if len(shape) == 3:  # moments of inertia are sums of the variances of the other axes
            variances = variances.sum() / 2 - variances
        # scikit-image treats pixels as points, not as squares.
        expected = np.sqrt((variances.max() + 1 / 12) / (variances.min() + 1 / 12))
        assert measured[row] == pytest.approx(expected, rel=1e-6)
        if not objects.border[row]:
            assert objects.convexity[row] == pytest.approx(region.solidity, abs=0.05)


@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2])
def test_an_ellipse_has_its_axis_ratio_and_is_convex(angle: float) -> None:
    labels = np.zeros((120, 120), np.uint8)
    labels[ellipse(60, 60, 45, 15, rotation=angle)] = 1
    objects = survey_objects(labels)
    assert elongations(objects, 1.0) == pytest.approx(3.0, rel=0.02)
    assert 0.96 < objects.convexity[0] <= 1


def test_a_ball_in_flat_voxels_is_round() -> None:
    z, y, x = np.indices((20, 40, 40))
    labels = ((2 * (z - 10)) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 15**2).astype(np.uint8)
    objects = survey_objects(labels)
    assert elongations(objects, 2.0) == pytest.approx(1.0, rel=0.03)
    assert elongations(objects, 1.0) == pytest.approx(2.0, rel=0.05)
    section = objects_from_sections(survey_sparse(annotated(labels, 10))[0], 2.0)
    assert elongations(section, 2.0) == pytest.approx(1.0, rel=0.03)


def annotated(labels: np.ndarray, z: int) -> np.ndarray:
    """Return labels of which one slice is annotated."""
    sparse = np.full(labels.shape, -1, np.int16)
    sparse[z] = labels[z]
    return sparse


def test_an_l_fills_a_part_of_its_hull_and_the_outline_in_contact_is_counted() -> None:
    labels = np.zeros((12, 14), np.uint8)
    labels[1:11, 1:3] = 5
    labels[9:11, 1:11] = 5
    labels[1:9, 3:11] = 9
    objects = survey_objects(labels)
    assert objects.sides.tolist() == [40, 32]
    assert objects.contact.tolist() == [16, 16]
    # The hull of the L is its triangle: 36 pixels are in the L, 28 more below the diagonal.
    assert objects.convexity[0] == pytest.approx(36 / 66, abs=0.04)
    assert objects.convexity[1] == 1
    shapes = ShapeCollector()
    shapes.add(objects, 100 / 168, 1.0)
    summary = shapes.summary()
    assert summary is not None
    assert summary.contact == 32 / 72
    assert summary.density == pytest.approx(100 / 168)


def test_only_some_of_many_objects_have_a_hull_and_complete_ones_come_first() -> None:
    labels = np.zeros((130, 130), np.int32)
    corners = np.arange(0, 130, 10)
    for number, (y, x) in enumerate(((b, a) for b in corners for a in corners), 1):
        labels[y : y + 6, x : x + 6] = number
    objects = survey_objects(labels)
    measured = np.isfinite(objects.convexity)
    assert measured.sum() == MAX_HULLS
    assert not (measured & objects.border).any()
    assert (objects.convexity[measured] == 1).all()


def test_no_object_has_no_shape() -> None:
    shapes = ShapeCollector()
    shapes.add(survey_objects(np.zeros((5, 5), np.uint8)), 0.0, 1.0)
    assert shapes.summary() is None


def test_an_object_that_fills_the_image_is_convex() -> None:
    shapes = ShapeCollector()
    shapes.add(survey_objects(np.ones((5, 7), np.uint8)), 1.0, 1.0)
    summary = shapes.summary()
    assert summary is not None
    assert (summary.contact, summary.density, summary.convexity) == (0.0, 1.0, 1.0)

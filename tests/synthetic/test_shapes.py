"""Drawn cells, rods and tissue have the shapes, contacts and density that they are drawn for."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage
from skimage.measure import regionprops

from singula.dataset.facts.objects import survey_objects
from singula.io.read import read_image, read_labels
from singula.synthetic.datasets import DRAWINGS, make_drawn_dataset
from singula.synthetic.packed_cells import make_cells, make_tissue
from singula.synthetic.rods import make_rods

SHAPES = {"cells": (160, 144), "rods": (160, 144), "tissue": (14, 48, 40)}


@cache
def drawn(name: str, seed: int = 0):
    return DRAWINGS[name].draw(SHAPES[name], np.random.default_rng(seed))


def complete(labels: np.ndarray) -> list:
    """Return the region properties of the objects that the border does not cut."""
    ids = survey_objects(labels)
    return [region for region in regionprops(labels) if region.label in ids.ids[~ids.border]]


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_seed_gives_the_same_image_again(name: str) -> None:
    again = DRAWINGS[name].draw(SHAPES[name], np.random.default_rng(0))
    assert_array_equal(again.image, drawn(name).image)
    assert_array_equal(again.labels, drawn(name).labels)
    assert (again.image != drawn(name, 1).image).any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", DRAWINGS)
def test_labels_are_consecutive_connected_and_not_tiny(name: str, seed: int) -> None:
    image, labels = drawn(name, seed).image, drawn(name, seed).labels
    assert image.shape == labels.shape == SHAPES[name]
    assert image.dtype == (np.uint8 if labels.ndim == 2 else np.uint16)
    assert labels.dtype == np.uint16
    ids, sizes = np.unique(labels, return_counts=True)
    assert_array_equal(ids, np.arange(ids[0], ids[0] + ids.size))
    assert sizes.min() >= 30
    for number in ids[ids > 0]:
        assert ndimage.label(labels == number)[1] == 1
    assert (image == np.iinfo(image.dtype).max).mean() < 0.01


def test_cells_are_dense_convex_and_mostly_touch() -> None:
    for seed in range(3):
        labels = drawn("cells", seed).labels
        objects = survey_objects(labels)
        assert len(objects) > 30
        assert objects.touching.mean() > 0.8
        assert 0.5 < (labels > 0).mean() < 0.95
        whole = complete(labels)
        assert np.median([region.solidity for region in whole]) > 0.92
        elongation = [region.axis_major_length / region.axis_minor_length for region in whole]
        assert np.median(elongation) < 1.4
        areas = [region.area for region in whole]
        assert np.percentile(areas, 90) > 2 * np.percentile(areas, 10)


def test_rods_are_long_bent_and_touch() -> None:
    ratios, bent, touching = [], [], []
    for seed in range(4):
        labels = drawn("rods", seed).labels
        assert 0.2 < (labels > 0).mean() < 0.35
        touching += survey_objects(labels).touching.tolist()
        for region in complete(labels):
            # The length of a bent band is about its area divided by its width.
            width = 2 * ndimage.distance_transform_edt(np.pad(region.image, 1)).max() - 1
            ratios.append(region.area / width**2)
            bent.append(region.solidity)
    assert 5 < np.median(ratios) < 10
    assert np.median(bent) < 0.9
    assert 0.3 < np.mean(touching) < 0.95


def test_a_tissue_has_no_background_and_bright_membranes() -> None:
    image, labels = drawn("tissue").image, drawn("tissue").labels
    assert labels.min() == 1
    assert len(np.unique(labels)) > 10
    objects = survey_objects(labels)
    assert objects.touching.all()
    edge = ndimage.maximum_filter(labels, (1, 3, 3)) != ndimage.minimum_filter(labels, (1, 3, 3))
    deep = ~ndimage.binary_dilation(edge, np.ones((1, 5, 5), bool))
    assert image[edge].mean() > 1.3 * image[deep].mean()
    assert np.percentile(image[edge], 10) < np.percentile(image[deep], 90)


def test_flat_voxels_make_flat_cells() -> None:
    def depth(spacing: tuple[float, ...]) -> float:
        drawing = make_tissue((16, 40, 40), np.random.default_rng(2), spacing=spacing)
        return float(np.median(survey_objects(drawing.labels).box[:, 0]))

    assert depth((4, 1, 1)) < depth((1, 1, 1))


@pytest.mark.parametrize("name", DRAWINGS)
def test_small_images_are_drawn(name: str) -> None:
    for seed in range(3):
        shape = (6, 7, 5)[-len(SHAPES[name]) :]
        found = DRAWINGS[name].draw(shape, np.random.default_rng(seed))
        assert found.image.shape == found.labels.shape == shape


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_data_set_reads_back_with_its_voxel_size(tmp_path, name: str) -> None:
    counts = {"n_train": 1, "n_val": 0, "n_test": 1}
    shape, rng = SHAPES[name], np.random.default_rng(0)
    make_drawn_dataset(tmp_path, name, rng, **counts, shape=shape)
    path = tmp_path / "train" / "{}" / "image_000.tif"
    image = read_image(str(path).format("x"), len(shape), channels=1)
    labels = read_labels(str(path).format("y"), len(shape))
    assert_array_equal(image.array[..., 0], drawn(name).image)
    assert_array_equal(labels.array[..., 0], drawn(name).labels)
    assert labels.spacing == DRAWINGS[name].spacing
    assert len(list(tmp_path.rglob("*.tif"))) == 4


def test_wrong_arguments_are_refused(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for draw in (make_cells, make_rods):
        with pytest.raises(ValueError, match="two axes"):
            draw((4, 5, 6), rng)
    with pytest.raises(ValueError, match="three axes"):
        make_tissue((4, 5), rng)
    with pytest.raises(ValueError, match="cells, rods, tissue"):
        make_drawn_dataset(tmp_path, "fibers", rng, n_train=1, n_val=0, n_test=0)
    assert not any(tmp_path.iterdir())

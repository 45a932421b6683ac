"""Synthetic images are reproducible, with valid label images."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from singula.io.read import read_image, read_labels
from singula.synthetic.fluorescence import Appearance, make_dataset, make_image

CASES = [
    pytest.param((256, 256), None, id="2d"),
    pytest.param((150, 97), None, id="oblong"),
    pytest.param((24, 96, 96), (3, 1, 1), id="flat 3d"),
    pytest.param((48, 64, 64), None, id="3d"),
]


def made(shape, spacing, seed=0, n_classes=1):
    return make_image(shape, np.random.default_rng(seed), spacing=spacing, n_classes=n_classes)


def border(labels, axis):
    edges = np.moveaxis(labels, axis, 0)[[0, -1]]
    return [0, *np.unique(edges)]


@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_a_seed_gives_the_same_image_again(shape, spacing):
    first, second = made(shape, spacing), made(shape, spacing)
    assert_array_equal(first.image, second.image)
    assert_array_equal(first.labels, second.labels)
    assert (first.image != made(shape, spacing, seed=1).image).any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_labels_are_consecutive_connected_and_not_tiny(shape, spacing, seed):
    found = made(shape, spacing, seed)
    assert found.image.shape == found.labels.shape == shape
    assert found.image.dtype == (np.uint8 if len(shape) == 2 else np.uint16)
    assert found.labels.dtype == np.uint16
    assert found.classes is None
    ids, sizes = np.unique(found.labels, return_counts=True)
    assert_array_equal(ids, np.arange(ids.size))
    assert sizes.min() > 30
    for label in ids[1:]:
        assert ndimage.label(found.labels == label)[1] == 1


@pytest.mark.parametrize(("shape", "spacing"), [CASES[0].values, CASES[2].values])
def test_nuclei_are_many_and_some_touch_each_other_and_the_border(shape, spacing):
    labels = made(shape, spacing).labels
    pairs = np.stack([labels[..., 1:].ravel(), labels[..., :-1].ravel()])
    touching = pairs[:, (pairs[0] != pairs[1]) & (pairs > 0).all(axis=0)]
    assert labels.max() >= 10
    assert np.unique(touching).size >= 4
    assert labels[..., 0].any()
    assert 0.1 < (labels > 0).mean() < 0.4


@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_nuclei_are_brighter_than_the_background_but_noise_overlaps(shape, spacing):
    found = made(shape, spacing)
    inside = found.image[found.labels > 0].astype(float)
    outside = found.image[found.labels == 0].astype(float)
    assert inside.mean() > 2.5 * outside.mean()
    assert np.percentile(inside, 1) < np.percentile(outside, 99)
    assert (found.image == np.iinfo(found.image.dtype).max).mean() < 0.01


def test_nuclei_are_round_in_physical_space():
    found = made((40, 160, 160), (3, 1, 1))
    inner = np.setdiff1d(
        found.labels, [part for axis in range(3) for part in border(found.labels, axis)]
    )
    boxes = ndimage.find_objects(found.labels)
    sides = np.array([[part.stop - part.start for part in boxes[label - 1]] for label in inner])
    flatness = (sides[:, 0] * 3 / sides[:, 1:].mean(axis=1)).mean()
    assert len(inner) >= 10
    assert 0.8 < flatness < 1.25


def test_classes_belong_to_whole_nuclei_and_differ():
    found = made((256, 256), None, n_classes=3)
    assert found.classes is not None
    assert_array_equal(found.classes > 0, found.labels > 0)
    assert np.unique(found.classes).tolist() == [0, 1, 2, 3]
    areas, lights = {}, {}
    for kind in (1, 2, 3):
        ids = np.unique(found.labels[found.classes == kind])
        assert (found.classes[np.isin(found.labels, ids)] == kind).all()
        areas[kind] = (found.classes == kind).sum() / ids.size
        lights[kind] = found.image[found.classes == kind].mean()
    assert areas[1] < areas[2] < areas[3]
    assert lights[1] > lights[2] > lights[3]


@pytest.mark.parametrize("shape", [(5, 5), (1, 40, 40), (3, 3, 3)])
def test_small_images_are_drawn(shape):
    for seed in range(5):
        found = made(shape, None, seed)
        assert found.image.shape == found.labels.shape == shape


@pytest.mark.parametrize(
    ("shape", "spacing", "n_classes"), [((9,), None, 1), ((9, 9), (1, 1, 1), 1), ((9, 9), None, 0)]
)
def test_arguments_that_do_not_fit_are_refused(shape, spacing, n_classes):
    with pytest.raises(ValueError, match="expected 2 or 3 axes"):
        made(shape, spacing, n_classes=n_classes)


@pytest.mark.parametrize("n_classes", [1, 2])
@pytest.mark.parametrize(("shape", "spacing"), [((48, 64), None), ((6, 32, 40), (3, 1, 1))])
def test_dataset_reads_back(tmp_path, shape, spacing, n_classes):
    rng, ndim = np.random.default_rng(7), len(shape)
    options = {"shape": shape, "spacing": spacing, "n_classes": n_classes}
    make_dataset(tmp_path, ndim, rng, n_train=2, n_val=1, n_test=1, **options)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.tif"))
    names = ["test/{}/image_000.tif", "train/{}/image_000.tif", "train/{}/image_001.tif"]
    assert files == sorted(
        name.format(kind) for name in [*names, "val/{}/image_000.tif"] for kind in "xy"
    )
    rng = np.random.default_rng(7)
    first, second = (make_image(shape, rng, spacing=spacing, n_classes=n_classes) for _ in range(2))
    for number, expected in enumerate((first, second)):
        name = f"image_{number:03d}.tif"
        image = read_image(tmp_path / "train" / "x" / name, ndim, channels=1)
        labels = read_labels(tmp_path / "train" / "y" / name, ndim, classes=n_classes > 1)
        assert_array_equal(image.array[..., 0], expected.image)
        assert_array_equal(labels.array[..., 0], expected.labels)
        if n_classes > 1:
            assert_array_equal(labels.array[..., 1], expected.classes)
        if spacing is not None:
            assert image.spacing == labels.spacing == pytest.approx(spacing)


def test_dataset_of_another_dimension_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="3 axes"):
        make_dataset(tmp_path, 3, rng, n_train=1, n_val=0, n_test=0, shape=(9, 9))
    assert not any(tmp_path.iterdir())


def test_the_appearance_determines_size_crowding_and_noise():
    def drawn(**changes):
        look = Appearance(radius=(6.0, 7.0), closeness=1.0, **changes)
        return make_image((192, 192), np.random.default_rng(3), appearance=look)

    sparse, dense = drawn(coverage=0.1), drawn(coverage=0.35)
    areas = np.bincount(sparse.labels.ravel())[1:]
    assert np.pi * 4.5**2 < np.median(areas) < np.pi * 9**2
    assert 0.05 < np.mean(sparse.labels > 0) < 0.2 < np.mean(dense.labels > 0)
    # Noise is what differs between neighbors in the background.
    noisy, clean = drawn(coverage=0.1, photons=5.0), drawn(coverage=0.1, photons=500.0)
    noise = [
        np.abs(np.diff(drawing.image.astype(int)))[drawing.labels[:, 1:] == 0].mean()
        for drawing in (clean, noisy)
    ]
    assert noise[1] > 2 * noise[0]

"""Estimate of the scale of an image, with a simulated model."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.draw import disk
from skimage.measure import label

from singula.data.preprocess import resample, scaled_shape
from singula.errors import UserError
from singula.inference.auto_scale import estimate_scale, richest_box
from singula.pipeline.object_size import TrainedObjects

LOW, SIZE, HIGH = 10.0, 20.0, 40.0
TRAINED = TrainedObjects((SIZE, SIZE), (LOW, HIGH))


def draw(diameter: float, shape: tuple[int, int] = (512, 512)) -> np.ndarray:
    """Return an image with disks on a grid."""
    image = np.zeros(shape, np.uint8)
    step = int(1.6 * diameter) + 2
    for y in range(step // 2, shape[0], step):
        for x in range(step // 2, shape[1], step):
            image[disk((y, x), diameter / 2, shape=shape)] = 200
    return image[..., None]


class Network:
    """Find objects whose size is similar to the training; small ones vanish, large ones break."""

    def __init__(self) -> None:
        self.zooms: list[float] = []
        self.npixels = 0

    def __call__(self, crop: np.ndarray, zoom: float) -> np.ndarray:
        self.zooms.append(zoom)
        large = resample(crop, scaled_shape(crop.shape[:-1], (zoom, zoom)))[..., 0]
        self.npixels += large.size
        foreground = large > 100
        labels = label(foreground)
        sizes = np.bincount(labels.ravel())
        diameters = np.sqrt(4 / np.pi * sizes)
        diameters[0] = 0
        if np.median(diameters[1:]) > 1.7 * HIGH if len(sizes) > 1 else False:
            y, x = np.indices(labels.shape)
            pieces = 1 + y // 17 + (x // 13) * 1000
            return np.where(foreground, pieces, 0)
        return np.where(diameters[labels] > LOW / 2, labels, 0)


@pytest.mark.parametrize("diameter", [5, 7, 12, 20, 35, 60, 110, 200])
def test_the_diameter_and_the_factor_are_found(diameter) -> None:
    shape = (1024, 1024) if diameter > 60 else (512, 512)
    found = estimate_scale(draw(diameter, shape), TRAINED, Network())
    assert found.diameter == pytest.approx(diameter, rel=0.2)
    if LOW <= diameter <= HIGH:
        assert found.factor == 1
    else:
        assert found.factor * diameter == pytest.approx(SIZE, rel=0.2)


def test_usual_objects_need_two_predictions_of_crops() -> None:
    network = Network()
    estimate_scale(draw(20, (2048, 2048)), TRAINED, network)
    assert network.zooms == [1, 0.5]
    assert network.npixels <= 2 * 256**2


def test_unusual_objects_need_few_pixels() -> None:
    network = Network()
    estimate_scale(draw(6, (2048, 2048)), TRAINED, network)
    assert len(network.zooms) == 7
    assert network.npixels <= 7 * 256**2


@pytest.mark.parametrize("shape", [(512, 512), (8, 8), (1, 300)])
def test_images_without_objects_keep_their_size(shape) -> None:
    found = estimate_scale(np.zeros((*shape, 1), np.uint8), TRAINED, Network())
    assert (found.factor, found.diameter) == (1, None)
    assert "could not be estimated" in str(found)


def test_objects_of_the_same_size_at_every_zoom_are_not_objects() -> None:
    """Noise gives false objects whose size in pixels does not depend on the zoom."""

    def predict(crop: np.ndarray, zoom: float) -> np.ndarray:
        shape = scaled_shape(crop.shape[:-1], (zoom, zoom))
        return label(draw(6, shape)[..., 0])

    found = estimate_scale(np.zeros((512, 512, 1), np.uint8), TRAINED, predict)
    assert (found.factor, found.diameter) == (1, None)


def test_a_small_difference_is_not_worth_a_resampling() -> None:
    narrow = TrainedObjects((SIZE, SIZE), (SIZE, SIZE))
    assert estimate_scale(draw(24), narrow, Network()).factor == 1
    assert estimate_scale(draw(30), narrow, Network()).factor < 0.8


def test_a_model_without_sizes_is_refused() -> None:
    with pytest.raises(UserError) as error:
        estimate_scale(draw(20), TrainedObjects(), Network())
    assert error.value.code == "predict.scale_unknown"


def test_the_richest_box_has_objects() -> None:
    image = np.zeros((900, 1200, 1), np.uint8)
    image[700:, 1000:] = draw(10, (200, 200))
    rows, columns = richest_box(image, (256, 256))
    assert (rows.stop - rows.start, columns.stop - columns.start) == (256, 256)
    assert rows.stop > 850
    assert columns.stop > 1150
    assert richest_box(image, (5000, 5000)) == (slice(0, 900), slice(0, 1200))

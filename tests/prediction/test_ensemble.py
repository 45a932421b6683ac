"""Mean of the maps of several models."""

from functools import partial

import numpy as np
import pytest
import torch

from singula.data.normalize import Scaling
from singula.prediction import BlockPredictor, Predictor, PredictSettings, block_plan, plan_tiles
from singula.prediction.ensemble import EnsembleBlockPredictor, mean_maps
from singula.training.losses import Output

OUTPUTS = (Output("B", "binary", "sigmoid", 1.0), Output("D", "distance", "linear", 1.0))
N_CLASSES = 3


def test_mean_of_probabilities_and_distances() -> None:
    first = {"B": np.array([[0.25, 1.0]], np.float16), "D": np.array([[2.0, 5.0]], np.float32)}
    second = {"B": np.array([[0.75, 0.5]], np.float16), "D": np.array([[4.0, 5.5]], np.float32)}
    maps = mean_maps([lambda: first, lambda: second])
    np.testing.assert_array_equal(maps["B"], [[0.5, 0.75]])
    np.testing.assert_array_equal(maps["D"], [[3.0, 5.25]])
    assert maps["B"].dtype == np.float16
    assert maps["D"].dtype == np.float32
    assert first["D"][0, 0] == 2.0  # maps of a model may be stored in a file


def test_the_class_has_the_largest_mean_probability() -> None:
    """The most frequent class of the models would be class 1."""
    votes = [[0.1, 0.5, 0.4], [0.1, 0.5, 0.4], [0.0, 0.0, 1.0]]
    members = [{"class": np.array([[vote]], np.float32)} for vote in votes]
    maps = mean_maps([partial(dict, member) for member in members])
    np.testing.assert_array_equal(maps["class"], [[2]])
    assert maps["class"].dtype == np.uint8


def predictor(seed: int) -> Predictor:
    """Return a predictor with a random network of one layer."""
    torch.manual_seed(seed)
    network = torch.nn.Conv2d(1, len(OUTPUTS) + N_CLASSES, 3, padding=1, padding_mode="reflect")
    return Predictor(network, OUTPUTS, N_CLASSES)


def scaling(number: int) -> Scaling:
    values = (np.zeros(1), np.full(1, 255.0), np.full(1, 10.0 * number), np.full(1, 50.0))
    return Scaling(*values)


@pytest.mark.parametrize("flat", [False, True])
def test_blocks_have_the_mean_of_the_models(flat: bool) -> None:
    shape, halo, reach = (40, 56), (8, 8), (1, 1)
    image = np.random.default_rng(0).integers(0, 255, (*shape, 1)).astype(np.uint8)
    if flat:
        image[:] = 7
    tiles = plan_tiles(shape, (0, 0), reach, (4, 4), (16, 16), 10_000)
    settings = PredictSettings(tiles, class_probabilities=True)
    plan = block_plan(shape, settings, halo, reach, (16, 16), 10_000)
    members = [
        BlockPredictor(predictor(n), plan, lambda box: image[box], scaling(n), settings)
        for n in (1, 2, 3)
    ]
    core = (slice(8, 24), slice(24, 48))
    expected = [member(core) for member in members]
    ensemble = EnsembleBlockPredictor(members)
    maps, key = ensemble.predict(core)
    assert maps is not None
    for name in ("B", "D"):
        mean = np.mean([each[name] for each in expected], axis=0)
        np.testing.assert_allclose(maps[name], mean, atol=1e-6)
    mean = np.mean([each["class"] for each in expected], axis=0)
    np.testing.assert_array_equal(maps["class"], mean.argmax(-1))
    assert (key is not None) == flat
    if key is not None:
        assert ensemble.predict(core, {key}) == (None, key)

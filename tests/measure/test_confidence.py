"""Confidence of instances from soft maps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

import singula
from singula.errors import UserError
from singula.measure.confidence import confidence
from singula.metrics import match
from singula.representations.channels import EncodeSettings
from singula.representations.table import complete_channels, split_channels

SETS = (
    "BC",
    "BCD",
    "BCM",
    "BP",
    "BDv2",
    "F+C+Db",
    "F+T+Db",
    "F+Dc+Dn",
    "F+H+V",
    "Db+R8",
    "F+A",
    "E",
)


def auroc(values: np.ndarray, positive: np.ndarray) -> float:
    ranks = rankdata(values)
    n = positive.sum()
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (~positive).sum()))


def disks(random: np.random.Generator, ndim: int) -> np.ndarray:
    """Return a grid of balls of different sizes."""
    side, count = (16, 5) if ndim == 2 else (12, 3)
    labels = np.zeros((side * count,) * ndim, np.int32)
    grid = np.indices(labels.shape)
    for number, corner in enumerate(np.ndindex(*(count,) * ndim), start=1):
        center = np.array(corner) * side + side / 2 + random.uniform(-1, 1, ndim)
        away = ((grid - center.reshape(-1, *(1,) * ndim)) ** 2).sum(axis=0)
        labels[away < random.uniform(3, side / 2 - 1) ** 2] = number
    return labels


def settings_of(channels: str, ndim: int) -> EncodeSettings:
    return EncodeSettings(split_channels(complete_channels(channels, ndim, {})))


def soft_maps(labels: np.ndarray, settings: EncodeSettings, random: np.random.Generator):
    """Return blurred channels with noise, as a network predicts them."""
    maps = {}
    for name, values in singula.encode(labels, settings.channels).items():
        exact = np.where(values == -1, 0, values) if values.dtype == np.int8 else values
        noise = 0.1 * (np.ptp(exact) or 1) * random.standard_normal(labels.shape)
        maps[name] = (gaussian_filter(exact.astype(float), 0.7) + noise).astype(np.float32)
    return maps


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("channels", SETS)
def test_separates_true_from_false_objects(channels: str, ndim: int) -> None:
    random = np.random.default_rng(3)
    truth = disks(random, ndim)
    settings = settings_of("F+H+V+Z" if channels == "F+H+V" and ndim == 3 else channels, ndim)
    maps = soft_maps(truth, settings, random)
    # Every third object is merged with its neighbor, shifted, or drawn into the background.
    predicted = truth.copy()
    last = int(truth.max())
    for number in range(1, last, 3):
        if number % 2:
            predicted[predicted == number + 1] = number
        else:
            predicted[truth == number] = 0
            moved = np.roll(truth == number, 6, axis=-1)
            predicted[moved & (predicted == 0)] = number
    ids = np.unique(predicted)[1:]
    values = confidence(predicted, maps, settings)
    assert list(values) == ids.tolist()
    assert all(0 <= value <= 1 for value in values.values())
    is_true = np.isin(ids, match(truth, predicted, 0.5).pred_ids)
    assert 0 < is_true.sum() < len(ids)
    assert auroc(np.array(list(values.values())), is_true) >= 0.8


@pytest.mark.parametrize("channels", [name for name in SETS if name != "E"])
def test_is_1_for_the_channels_of_the_labels(channels: str) -> None:
    labels = disks(np.random.default_rng(5), 2)
    labels[0, 0], labels[2, 2] = 900, 70_000  # single pixels, and ids with gaps
    settings = settings_of(channels, 2)
    maps = singula.encode(labels, settings.channels)
    values = confidence(labels, {k: v.astype(np.float32) for k, v in maps.items()}, settings)
    assert set(values.values()) == {1.0}


def test_images_without_objects_and_missing_maps() -> None:
    settings = EncodeSettings(("B", "C"))
    empty = np.zeros((4, 5), np.uint8)
    assert confidence(empty, {}, settings) == {}
    with pytest.raises(UserError) as caught:
        confidence(empty + 1, {"B": np.zeros((4, 5), np.float32)}, settings)
    assert caught.value.code == "confidence.no_maps"

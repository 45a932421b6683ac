from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

Scene = tuple[np.ndarray, tuple[float, ...]]


def packed_cells(
    shape: tuple[int, ...], spacing: tuple[float, ...], radius: float, seed: int
) -> np.ndarray:
    """Return cells on a jittered grid that touch each other and the border."""
    rng = np.random.default_rng(seed)
    pitch = np.array([1.65 * radius / s for s in spacing])
    counts = [int(np.ceil(n / p)) + 1 for n, p in zip(shape, pitch, strict=True)]
    centers = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(
        -1, len(shape)
    )
    centers = (centers + rng.uniform(-0.1, 0.1, centers.shape)) * pitch
    nearest = np.full(shape, np.inf)
    labels = np.zeros(shape, np.uint32)
    grid = np.indices(shape).astype(float)
    for i, center in enumerate(centers[rng.random(len(centers)) < 0.85], 1):
        squares = [((g - c) * s) ** 2 for g, c, s in zip(grid, center, spacing, strict=True)]
        distance = np.sqrt(sum(squares))
        mine = (distance < radius) & (distance < nearest)
        labels[mine] = 1000 * i  # ids with gaps
        nearest = np.minimum(nearest, distance)
    for i in np.unique(labels[labels > 0]):
        extent = [np.ptp(axis) for axis in np.nonzero(labels == i)]
        if any(e * s < radius for e, s in zip(extent, spacing, strict=True)):
            labels[labels == i] = 0  # slivers at the border
    return labels


@pytest.fixture(scope="session", params=["2d", "3d"])
def scene(request: pytest.FixtureRequest) -> Scene:
    """Return a label image and its spacing; slices are three times as thick as pixels."""
    if request.param == "2d":
        return packed_cells((120, 130), (1.0, 1.0), 11.0, seed=1), (1.0, 1.0)
    return packed_cells((24, 84, 80), (3.0, 1.0, 1.0), 15.0, seed=2), (3.0, 1.0, 1.0)


@pytest.fixture(scope="session")
def soften() -> Callable[..., dict[str, np.ndarray]]:
    """Return soft channels similar to those of a network: blurred, noisy, float32."""

    def make(channels: dict[str, np.ndarray], spacing: tuple[float, ...]) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(7)
        maps = {}
        for name, ideal in channels.items():
            blurred = gaussian_filter(ideal.astype(np.float32), [0.7 / s for s in spacing])
            noisy = blurred + rng.normal(0, 0.02, ideal.shape).astype(np.float32)
            maps[name] = noisy if name in ("D", "Dv2") else noisy.clip(0, 1)
        return maps

    return make

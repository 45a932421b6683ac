"""The encoder of flows: Cellpose, a slow diffusion, anisotropic volumes, and its loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import find_objects, uniform_filter

import singula
from singula.representations.channels.flow import flows_of_labels
from singula.training.losses import InstanceLoss, Output, activate

STORED = Path(__file__).parent / "data" / "cellpose_flows.npz"
"""Labels, and flows of Cellpose 3.1.1: `masks_to_flows`, and for the volume its version in 3D."""


def diffused(mask: np.ndarray) -> np.ndarray:
    """Return the flows of one instance by the definition, with all steps."""
    ndim, at = mask.ndim, np.argwhere(mask)
    away = ((at - at.mean(axis=0)) ** 2).sum(axis=1)
    source = tuple((at[np.isclose(away, away.min())] + 1).T)
    inside = np.pad(mask, 1).astype(float)
    heat = np.zeros(inside.shape)
    sides = sum(mask.shape)
    for _ in range(2 * (sides + 4) if ndim == 2 else 6 * (sides + 3)):
        heat[source] += 1 / len(source[0])
        heat = uniform_filter(heat, 3, mode="constant") * inside
    rise = np.stack([np.roll(heat, -1, a) - np.roll(heat, 1, a) for a in range(ndim)], axis=-1)
    length = np.sqrt((rise**2).sum(axis=-1, keepdims=True))
    unit = np.divide(rise, length, out=np.zeros_like(rise), where=length > 1e-12 * heat.max())
    return unit[(slice(1, -1),) * ndim] * mask[..., None]


@pytest.mark.parametrize("name", ["labels", "volume"])
def test_flows_are_those_of_a_slow_diffusion(name: str) -> None:
    labels = np.load(STORED)[name].astype(np.int32)
    flows = flows_of_labels(labels, (1,) * labels.ndim)
    assert not flows[labels == 0].any()
    for number, box in enumerate(find_objects(labels), start=1):
        mask = labels[box] == number
        cosines = (flows[box] * diffused(mask)).sum(axis=-1)[mask]
        assert np.sort(cosines)[len(cosines) // 50] > 0.999  # a center can have no direction


@pytest.mark.parametrize(("name", "lowest"), [("labels", 0.999), ("volume", 0.9)])
def test_flows_point_in_the_directions_of_cellpose(name: str, lowest: float) -> None:
    # In volumes, Cellpose spreads heat over faces only, so that the flows differ a little.
    stored = np.load(STORED)
    labels = stored[name].astype(np.int32)
    flows = flows_of_labels(labels, (1,) * labels.ndim)
    theirs = stored["flows" if name == "labels" else "volume_flows"].astype(float)
    cosines = (flows * theirs).sum(axis=-1)[labels > 0]
    assert cosines.mean() > 0.98
    assert np.percentile(cosines, 2) > lowest


def test_the_directions_follow_the_voxel_size() -> None:
    z, y, x = np.indices((13, 29, 29))
    ball = ((z - 6) * 2) ** 2 + (y - 14) ** 2 + (x - 14) ** 2 <= 12**2
    maps = singula.encode(ball.astype(np.uint8), "F+Gz+Gv+Gh", spacing=(2, 1, 1))
    flows = np.stack([maps[code] for code in ("Gz", "Gv", "Gh")])[:, ball]
    lengths = np.sqrt((flows**2).sum(axis=0))
    towards = -np.stack([(z - 6) * 2, y - 14, x - 14])[:, ball].astype(float)
    away = np.sqrt((towards**2).sum(axis=0))
    np.testing.assert_allclose(lengths[away > 0], 1, atol=1e-6)
    cosines = (flows * towards).sum(axis=0)[away > 0] / away[away > 0]
    assert cosines.mean() > 0.99
    assert not flows[:, away == 0].any()


def test_the_loss_is_the_squared_error_of_five_times_the_flow() -> None:
    logits, truth = torch.randn(2, 1, 8, 8), torch.rand(2, 1, 8, 8) * 2 - 1
    output = Output("Gh", "mse", "fifth", component=1)
    batch = {"target": truth, "foreground": torch.zeros(2, 1, 8, 8, dtype=torch.bool)}
    loss = InstanceLoss([output])(logits, batch)
    torch.testing.assert_close(loss, ((logits - 5 * truth) ** 2).mean())
    torch.testing.assert_close(activate(logits, "fifth"), logits / 5)

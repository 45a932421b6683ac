"""Folding batch normalization changes only the time."""

import pytest
import torch
from torch import nn

from singula.models import ModelSettings, TransformerSettings, build_model, fold_batch_norm
from singula.models.variants import ARCHITECTURES
from singula.util.architectures import downsampling_steps

SHAPES = {2: (32, 32), 3: (8, 16, 16)}
NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def trained(name: str, ndim: int, **changes: object) -> nn.Module:
    """Return a network whose normalization layers are far from the identity."""
    torch.manual_seed(0)
    small = TransformerSettings(4, 16, 4, 2, 2.0, every=2, filters=4, patch=SHAPES[ndim])
    network = build_model(
        ModelSettings(
            ndim, 1, 2, architecture=name, feature_maps=(4, 8, 12), dropout=(0.0, 0.1, 0.1),
            z_down=(1, 2, 2)[: downsampling_steps(name, 3)], transformer=small, **changes,
        )  # type: ignore[arg-type]
    )  # fmt: skip
    for layer in network.modules():
        if isinstance(layer, NORMS):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(layer, NORMS) for layer in network.modules())


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_folded_network_is_the_same_function(name: str, ndim: int) -> None:
    network = trained(name, ndim)
    before = norms(network)
    folded = fold_batch_norm(network)
    image = torch.rand(2, 1, *SHAPES[ndim])
    with torch.inference_mode():
        expected, found = network(image), folded(image.clone())
    scale = float(expected.abs().max())
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5)
    assert norms(network) == before
    assert norms(folded) < before or before == 0
    assert not folded.training


def test_no_normalization_remains_in_a_plain_network() -> None:
    assert norms(fold_batch_norm(trained("unet", 2))) == 0


def test_layers_used_twice_or_separately_are_not_folded() -> None:
    conv, norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
    twice = nn.Sequential(nn.Sequential(conv, norm), nn.Sequential(conv, nn.ReLU()))
    before = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
    apart = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.BatchNorm2d(2))
    local = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))
    for network in (twice, before, apart, local):
        assert norms(fold_batch_norm(network)) == 1

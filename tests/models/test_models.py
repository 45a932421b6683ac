from dataclasses import replace

import numpy as np
import pytest
import torch

from singula.errors import UserError
from singula.models import ModelSettings, build_model, downsampling
from singula.models.blocks import ACTIVATIONS, make_activation
from singula.models.build import receptive_radius
from singula.models.settings import TransformerSettings

SMALL = {"feature_maps": (4, 8, 16), "dropout": (0.0, 0.0, 0.0), "z_down": (1, 2)}


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("upsample", ["convtranspose", "upsampling"])
def test_output_has_the_input_shape_and_both_heads(ndim: int, upsample: str) -> None:
    settings = ModelSettings(ndim, 3, 2, n_classes=4, upsample=upsample, **SMALL)
    network = build_model(settings).eval()
    shape = (6, 20, 16)[-ndim:]
    shape = tuple(s // m * m for s, m in zip(shape, downsampling(settings), strict=True))
    out = network(torch.randn(2, 3, *shape))
    assert out.shape == (2, 6, *shape)


def test_z_down_sets_the_pooling_along_z_and_zero_stands_for_two() -> None:
    settings = ModelSettings(3, 1, 1, feature_maps=(2, 2, 2, 2), z_down=(1, 2, 0))
    assert settings.pooling == ((1, 2, 2), (2, 2, 2), (2, 2, 2))
    assert downsampling(settings) == (4, 8, 8)


def test_one_slice_of_3d_equals_2d_with_the_same_weights() -> None:
    # A 3-wide kernel sees zeros above and below one slice: its middle plane is the 2D kernel.
    flat = build_model(ModelSettings(2, 1, 2, feature_maps=(4, 8), dropout=(0, 0))).eval()
    solid = build_model(
        ModelSettings(3, 1, 2, feature_maps=(4, 8), dropout=(0, 0), z_down=(1,))
    ).eval()
    weights = solid.state_dict()
    for name, value in flat.state_dict().items():
        if value.ndim == 4:
            target = torch.zeros_like(weights[name])
            middle = target.shape[2] // 2
            target[:, :, middle] = value
            weights[name] = target
        else:
            weights[name] = value
    solid.load_state_dict(weights)
    image = torch.randn(1, 1, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(solid(image[:, :, None])[:, :, 0], flat(image))


def test_settings_change_the_layers() -> None:
    def kinds(**changes: object) -> set[str]:
        settings = ModelSettings(2, 1, 2, **{**SMALL, "z_down": (0, 0), **changes})  # type: ignore[arg-type]
        return {type(m).__name__ for m in build_model(settings).modules()}

    assert "BatchNorm2d" in kinds()
    assert "BatchNorm2d" not in kinds(batch_norm=False)
    assert "Dropout2d" in kinds(dropout=(0.0, 0.1, 0.1))
    assert {"ReLU"} <= kinds(activation="relu")
    assert "ELU" not in kinds(activation="relu")
    kernels = build_model(ModelSettings(2, 1, 2, **{**SMALL, "z_down": (0, 0)}, kernel=5))
    assert kernels.bottom.layers[0].kernel_size == (5, 5)


def test_activations_in_any_case() -> None:
    assert {type(make_activation(n.upper())) for n in ACTIVATIONS} == {
        type(make_activation(n)) for n in ACTIVATIONS
    }
    with pytest.raises(ValueError, match="unknown activation"):
        make_activation("rellu")


def test_an_unknown_architecture_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"MODEL\.ARCHITECTURE.*'vnet'"):
        build_model(ModelSettings(2, 1, 1, architecture="vnet"))


def test_settings_round_trip_through_plain_types() -> None:
    settings = ModelSettings(3, 2, 3, n_classes=5, z_down=(1, 1, 2, 2))
    assert ModelSettings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize("architecture", ["unet", "unet_light", "unetr"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_units_multiply_the_channels_and_are_not_weights(ndim: int, architecture: str) -> None:
    transformer = TransformerSettings(4, 8, 2, 2, every=1, filters=2, patch=(16,) * ndim)
    plain = ModelSettings(
        ndim, 1, 3, n_classes=2, architecture=architecture, transformer=transformer,
        feature_maps=(4, 8), dropout=(0, 0),
    )  # fmt: skip
    assert "units" not in plain.to_dict()
    scaled = replace(plain, units=(1.0, 8.0, 0.5))
    assert ModelSettings.from_dict(scaled.to_dict()) == scaled
    one, other = build_model(plain).eval(), build_model(scaled).eval()
    other.load_state_dict(one.state_dict())
    image = torch.rand(2, 1, *(16,) * ndim)
    factors = torch.tensor([1.0, 8.0, 0.5, 1.0, 1.0]).view(-1, *[1] * ndim)
    with torch.inference_mode():
        torch.testing.assert_close(other(image), one(image) * factors)


@pytest.mark.parametrize("units", [(1.0,), (1.0, 0.0), (1.0, -1.0)])
def test_units_are_positive_and_one_for_each_channel(units: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="units"):
        ModelSettings(2, 1, 2, units=units)


@pytest.mark.parametrize("upsample", ["convtranspose", "upsampling"])
@pytest.mark.parametrize("kernel", [3, 5])
def test_nothing_beyond_the_receptive_radius_matters(kernel: int, upsample: str) -> None:
    settings = ModelSettings(
        2, 1, 1, feature_maps=(3, 3, 3), dropout=(0, 0, 0), kernel=kernel, upsample=upsample
    )
    torch.manual_seed(0)
    network = build_model(settings).double().eval()
    radius, size = receptive_radius(settings)[0], 160
    image = torch.randn(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    network(image)[0, 0, size // 2, size // 2].backward()
    assert image.grad is not None
    rows = np.flatnonzero(image.grad[0, 0].abs().sum(1).numpy() > 0)
    reach = max(size // 2 - rows.min(), rows.max() - size // 2)
    assert 0.5 * radius < reach <= radius


def test_a_small_network_overfits_one_image() -> None:
    torch.manual_seed(0)
    network = build_model(ModelSettings(2, 1, 1, feature_maps=(8, 16), dropout=(0, 0)))
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 8:20, 10:22] = 1
    image = truth + 0.3 * torch.randn_like(truth)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits
    for _ in range(60):
        optimizer.zero_grad()
        loss = loss_of(network(image), truth)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05

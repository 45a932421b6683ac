"""Requirements on every architecture, in two and three dimensions."""

import typing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from singula.config.schema.model import Architecture
from singula.data.normalize import Normalizer
from singula.errors import UserError
from singula.models import (
    ModelSettings,
    TransformerSettings,
    build_model,
    channels_last,
    downsampling,
    receptive_radius,
)
from singula.models.blocks import depth_to_space, space_to_depth
from singula.models.units import multires_widths
from singula.models.variants import ARCHITECTURES, UNETS
from singula.prediction import Predictor, PredictSettings, whole_plan
from singula.report.model_plot import draw_model
from singula.training.losses import Output
from singula.util.architectures import REARRANGED, downsampling_steps

GLOBAL = {"resunet++", "seunet", "resunet_se", "unetr"}
SHAPES = {2: (32, 32), 3: (8, 16, 16)}
every = pytest.mark.parametrize("name", ARCHITECTURES)
both = pytest.mark.parametrize("ndim", [2, 3])


def small(name: str, ndim: int, **changes: object) -> ModelSettings:
    values: dict[str, object] = {
        "architecture": name,
        "feature_maps": (4, 8, 12),
        "dropout": (0.0, 0.0, 0.0),
        "z_down": (1, 2, 2)[: downsampling_steps(name, 3)],
        # A decoder of four ReLUs may be dead at a pixel, or altogether.
        "transformer": TransformerSettings(
            4, 16, 4, 2, 2.0, every=2, filters=4, activation="elu", patch=SHAPES[ndim]
        ),
        **changes,
    }
    return ModelSettings(ndim, 1, 2, **values)  # type: ignore[arg-type]


def made(settings: ModelSettings) -> nn.Module:
    torch.manual_seed(0)
    return build_model(settings)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_the_configuration_lists_all_architectures() -> None:
    assert set(typing.get_args(Architecture)) == set(ARCHITECTURES)


@every
@both
@pytest.mark.parametrize(
    "changes",
    [
        {"n_classes": 3, "dropout": (0.1, 0.2, 0.3)},
        {"batch_norm": False, "upsample": "upsampling", "kernel": 5, "activation": "leaky_relu"},
    ],
)
def test_shape_heads_determinism_and_bfloat16(
    name: str, ndim: int, changes: dict[str, object]
) -> None:
    settings = small(name, ndim, **changes)
    network = channels_last(made(settings), ndim)
    image = noise(2, 1, *SHAPES[ndim])
    width = settings.out_channels + settings.n_classes
    loss = network(image).square().mean()  # the first pass of a training, in spec where it may be
    loss.backward()
    network.eval()
    with torch.inference_mode():
        out = network(image)
        assert out.shape == (2, width, *SHAPES[ndim])
        torch.testing.assert_close(out, network(image), rtol=0, atol=0)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.isfinite(network(image)).all()


@pytest.mark.slow
@every
@both
def test_a_small_network_learns_one_image_with_all_of_its_parameters(name: str, ndim: int) -> None:
    network = made(small(name, ndim))
    truth = torch.zeros(1, 2, *SHAPES[ndim])
    truth[..., 4:10, 6:12] = 1
    truth[:, 1] = 1 - truth[:, 1]
    image = truth[:, :1] + 0.2 * noise(1, 1, *SHAPES[ndim])
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses: list[float] = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(image), truth)
        loss.backward()
        if not losses:
            without = [n for n, p in network.named_parameters() if p.grad is None]
            without += [n for n, p in network.named_parameters() if not p.grad.any()]
            assert without == []
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < 0.2 * losses[0]:
            break
    assert losses[-1] < 0.2 * losses[0]


@every
def test_an_image_of_any_size_is_predicted(name: str) -> None:
    settings = small(name, 2)
    outputs = (Output("B", "bce", "sigmoid"), Output("C", "bce", "sigmoid"))
    image = np.random.default_rng(0).integers(0, 255, (37, 45, 1)).astype(np.uint8)
    plan = whole_plan((37, 45), downsampling(settings))
    scaling = Normalizer("div").scaling(image)
    maps = Predictor(made(settings), outputs).predict(image, scaling, PredictSettings(plan))
    assert maps["B"].shape == (37, 45)
    assert np.ptp(maps["B"]) > 0


def reach_of(network: nn.Module, size: int) -> int:
    """Return the largest distance from which a pixel near the center is influenced."""
    image = noise(1, 1, size, size).requires_grad_()
    found = 0
    for pixel in range(size // 2, size // 2 + 4):
        (grad,) = torch.autograd.grad(network(image)[0, 0, pixel, pixel], image)
        rows = np.flatnonzero(grad[0, 0].abs().sum(1).numpy())
        found = max(found, pixel - rows.min(), rows.max() - pixel)
    return int(found)


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - GLOBAL))
@pytest.mark.parametrize("upsample", ["convtranspose", "upsampling"])
def test_the_receptive_radius_is_correct(name: str, upsample: str) -> None:
    levels = {"feature_maps": (3, 3), "dropout": (0, 0)} if name == "unext_v1" else {}
    settings = small(name, 2, upsample=upsample, activation="silu", **levels)
    radius = receptive_radius(settings)
    assert radius is not None
    assert radius[0] == radius[1]
    found = reach_of(made(settings).eval(), 8 * ((2 * radius[0] + 24) // 8))
    assert 0.8 * radius[0] < found <= radius[0]


@pytest.mark.parametrize("name", sorted(GLOBAL))
def test_no_radius_if_the_receptive_field_is_the_whole_image(name: str) -> None:
    settings = small(name, 2)
    assert receptive_radius(settings) is None
    assert reach_of(made(settings).eval(), 96) == 51  # from pixel 51 to 0


def test_anisotropic_pooling_reduces_the_receptive_radius_along_z() -> None:
    for name in sorted(set(ARCHITECTURES) - GLOBAL):
        steps = downsampling_steps(name, 3)
        flat = small(name, 3, z_down=(1,) * steps)
        radius = receptive_radius(flat)
        assert radius is not None
        assert radius[0] < radius[1] == radius[2]
        assert downsampling(flat) == (1, 2**steps, 2**steps)


def test_the_radius_does_not_draw_random_numbers() -> None:
    before = torch.get_rng_state()
    receptive_radius(small("unetr", 3))
    receptive_radius(small("resunet", 2))
    assert torch.equal(before, torch.get_rng_state())


@every
@both
def test_settings_round_trip_and_the_plot_is_drawn(name: str, ndim: int, tmp_path) -> None:
    settings = small(name, ndim)
    assert ModelSettings.from_dict(settings.to_dict()) == settings
    path = draw_model(tmp_path / "model.png", settings, SHAPES[ndim], ("B", "C"))
    assert path.stat().st_size > 10_000


def test_settings_without_an_architecture() -> None:
    old = {
        "ndim": 2, "in_channels": 1, "out_channels": 2, "n_classes": 0, "architecture": "unet",
        "feature_maps": [4, 8], "dropout": [0.0, 0.1], "z_down": [0], "batch_norm": True,
        "kernel": 3, "upsample": "convtranspose", "activation": "ELU",
    }  # fmt: skip
    expected = ModelSettings(2, 1, 2, feature_maps=(4, 8), dropout=(0.0, 0.1), z_down=(0,))
    assert ModelSettings.from_dict(old) == expected


PLAIN_2D = {
    "encoder.0.layers.0.weight": (16, 1, 3, 3),
    "encoder.0.layers.1.running_mean": (16,),
    "encoder.1.layers.1.bias": (32,),
    "encoder.3.layers.3.weight": (128, 128, 3, 3),
    "bottom.layers.0.weight": (256, 128, 3, 3),
    "bottom.layers.4.num_batches_tracked": (),
    "ups.0.layers.weight": (256, 128, 2, 2),
    "ups.3.layers.bias": (16,),
    "decoder.0.layers.0.weight": (128, 256, 3, 3),
    "decoder.3.layers.4.running_var": (16,),
    "head.weight": (2, 16, 1, 1),
    "head.bias": (2,),
    "class_head.weight": (3, 16, 1, 1),
    "class_head.bias": (3,),
}


def test_the_plain_network_keeps_the_names_of_its_weights() -> None:
    weights = made(ModelSettings(2, 1, 2, n_classes=3)).state_dict()
    assert len(weights) == 120
    assert {name: tuple(weights[name].shape) for name in PLAIN_2D} == PLAIN_2D
    other = made(
        ModelSettings(3, 1, 2, batch_norm=False, dropout=(0.1,) * 5, upsample="upsampling")
    ).state_dict()
    assert len(other) == 46
    # Dropout stands between the convolutions: they are layers 0 and 3.
    assert other["encoder.1.layers.3.bias"].shape == (32,)
    assert other["ups.0.layers.0.weight"].shape == (128, 256, 1, 1, 1)


def parameters(name: str, ndim: int, **changes: object) -> int:
    values = {"feature_maps": (32, 64, 128, 256, 512), **changes}
    with torch.device("meta"):
        network = build_model(ModelSettings(ndim, 1, 1, architecture=name, **values))
    return sum(p.numel() for p in network.parameters())


def test_the_number_of_parameters_equals_the_publication() -> None:
    # Ibtehaz & Rahman 2020 report: their U-Net, whose convolutions have biases and no norm, and
    # MultiResUNet, whose norms are arranged a little differently.
    assert parameters("unet", 2, batch_norm=False) == 7_759_521
    assert parameters("multiresunet", 2) == pytest.approx(7_262_750, rel=0.003)
    assert parameters("multiresunet", 3) == pytest.approx(18_657_689, rel=0.003)
    assert multires_widths(32) == (8, 17, 26)


def test_a_transformer_of_the_usual_size() -> None:
    # One layer of width d has 12 d² + 13 d numbers, as the dense layers are 4 d wide.
    settings = small("unetr", 2, transformer=TransformerSettings(patch=(32, 32)))
    with torch.device("meta"):
        layers = build_model(settings).layers
    assert isinstance(layers, nn.ModuleList)
    assert sum(p.numel() for p in layers.parameters()) == 12 * (12 * 768**2 + 13 * 768)


def test_positions_are_interpolated_for_another_shape() -> None:
    network = made(small("unetr", 2)).eval()
    with torch.no_grad():
        network.position.copy_(torch.linspace(0, 1, 8).expand(1, 16, 8, 8))
        wider = network._positions(torch.Size((8, 16)))
    assert wider.shape == (1, 16, 8, 16)
    inside = wider[0, 0, 0, 1:-1].diff()
    torch.testing.assert_close(inside, torch.full_like(inside, 1 / 14))
    assert network(noise(1, 1, 20, 64)).shape == (1, 2, 20, 64)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token": 6}, "token size must be 2, 4, 8"),
        ({"patch": (32, 30)}, "not a multiple of the token size 4"),
        ({"patch": ()}, "not a multiple"),
        ({"heads": 5}, "5 attention heads do not divide"),
        ({"every": 4}, "too few"),
    ],
)
def test_an_impossible_transformer_is_a_user_error(changes: dict[str, object], words: str) -> None:
    values = {"token": 4, "width": 16, "layers": 4, "heads": 2, "patch": (32, 32), "every": 2}
    settings = small("unetr", 2, transformer=TransformerSettings(**{**values, **changes}))
    with pytest.raises(UserError, match=words):
        build_model(settings)


def test_the_number_of_steps_is_declared_as_the_network_is_built() -> None:
    assert {name for name, parts in UNETS.items() if parts.rearranged} == REARRANGED


def test_rearranged_pixels_equal_those_of_torch() -> None:
    image = noise(2, 3, 8, 12)
    features = space_to_depth(image, (2, 2))
    assert torch.equal(features, nn.PixelUnshuffle(2)(image))
    assert features.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(depth_to_space(features, (2, 2)), nn.PixelShuffle(2)(features))


@pytest.mark.parametrize("cell", [(1, 2, 2), (2, 2, 2), (2, 1, 3)])
def test_rearranged_voxels_are_restored(cell: tuple[int, ...]) -> None:
    image = noise(2, 3, 4, 6, 12)
    features = space_to_depth(image, cell)
    assert torch.equal(depth_to_space(features, cell), image)
    # The first pixels of all cells are a channel.
    corner = tuple(slice(None, None, step) for step in cell)
    assert torch.equal(features[:, 0], image[:, 0][(slice(None), *corner)])


def test_a_slice_is_predicted_as_an_image() -> None:
    """A volume of one slice, with kernels that are zero beside it, equals the 2D network."""
    flat = made(small("unet_light", 2)).eval()
    volume = made(small("unet_light", 3, z_down=(1, 1, 1))).eval()
    weights = flat.state_dict()
    for name, value in volume.state_dict().items():
        found = weights[name]
        if value.ndim == 5:
            kernel = torch.zeros_like(value)
            kernel[:, :, value.shape[2] // 2] = found
            found = kernel
        value.copy_(found)
    image = noise(1, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(volume(image[:, :, None])[:, :, 0], flat(image))


DOCS = Path(__file__).parents[2] / "docs" / "architectures.md"


def documented() -> dict[str, list[str]]:
    """Return the first table of the page: cells by architecture."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    return {row[0].strip("`"): row for row in rows if len(row) == 8 and row[0][:1] == "`"}


def test_the_page_lists_every_architecture() -> None:
    assert tuple(documented()) == ARCHITECTURES


@every
def test_the_numbers_of_the_page_are_those_of_the_networks(name: str) -> None:
    counts, cells = [], documented()[name]
    for patch in ((256, 256), (32, 128, 128)):
        own = TransformerSettings(patch=patch)
        settings = ModelSettings(len(patch), 1, 2, architecture=name, transformer=own)
        with torch.device("meta"):
            counts.append(f"{sum(p.numel() for p in build_model(settings).parameters()):,}")
        radius = receptive_radius(settings)
        assert cells[5] == str(max(downsampling(settings)))
        assert cells[6] == ("all" if radius is None else str(max(radius)))
    assert cells[3:5] == counts


@pytest.mark.parametrize("name", ["resunet", "resunet++", "resunet_se"])
def test_a_step_with_few_channels_in_channels_last_layout(name: str) -> None:
    """Its strided shortcut wrote beyond its memory in an earlier version."""
    settings = ModelSettings(2, 1, 2, architecture=name, feature_maps=(8, 16), dropout=(0, 0))
    network = channels_last(build_model(settings), 2)
    for _ in range(3):
        network(torch.rand(4, 1, 64, 64)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import CASES, B, D, picture, warm
from torch import Tensor, nn

from singula.data.normalize import Normalizer
from singula.data.patches import TilePlan, read_patch
from singula.models import downsampling
from singula.models.build import receptive_radius
from singula.prediction import Predictor, PredictSettings, whole_plan
from singula.prediction.tta import apply_view, mean_over_views, undo_view
from singula.representations.channels import EncodeSettings, encode
from singula.representations.channels.affinity import affinity
from singula.representations.channels.rays import encode_rays
from singula.representations.channels.source import Source
from singula.util.views import augmented_views, ray_in_view


def predict(
    predictor: Predictor, image: np.ndarray, plan: TilePlan, **more: object
) -> dict[str, np.ndarray]:
    scaling = Normalizer("div").scaling(image)
    return predictor.predict(image, scaling, PredictSettings(plan, 3, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("overlap", [0.0, 0.4])
def test_tiles_give_the_map_of_the_whole_image(case: str, overlap: float) -> None:
    model, shape = CASES[case]
    multiple = downsampling(model)
    halo = tuple(-(-r // m) * m for r, m in zip(receptive_radius(model), multiple, strict=True))
    predictor = Predictor(warm(model), (B, D))
    image = picture(shape)
    cores = tuple((4 if m == 1 else 8 * m) for m in multiple)
    patch = tuple(c + 2 * h for c, h in zip(cores, halo, strict=True))
    tiled = predict(predictor, image, TilePlan(patch, (overlap,) * model.ndim, halo, multiple))
    large = tuple(-(-s // m) * m + 2 * h for s, m, h in zip(shape, multiple, halo, strict=True))
    whole = predict(predictor, image, TilePlan(large, (0.0,) * model.ndim, halo, multiple))
    for name in ("B", "D"):
        assert np.ptp(whole[name]) > 0.01
        np.testing.assert_allclose(tiled[name], whole[name], atol=2e-5)


class Same(nn.Module):
    """Network that returns its input, to test the reassembly of tiles."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(3, 40), st.integers(3, 40)),
    st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    st.integers(0, 3),
    st.booleans(),
)
def test_reassembly_is_the_identity_for_any_plan(
    shape: tuple[int, int], overlap: float, padding: int, augment: bool
) -> None:
    image = picture(shape)
    plan = TilePlan((12, 12), (overlap, overlap), (padding, padding), (1, 1))
    maps = predict(Predictor(Same(), (D,)), image, plan, augment=augment)
    np.testing.assert_allclose(maps["D"], image[..., 0] / np.float32(255), atol=1e-6)


def test_whole_plan_needs_one_tile() -> None:
    plan = whole_plan((37, 50), (8, 16))
    assert plan.patch == (40, 64)
    assert plan.count((37, 50)) == 1
    image = picture((37, 50))
    np.testing.assert_allclose(
        predict(Predictor(Same(), (D,)), image, plan)["D"], image[..., 0] / 255, atol=1e-6
    )


@pytest.mark.parametrize(("ndim", "count"), [(2, 8), (3, 16)])
def test_views_are_different_and_inverted(ndim: int, count: int) -> None:
    batch = torch.rand(1, 1, *(2, 5, 5)[-ndim:])
    turned = [apply_view(batch, view) for view in augmented_views(ndim)]
    assert len(turned) == count
    assert len({tuple(t.flatten().tolist()) for t in turned}) == count
    for view, other in zip(augmented_views(ndim), turned, strict=True):
        torch.testing.assert_close(undo_view(other, view), batch, rtol=0, atol=0)


def test_augmented_prediction_commutes_with_rotation() -> None:
    # The mean over all views cannot depend on how the image lies.
    network = warm(CASES["2d"][0]).eval()
    batch = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        straight = mean_over_views(network, batch)
        turned = mean_over_views(network, torch.rot90(batch, 1, (-2, -1)))
        torch.testing.assert_close(torch.rot90(straight, 1, (-2, -1)), turned, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(straight, network(batch), atol=1e-4)


def test_one_view_at_a_time_is_the_mean_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    network = warm(CASES["3d"][0]).eval()
    batch = torch.rand(1, 1, 4, 16, 16)
    with torch.inference_mode():
        each = [undo_view(network(apply_view(batch, v)), v) for v in augmented_views(3)]
        torch.testing.assert_close(mean_over_views(network, batch), torch.stack(each).mean(0))


PAIRS = {
    2: ((-1, 0), (0, -1), (0, -3), (-3, 0), (2, 1), (0, 4)),
    3: ((-1, 0, 0), (0, 0, -1), (0, 2, 0), (2, 3, 1)),
}


@pytest.mark.parametrize("ndim", [2, 3])
def test_augmented_affinities_are_those_of_the_labels(ndim: int) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (2, 6, 6, 6)[: 1 + ndim])

    def network(batch: Tensor) -> Tensor:
        images = batch.numpy()[:, 0].astype(int)
        maps = [[image > 1, *(affinity(image, o) for o in PAIRS[ndim])] for image in images]
        return torch.from_numpy(np.array(maps, np.float32))

    batch = torch.from_numpy(labels[:, None].astype(np.float32))
    offsets = dict(enumerate(PAIRS[ndim], start=1))
    expected, mean = network(batch), mean_over_views(network, batch, None, offsets)
    inside = expected >= 0
    torch.testing.assert_close(mean[inside], expected[inside], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rays", "count"), [(32, 8), (4, 8), (10, 4), (7, 2), (0, 8)])
def test_views_of_rays_are_undone(rays: int, count: int) -> None:
    chosen = augmented_views(2, rays)
    assert len(chosen) == count
    labels = np.zeros((40, 40), np.int64)
    labels[5:25, 8:20], labels[22:30, 25:39] = 1, 2

    def encoded(batch: Tensor) -> Tensor:
        source = Source(batch[0, 0].numpy().astype(np.int64), EncodeSettings())
        distances = encode_rays(source, rays) if rays else batch[0].numpy()
        return torch.from_numpy(distances)[None].float()

    batch = torch.from_numpy(labels)[None, None].float()
    expected, mean = encoded(batch), mean_over_views(encoded, batch, rays=range(rays))
    # A ray between two pixels can end one pixel earlier in a view.
    assert (mean - expected).abs().max() <= 1
    assert ((mean - expected).abs() > 1e-3).float().mean() < 0.05
    for view in chosen:
        order = [ray_in_view(ray, rays, view) for ray in range(rays)]
        assert sorted(order) == list(range(rays))


@pytest.mark.parametrize("ndim", [2, 3])
def test_views_of_embeddings_are_undone(ndim: int) -> None:
    labels = np.zeros((9, 20, 20)[-ndim:], np.int64)
    labels[..., 3:17, 4:9], labels[..., 2:6, 11:18] = 1, 2

    def encoded(batch: Tensor) -> Tensor:
        maps = encode(batch[0, 0].numpy().astype(np.int64), "E")
        return torch.from_numpy(np.stack(list(maps.values())))[None]

    batch, axes = torch.from_numpy(labels)[None, None].float(), range(ndim)
    offsets, lengths = ({ndim - axis: first + axis for axis in axes} for first in (0, ndim))
    mean = mean_over_views(encoded, batch, offsets, lengths=lengths)
    torch.testing.assert_close(mean, encoded(batch), rtol=0, atol=1e-5)


def test_rays_of_volumes_have_no_other_view() -> None:
    assert augmented_views(3, 96) == [(0, False, False)]
    batch = torch.rand(1, 5, 3, 6, 6)
    torch.testing.assert_close(mean_over_views(lambda x: x, batch, rays=range(5)), batch)


def test_classes_are_the_most_probable_ones() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits = torch.zeros(len(x), 4, *x.shape[2:])
            logits[:, 2] = x[:, 0]
            logits[:, 3] = 0.5
            return logits

    image = picture((9, 9))
    plan = TilePlan((9, 9), (0.0, 0.0), (0, 0), (1, 1))
    maps = predict(Predictor(Constant(), (B,), n_classes=3), image, plan)
    bright = image[..., 0] / np.float32(255)
    np.testing.assert_array_equal(maps["class"], np.where(bright >= 0.5, 1, 2))
    assert maps["B"].max() <= 1


def test_median_padding_pads_with_the_median() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 200, (10, 11, 2)).astype(np.uint8)
    fill = np.median(image, axis=(0, 1)).astype(np.float32)
    patch = read_patch(image, (-2, 3), (16, 16), fill)
    expected = np.stack(
        [np.pad(image[:, 3:, c].astype(float), ((2, 4), (0, 8)), constant_values=fill[c])
         for c in range(2)],
        axis=-1,
    )  # fmt: skip
    np.testing.assert_array_equal(patch, expected)
    np.testing.assert_array_equal(read_patch(image, (1, 1), (4, 4), fill), image[1:5, 1:5])


class ProbabilityAndDistance(nn.Module):
    """Two logits and a distance of 0 to 40 that differ between overlapping tiles."""

    def forward(self, x: Tensor) -> Tensor:
        near = x[:, 0] + 0.1 * x.mean(tuple(range(1, x.ndim)), keepdim=True)[:, 0]
        return torch.stack([8 * near - 4, 37.3 * near, near, 1 - near], dim=1)


class TestReducedMemory:
    PLANS = (
        ((50, 301), TilePlan((24, 24), (0.5, 0.5), (2, 2), (2, 2))),
        ((301, 50), TilePlan((24, 24), (0.5, 0.0), (0, 0), (1, 1))),
        ((60, 70), TilePlan((24, 24), (0.0, 0.0), (2, 2), (2, 2))),
        ((7, 30, 90), TilePlan((8, 12, 12), (0.0, 0.5, 0.75), (0, 1, 1), (1, 1, 1))),
    )
    PREDICTOR = Predictor(ProbabilityAndDistance(), (B, D), n_classes=2)

    @pytest.mark.parametrize(("shape", "plan"), PLANS)
    def test_half_precision_changes_maps_by_at_most_a_thousandth(
        self, shape: tuple[int, ...], plan: TilePlan
    ) -> None:
        full = predict(self.PREDICTOR, picture(shape), plan)
        short = predict(self.PREDICTOR, picture(shape), plan, half=True)
        assert full["D"].max() > 37
        for name in ("B", "D"):
            np.testing.assert_allclose(short[name].astype(float), full[name], atol=1e-3, rtol=0)
        np.testing.assert_array_equal(short["class"], full["class"])

    def test_half_precision_needs_less_memory(self) -> None:
        image, plan = picture((400, 400)), TilePlan((32, 32), (0.5, 0.5), (0, 0), (1, 1))
        predictor = Predictor(Same(), (B,))
        peak = {}
        for half in (False, True):
            tracemalloc.start()
            maps = predict(predictor, image, plan, half=half)
            peak[half] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert maps["B"].nbytes == image.size * (2 if half else 4)
        # The map, one row of tiles in 32 bits, and the tiles at hand.
        assert peak[True] < image.size * 2 + 2 * (32 * 400 * 4) + 60_000
        assert peak[True] < 0.7 * peak[False]

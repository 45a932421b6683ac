"""Scores of separately predicted patches, compared with the plain network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.config import config_from_dict
from singula.data.normalize import Normalizer
from singula.data.patches import patches_of
from singula.models import build_model
from singula.pipeline import from_config
from singula.pipeline.patches import PatchScores
from singula.pipeline.predict_image import predict_maps
from singula.pipeline.whole_image import Truth
from singula.prediction import Predictor
from singula.representations.channels import encode

CASES = {
    "2D": (2, (48, 64), (16, 32), (0, 0), (0, 0)),
    "2D not divisible": (2, (50, 71), (16, 32), (0, 0), (0, 0)),
    "2D overlap": (2, (50, 71), (16, 32), (0.5, 0.25), (0, 0)),
    "2D padding": (2, (50, 71), (16, 32), (0, 0), (4, 6)),
    "2D one patch": (2, (32, 32), (32, 32), (0, 0), (0, 0)),
    "2D smaller than a patch": (2, (20, 25), (32, 32), (0, 0), (0, 0)),
    "3D": (3, (8, 32, 40), (8, 16, 16), (0, 0, 0), (0, 0, 0)),
    "3D padding": (3, (11, 35, 40), (8, 16, 16), (0.25, 0, 0), (0, 4, 4)),
}


def keys_of(ndim, patch, overlap, padding, **more):
    return {
        "PROBLEM.NDIM": f"{ndim}D",
        "PROBLEM.INSTANCE_SEG.DATA_CHANNELS": "BCD",
        "DATA.PATCH_SIZE": (*patch, 1),
        "DATA.TEST.OVERLAP": overlap,
        "DATA.TEST.PADDING": padding,
        "MODEL.FEATURE_MAPS": [4, 8],
        "MODEL.Z_DOWN": [2],
        "TRAIN.BATCH_SIZE": 3,
        "TEST.ENABLE": True,
        **more,
    }


def scene(shape, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 255, (*shape, 1)).astype(np.uint8)
    labels = np.zeros(shape, np.uint8)
    for number in range(1, 7):
        low = [int(rng.integers(0, max(1, size - 6))) for size in shape]
        box = tuple(slice(p, p + int(rng.integers(3, 9))) for p in low)
        labels[box] = number
    return image, Truth(labels, None, encode(labels, "BCD"))


class Centered(torch.nn.Module):
    """An untrained network whose probabilities are on both sides of 0.5."""

    def __init__(self, network, example):
        super().__init__()
        self.network = network
        with torch.no_grad():
            self.register_buffer("middle", network(example).flatten(2).median(2).values)

    def forward(self, batch):
        values = self.network(batch)
        return values - self.middle.reshape(1, -1, *[1] * (values.ndim - 2))


def build(config, seed=0):
    torch.manual_seed(seed)
    network = build_model(from_config.model_settings(config)).eval()
    return Centered(network, torch.rand(1, 1, *config.patch)).eval()


def starts_by_hand(size, length, share, pad):
    """Return the first pixel of each patch along an axis, evenly spaced up to the end."""
    core = length - 2 * pad
    if size <= core:
        return [-pad - (core - size) // 2]
    count = -(-(size - core) // int(core * (1 - share))) + 1
    return [round(i * (size - core) / (count - 1)) - pad for i in range(count)]


def by_hand(network, image, truth, patch, overlap, padding, forward=None):
    """Return IoU of B and C and error of D, as means over patches, by loops in plain torch."""
    shape, rows = image.shape[:-1], []
    axes = [starts_by_hand(*v) for v in zip(shape, patch, overlap, padding, strict=True)]
    around = [max(patch)] * len(shape)
    big = np.pad(image[..., 0] / 255, [(a, a) for a in around], mode="reflect")
    for start in np.array(np.meshgrid(*axes, indexing="ij")).reshape(len(axes), -1).T:
        cut = tuple(slice(s + a, s + a + n) for s, a, n in zip(start, around, patch, strict=True))
        batch = torch.from_numpy(np.ascontiguousarray(big[cut], np.float32))[None, None]
        with torch.no_grad():
            logits = (forward or network)(batch)[0]
        values = [logits[0].sigmoid().numpy(), logits[1].sigmoid().numpy(), logits[2].numpy()]
        inside = tuple(
            slice(max(0, -s), min(n, size - s))
            for s, n, size in zip(start, patch, shape, strict=True)
        )
        place = tuple(
            slice(max(0, s), min(size, s + n))
            for s, n, size in zip(start, patch, shape, strict=True)
        )
        row = []
        for channel, name in enumerate("BC"):
            found, true = values[channel][inside] > 0.5, truth.maps[name][place] > 0.5
            union = (found | true).sum()
            row.append((found & true).sum() / union if union else 1.0)
        mask = truth.labels[place] > 0
        error = np.abs(values[2][inside] - truth.maps["D"][place])[mask]
        row.append(error.mean() if mask.any() else np.nan)
        rows.append(row)
    return np.array(rows, float)


@pytest.mark.parametrize("tiles", ["auto", "patch"])
@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_each_patch_predicted_by_the_plain_network(case, tiles):
    ndim, shape, patch, overlap, padding = CASES[case]
    config = config_from_dict(keys_of(ndim, patch, overlap, padding, **{"TEST.TILE_SIZE": tiles}))
    network = build(config)
    image, truth = scene(shape)
    predictor = Predictor(network, from_config.outputs(config))
    patches = PatchScores(config, truth)
    predict_maps(config, predictor, Normalizer("div"), image, patches=patches)
    found = patches.mean()
    rows = by_hand(network, image, truth, patch, overlap, padding)
    assert len(rows) == len(patches.tiles)
    assert found["iou_B"] == pytest.approx(rows[:, 0].mean(), abs=1e-6)
    assert found["iou_C"] == pytest.approx(rows[:, 1].mean(), abs=1e-6)
    assert 0 < found["iou_B"] < 1
    # Patches without any instance have no distance to be measured.
    assert found["mae_D"] == pytest.approx(np.nanmean(rows[:, 2]), rel=1e-4)


def test_scores_differ_from_those_of_the_joined_map():
    """Crops of the joined map are not the predictions of the patches."""
    ndim, shape, patch, overlap, padding = 2, (64, 64), (16, 16), (0, 0), (0, 0)
    config = config_from_dict(keys_of(ndim, patch, overlap, padding))
    network = build(config)
    image, truth = scene(shape)
    predictor = Predictor(network, from_config.outputs(config))
    patches = PatchScores(config, truth)
    maps = predict_maps(config, predictor, Normalizer("div"), image, patches=patches)
    crops = PatchScores(config, truth)
    joined = np.stack([maps[name] for name in "BCD"])
    for tile in crops.tiles:
        crops.add(tile, joined[(slice(None), *tile.outer)])
    assert abs(crops.mean()["iou_B"] - patches.mean()["iou_B"]) > 1e-4


class Counting(torch.nn.Module):
    """Wrapper that counts the pixels that pass through a network."""

    def __init__(self, network):
        super().__init__()
        self.network, self.pixels = network, 0

    def forward(self, batch):
        self.pixels += batch.numel()
        return self.network(batch)


@pytest.mark.parametrize(
    ("shape", "tiles", "twice"),
    [
        ((32, 32), "auto", False),  # the image is one patch
        ((64, 96), "patch", False),  # the tiles are the patches
        ((64, 96), "auto", True),  # larger tiles
        ((70, 96), "patch", True),  # the last tile reaches beyond the image
    ],
)
def test_patches_are_predicted_again_only_if_tiles_differ(shape, tiles, twice):
    config = config_from_dict(keys_of(2, (32, 32), (0, 0), (0, 0), **{"TEST.TILE_SIZE": tiles}))
    image, truth = scene(shape)
    seen = []
    for patches in (None, PatchScores(config, truth)):
        network = Counting(build(config))
        predictor = Predictor(network, from_config.outputs(config))
        predict_maps(config, predictor, Normalizer("div"), image, patches=patches)
        seen.append(network.pixels)
    assert (seen[1] > seen[0]) == twice


def test_test_time_augmentation_applies_to_patches():
    keys = keys_of(2, (16, 16), (0, 0), (0, 0), **{"TEST.AUGMENTATION": True})
    config = config_from_dict(keys)
    network = build(config)
    image, truth = scene((32, 48))
    patches = PatchScores(config, truth)
    predictor = Predictor(network, from_config.outputs(config))
    predict_maps(config, predictor, Normalizer("div"), image, patches=patches)
    plain = PatchScores(config_from_dict({**keys, "TEST.AUGMENTATION": False}), truth)
    predict_maps(config, predictor, Normalizer("div"), image, augment=False, patches=plain)
    assert plain.mean() != patches.mean()


def test_scores_of_patches_with_too_little_memory(messages: list[str]):
    config = config_from_dict(keys_of(2, (32, 32), (0, 0), (0, 0), **{"TRAIN.BATCH_SIZE": 4}))
    network = build(config)
    image, truth = scene((70, 100))

    class Limited(torch.nn.Module):
        def forward(self, batch):
            if batch.numel() > 2 * 32 * 32:
                raise torch.OutOfMemoryError("simulated")
            return network(batch)

    found = []
    for module in (network, Limited()):
        patches = PatchScores(config, truth)
        predictor = Predictor(module, from_config.outputs(config))
        predict_maps(config, predictor, Normalizer("div"), image, patches=patches)
        found.append(patches.mean())
    assert messages
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_classes_are_scored_by_patch():
    keys = {**keys_of(2, (16, 16), (0, 0), (0, 0)), "MODEL.N_CLASSES": 3}
    config = config_from_dict(keys)
    _, plain = scene((32, 32))
    classes = (plain.labels > 0) * (1 + plain.labels % 2)
    patches = PatchScores(config, Truth(plain.labels, classes, plain.maps))
    rng = np.random.default_rng(0)
    values = rng.random((6, 32, 32)).astype(np.float32)
    expected = []
    for tile in patches.tiles:
        part = values[(slice(None), *tile.outer)]
        patches.add(tile, part)
        found, true = part[3:].argmax(0), classes[tile.outer]
        union = ((found == 1) | (true == 1)).sum()
        expected.append(((found == 1) & (true == 1)).sum() / union if union else 1.0)
    assert patches.mean()["iou_class_1"] == pytest.approx(np.mean(expected))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 90),
    st.integers(4, 40),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.integers(0, 1),
)
def test_patches_cover_every_pixel_and_stay_within_the_image(size, length, overlap, padding):
    tiles = patches_of((size,), (length,), (overlap,), (padding,))
    covered = np.zeros(size, int)
    for tile in tiles:
        (inner,), (outer,) = tile.inner, tile.outer
        assert 0 <= outer.start < outer.stop <= size
        assert outer.stop - outer.start == inner.stop - inner.start <= length
        assert tile.start[0] + inner.start == outer.start
        covered[outer] += 1
    assert covered.min() >= 1
    if size >= length:
        # Only the padding of the outermost patches is outside of the image.
        assert tiles[0].start[0] >= -padding
        assert tiles[-1].start[0] + length <= size + padding

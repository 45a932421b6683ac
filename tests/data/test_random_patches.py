"""Random patches by weight, and patches with enough foreground."""

import numpy as np
import pytest

from singula.data.dataset import PatchDataset, PatchSettings, Sample
from singula.data.normalize import Normalizer
from singula.data.patches import read_patch
from singula.data.random_patches import (
    foreground_rows,
    probability_map,
    starts_with_foreground,
    weighted_start,
)
from singula.representations.channels import EncodeSettings

RNG = np.random.default_rng(0)
LABELS = np.zeros((40, 50), np.uint16)
LABELS[5:9, 30:41] = 4
LABELS[20, 3] = 7


@pytest.mark.parametrize("weights", [(0.94, 0.06), (1.0, 3.0), (0.0, 1.0), (1.0, 0.0)])
def test_centers_follow_the_probability_map(weights: tuple[float, float]) -> None:
    rng, counts = np.random.default_rng(1), np.zeros(LABELS.shape)
    draws = 6000
    for _ in range(draws):
        counts[weighted_start(LABELS, foreground_rows(LABELS), weights, (1, 1), rng)] += 1
    expected = probability_map(LABELS, weights)
    assert expected.sum() == pytest.approx(1, rel=1e-5)
    share = weights[0] / sum(weights)
    assert counts[LABELS > 0].sum() / draws == pytest.approx(share, abs=0.02)
    assert not counts[expected == 0].any()
    if share:
        # 45 foreground pixels with equal chances
        assert counts[LABELS > 0].min() > 0.5 * draws * share / 45


def test_weighted_patches_are_inside_and_contain_their_center() -> None:
    volume = np.zeros((4, 40, 50), np.uint8)
    volume[2, 20, 25] = 1
    start = weighted_start(
        volume, foreground_rows(volume), (1, 0), (3, 8, 8), np.random.default_rng(0)
    )
    assert start == (1, 16, 21)
    for _ in range(50):
        start = weighted_start(
            LABELS, foreground_rows(LABELS), (0.5, 0.5), (16, 64), np.random.default_rng()
        )
        assert 0 <= start[0] <= 24
        assert start[1] == -7  # wider than the image: centred


@pytest.mark.parametrize("fill", [0, 1])
def test_images_with_one_kind_of_pixels_have_uniform_probabilities(fill: int) -> None:
    labels = np.full((6, 7), fill, np.uint8)
    starts = {
        weighted_start(labels, foreground_rows(labels), (1, 1), (1, 1), np.random.default_rng(n))
        for n in range(300)
    }
    assert len(starts) > 35
    assert probability_map(labels, (0.9, 0.1)).sum() == pytest.approx(1)


@pytest.mark.parametrize("patch", [(6, 8), (6, 60), (50, 60)])
def test_positions_with_foreground_equal_a_search_of_all_patches(patch: tuple[int, int]) -> None:
    share = {}
    for y in range(max(1, 40 - patch[0] + 1)):
        for x in range(max(1, 50 - patch[1] + 1)):
            start = tuple(
                at if size >= length else -((length - size) // 2)
                for at, size, length in zip((y, x), LABELS.shape, patch, strict=True)
            )
            share[start] = (read_patch(LABELS, start, patch) > 0).mean()
    found = {tuple(s) for s in starts_with_foreground(LABELS, patch, 0.05).tolist()}
    assert found == {start for start, value in share.items() if value >= 0.05}


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("weights", [None, (0.5, 0.5)])
def test_patches_with_little_foreground_are_left_out(
    random: bool, weights: tuple[float, float] | None
) -> None:
    image = LABELS[..., None]
    empty = np.zeros_like(image)
    items = PatchDataset(
        [Sample("a", image, image), Sample("b", empty, empty)],
        PatchSettings((8, 10), (0.0, 0.0), (0, 0), random, weights, min_foreground=0.2),
        Normalizer("div"), EncodeSettings(("B",)),
    )  # fmt: skip
    assert {number for number, _ in items.places} == {0}
    assert items.left_out == (1 if random else 2 * 25 - len(items))
    for epoch in range(20):
        for index in range(len(items)):
            assert items[(epoch, index)]["foreground"].float().mean() >= 0.2

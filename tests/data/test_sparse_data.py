"""Patches of images whose labels are annotated in part."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from singula.data.augment import AugmentSettings
from singula.data.augment.regions import CutMix, Cutout
from singula.data.dataset import PatchDataset, PatchSettings, Sample
from singula.data.normalize import Normalizer
from singula.data.random_patches import (
    background_rows,
    foreground_rows,
    probability_map,
    starts_with_foreground,
    weighted_start,
)
from singula.pipeline.split import hold_out
from singula.representations.channels import EncodeSettings, encode
from singula.representations.channels.encode import encode_with
from singula.representations.channels.sparse import has_target

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (48, 48, 1)).astype(np.uint8)
LABELS = np.zeros((48, 48, 1), np.int16)
LABELS[4:20, 5:22, 0] = 3
LABELS[20:33, 8:30, 0] = 9
SPARSE = LABELS.copy()
SPARSE[:, 24:] = -1
PATCHES = PatchSettings((16, 16), (0.0, 0.0), (0, 0))
FREE = AugmentSettings(
    probability=0.8, rotation=(-180, 180), zoom=(0.7, 1.4), rot90=True, hflip=True, vflip=True
)


def dataset(labels: np.ndarray = SPARSE, **changes: object) -> PatchDataset:
    arguments: dict[str, object] = {
        "samples": [Sample("a", IMAGE, labels)],
        "patches": PATCHES,
        "normalizer": Normalizer("div"),
        "encoding": EncodeSettings(("B", "C", "D")),
        **changes,
    }
    return PatchDataset(**arguments)  # type: ignore[arg-type]


def test_patches_without_annotated_pixels_are_left_out() -> None:
    items = dataset()
    assert len(items) == 6
    assert items.left_out == 3
    full = dataset(LABELS)
    assert len(full) == 9
    assert "known" not in full[0]
    for index, (_, start) in enumerate(items.places):
        item = items[index]
        expected = encode_with(items.encoding, SPARSE[..., 0])
        cut = tuple(slice(s, s + 16) for s in start)
        for target, known, name in zip(item["target"], item["known"], "BCD", strict=True):
            has_value = has_target(name, expected[name][cut])
            np.testing.assert_array_equal(known, has_value)
            np.testing.assert_array_equal(target, np.where(has_value, expected[name][cut], 0))


def test_labels_of_excluded_pixels_have_no_influence() -> None:
    """Augmented patches depend on the annotated labels only, and stored channels agree."""
    stored = Sample("a", IMAGE, SPARSE, encode(SPARSE[..., 0], "BCD"))
    for index in range(6):
        for name, value in dataset()[index].items():
            torch.testing.assert_close(dataset(samples=[stored])[index][name], value)
    items = dataset(augment=FREE)
    for epoch in range(8):
        for index in range(len(items)):
            item = items[(epoch, index)]
            assert (item["target"][~item["known"]] == 0).all()
            assert not (item["foreground"] & ~item["known"][:1] & ~item["known"][2:]).all()


def test_complete_labels_of_a_signed_type_give_the_same_patches() -> None:
    signed, unsigned = dataset(LABELS, augment=FREE), dataset(LABELS.astype("u2"), augment=FREE)
    for index in range(9):
        first, second = signed[(1, index)], unsigned[(1, index)]
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name])


@pytest.mark.parametrize("depth", [8, 32])
@pytest.mark.parametrize("augment", [None, FREE])
@pytest.mark.parametrize("is_random", [False, True])
def test_annotated_slices_are_at_every_depth_of_patches(depth, augment, is_random) -> None:
    patches = PatchSettings((depth, 16, 16), (0.0,) * 3, (0,) * 3, random=is_random)
    encoding = EncodeSettings(("M",))
    for slices in ([16], [1], [8, 24]):
        labels = np.full((32, 32, 32, 1), -1, np.int8)
        labels[slices] = 0
        samples = [Sample("a", np.zeros(labels.shape, np.uint8), labels)]
        items = dataset(samples=samples, patches=patches, encoding=encoding, augment=augment)
        depths = np.zeros(depth, int)
        for epoch in range(120):
            known = items[(epoch, 0)]["known"][0].flatten(1).any(1).numpy()
            assert known.any()
            depths += known
        # Half of a patch can be outside of the volume
        assert (depths > 0).mean() > (0.5 if slices == [1] else 0.9)


@pytest.mark.parametrize("weights", [None, (0.5, 0.5)])
def test_random_patches_contain_annotated_pixels(weights) -> None:
    labels = np.full_like(SPARSE, -1)
    labels[:3, :3] = 0
    labels[1, 1] = 4
    random = PatchSettings((8, 8), (0.0, 0.0), (0, 0), random=True, weights=weights)
    items = dataset(labels, patches=random)
    for epoch in range(40):
        item = items[(epoch, 0)]
        assert item["known"][0].any() or item["known"][2].any()
    empty = dataset(np.full_like(SPARSE, -1), patches=random)
    assert not empty.places
    assert empty.left_out == 1


def test_balanced_positions_are_annotated_pixels() -> None:
    rng, ids = np.random.default_rng(0), SPARSE[..., 0]
    counts = np.zeros(ids.shape)
    rows, background = foreground_rows(ids), background_rows(ids)
    for _ in range(20_000):
        counts[weighted_start(ids, rows, (0.7, 0.3), (1, 1), rng, background)] += 1
    expected = probability_map(ids, (0.7, 0.3))
    assert expected.sum() == pytest.approx(1, abs=1e-5)
    assert not expected[ids < 0].any()
    assert not counts[ids < 0].any()
    assert counts[ids > 0].sum() / 20_000 == pytest.approx(0.7, abs=0.02)


def test_the_fraction_of_foreground_counts_annotated_pixels() -> None:
    ids = SPARSE[..., 0]
    patch = (10, 12)
    found = {tuple(start) for start in starts_with_foreground(ids, patch, 0.3).tolist()}
    for y in range(39):
        for x in range(37):
            part = ids[y : y + 10, x : x + 12]
            known = (part >= 0).sum()
            enough = known and (part > 0).sum() >= 0.3 * known
            assert ((y, x) in found) == bool(enough)


def test_regions_of_other_patches_keep_what_is_not_annotated() -> None:
    rng = np.random.default_rng(2)
    other = np.full((48, 48, 1), 7, np.uint16)
    samples = [Sample("a", IMAGE, SPARSE), Sample("b", IMAGE, other)]
    for change in (CutMix((0.3, 0.6)), Cutout((1, 1), (0.3, 0.6), labels_too=True)):
        augment = AugmentSettings(probability=1.0, changes=(change,))
        items = dataset(samples=samples, augment=augment, encoding=EncodeSettings(("M",)))
        shares = [items[(int(rng.integers(99)), i)]["known"].float().mean() for i in range(15)]
        assert min(shares) < 1
        assert max(shares) == 1
        for i in range(15):
            item = items[(3, i)]
            assert torch.equal(item["target"] > 0, item["foreground"])


def test_both_parts_of_a_divided_image_are_annotated() -> None:
    for slices in ([3], [3, 20], [3, 9, 20, 30]):
        labels = np.full((32, 40, 44, 1), -1, np.int8)
        labels[slices] = 0
        sample = Sample("a", np.zeros(labels.shape, np.uint8), labels)
        parts = hold_out([sample], 0.2, (8, 16, 16), None, reflect=False)
        shares = [(part[0].labels >= 0).sum() for part in parts]
        assert min(shares) > 0
        assert sum(shares) == len(slices) * 40 * 44


def test_an_image_without_annotation_is_divided_like_a_complete_image() -> None:
    empty = np.full((32, 40, 44, 1), -1, np.int8)
    shapes = []
    for labels in (empty, np.zeros_like(empty)):
        sample = Sample("a", np.zeros(labels.shape, np.uint8), labels)
        parts = hold_out([sample], 0.2, (8, 16, 16), None, reflect=False)
        shapes.append([part[0].shape for part in parts])
    assert shapes[0] == shapes[1]

"""Mirrored and rotated views of every declared channel, compared with the channel of a view."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from singula.data.augment import Mirror
from singula.data.vectors import mirror_maps
from singula.prediction import tta
from singula.prediction.tta import apply_view, mean_over_views, planes_of_outputs
from singula.representations.channel import Channel
from singula.representations.channel_table import CHANNELS
from singula.representations.channels import EncodeSettings, encode_with, parse_channels
from singula.representations.channels.sparse import has_target
from singula.representations.families import FAMILIES
from singula.representations.table import complete_channels
from singula.training.losses import Output
from singula.util.views import augmented_views

SHAPES = {2: (33, 33), 3: (9, 31, 31)}


def groups(ndim: int) -> dict[str, tuple[str, ...]]:
    """Return the codes of each family, and of the channels that one module encodes.

    The components of a vector are in one module, and change together.
    """
    modules = defaultdict(list)
    for code, channel in CHANNELS.items():
        if channel.component <= ndim and not (channel.needs_volume and ndim == 2):
            modules[channel.encoder.partition(":")[0].rpartition(".")[2]].append(code)
    for family in FAMILIES:
        modules[family] += parse_channels(complete_channels(family, ndim, {}))
    return {name: tuple(codes) for name, codes in modules.items()}


def output_of(channel: Channel) -> Output:
    """Return an output with all fields that a channel declares."""
    names = [each.name for each in fields(Output)]
    declared = {name: getattr(channel, name) for name in names if hasattr(channel, name)}
    return Output(**{**declared, "name": channel.code, "group": channel.family})


def blobs(ndim: int) -> np.ndarray:
    """Return labeled blobs of different sizes, some of which touch."""
    rng = np.random.default_rng(5)
    grid = np.moveaxis(np.indices(SHAPES[ndim]), 0, -1) * ([2.0, 1, 1] if ndim == 3 else [1.0, 1])
    centers = rng.uniform(2, [n - 2 for n in grid.reshape(-1, ndim).max(axis=0)], (6, ndim))
    radii = rng.uniform(4, 8, 6).reshape(-1, *[1] * ndim)
    distance = np.stack([np.linalg.norm(grid - center, axis=-1) for center in centers]) / radii
    return np.where(distance.min(axis=0) < 1, distance.argmin(axis=0) + 1, 0)


def encoded(labels: np.ndarray, codes: tuple[str, ...]) -> np.ndarray:
    """Return the channels, NaN where a pixel has no target."""
    maps = encode_with(EncodeSettings(codes), labels)
    planes = [np.where(has_target(code, maps[code]), maps[code], np.nan) for code in codes]
    return np.stack(planes).astype(np.float32)


def assert_mostly_equal(result: np.ndarray, expected: np.ndarray, codes: tuple[str, ...]) -> None:
    """Compare maps; centers and rays exactly between two pixels can round to either."""
    for code, values, target in zip(codes, result, expected, strict=True):
        known = np.isfinite(values) & np.isfinite(target)
        assert known.any(), code
        tolerance = 1e-3 * max(1.0, np.abs(target[known]).max())
        differing = np.abs(values - target)[known] > tolerance
        assert differing.mean() < 0.02, code


CASES = [(ndim, name) for ndim in (2, 3) for name in groups(ndim)]


@pytest.mark.parametrize(("ndim", "name"), CASES)
def test_each_view_of_a_channel_is_the_channel_of_the_view(
    ndim: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, codes = blobs(ndim), groups(ndim)[name]
    planes = planes_of_outputs([output_of(CHANNELS[code]) for code in codes])
    expected = encoded(labels, codes)

    def forward(batch: Tensor) -> Tensor:
        return torch.from_numpy(encoded(batch[0, 0].numpy().astype(np.int32), codes)[None])

    batch = torch.from_numpy(labels[None, None].astype(np.float32))
    views = augmented_views(ndim, len(planes["rays"]))
    assert len(views) == (1 if planes["rays"] and ndim == 3 else 4 * 2 ** (ndim - 1))
    for view in views:
        monkeypatch.setattr(tta, "augmented_views", lambda *_, view=view: [view])
        one = mean_over_views(forward, batch, **planes)[0].numpy()
        assert_mostly_equal(one, expected, codes)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_wrong_declaration_is_noticed(ndim: int) -> None:
    """The comparison fails for each channel that a view changes, if the change is not declared."""
    labels, view = blobs(ndim), (1, True, ndim == 3)
    for codes in groups(ndim).values():
        rows = [CHANNELS[code] for code in codes]
        if not any(row.component or row.offset or row.is_ray or row.length for row in rows):
            continue
        turned = apply_view(torch.from_numpy(encoded(labels, codes))[None], view)[0].numpy()
        moved = apply_view(torch.from_numpy(labels[None, None].copy()), view)[0, 0].numpy()
        with pytest.raises(AssertionError):
            assert_mostly_equal(turned, encoded(moved, codes), codes)


MIRRORS = [((), 1), ((-1,), 0), ((-2,), 3), ((-2, -1), 2)]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("axes", "turns"), MIRRORS)
def test_mirrored_patches_have_the_channels_of_mirrored_labels(
    ndim: int, axes: tuple[int, ...], turns: int
) -> None:
    labels, mirror = blobs(ndim), Mirror(ndim, tuple(ndim + axis for axis in axes), turns)
    for codes in groups(ndim).values():
        if EncodeSettings(codes).from_labels:
            continue  # encoded after all changes
        maps = encode_with(EncodeSettings(codes), labels)
        moved = mirror_maps(mirror, maps)
        result = np.stack([moved[code] for code in codes]).astype(np.float32)
        assert_mostly_equal(
            result, encoded(np.ascontiguousarray(mirror.apply(labels)), codes), codes
        )

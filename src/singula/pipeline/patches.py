"""Scores of the configured patches, each predicted separately.

The map of an image differs from these predictions: its tiles are chosen for speed, their edges are
dropped, and overlapping tiles are blended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.patches import Tile, TilePlan, patches_of
from singula.io.pairing import Pair
from singula.pipeline import from_config
from singula.pipeline.progress import file_stamp
from singula.pipeline.score import map_scores, mean_scores
from singula.pipeline.whole_image import Truth
from singula.prediction import AlignedTiles
from singula.util.sparse_labels import annotated_mask


def scored_patches(config: Config, shape: Sequence[int]) -> list[Tile]:
    """Return the patches of an image whose predictions are scored.

    Parameters
    ----------
    config : Config
        Configuration with the shape, overlap and padding of a patch.
    shape : sequence of int
        Spatial shape of the image.
    """
    keys = config.DATA.TEST
    overlap = tuple(float(share) for share in keys.OVERLAP)
    return patches_of(shape, config.patch, overlap, tuple(int(length) for length in keys.PADDING))


def are_tiles_of(
    plan: TilePlan | AlignedTiles,
    shape: Sequence[int],
    patch: Sequence[int],
    patches: Sequence[Tile],
) -> bool:
    """Return True if the tiles of an image are its patches.

    Parameters
    ----------
    plan : TilePlan or AlignedTiles
        Plan of the tiles.
    shape, patch : sequence of int
        Spatial shapes of the image and of a patch.
    patches : sequence of Tile
        Result of `scored_patches`.
    """
    if tuple(plan.patch) != tuple(patch):
        return False
    starts = [tile.start for tile in plan.tiles(shape)]
    return len(starts) == len(patches) and set(starts) == {tile.start for tile in patches}


class PatchScores:
    """Scores of the patches of one image.

    Parameters
    ----------
    config : Config
        Configuration with the shape, overlap and padding of a patch, and the channels.
    truth : Truth
        Ground truth of the whole image.

    Attributes
    ----------
    tiles : list of Tile
        Patches; ``inner`` and ``outer`` are the scored pixels, which are inside the image.
    """

    def __init__(self, config: Config, truth: Truth) -> None:
        self.patch = config.patch
        self.truth = truth
        self.names = from_config.channel_names(config)
        self.n_classes = from_config.n_classes(config)
        self.tiles = scored_patches(config, truth.labels.shape)
        self._by_start = {tile.start: tile for tile in self.tiles}
        self._rows: dict[tuple[int, ...], dict[str, float]] = {}

    def are_tiles_of(self, plan: TilePlan | AlignedTiles) -> bool:
        """Return True if the tiles of a prediction are these patches."""
        return are_tiles_of(plan, self.truth.labels.shape, self.patch, self.tiles)

    def add(self, tile: Tile, values: npt.NDArray[np.float32]) -> None:
        """Score one patch; a second prediction of the patch replaces the first.

        Parameters
        ----------
        tile : Tile
            Tile with the start of the patch; the other fields are not used.
        values : ndarray, (channels and classes, y, x) or (channels and classes, z, y, x)
            Predicted values of all pixels of the patch.
        """
        patch = self._by_start[tile.start]
        inner, outer = patch.inner, patch.outer
        maps = {name: values[i][inner] for i, name in enumerate(self.names)}
        true = {name: channel[outer] for name, channel in self.truth.maps.items()}
        foreground = self.truth.foreground[outer]
        scores = map_scores(true, maps, foreground)
        if not foreground.any():
            scores.pop("mae_D", None)  # without objects, the error is not defined
        if self.n_classes:
            classes = values[len(self.names) :].argmax(0)[inner]
            scores |= self.truth.class_scores(classes, self.n_classes, outer)
        if not annotated_mask(self.truth.labels[outer]).any():
            scores = {}
        self._rows[tile.start] = scores

    def mean(self) -> dict[str, float]:
        """Return the mean of each score over the patches."""
        return mean_scores([self._rows[tile.start] for tile in self.tiles])


def truth_stamp(config: Config, pair: Pair) -> str:
    """Return a hash of everything that the encoded ground truth of an image depends on."""
    encoding = astuple(from_config.encode_settings(config, "TEST"))
    parts: Sequence[Any] = (
        file_stamp(pair.label, pair.mask),
        pair.label_arrays,
        encoding,
        from_config.n_classes(config),
    )
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()

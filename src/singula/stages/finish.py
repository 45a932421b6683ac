"""From the maps of one image to its instances, tables, pictures and scores."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.evaluate import overlap, winning_classes
from singula.instances import Decoded, decode
from singula.io.image import Image
from singula.io.results import ResultsTree, View
from singula.io.write import write_csv, write_tiff
from singula.postprocess import count_instances, recode
from singula.report.overlay import write_overlay
from singula.stages import settings as from_config
from singula.stages.post import (
    PostSettings,
    Processed,
    filter_maps,
    process_instances,
    seed_filter,
)
from singula.stages.score import (
    AXES,
    Scores,
    class_map_scores,
    map_scores,
    score_classes,
    score_instances,
)

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Truth:
    """What is known of an image.

    Parameters
    ----------
    labels : ndarray
        Instance ids.
    classes : ndarray, optional
        Class of each pixel.
    maps : mapping of str to ndarray
        Encoded channels.
    """

    labels: Array
    classes: Array | None
    maps: Mapping[str, Array]

    @property
    def foreground(self) -> npt.NDArray[np.bool_]:
        """Pixels of instances."""
        mask: npt.NDArray[np.bool_] = self.labels > 0
        return mask


@dataclass
class Finish:
    """What a test left so far, and the steps that add to it.

    Parameters
    ----------
    config : Config
    tree : ResultsTree
    post : PostSettings
    scores : Scores
        Empty without truth.
    instances : dict
        Image → number of instances after all steps.
    overlays : dict
        Image → picture to look at.
    seconds : dict
        Time in prediction, decoding, post-processing and scoring.
    thresholds : dict
        Image → thresholds that were used.
    """

    config: Config
    tree: ResultsTree
    post: PostSettings
    scores: Scores = field(default_factory=Scores)
    instances: dict[str, int] = field(default_factory=dict)
    overlays: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)

    def clock(self, stage: str, began: float) -> float:
        """Add the time since `began` to a stage; gives the time now."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - began
        return now

    def spacing(self, image: Image) -> tuple[float, ...] | None:
        """Size of a pixel, as configured, else as the image says."""
        return self._configured_spacing(image) or image.spacing

    def _configured_spacing(self, image: Image) -> tuple[float, ...] | None:
        return from_config.spacing(self.config, "TEST", image.ndim)

    def finish(
        self,
        name: str,
        view: View,
        maps: Mapping[str, Array],
        image: Image,
        truth: Truth | None,
        mask: Array | None = None,
    ) -> tuple[str, ...]:
        """Decode, post-process, measure and score one image; gives the decoder's notes."""
        began = time.perf_counter()
        maps = filter_maps(maps, self.post, mask)
        decoded = self._decode(maps, name, view, image)
        classes = maps.get("class")
        self._write_labels(
            self.tree.instances(view) / f"{name}.tif", decoded.labels, classes, image
        )
        began = self.clock("decoding", began)
        spacing = self.spacing(image)
        processed = process_instances(decoded.labels, maps, self.post, spacing)
        self._write_processed(name, view, processed, decoded.labels, classes, image)
        final = decoded.labels if processed.labels is None else processed.labels
        began = self.clock("post-processing", began)
        if truth is not None:
            self._score_maps(name, view, maps, truth)
            self._match(name, view, truth, decoded.labels, classes, image)
            if processed.labels is not None:
                self._match(name, f"{view}_post_processing", truth, final, classes, image)
        picture = self.tree.overlay(name, view)
        known = truth.labels if truth is not None else None
        self.overlays.setdefault(name, write_overlay(picture, image.array, final, known))
        self.clock("scoring", began)
        if view != "full_image":
            # Decoded ids have no gaps; those of later steps may.
            gaps = processed.labels is not None
            self.instances[name] = count_instances(final) if gaps else int(final.max(initial=0))
            self.thresholds[name] = decoded.thresholds
        return decoded.notes

    def _decode(self, maps: Mapping[str, Array], name: str, view: View, image: Image) -> Decoded:
        problem = self.config.PROBLEM.INSTANCE_SEG
        pictured = problem.DATA_CHECK_MW and view != "full_image"
        decoded = decode(
            maps,
            problem.DATA_CHANNELS,
            settings=from_config.decode_settings(self.config),
            # Morphology counts pixels unless the user gave the voxel size.
            spacing=self._configured_spacing(image),
            seed_filter=seed_filter(self.post, self.spacing(image)),
            keep_parts=pictured,
        )
        if decoded.parts is not None:
            parts = {
                "seed_map": decoded.parts.seeds,
                "foreground": decoded.parts.foreground.view(np.uint8),
                "semantic": decoded.parts.surface.astype(np.float32),
                "watershed": decoded.labels,
            }
            for part, array in parts.items():
                target = self.tree.watershed(name, part)  # type: ignore[arg-type]
                write_tiff(target, array, AXES[array.ndim], image.spacing, image.unit)
        return decoded

    def _write_labels(self, path: Path, labels: Array, classes: Array | None, image: Image) -> None:
        """Instances and, with classes, the class of each in a second channel."""
        axes = AXES[labels.ndim]
        if classes is not None:
            own = instance_classes(labels, classes)
            dtype = np.promote_types(labels.dtype, own.dtype)
            labels = np.stack([labels.astype(dtype), own.astype(dtype)], axis=-1)
            axes += "C"
        write_tiff(path, labels, axes, image.spacing, image.unit)

    def _write_processed(
        self,
        name: str,
        view: View,
        processed: Processed,
        labels: Array,
        classes: Array | None,
        image: Image,
    ) -> None:
        if processed.full is not None:
            write_csv(self.tree.full_stats(name, view), with_class(processed.full, labels, classes))
        if processed.labels is None:
            return
        folder = self.tree.post_processed(view)
        self._write_labels(folder / f"{name}.tif", processed.labels, classes, image)
        if processed.filtered is not None:
            write_csv(
                self.tree.filtered_stats(name, view),
                with_class(processed.filtered, processed.labels, classes),
            )

    def score_slice(
        self,
        name: str,
        view: View,
        maps: Mapping[str, Array],
        truth: Truth | None,
        mask: Array | None = None,
    ) -> None:
        """Score the maps of an image whose instances are made in the stack of all images."""
        if truth is not None:
            began = time.perf_counter()
            self._score_maps(name, view, filter_maps(maps, self.post, mask), truth)
            self.clock("scoring", began)

    def _score_maps(self, name: str, view: View, maps: Mapping[str, Array], truth: Truth) -> None:
        self.scores.add_maps(name, view, map_scores(truth.maps, maps, truth.foreground))
        if truth.classes is not None and "class" in maps:
            found = class_map_scores(truth.classes, maps["class"], self.config.MODEL.N_CLASSES)
            self.scores.add_maps(name, view, found)

    def _match(
        self,
        name: str,
        view: str,
        truth: Truth,
        labels: Array,
        classes: Array | None,
        image: Image,
    ) -> None:
        keys = self.config.TEST
        if not keys.MATCHING_STATS:
            return
        thresholds = tuple(keys.MATCHING_STATS_THS)
        score_instances(
            self.scores,
            self.tree,
            name,
            truth.labels,
            labels,
            view=view,
            thresholds=thresholds,
            coloured=tuple(keys.MATCHING_STATS_THS_COLORED_IMG),
            spacing=self.spacing(image),
        )
        if truth.classes is not None and classes is not None:
            own = winning_classes(overlap(truth.labels, truth.classes))
            chosen = winning_classes(overlap(labels, classes))
            table = overlap(truth.labels, labels)
            score_classes(self.scores, name, view, table, own, chosen, thresholds)


def with_class(table: pd.DataFrame, labels: Array, classes: Array | None) -> pd.DataFrame:
    """A table of measurements with the class of each instance, where there are classes."""
    if classes is None:
        return table
    return with_classes(table, *winning_classes(overlap(labels, classes)))


def with_classes(table: pd.DataFrame, ids: Array, classes: Array) -> pd.DataFrame:
    """A table of measurements with the class of each instance, as of `winning_classes`."""
    own = classes[np.searchsorted(ids, table["label"].to_numpy().astype(ids.dtype))]
    return table.assign(**{"class": own.astype(np.int64)})


def instance_classes(labels: Array, classes: Array) -> Array:
    """Image of each instance's class: the majority of its pixels' classes other than background.

    Parameters
    ----------
    labels : ndarray
        Ids, 0 for background, gaps allowed.
    classes : ndarray
        Class per pixel, 0 for background.

    Returns
    -------
    ndarray of uint8 or uint16
        0 outside the instances, and in an instance without any classified pixel.
    """
    return recode(labels, *winning_classes(overlap(labels, classes)))

"""Instances, tables, images and scores of a test, from the predicted maps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.io.image import Image
from singula.io.run_folder import ResultsTree, View
from singula.io.write import write_csv, write_tiff
from singula.labels import count_instances, recode
from singula.metrics import overlap, winning_classes
from singula.pipeline import from_config
from singula.pipeline.postprocess import (
    PostSettings,
    Processed,
    filter_maps,
    process_instances,
    seed_filter,
)
from singula.pipeline.score import (
    AXES,
    Scores,
    class_map_scores,
    map_scores,
    score_classes,
    score_instances,
)
from singula.report.overlay import write_overlay
from singula.representations.decoders import Decoded, decode

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Truth:
    """Ground truth of an image.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Instance ids; 0 is background.
    classes : ndarray of int, optional
        Class of each pixel, with the shape of `labels`.
    maps : mapping of str to ndarray
        Encoded channels by name, each with the shape of `labels`.
    """

    labels: Array
    classes: Array | None
    maps: Mapping[str, Array]

    @property
    def foreground(self) -> npt.NDArray[np.bool_]:
        """Mask of the pixels of instances."""
        mask: npt.NDArray[np.bool_] = self.labels > 0
        return mask


@dataclass
class TestResults:
    """Results of a test, and the steps that add an image to them.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.
    post : PostSettings
        Steps before and after decoding.
    scores : Scores
        Scores of all images; empty without ground truth.
    instances : dict of str to int
        Number of instances after all steps, by image.
    overlays : dict of str to Path
        File of the overlay, by image.
    seconds : dict of str to float
        Seconds of each stage: prediction, decoding, post-processing, scoring and writing.
    thresholds : dict of str to dict
        Thresholds used by the decoder, by image.
    """

    __test__ = False  # not a test case of pytest

    config: Config
    tree: ResultsTree
    post: PostSettings
    scores: Scores = field(default_factory=Scores)
    instances: dict[str, int] = field(default_factory=dict)
    overlays: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)

    def clock(self, stage: str, start: float) -> float:
        """Add the time since `start` to a stage, and return the current time.

        Parameters
        ----------
        stage : str
            Name of the stage.
        start : float
            Result of `time.perf_counter` at the start of the stage.
        """
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - start
        return now

    def spacing(self, image: Image) -> tuple[float, ...] | None:
        """Return the configured voxel size, or the size in the metadata of the image."""
        return self._configured_spacing(image) or image.spacing

    def _configured_spacing(self, image: Image) -> tuple[float, ...] | None:
        return from_config.spacing(self.config, "TEST", image.ndim)

    def add_image(
        self,
        name: str,
        view: View,
        maps: Mapping[str, Array],
        image: Image,
        truth: Truth | None,
        mask: Array | None = None,
    ) -> tuple[str, ...]:
        """Decode, post-process, measure and score one image.

        Parameters
        ----------
        name : str
            Name of the image.
        view : View
            Kind of prediction, which determines the folders of the results.
        maps : mapping of str to ndarray
            Predicted maps by name.
        image : Image
            Image with its metadata.
        truth : Truth, optional
            Ground truth, to score the image.
        mask : ndarray of bool, optional
            Pixels outside of it become background.

        Returns
        -------
        tuple of str
            Notices of the decoder.
        """
        start = time.perf_counter()
        maps = filter_maps(maps, self.post, mask)
        decoded = self._decode(maps, name, view, image)
        classes = maps.get("class")
        self._write_labels(
            self.tree.instances(view) / f"{name}.tif", decoded.labels, classes, image
        )
        start = self.clock("decoding", start)
        spacing = self.spacing(image)
        processed = process_instances(decoded.labels, maps, self.post, spacing)
        self._write_processed(name, view, processed, decoded.labels, classes, image)
        final = decoded.labels if processed.labels is None else processed.labels
        start = self.clock("post-processing", start)
        if truth is not None:
            self._score_maps(name, view, maps, truth)
            self._match(name, view, truth, decoded.labels, classes, image)
            if processed.labels is not None:
                self._match(name, f"{view}_post_processing", truth, final, classes, image)
        picture = self.tree.overlay(name, view)
        true_labels = truth.labels if truth is not None else None
        self.overlays.setdefault(name, write_overlay(picture, image.array, final, true_labels))
        self.clock("scoring", start)
        if view != "full_image":
            # Only post-processing can leave gaps between ids.
            gaps = processed.labels is not None
            self.instances[name] = count_instances(final) if gaps else int(final.max(initial=0))
            self.thresholds[name] = decoded.thresholds
        return decoded.notes

    def _decode(self, maps: Mapping[str, Array], name: str, view: View, image: Image) -> Decoded:
        problem = self.config.PROBLEM.INSTANCE_SEG
        write_parts = problem.DATA_CHECK_MW and view != "full_image"
        decoded = decode(
            maps,
            problem.DATA_CHANNELS,
            settings=from_config.decode_settings(self.config),
            # Morphological radii are in pixels unless the voxel size is configured.
            spacing=self._configured_spacing(image),
            seed_filter=seed_filter(self.post, self.spacing(image)),
            keep_parts=write_parts,
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
        """Write the instances, with a second channel for classes if there are classes."""
        axes = AXES[labels.ndim]
        if classes is not None:
            class_image = instance_classes(labels, classes)
            dtype = np.promote_types(labels.dtype, class_image.dtype)
            labels = np.stack([labels.astype(dtype), class_image.astype(dtype)], axis=-1)
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
        """Score the maps of an image whose instances are decoded in the stack of all images."""
        if truth is not None:
            start = time.perf_counter()
            self._score_maps(name, view, filter_maps(maps, self.post, mask), truth)
            self.clock("scoring", start)

    def _score_maps(self, name: str, view: View, maps: Mapping[str, Array], truth: Truth) -> None:
        self.scores.add_maps(name, view, map_scores(truth.maps, maps, truth.foreground))
        if truth.classes is not None and "class" in maps:
            scores = class_map_scores(truth.classes, maps["class"], self.config.MODEL.N_CLASSES)
            self.scores.add_maps(name, view, scores)

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
            colored=tuple(keys.MATCHING_STATS_THS_COLORED_IMG),
            spacing=self.spacing(image),
        )
        if truth.classes is not None and classes is not None:
            true_classes = winning_classes(overlap(truth.labels, truth.classes))
            predicted = winning_classes(overlap(labels, classes))
            table = overlap(truth.labels, labels)
            score_classes(self.scores, name, view, table, true_classes, predicted, thresholds)


def with_class(table: pd.DataFrame, labels: Array, classes: Array | None) -> pd.DataFrame:
    """Add the class of each instance to a table of measurements, if there are classes."""
    if classes is None:
        return table
    return with_classes(table, *winning_classes(overlap(labels, classes)))


def with_classes(table: pd.DataFrame, ids: Array, classes: Array) -> pd.DataFrame:
    """Add the class of each instance to a table of measurements.

    Parameters
    ----------
    table : DataFrame
        Measurements with the column ``label``.
    ids, classes : ndarray of int
        Result of `winning_classes`.
    """
    column = classes[np.searchsorted(ids, table["label"].to_numpy().astype(ids.dtype))]
    return table.assign(**{"class": column.astype(np.int64)})


def instance_classes(labels: Array, classes: Array) -> Array:
    """Return an image of the classes of the instances.

    The class of an instance is the most frequent class of its pixels, without background.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Instance ids, with or without gaps; 0 is background.
    classes : ndarray of int
        Class of each pixel, with the shape of `labels`; 0 is background.

    Returns
    -------
    ndarray of uint8 or uint16
        Class of the instance of each pixel. 0 outside of instances and in instances without a
        classified pixel.
    """
    return recode(labels, *winning_classes(overlap(labels, classes)))

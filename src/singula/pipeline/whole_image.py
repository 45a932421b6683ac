"""Decoding, post-processing and tables of an image in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.data.preprocess import resize_labels
from singula.io.image import Image
from singula.io.run_folder import View
from singula.io.write import write_tiff
from singula.labels import count_instances, with_class_channel
from singula.measure import measure_instances
from singula.metrics import Match, color_associations, overlap, winning_classes
from singula.pipeline import from_config
from singula.pipeline.confidence import predicted_confidence
from singula.pipeline.overlap import end_if_stopped
from singula.pipeline.postprocess import filter_maps, process_instances, seed_filter
from singula.pipeline.results import ImageTables, InstanceTables, Stage, TestResults
from singula.pipeline.score import AXES, class_map_scores, map_scores
from singula.report.overlay import write_overlay
from singula.representations.decoders import Decoded, decode
from singula.util.sparse_labels import annotated_mask, is_sparse, without_unannotated

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Truth:
    """Ground truth of an image.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Instance ids; 0 is background, -1 is not annotated.
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

    def class_scores(
        self, predicted: Array, n_classes: int, box: tuple[slice, ...] = ()
    ) -> dict[str, float]:
        """Return the scores of a predicted class map, or of a box of it.

        Parameters
        ----------
        predicted : ndarray of int
            Predicted class of each pixel.
        n_classes : int
            Number of classes with the background.
        box : tuple of slice
            Box of the image that `predicted` shows. Default: the whole image.
        """
        if self.classes is None:
            return {}
        labels, classes = self.labels[box], self.classes[box]
        if is_sparse(labels):
            annotated = annotated_mask(labels)
            classes, predicted = classes[annotated], predicted[annotated]
        return class_map_scores(classes, predicted, n_classes)

    def score(self, maps: Mapping[str, Array], n_classes: int) -> dict[str, float]:
        """Return the scores of predicted maps, and of the class map if there is one.

        Parameters
        ----------
        maps : mapping of str to ndarray
            Predicted maps by name, each with the shape of `labels`.
        n_classes : int
            Number of classes with the background.
        """
        scores = map_scores(self.maps, maps, self.foreground)
        if "class" in maps:
            scores |= self.class_scores(maps["class"], n_classes)
        return scores


@dataclass(frozen=True)
class Original:
    """An image and its ground truth at their stored size.

    Parameters
    ----------
    image : Image
        Image before resampling and preprocessing.
    labels : ndarray of int, optional
        Ground truth, channels last: instance ids and, with classes, the class of each pixel.
    """

    image: Image
    labels: Array | None = None

    @property
    def ids(self) -> Array | None:
        """Instance ids, (y, x) or (z, y, x); None without ground truth."""
        return None if self.labels is None else self.labels[..., 0]

    @property
    def classes(self) -> Array | None:
        """Class of each pixel; None without classes."""
        has_classes = self.labels is not None and self.labels.shape[-1] > 1
        return self.labels[..., 1] if has_classes and self.labels is not None else None


@dataclass
class WholeImage:
    """Steps of a test image in memory after the prediction of its maps.

    If images are resampled to a common voxel size (DATA.PREPROCESS.SPACING), maps are decoded,
    post-processed and scored at this voxel size. Instances are written, measured and scored at the
    size of the stored image.

    Parameters
    ----------
    results : TestResults
        Results of all test images, with the configuration and the folders.
    name : str
        Name of the image.
    view : View
        Kind of prediction, which determines the folders of the results.
    image : Image
        Image with its metadata.
    truth : Truth, optional
        Ground truth, to score the image.
    mask : ndarray of bool, optional
        Pixels outside of it become background.
    original : Original, optional
        Image and ground truth at their stored size, if `image` is resampled.
    """

    results: TestResults
    name: str
    view: View
    image: Image
    truth: Truth | None
    mask: Array | None = None
    original: Original | None = None
    _labels: dict[Stage, Array] = field(default_factory=dict, init=False)

    def add(self, maps: Mapping[str, Array]) -> tuple[str, ...]:
        """Decode, post-process, measure and score the image, and return notices of the decoder.

        Parameters
        ----------
        maps : mapping of str to ndarray
            Predicted maps by name.
        """
        results, stages = self.results, dict[Stage, InstanceTables]()
        start = time.perf_counter()
        maps = filter_maps(maps, results.post, self.mask)
        decoded = self._decode(maps)
        classes = self._write("instances", decoded.labels, maps)
        start = results.clock("decoding", start)
        end_if_stopped()
        processed = process_instances(decoded.labels, maps, results.post, self._spacing)
        full = self._with_confidence(processed.full, decoded.labels, maps)
        stages["instances"] = self._tables("instances", full, classes)
        if processed.labels is not None:
            classes = self._write("processed", processed.labels, maps)
            filtered = self._with_confidence(processed.filtered, processed.labels, maps)
            stages["processed"] = self._tables("processed", filtered, classes)
        start = results.clock("post-processing", start)
        end_if_stopped()
        final = self._labels["instances" if processed.labels is None else "processed"]
        # Only post-processing and resampling can leave gaps between ids.
        gaps = processed.labels is not None or self.original is not None
        tables = ImageTables(
            count=count_instances(final) if gaps else int(final.max(initial=0)),
            thresholds=decoded.thresholds,
            overlay=write_overlay(
                results.tree.overlay(self.name, self.view),
                self._stored_image.array,
                final,
                None if self._true_ids is None else without_unannotated(self._true_ids),
            ),
            map_scores=self._map_scores(maps),
            stages=stages,
        )
        results.add_image(self.name, self.view, tables, self._color)
        results.clock("scoring", start)
        return decoded.notes

    def score(self, maps: Mapping[str, Array]) -> None:
        """Score only the maps, if the instances are decoded in the stack of all images."""
        start = time.perf_counter()
        scores = self._map_scores(filter_maps(maps, self.results.post, self.mask))
        if scores is not None:
            self.results.scores.add_maps(self.name, self.view, scores)
            self.results.clock("scoring", start)

    def _map_scores(self, maps: Mapping[str, Array]) -> dict[str, float] | None:
        if self.truth is None:
            return None
        return self.truth.score(maps, self.results.config.MODEL.N_CLASSES)

    @property
    def _stored_image(self) -> Image:
        """Image at the size of the results."""
        return self.image if self.original is None else self.original.image

    @property
    def _true_ids(self) -> Array | None:
        """Ground truth at the size of the results."""
        if self.original is not None:
            return self.original.ids
        return None if self.truth is None else self.truth.labels

    @property
    def _true_classes(self) -> Array | None:
        """Class of each pixel of the ground truth, at the size of the results."""
        if self.original is not None:
            return self.original.classes
        return None if self.truth is None else self.truth.classes

    def _restored(self, labels: Array) -> Array:
        """Return labels at the size of the stored image."""
        if self.original is None:
            return labels
        return resize_labels(labels[..., None], self.original.image.spatial_shape)[..., 0]

    @property
    def _configured_spacing(self) -> tuple[float, ...] | None:
        return from_config.spacing(self.results.config, "TEST", self.image.ndim)

    @property
    def _spacing(self) -> tuple[float, ...] | None:
        """Configured voxel size, or the size in the metadata of the image."""
        return self._configured_spacing or self.image.spacing

    def _decode(self, maps: Mapping[str, Array]) -> Decoded:
        config, image = self.results.config, self.image
        problem = config.PROBLEM.INSTANCE_SEG
        decoded = decode(
            maps,
            config.decoder,
            settings=from_config.decode_settings(config),
            # Morphological radii are in pixels unless the voxel size is configured.
            spacing=from_config.decoding_spacing(config, self._configured_spacing, image.ndim),
            seed_filter=seed_filter(self.results.post, self._spacing),
            keep_parts=problem.DATA_CHECK_MW and self.view != "full_image",
        )
        if decoded.parts is not None:
            parts = {
                "seed_map": decoded.parts.seeds,
                "foreground": decoded.parts.foreground.view(np.uint8),
                "semantic": decoded.parts.surface.astype(np.float32),
                "watershed": decoded.labels,
            }
            for part, array in parts.items():
                target = self.results.tree.watershed(self.name, part)  # type: ignore[arg-type]
                write_tiff(target, array, AXES[array.ndim], image.spacing, image.unit)
        return decoded

    def _write(
        self, stage: Stage, labels: Array, maps: Mapping[str, Array]
    ) -> tuple[Array, Array] | None:
        """Write the instances with a channel for their classes, and return the classes."""
        tree, image, axes, classes = self.results.tree, self._stored_image, AXES[labels.ndim], None
        self._labels[stage] = stored = labels = self._restored(labels)
        if "class" in maps:
            classes = winning_classes(overlap(labels, self._restored(maps["class"])))
            stored, axes = with_class_channel(labels, *classes), axes + "C"
        folder = tree.instances if stage == "instances" else tree.post_processed
        path = folder(self.view) / f"{self.name}.tif"
        write_tiff(path, stored, axes, image.spacing, image.unit)
        return classes

    def _tables(
        self, stage: Stage, table: pd.DataFrame | None, classes: tuple[Array, Array] | None
    ) -> InstanceTables:
        ids, class_image, true_classes = self._true_ids, self._true_classes, None
        if table is not None and self.original is not None:
            table = self._measured_again(table, self._labels[stage])
        parts = None if table is None else [table]
        if ids is None or not self.results.config.TEST.MATCHING_STATS:
            return InstanceTables(parts, classes)
        if class_image is not None and classes is not None:
            true_classes = winning_classes(overlap(ids, class_image))
        matched = overlap(ids, self._labels[stage])
        return InstanceTables(parts, classes, true_classes, matched)

    def _with_confidence(
        self, table: pd.DataFrame | None, labels: Array, maps: Mapping[str, Array]
    ) -> pd.DataFrame | None:
        """Append the confidence to measurements; slices of a stack have no channels of a volume."""
        config = self.results.config
        if table is None or labels.ndim != config.ndim:
            return table
        values = predicted_confidence(config, labels, maps)
        return table.assign(confidence=[values[label] for label in table["label"]])

    def _measured_again(self, table: pd.DataFrame, labels: Array) -> pd.DataFrame:
        """Return a table with the measurements at the stored size and the same conditions."""
        measured = measure_instances(labels, spacing=self._stored_image.spacing)
        others = [name for name in table.columns if name not in measured.columns]
        merged = measured.merge(table[["label", *others]], on="label", validate="one_to_one")
        return merged[list(table.columns)]

    def _color(self, stage: Stage, path: Path, match: Match) -> None:
        if self._true_ids is not None:
            picture = color_associations(self._true_ids, self._labels[stage], match)
            spacing = self._spacing if self.original is None else self.original.image.spacing
            write_tiff(path, picture, AXES[self.image.ndim] + "S", spacing)

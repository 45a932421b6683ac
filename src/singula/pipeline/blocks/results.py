"""Instances, tables, scores and images of a test image in blocks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.io.block_array import BlockArray
from singula.io.records import FinishedNote
from singula.io.run_folder import View
from singula.io.write import write_csv
from singula.io.write_large import write_hdf5_from, write_tiff_from
from singula.labels.overlap import Overlap, sum_overlaps
from singula.metrics import Ratio, match_overlap, winning_classes
from singula.pipeline.blocks import tasks
from singula.pipeline.blocks.image import ChunkImage
from singula.pipeline.blocks.steps import measured, process, remove_ids
from singula.pipeline.postprocess import apply_conditions
from singula.pipeline.progress import restore_result, result_of
from singula.pipeline.results import TestResults, with_classes
from singula.pipeline.score import (
    association_name,
    record_matches,
    result_text,
    score_classes,
    values,
)
from singula.report.overlay import write_overlay
from singula.util.boxes import center_box

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
_VIEW: View = "per_image"


class ChunkFinish:
    """Steps of a test image in blocks after the prediction of its maps.

    Parameters
    ----------
    image : ChunkImage
        Image with predicted maps.
    results : TestResults
        Results of all test images; the steps add those of this image.
    """

    def __init__(self, image: ChunkImage, results: TestResults) -> None:
        self.image, self.results = image, results
        self.plan, self.tree = image.plan, results.tree

    def instances(self) -> None:
        """Decode, post-process, measure and score the instances."""
        image, name = self.image, self.plan.name
        start = time.perf_counter()
        for note in image.store_thresholds():
            image.notify(f"{name}: {note}")
        image.find_seeds()
        image.flood()
        image.write_instances()
        start = self.results.clock("decoding", start)
        self._post_process()
        start = self.results.clock("post-processing", start)
        self._score_maps()
        self._match("instances", _VIEW)
        if self.plan.processed:
            self._match("processed", f"{_VIEW}_post_processing")
        self.results.clock("scoring", start)

    def summary(self) -> FinishedNote:
        """Return the result of the image."""
        name = self.plan.name
        if name not in self.results.instances:
            return FinishedNote()
        return FinishedNote(result=result_of(name, self.results))

    def restore(self, note: FinishedNote) -> str:
        """Restore the result of a finished image and return a description of it."""
        name = self.plan.name
        if note.result is None:
            return "predicted"
        restore_result(name, note.result, self.results)
        return result_text(self.results.instances[name], self.results.scores, name, _VIEW)

    # Tables

    def _records(self, phase: str) -> Iterable[dict[str, Array]]:
        return self.image.records(phase)

    def _classes(self, phase: str) -> tuple[Array, Array] | None:
        return self.image.classes(phase) if "class" in self.image.context.names else None

    def _post_process(self) -> None:
        plan, post, tree, name = self.plan, self.results.post, self.tree, self.plan.name
        decoded = measured(self.image, "instances")
        count, full, filtered, removed = len(decoded), None, None, None
        after = process(self.image, decoded) if plan.processed else None
        if post.measure:
            full, filtered, removed = apply_conditions(decoded, after, post.conditions)
            self._write_table(tree.full_stats(name), full, "instances")
        if plan.processed:
            if removed is not None:
                remove_ids(self.image, removed)
            self.image.write_processed()
            count = len(measured(self.image, "processed"))
            if filtered is not None:
                self._write_table(tree.filtered_stats(name), filtered, "processed")
        self.results.instances[name] = count
        self.results.thresholds[name] = self.image.thresholds

    def _write_table(self, path: Path, table: pd.DataFrame, phase: str) -> None:
        classes = self._classes(phase)
        if classes is not None:
            table = with_classes(table, *classes)
        write_csv(path, table)

    # Scores

    def _score_maps(self) -> None:
        context, name = self.image.context, self.plan.name
        if context.truth is None:
            return
        skipped = [c for c in context.names if c not in (*tasks.LOCAL, "class")]
        if skipped:
            self.image.notify(
                f"  {name}: maps of {', '.join(skipped)} are not scored, because their ground "
                "truth depends on whole instances, and a block contains parts"
            )
        self.image.run_phase("scores", tasks.score_maps)
        sums: dict[str, list[Ratio]] = {}
        for record in self._records("scores"):
            for column, (total, count) in record.items():
                sums.setdefault(column, []).append(Ratio(int(total), int(count), 1.0))
        scores = values({column: Ratio.merge(parts) for column, parts in sums.items()})
        classes = [value for column, value in scores.items() if column.startswith("iou_class_")]
        if classes:
            scores = {"iou_class": float(np.mean(classes)), **scores}
        self.results.scores.add_maps(name, _VIEW, scores)

    def _match(self, phase: str, view: str) -> None:
        context, keys, name = self.image.context, self.results.config.TEST, self.plan.name
        if context.truth is None or not keys.MATCHING_STATS:
            return
        overlap = sum_overlaps(tasks.overlap_in(r) for r in self._records(phase))
        thresholds = tuple(keys.MATCHING_STATS_THS)
        matches = match_overlap(overlap, thresholds)
        record_matches(self.results.scores, self.tree, name, view, matches)
        instances = self.plan.instances if phase == "instances" else self.plan.processed
        for match in matches:
            if match.threshold in keys.MATCHING_STATS_THS_COLORED_IMG:
                picture = self.tree.association_image(association_name(name, view), match.threshold)
                self.image.color(instances, picture.with_suffix(".zarr").absolute(), match)
        predicted_classes = self._classes(phase)
        if predicted_classes is not None:
            true_classes = winning_classes(self._true_votes(phase))
            score_classes(
                self.results.scores,
                name,
                view,
                overlap,
                true_classes,
                predicted_classes,
                thresholds,
            )

    def _true_votes(self, phase: str) -> Overlap:
        return sum_overlaps(tasks.overlap_in(r, "true_votes") for r in self._records(phase))

    # Images

    def outputs(self) -> None:
        """Write image pyramids, the overlay, and files in the configured formats."""
        image, plan, keys = self.image, self.plan, self.results.config.TEST.BY_CHUNKS
        start = time.perf_counter()
        paths = {"maps": plan.maps}
        if keys.WORKFLOW_PROCESS.ENABLE:
            paths["instances"] = plan.instances
            if plan.processed:
                paths["processed"] = plan.processed
        for phase, path in paths.items():
            image.build_pyramid(path, phase)
            self._export(path)
        if keys.WORKFLOW_PROCESS.ENABLE:
            self._overlay(paths.get("processed", plan.instances))
        self.results.clock("writing", start)

    def _export(self, path: str) -> None:
        """Write an image as a single file, if configured."""
        config, target = self.results.config, Path(path)
        keys, source = config.TEST.BY_CHUNKS, BlockArray.open(path)
        if keys.SAVE_OUT_TIF:
            write_tiff_from(target.with_suffix(".tif"), source)
        # The default of FORMAT also applies without a single file: Singula always writes a Zarr.
        if keys.FORMAT == "H5" and config.is_set("TEST.BY_CHUNKS.FORMAT"):
            write_hdf5_from(target.with_suffix(".h5"), source)

    def _overlay(self, path: str) -> None:
        """Write the center of the image with the outlines of its instances."""
        context, shape = self.image.context, self.plan.shape
        box = center_box(shape)
        labels = BlockArray.open(path).read_ids(box)
        truth = None if context.truth is None else context.truth.read(box)[..., 0]
        picture = self.tree.overlay(self.plan.name, _VIEW)
        self.results.overlays[self.plan.name] = write_overlay(
            picture, context.image.read(box), labels, truth
        )

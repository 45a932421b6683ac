"""From the instances of an image in blocks to tables, scores, pictures and other formats."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.evaluate import Ratio, match_overlap, winning_classes
from singula.evaluate.overlap import Overlap, sum_overlaps
from singula.io.records import FinishedNote
from singula.io.results import View
from singula.io.stream import write_hdf5_from, write_tiff_from
from singula.io.volume import BlockArray
from singula.io.write import write_csv
from singula.report.overlay import center_box, write_overlay
from singula.stages.chunks import work
from singula.stages.chunks.image import ChunkImage
from singula.stages.chunks.steps import measured, process, remove_ids
from singula.stages.finish import Finish, with_classes
from singula.stages.post import judge
from singula.stages.progress import put_back, result_of
from singula.stages.score import (
    associated,
    record_matches,
    result_words,
    score_classes,
    values,
)

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
_VIEW: View = "per_image"


class ChunkFinish:
    """The steps of an image that follow its maps, and what they add to the results of a test.

    Parameters
    ----------
    image : ChunkImage
    finish : Finish
        Where scores, numbers and times of all images are gathered.
    """

    def __init__(self, image: ChunkImage, finish: Finish) -> None:
        self.image, self.finish = image, finish
        self.plan, self.tree = image.plan, finish.tree

    def instances(self) -> None:
        """Decode, post-process, measure and score."""
        image, name = self.image, self.plan.name
        began = time.perf_counter()
        for note in image.settle_thresholds():
            image.notify(f"{name}: {note}")
        image.find_seeds()
        image.flood()
        image.write_instances()
        began = self.finish.clock("decoding", began)
        self._post_process()
        began = self.finish.clock("post-processing", began)
        self._score_maps()
        self._match("instances", _VIEW)
        if self.plan.processed:
            self._match("processed", f"{_VIEW}_post_processing")
        self.finish.clock("scoring", began)

    def summary(self) -> FinishedNote:
        """Return the result of the image."""
        name = self.plan.name
        if name not in self.finish.instances:
            return FinishedNote()
        return FinishedNote(result=result_of(name, self.finish))

    def restore(self, note: FinishedNote) -> str:
        """Put the result of a finished image back; return a description of it."""
        name = self.plan.name
        if note.result is None:
            return "predicted"
        put_back(name, note.result, self.finish)
        return result_words(self.finish.instances[name], self.finish.scores, name, _VIEW)

    # Tables

    def _records(self, phase: str) -> Iterable[dict[str, Array]]:
        return self.image.records(phase)

    def _classes(self, phase: str) -> tuple[Array, Array] | None:
        return self.image.classes(phase) if "class" in self.image.bench.names else None

    def _post_process(self) -> None:
        plan, post, tree, name = self.plan, self.finish.post, self.tree, self.plan.name
        decoded = measured(self.image, "instances")
        count, full, filtered, gone = len(decoded), None, None, None
        after = process(self.image, decoded) if plan.processed else None
        if post.measure:
            full, filtered, gone = judge(decoded, after, post.conditions)
            self._write_table(tree.full_stats(name), full, "instances")
        if plan.processed:
            if gone is not None:
                remove_ids(self.image, gone)
            self.image.write_processed()
            count = len(measured(self.image, "processed"))
            if filtered is not None:
                self._write_table(tree.filtered_stats(name), filtered, "processed")
        self.finish.instances[name] = count
        self.finish.thresholds[name] = self.image.thresholds

    def _write_table(self, path: Path, table: pd.DataFrame, phase: str) -> None:
        classes = self._classes(phase)
        if classes is not None:
            table = with_classes(table, *classes)
        write_csv(path, table)

    # Scores

    def _score_maps(self) -> None:
        bench, name = self.image.bench, self.plan.name
        if bench.truth is None:
            return
        left_out = [c for c in bench.names if c not in (*work.LOCAL, "class")]
        if left_out:
            self.image.notify(
                f"  {name}: maps of {', '.join(left_out)} are not scored: their true channels "
                "follow from whole instances, which a block does not have"
            )
        self.image.run_phase("scores", work.score_maps)
        sums: dict[str, list[Ratio]] = {}
        for record in self._records("scores"):
            for column, (total, count) in record.items():
                sums.setdefault(column, []).append(Ratio(int(total), int(count), 1.0))
        scores = values({column: Ratio.merge(parts) for column, parts in sums.items()})
        classes = [value for column, value in scores.items() if column.startswith("iou_class_")]
        if classes:
            scores = {"iou_class": float(np.mean(classes)), **scores}
        self.finish.scores.add_maps(name, _VIEW, scores)

    def _match(self, phase: str, view: str) -> None:
        bench, keys, name = self.image.bench, self.finish.config.TEST, self.plan.name
        if bench.truth is None or not keys.MATCHING_STATS:
            return
        overlap = sum_overlaps(work.overlap_in(r) for r in self._records(phase))
        thresholds = tuple(keys.MATCHING_STATS_THS)
        matches = match_overlap(overlap, thresholds)
        record_matches(self.finish.scores, self.tree, name, view, matches)
        instances = self.plan.instances if phase == "instances" else self.plan.processed
        for match in matches:
            if match.threshold in keys.MATCHING_STATS_THS_COLORED_IMG:
                picture = self.tree.association_image(associated(name, view), match.threshold)
                self.image.colour(instances, picture.with_suffix(".zarr").absolute(), match)
        chosen = self._classes(phase)
        if chosen is not None:
            own = winning_classes(self._true_votes(phase))
            score_classes(self.finish.scores, name, view, overlap, own, chosen, thresholds)

    def _true_votes(self, phase: str) -> Overlap:
        return sum_overlaps(work.overlap_in(r, "true_votes") for r in self._records(phase))

    # What people look at

    def outputs(self) -> None:
        """Pyramids, pictures, and the formats that were asked for."""
        image, plan, keys = self.image, self.plan, self.finish.config.TEST.BY_CHUNKS
        began = time.perf_counter()
        results = {"maps": plan.maps}
        if keys.WORKFLOW_PROCESS.ENABLE:
            results["instances"] = plan.instances
            if plan.processed:
                results["processed"] = plan.processed
        for phase, path in results.items():
            image.build_pyramid(path, phase)
            self._export(path)
        if keys.WORKFLOW_PROCESS.ENABLE:
            self._overlay(results.get("processed", plan.instances))
        self.finish.clock("writing", began)

    def _export(self, path: str) -> None:
        """The same as one file, for programs that take no other."""
        config, target = self.finish.config, Path(path)
        keys, source = config.TEST.BY_CHUNKS, BlockArray.open(path)
        if keys.SAVE_OUT_TIF:
            write_tiff_from(target.with_suffix(".tif"), source)
        # What the format takes without being asked is what Singula makes of every image: a Zarr.
        if keys.FORMAT == "H5" and config.is_set("TEST.BY_CHUNKS.FORMAT"):
            write_hdf5_from(target.with_suffix(".h5"), source)

    def _overlay(self, path: str) -> None:
        """A part of the image from its middle, with the instances there."""
        bench, shape = self.image.bench, self.plan.shape
        box = center_box(shape)
        labels = BlockArray.open(path).read_ids(box)
        truth = None if bench.truth is None else bench.truth.read(box)[..., 0]
        picture = self.tree.overlay(self.plan.name, _VIEW)
        self.finish.overlays[self.plan.name] = write_overlay(
            picture, bench.image.read(box), labels, truth
        )

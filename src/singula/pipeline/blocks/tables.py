"""Instances, tables and files of a test image in blocks, after the prediction of its maps."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.io.block_array import BlockArray
from singula.io.run_folder import View
from singula.io.write_large import write_hdf5_from, write_tiff_from
from singula.labels.overlap import sum_overlaps
from singula.measure import Shapes
from singula.metrics import Match, winning_classes
from singula.pipeline.blocks import tasks
from singula.pipeline.blocks.image import BlockImage
from singula.pipeline.blocks.map_scores import map_scores
from singula.pipeline.blocks.steps import (
    Processing,
    Selected,
    process,
    remove_ids,
    with_additional_columns,
)
from singula.pipeline.results import ImageTables, InstanceTables, Stage, TestResults
from singula.report.overlay import write_overlay
from singula.util.boxes import center_box
from singula.util.sparse_labels import without_unannotated

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

Array = npt.NDArray[Any]
_VIEW: View = "per_image"


def add_image(image: BlockImage, results: TestResults) -> None:
    """Decode, post-process, measure and score the instances of an image.

    Parameters
    ----------
    image : BlockImage
        Image with predicted maps.
    results : TestResults
        Results of all test images, to which the image is added.
    """
    spec, start = image.spec, time.perf_counter()
    for note in image.store_thresholds():
        _log.warning(f"{spec.name}: {note}")
    image.find_seeds()
    image.flood()
    image.write_instances()
    start = results.clock("decoding", start)
    count, measurements = _post_process(image, results)
    start = results.clock("post-processing", start)
    paths: dict[Stage, str] = {"instances": spec.instances}
    if spec.processed:
        paths["processed"] = spec.processed
    tables = ImageTables(
        count=count,
        thresholds=image.thresholds,
        overlay=_overlay(image, paths.get("processed", spec.instances), results),
        map_scores=map_scores(image),
        stages={
            stage: _instance_tables(image, stage, measurements.get(stage), results.config)
            for stage in paths
        },
    )

    def color(stage: Stage, path: Path, match: Match) -> None:
        image.color(paths[stage], path.with_suffix(".zarr").absolute(), match)

    results.add_image(spec.name, _VIEW, tables, color)
    results.clock("scoring", start)


def _post_process(
    image: BlockImage, results: TestResults
) -> tuple[int, dict[Stage, Iterable[pd.DataFrame]]]:
    """Return the number of instances after all steps, and the measurements of each stage."""
    post, has_own_result = results.post, bool(image.spec.processed)
    tables: dict[Stage, Iterable[pd.DataFrame]] = {}
    selected = Selected(image, process(image) if has_own_result else Processing(), post.conditions)
    if post.measure:
        tables["instances"] = (full for full, _, _ in selected)
    if has_own_result:
        if post.measure:
            remove_ids(image, np.concatenate([removed for _, _, removed in selected]))
            tables["processed"] = (filtered for _, filtered, _ in selected)
        image.write_processed()
    last = "processed" if has_own_result else "instances"
    count = sum(part.n_rows for part in image.table_parts(Shapes, "shapes", last))
    if image.spec.additional_columns:
        tables = {s: with_additional_columns(image, parts, s) for s, parts in tables.items()}
    return count, tables


def _instance_tables(
    image: BlockImage,
    stage: Stage,
    measurements: Iterable[pd.DataFrame] | None,
    config: Config,
) -> InstanceTables:
    classes = image.classes(stage) if "class" in image.context.names else None
    truth, true_classes = image.context.truth, None
    if truth is None or not config.TEST.MATCHING_STATS:
        return InstanceTables(measurements, classes)
    if classes is not None and truth.channels > 1:
        votes = (tasks.overlap_in(r, "true_votes") for r in image.records(stage))
        true_classes = winning_classes(sum_overlaps(votes))
    overlap = sum_overlaps(tasks.overlap_in(r) for r in image.records(stage))
    return InstanceTables(measurements, classes, true_classes, overlap)


def _overlay(image: BlockImage, path: str, results: TestResults) -> Path:
    """Write the center of the image with the outlines of its instances."""
    context = image.context
    box = center_box(image.spec.shape)
    labels = BlockArray.open(path).read_ids(box)
    truth = None if context.truth is None else context.truth.read(box)[..., 0]
    picture = results.tree.overlay(image.spec.name, _VIEW)
    if truth is not None:
        truth = without_unannotated(truth)
    return write_overlay(picture, context.image.read(box), labels, truth)


def write_pyramids(image: BlockImage, config: Config, *, only_last: bool = False) -> None:
    """Write the coarser levels of the maps and instances, and files in the configured formats.

    Parameters
    ----------
    image : BlockImage
        Image with predicted maps and, if configured, with instances.
    config : Config
        Configuration of the run.
    only_last : bool
        Write only the last result, as the maps and instances before it are deleted.
    """
    spec, start = image.spec, time.perf_counter()
    paths = {"maps": spec.maps}
    if config.TEST.BY_CHUNKS.WORKFLOW_PROCESS.ENABLE:
        paths["instances"] = spec.instances
        if spec.processed:
            paths["processed"] = spec.processed
    if only_last:
        paths = dict([paths.popitem()])
    for phase, path in paths.items():
        image.build_pyramid(path, phase)
        _export(path, config)
    image.clock("writing", start)


def _export(path: str, config: Config) -> None:
    """Write an image as a single file, if configured."""
    keys, target, source = config.TEST.BY_CHUNKS, Path(path), BlockArray.open(path)
    if keys.SAVE_OUT_TIF:
        write_tiff_from(target.with_suffix(".tif"), source)
    # The default of FORMAT also applies without a single file: Singula always writes a Zarr.
    if keys.FORMAT == "H5" and config.is_set("TEST.BY_CHUNKS.FORMAT"):
        write_hdf5_from(target.with_suffix(".h5"), source)

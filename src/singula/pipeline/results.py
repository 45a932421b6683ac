"""Results of a test: scores of all images, and tables of each image."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.io.run_folder import ResultsTree, View
from singula.io.write import write_csv, write_csv_parts
from singula.metrics import Match, Overlap, fp_columns, gt_columns, match_overlap
from singula.pipeline.postprocess import PostSettings
from singula.pipeline.score import Scores, association_name, score_classes

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
Stage = Literal["instances", "processed"]
Color = Callable[[Stage, Path, Match], None]


@dataclass(frozen=True)
class InstanceTables:
    """Tables of the decoded or the post-processed instances of an image.

    Parameters
    ----------
    measurements : iterable of DataFrame, optional
        Measurements of the instances, in parts; None if they are not measured.
    classes, true_classes : (ndarray, ndarray), optional
        Result of `winning_classes` for the predicted and for the true instances; None without
        classes.
    overlap : Overlap, optional
        Overlap of the true and the predicted instances; None if the instances are not matched.
    """

    measurements: Iterable[pd.DataFrame] | None = None
    classes: tuple[Array, Array] | None = None
    true_classes: tuple[Array, Array] | None = None
    overlap: Overlap | None = None


@dataclass(frozen=True)
class ImageTables:
    """Tables of an image after all steps.

    Parameters
    ----------
    count : int
        Number of instances.
    thresholds : mapping of str to float
        Thresholds used by the decoder.
    overlay : Path
        File of the overlay.
    map_scores : mapping of str to float, optional
        Scores of the maps; None without ground truth.
    stages : dict
        Tables of the decoded instances and, if the test post-processes, of the processed instances.
    """

    count: int
    thresholds: Mapping[str, float]
    overlay: Path
    map_scores: Mapping[str, float] | None
    stages: dict[Stage, InstanceTables]


@dataclass
class TestResults:
    """Results of a test.

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
        Seconds of each step: prediction, decoding, post-processing, scoring and writing. With
        several threads, the sum over the threads.
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

    def clock(self, step: str, start: float) -> float:
        """Add the time since `start` to a step, and return the current time.

        Parameters
        ----------
        step : str
            Name of the step.
        start : float
            Result of `time.perf_counter` at the start of the step.
        """
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - start
        return now

    def add_image(self, name: str, view: View, tables: ImageTables, color: Color) -> None:
        """Add an image to the scores, and write its tables.

        Parameters
        ----------
        name : str
            Name of the image.
        view : View
            Kind of prediction, which determines the folders of the results.
        tables : ImageTables
            Tables of the image.
        color : callable
            Write an image of true and false positives and of false negatives, from the stage, the
            path of a TIFF file and the match.
        """
        if tables.map_scores is not None:
            self.scores.add_maps(name, view, tables.map_scores)
        for stage, instances in tables.stages.items():
            parts = instances.measurements
            if parts is not None:
                if instances.classes is not None:
                    parts = (with_classes(part, *instances.classes) for part in parts)
                path = self.tree.full_stats if stage == "instances" else self.tree.filtered_stats
                write_csv_parts(path(name, view), parts)
            if instances.overlap is not None:
                suffix = "_post_processing" if stage == "processed" else ""
                matches = self._match(name, view + suffix, instances, instances.overlap)
                for picture, match in matches:
                    color(stage, picture, match)
        self.overlays.setdefault(name, tables.overlay)
        if view != "full_image":
            self.instances[name] = tables.count
            self.thresholds[name] = dict(tables.thresholds)

    def empty(self) -> TestResults:
        """Return results without images, with the same configuration and folders."""
        return TestResults(self.config, self.tree, self.post)

    def add(self, other: TestResults) -> None:
        """Add the images and the seconds of other results."""
        self.instances.update(other.instances)
        self.overlays.update(other.overlays)
        self.thresholds.update(other.thresholds)
        self.scores.maps.update(other.scores.maps)
        for view, matches in other.scores.matches.items():
            self.scores.matches.setdefault(view, {}).update(matches)
        for key, matches in other.scores.classes.items():
            self.scores.classes.setdefault(key, {}).update(matches)
        for step, seconds in other.seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    def sort(self, names: Sequence[str]) -> None:
        """Sort the images, which a resumed test adds in another order; other names come last."""
        position = {name: number for number, name in enumerate(names)}
        scores = self.scores
        by_image: list[dict[str, Any]] = [self.instances, self.overlays, self.thresholds]
        by_image += [scores.maps, *scores.matches.values(), *scores.classes.values()]
        for values in by_image:
            ordered = sorted(values.items(), key=lambda entry: position.get(entry[0], len(names)))
            values.clear()
            values.update(ordered)

    def _match(
        self, name: str, view: str, instances: InstanceTables, overlap: Overlap
    ) -> list[tuple[Path, Match]]:
        """Match the instances, write the tables, and return the matches to draw."""
        keys, tree, file = self.config.TEST, self.tree, association_name(name, view)
        thresholds = tuple(keys.MATCHING_STATS_THS)
        matches = match_overlap(overlap, thresholds)
        self.scores.matches.setdefault(view, {})[name] = [*matches]
        for match in matches:
            write_csv(tree.association_csv(file, match.threshold), gt_columns(match))
            write_csv(tree.false_positives_csv(file, match.threshold), fp_columns(match))
        true, predicted = instances.true_classes, instances.classes
        if true is not None and predicted is not None:
            score_classes(self.scores, name, view, overlap, true, predicted, thresholds)
        drawn = [m for m in matches if m.threshold in keys.MATCHING_STATS_THS_COLORED_IMG]
        return [(tree.association_image(file, match.threshold), match) for match in drawn]


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

"""What a finished run left, read from its folder."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from singula.errors import UserError
from singula.evaluate.summary import MEAN, POOLED
from singula.io.record_files import read_record, read_rows, read_table
from singula.io.records import EpochRow, MetricsRow, RunSummary
from singula.io.results import ResultsTree, View
from singula.paths import user_path

PROCESSED = "_post_processing"
Notify = Callable[[str], None]
_VIEWS: dict[View, str] = {
    "per_image": "images joined from patches",
    "full_image": "images predicted whole",
    "as_3d_stack": "images as one stack",
}
# Keys that make a second set of instances.
_STEPS = (
    "REPARE_LARGE_BLOBS_SIZE",
    "VORONOI_ON_MASK",
    "CLEAR_BORDER",
    "MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES.ENABLE",
)
Row = dict[str, float | None]


@dataclass(frozen=True)
class Stage:
    """Instances as they were decoded, or as post-processing left them, in one of the views."""

    view: View
    processed: bool = False

    @property
    def key(self) -> str:
        """How ``metrics.csv`` calls it."""
        return self.view + (PROCESSED if self.processed else "")


@dataclass
class Scores:
    """``metrics.csv``: view → image → threshold → scores; threshold None: of maps alone.

    The instances of each class stand under the name that `class_view` gives.
    """

    rows: dict[str, dict[str, dict[float | None, Row]]] = field(default_factory=dict)

    def thresholds(self, view: str) -> list[float]:
        """IoU thresholds of the matching; none where no objects were matched."""
        found = {t for image in self.rows.get(view, {}).values() for t in image if t is not None}
        return sorted(found)

    def images(self, view: str) -> list[str]:
        """Names of the scored images."""
        return [name for name in self.rows.get(view, {}) if name not in (MEAN, POOLED, "mean")]

    def row(self, view: str, image: str, threshold: float | None) -> Row:
        """Scores of an image, or of the data set under `MEAN` and `POOLED`; may be empty."""
        return self.rows.get(view, {}).get(image, {}).get(threshold, {})

    def maps(self, view: str, image: str) -> Row:
        """Scores of the predicted channels."""
        rows = self.rows.get(view, {})
        of_image = rows.get(image) or (rows.get("mean") if image == MEAN else None) or {}
        first = next(iter(of_image.values()), {})
        return {k: v for k, v in first.items() if v is not None and re.search("_(iou|mae)_", k)}

    def classes(self, view: str) -> list[int]:
        """Classes whose instances were matched by themselves."""
        before = class_view(view, "")
        return sorted(int(v.removeprefix(before)) for v in self.rows if v.startswith(before))


@dataclass(frozen=True)
class RunFiles:
    """A run's files.

    Parameters
    ----------
    tree : ResultsTree
    summary : RunSummary
        ``run.json``.
    scores : Scores
        Empty without truth.
    history : list of dict
        A row per epoch; empty without training.
    """

    tree: ResultsTree
    summary: RunSummary
    scores: Scores
    history: list[dict[str, float]]

    def key(self, name: str, default: Any = None) -> Any:
        """Value of a key of the configuration."""
        return self.summary.configuration.get(name, default)

    @property
    def ndim(self) -> int:
        """Spatial axes of the images."""
        return 3 if str(self.key("PROBLEM.NDIM", "2D")).upper() == "3D" else 2

    @property
    def has_classes(self) -> bool:
        """Whether each instance has a class."""
        return int(self.key("MODEL.N_CLASSES", 2)) > 2

    @property
    def has_truth(self) -> bool:
        """Whether the run compared with label images."""
        known = [self.key(f"DATA.TEST.{name}", False) for name in ("LOAD_GT", "USE_VAL_AS_TEST")]
        return bool(any(known) and self.key("TEST.EVALUATE", True))

    def stages(self) -> list[Stage]:
        """What there is of instances: for each view as decoded, then post-processed."""
        views: list[View] = ["per_image"]
        if self.key("TEST.FULL_IMG"):
            views.append("full_image")
        if self.key("TEST.ANALIZE_2D_IMGS_AS_3D_STACK"):
            views = ["as_3d_stack"]
        every = [Stage(view, processed) for view in views for processed in (False, True)]
        return [s for s in every if (self._is_on(s) and self.instance_files(s))]

    def words(self, stage: Stage) -> str:
        """What tells a stage from the others of this run; empty where there is only one."""
        stages = self.stages()
        parts = [_VIEWS[stage.view]] if len({s.view for s in stages}) > 1 else []
        if any(s.processed for s in stages if s.view == stage.view):
            parts.append("post-processed" if stage.processed else "as decoded")
        return ", ".join(parts)

    def _is_on(self, stage: Stage) -> bool:
        """False for what only an earlier run in this folder can have left."""
        if not stage.processed or stage.key in self.scores.rows:
            return True
        return any((self.key(f"TEST.POST_PROCESSING.{name}") or 0) > 0 for name in _STEPS)

    def instance_files(self, stage: Stage) -> dict[str, Path]:
        """Label images by image name, those of this run alone."""
        tree = self.tree
        folder = (tree.post_processed if stage.processed else tree.instances)(stage.view)
        # Images that were done in blocks are folders of chunks.
        files = [*sorted(folder.glob("*.zarr")), *sorted(folder.glob("*.tif"))]
        found = {path.stem: path for path in files if path.name[0] != "."}
        test = self.summary.test
        if test is not None and test.instances:
            return {name: found[name] for name in test.instances if name in found}
        return found


def open_run(run: Path, notify: Notify = warnings.warn) -> RunFiles:
    """Read the tables of a finished run.

    Parameters
    ----------
    run : Path
        Its folder.
    notify : callable
        Receives a line for each part of a file that is ignored because it is damaged.

    Raises
    ------
    UserError
        The folder is no run's, or the run has not finished; a table is damaged.
    """
    run = user_path(run, "run")
    if not (run / "run.json").is_file():
        raise _no_run(run)
    summary = read_record(run / "run.json", RunSummary, notify, hint="repeat the run")
    tree = ResultsTree.of_run(run, summary.job.id, summary.job.paths)
    scores = read_scores(tree.metrics_csv) if tree.metrics_csv.exists() else Scores()
    log = _train_log(tree)
    history = read_history(log, notify) if log is not None else []
    files = RunFiles(tree, summary, scores, history)
    # Scores that stand there although nothing was compared are an earlier run's.
    return files if files.has_truth else RunFiles(tree, summary, Scores(), history)


def class_view(view: str, kind: int | str) -> str:
    """Name under which the scores of a class's instances are kept."""
    return f"{view} class {kind}"


def read_scores(path: Path) -> Scores:
    """Read ``metrics.csv``; names of images stay text whatever they look like.

    Raises
    ------
    UserError
        ``records.invalid_row``: a row has other values.
    """
    scores = Scores()
    hint = "test again, for example with TEST.REUSE_PREDICTIONS"
    for row in read_table(path, MetricsRow, hint):
        view = row.view if row.kind is None else class_view(row.view, int(row.kind))
        images = scores.rows.setdefault(view, {})
        images.setdefault(row.image, {})[row.threshold] = dict(row.__pydantic_extra__)
    return scores


def read_history(path: Path, notify: Notify) -> list[dict[str, float]]:
    """Read the rows of a training log; an epoch that was repeated after a resume counts once.

    Damaged rows are left out, with a line to `notify`.
    """
    rows = {row.epoch: row.model_dump() for row in read_rows(path, EpochRow, notify)}
    return [rows[epoch] for epoch in sorted(rows)]


def _train_log(tree: ResultsTree) -> Path | None:
    if tree.train_log.is_file():
        return tree.train_log
    others = [p for p in tree.train_logs.glob("*.csv") if ".previous" not in p.name]
    return others[0] if len(others) == 1 else None


def _no_run(run: Path) -> UserError:
    if not run.is_dir():
        return UserError(
            f"{run}: there is no such folder", "give a run's folder, RESULT_DIR/NAME/results/NAME_1"
        )
    below = sorted(p.parent for depth in range(1, 5) for p in run.glob("*/" * depth + "run.json"))
    if below:
        return UserError(f"{run}: is no run's folder but holds one", f"give {below[0]}")
    return UserError(
        f"{run}: is no folder of a finished run (there is no run.json in it)",
        "give RESULT_DIR/NAME/results/NAME_RUN; `singula run … --resume` finishes a stopped run",
    )


def reference_threshold(thresholds: list[float]) -> float | None:
    """The IoU at which images are ranked: 0.5, or the middle one."""
    if 0.5 in thresholds:
        return 0.5
    return thresholds[len(thresholds) // 2] if thresholds else None


def ranked(scores: Scores, view: str) -> list[str]:
    """Images, the worst first: by F1 at the reference threshold, then by panoptic quality.

    Where no objects were matched: by the mean IoU of the predicted channels.
    """
    threshold = reference_threshold(scores.thresholds(view))

    def worth(image: str) -> tuple[float, float, str]:
        row: Mapping[str, float | None] = scores.row(view, image, threshold)
        if threshold is not None:
            return row.get("f1") or 0.0, row.get("panoptic_quality") or 0.0, image
        ious = [v for k, v in scores.maps(view, image).items() if "_iou_" in k and v is not None]
        return sum(ious) / len(ious) if ious else 0.0, 0.0, image

    return sorted(scores.images(view), key=worth)

"""Read the files of a finished run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from singula.config.load import examine_values
from singula.errors import UserError
from singula.io.record_files import read_record, read_rows, read_table
from singula.io.records import EpochRow, MetricsRow, RunSummary
from singula.io.run_folder import ResultsTree, View
from singula.metrics.summary import MEAN, POOLED
from singula.util.paths import user_path

PROCESSED = "_post_processing"
Notify = Callable[[str], None]
_VIEWS: dict[View, str] = {
    "per_image": "images joined from patches",
    "full_image": "images predicted whole",
    "as_3d_stack": "images as one stack",
}
# Keys of post-processing steps that write a second set of instances
_STEPS = (
    "REPARE_LARGE_BLOBS_SIZE",
    "VORONOI_ON_MASK",
    "CLEAR_BORDER",
    "MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES.ENABLE",
)
Row = dict[str, float | None]


@dataclass(frozen=True)
class Stage:
    """Instances of a view, before or after post-processing.

    Parameters
    ----------
    view : str
        Way in which the images were predicted.
    processed : bool
        True for the instances after post-processing.
    """

    view: View
    processed: bool = False

    @property
    def key(self) -> str:
        """Name in ``metrics.csv``."""
        return self.view + (PROCESSED if self.processed else "")


@dataclass
class Scores:
    """The scores in ``metrics.csv``.

    Parameters
    ----------
    rows : dict
        Scores by view, image and IoU threshold; the threshold is None for scores of channels only.
        The view of the instances of a class has the name that `class_view` returns.
    """

    rows: dict[str, dict[str, dict[float | None, Row]]] = field(default_factory=dict)

    def thresholds(self, view: str) -> list[float]:
        """Return the IoU thresholds of the matching; empty if no objects were matched."""
        images = self.rows.get(view, {}).values()
        return sorted({t for image in images for t in image if t is not None})

    def images(self, view: str) -> list[str]:
        """Return the names of the scored images."""
        return [name for name in self.rows.get(view, {}) if name not in (MEAN, POOLED, "mean")]

    def row(self, view: str, image: str, threshold: float | None) -> Row:
        """Return the scores of an image; the images `MEAN` and `POOLED` are the whole test set."""
        return self.rows.get(view, {}).get(image, {}).get(threshold, {})

    def maps(self, view: str, image: str) -> Row:
        """Return the scores of the predicted channels."""
        rows = self.rows.get(view, {})
        of_image = rows.get(image) or (rows.get("mean") if image == MEAN else None) or {}
        first = next(iter(of_image.values()), {})
        return {k: v for k, v in first.items() if v is not None and re.search("_(iou|mae)_", k)}

    def classes(self, view: str) -> list[int]:
        """Return the classes whose instances were matched separately."""
        prefix = class_view(view, "")
        return sorted(int(v.removeprefix(prefix)) for v in self.rows if v.startswith(prefix))


@dataclass(frozen=True)
class RunFiles:
    """The files of a run.

    Parameters
    ----------
    tree : ResultsTree
        Paths of the files.
    summary : RunSummary
        Content of ``run.json``.
    scores : Scores
        Content of ``metrics.csv``; empty without ground truth.
    history : list of dict
        Rows of the training log, one per epoch; empty without training.
    """

    tree: ResultsTree
    summary: RunSummary
    scores: Scores
    history: list[dict[str, float]]

    def key(self, name: str, default: Any = None) -> Any:
        """Return the value of a key of the configuration."""
        return self.summary.configuration.get(name, default)

    @property
    def ndim(self) -> int:
        """Number of spatial axes of the images."""
        return 3 if str(self.key("PROBLEM.NDIM", "2D")).upper() == "3D" else 2

    @property
    def has_classes(self) -> bool:
        """Return True if each instance has a class."""
        return int(self.key("MODEL.N_CLASSES", 2)) > 2

    @property
    def has_truth(self) -> bool:
        """Return True if the run compared instances with ground truth."""
        switches = [self.key(f"DATA.TEST.{name}", False) for name in ("LOAD_GT", "USE_VAL_AS_TEST")]
        return bool(any(switches) and self.key("TEST.EVALUATE", True))

    def stages(self) -> list[Stage]:
        """Return the stages with stored instances: for each view decoded, then post-processed."""
        views: list[View] = ["per_image"]
        if self.key("TEST.FULL_IMG"):
            views.append("full_image")
        if self.key("TEST.ANALIZE_2D_IMGS_AS_3D_STACK"):
            views = ["as_3d_stack"]
        candidates = [Stage(view, processed) for view in views for processed in (False, True)]
        return [s for s in candidates if self._is_current(s) and self.instance_files(s)]

    def stage_label(self, stage: Stage) -> str:
        """Return a text that distinguishes a stage from the others; empty if it is the only one."""
        stages = self.stages()
        parts = [_VIEWS[stage.view]] if len({s.view for s in stages}) > 1 else []
        if any(s.processed for s in stages if s.view == stage.view):
            parts.append("post-processed" if stage.processed else "as decoded")
        return ", ".join(parts)

    def _is_current(self, stage: Stage) -> bool:
        """Return False if only an earlier run in the same folder can have written the files."""
        if not stage.processed or stage.key in self.scores.rows:
            return True
        return any((self.key(f"TEST.POST_PROCESSING.{name}") or 0) > 0 for name in _STEPS)

    def instance_files(self, stage: Stage) -> dict[str, Path]:
        """Return the label images of the run, by the name of the image."""
        tree = self.tree
        folder = (tree.post_processed if stage.processed else tree.instances)(stage.view)
        # Images that were processed in blocks are Zarr folders.
        paths = [*sorted(folder.glob("*.zarr")), *sorted(folder.glob("*.tif"))]
        files = {path.stem: path for path in paths if path.name[0] != "."}
        test = self.summary.test
        if test is not None and test.instances:
            return {name: files[name] for name in test.instances if name in files}
        return files


def open_run(run: Path, notify: Notify = warnings.warn) -> RunFiles:
    """Read the summary and the tables of a finished run.

    Parameters
    ----------
    run : Path
        Folder of the run.
    notify : callable
        Called with a line for each damaged part of a file that is ignored.

    Raises
    ------
    UserError
        ``report.no_folder``: the folder does not exist; ``report.not_a_run``: it is not the folder
        of a finished run; the codes of `read_scores` and `read_record`.
    """
    run = user_path(run, "run")
    if not (run / "run.json").is_file():
        raise _not_a_run(run)
    summary = read_record(run / "run.json", RunSummary, notify, hint="repeat the run")
    summary = _without_invalid_keys(summary, run / "run.json", notify)
    tree = ResultsTree.of_run(run, summary.job.id, summary.job.paths)
    scores = read_scores(tree.metrics_csv) if tree.metrics_csv.exists() else Scores()
    log = _train_log(tree)
    history = read_history(log, notify) if log is not None else []
    files = RunFiles(tree, summary, scores, history)
    # Without a comparison in this run, the scores were written by an earlier run.
    return files if files.has_truth else RunFiles(tree, summary, Scores(), history)


def _without_invalid_keys(summary: RunSummary, path: Path, notify: Notify) -> RunSummary:
    """Remove keys of the configuration that a run could not have used; their defaults apply.

    Paths stay, because those of another machine can be invalid here.
    """
    keys = summary.configuration
    errors = examine_values(keys)[1]
    invalid = [name for name, value in keys.items() if name in errors or isinstance(value, dict)]
    invalid = [name for name in invalid if not (name.endswith("PATH") and type(keys[name]) is str)]
    for name in invalid:
        notify(f"{path}: configuration.{name} has an invalid value; its default is used")
    valid = {name: value for name, value in keys.items() if name not in invalid}
    return summary.model_copy(update={"configuration": valid}) if invalid else summary


def class_view(view: str, kind: int | str) -> str:
    """Return the name of the view of the instances of a class, in `Scores.rows`."""
    return f"{view} class {kind}"


def read_scores(path: Path) -> Scores:
    """Read ``metrics.csv``; names of images remain text, even if they are numbers.

    Raises
    ------
    UserError
        ``records.invalid_row``: a row has invalid values.
    """
    scores = Scores()
    hint = "test again, for example with TEST.REUSE_PREDICTIONS"
    for row in read_table(path, MetricsRow, hint):
        view = row.view if row.kind is None else class_view(row.view, int(row.kind))
        images = scores.rows.setdefault(view, {})
        images.setdefault(row.image, {})[row.threshold] = dict(row.__pydantic_extra__)
    return scores


def read_history(path: Path, notify: Notify) -> list[dict[str, float]]:
    """Read the rows of a training log, one per epoch.

    If an epoch was repeated after a resume, its last row is returned. Damaged rows are skipped,
    with a call of `notify`.
    """
    rows = {row.epoch: row.model_dump() for row in read_rows(path, EpochRow, notify)}
    return [rows[epoch] for epoch in sorted(rows)]


def _train_log(tree: ResultsTree) -> Path | None:
    if tree.train_log.is_file():
        return tree.train_log
    candidates = [p for p in tree.train_logs.glob("*.csv") if ".previous" not in p.name]
    return candidates[0] if len(candidates) == 1 else None


def _not_a_run(run: Path) -> UserError:
    if not run.is_dir():
        return UserError(
            f"{run}: the folder does not exist",
            "give the folder of a run, RESULT_DIR/NAME/results/NAME_1",
            "report.no_folder",
        )
    below = sorted(p.parent for depth in range(1, 5) for p in run.glob("*/" * depth + "run.json"))
    if below:
        return UserError(
            f"{run}: is not the folder of a run, but contains a run",
            f"give {below[0]}",
            "report.not_a_run",
        )
    return UserError(
        f"{run}: is not the folder of a finished run (it contains no run.json)",
        "give RESULT_DIR/NAME/results/NAME_RUN; `singula run … --resume` finishes a stopped run",
        "report.not_a_run",
    )


def reference_threshold(thresholds: list[float]) -> float | None:
    """Return the IoU threshold by which images are ranked: 0.5, otherwise the middle one."""
    if 0.5 in thresholds:
        return 0.5
    return thresholds[len(thresholds) // 2] if thresholds else None


def rank_images(scores: Scores, view: str) -> list[str]:
    """Return the images of a view, the worst first.

    Images are sorted by F1 at the reference threshold, then by panoptic quality. If no objects were
    matched, they are sorted by the mean IoU of the predicted channels.
    """
    threshold = reference_threshold(scores.thresholds(view))

    def sort_key(image: str) -> tuple[float, float, str]:
        row: Mapping[str, float | None] = scores.row(view, image, threshold)
        if threshold is not None:
            return row.get("f1") or 0.0, row.get("panoptic_quality") or 0.0, image
        ious = [v for k, v in scores.maps(view, image).items() if "_iou_" in k and v is not None]
        return sum(ious) / len(ious) if ious else 0.0, 0.0, image

    return sorted(scores.images(view), key=sort_key)

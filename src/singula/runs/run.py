"""Open a finished run: its configuration, tables, thresholds and files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from singula.config import Config
from singula.config.load import config_from_dict, examine_values
from singula.errors import UserError
from singula.io.read import Image, read_image
from singula.io.record_files import read_record
from singula.io.record_tables import read_rows
from singula.io.records.results import RunSummary, TestSummary
from singula.io.records.tables import EpochRow
from singula.io.run_folder import ResultsTree, View
from singula.runs.instances import LabelSource
from singula.runs.scores import Scores, rank_images, read_scores, reference_threshold
from singula.util.format import counted
from singula.util.locations import location
from singula.util.messages import captured_messages
from singula.util.paths import user_path

_log = logging.getLogger(__name__)

SUMMARY = "run.json"
PROCESSED = "_post_processing"
Status = Literal["finished", "incomplete"]
_VIEWS: dict[View, str] = {
    "per_image": "images joined from patches",
    "full_image": "images predicted whole",
    "as_3d_stack": "images as one stack",
}


@dataclass(frozen=True)
class Stage:
    """Instances of a view, before or after post-processing.

    Parameters
    ----------
    view : str
        How the images were predicted: in patches, whole, or as one stack.
    processed : bool
        True for the instances after post-processing.
    """

    view: View
    processed: bool = False

    @property
    def key(self) -> str:
        """Name in ``metrics.csv``."""
        return self.view + (PROCESSED if self.processed else "")


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Parameters
    ----------
    tree : ResultsTree
        Paths of the files.
    summary : RunSummary
        Content of ``run.json``.
    config : Config
        Configuration of the run; missing and invalid keys have their defaults.
    scores : Scores
        Content of ``metrics.csv``; empty without ground truth.
    history : list of dict
        Rows of the training log, one per epoch; empty without training.
    """

    tree: ResultsTree
    summary: RunSummary
    config: Config
    scores: Scores
    history: list[dict[str, float]]

    @property
    def test(self) -> TestSummary:
        """Images of the test with their files, instances and thresholds; empty without a test."""
        return self.summary.test or TestSummary()

    @property
    def ndim(self) -> int:
        """Number of spatial axes of the images."""
        return self.config.ndim

    @property
    def has_classes(self) -> bool:
        """True if each instance has a class."""
        return self.config.MODEL.N_CLASSES > 2

    @property
    def has_truth(self) -> bool:
        """True if the run compared instances with ground truth."""
        test = self.config.DATA.TEST
        return (test.LOAD_GT or test.USE_VAL_AS_TEST) and self.config.TEST.EVALUATE

    @cached_property
    def stages(self) -> list[Stage]:
        """Stages with stored instances: for each view decoded, then post-processed."""
        views: list[View] = ["per_image"]
        if self.config.TEST.FULL_IMG:
            views.append("full_image")
        if self.config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK:
            views = ["as_3d_stack"]
        candidates = [Stage(view, processed) for view in views for processed in (False, True)]
        return [s for s in candidates if self._is_current(s) and self.instance_files(s)]

    @property
    def main_stages(self) -> list[Stage]:
        """Stages of the first view; the last one has the instances after all steps."""
        return [stage for stage in self.stages if stage.view == self.stages[0].view]

    @property
    def final_stage(self) -> Stage:
        """Stage of the results: of the first view, after all steps.

        Its instances are shown first, corrected, compared and exported.

        Raises
        ------
        UserError
            ``export.no_instances``: the run has no instances.
        """
        if not self.stages:
            raise UserError(
                f"{self.tree.run}: contains no instances",
                "run the test first (TEST.ENABLE: True)",
                "export.no_instances",
            )
        return self.main_stages[-1]

    def stage_label(self, stage: Stage) -> str:
        """Return a text that distinguishes a stage from the others; empty if it is the only one."""
        parts = [_VIEWS[stage.view]] if len({s.view for s in self.stages}) > 1 else []
        if any(s.processed for s in self.stages if s.view == stage.view):
            parts.append("post-processed" if stage.processed else "as decoded")
        return ", ".join(parts)

    def _is_current(self, stage: Stage) -> bool:
        """Return False if only an earlier run in the same folder can have written the files."""
        if not stage.processed or stage.key in self.scores.rows:
            return True
        # Steps that write a second set of instances
        steps = self.config.TEST.POST_PROCESSING
        removal = steps.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES.ENABLE
        switches = (steps.VORONOI_ON_MASK, steps.CLEAR_BORDER, removal)
        return any(switches) or steps.REPARE_LARGE_BLOBS_SIZE > 0

    def instance_files(self, stage: Stage) -> dict[str, Path]:
        """Return the label images of a stage, by the name of the image."""
        tree = self.tree
        folder = (tree.post_processed if stage.processed else tree.instances)(stage.view)
        # Images that were processed in blocks are Zarr folders.
        paths = [*sorted(folder.glob("*.zarr")), *sorted(folder.glob("*.tif"))]
        files = {path.stem: path for path in paths if path.name[0] != "."}
        names = self.test.instances or files
        return {name: files[name] for name in names if name in files}

    def ndim_of(self, stage: Stage) -> int:
        """Return the number of spatial axes of the instances of a stage."""
        return 3 if stage.view == "as_3d_stack" else self.ndim

    def label_images(self, stage: Stage) -> Iterator[LabelSource]:
        """Yield the label images of a stage, with classes and pixel size as configured."""
        ndim, spacing = self.ndim_of(stage), self.config.DATA.TEST.spacing
        for name, path in self.instance_files(stage).items():
            image, _ = self.test.files.get(name, (None, None))
            yield LabelSource(
                path,
                name,
                ndim,
                self.has_classes,
                spacing if spacing is not None and len(spacing) == ndim else None,
                file_name=location(image or "").name,
                spacing_from="DATA.TEST.RESOLUTION",
            )

    def label_image(self, name: str, stage: Stage) -> LabelSource | None:
        """Return the label image of a stage with a name; None if the file is missing."""
        return next((image for image in self.label_images(stage) if image.name == name), None)

    def image_names(self, stage: Stage) -> list[str]:
        """Return the images of a stage, the worst score first, then images without scores."""
        files = self.instance_files(stage)
        scored = [name for name in rank_images(self.scores, stage.key) if name in files]
        return [*scored, *(name for name in files if name not in set(scored))]

    def threshold(self, stage: Stage) -> float | None:
        """Return the IoU threshold by which the images of a stage are ranked."""
        return reference_threshold(self.scores.thresholds(stage.key))

    def maps_file(self, name: str, stage: Stage) -> Path:
        """Return the file of the predicted maps of an image, which may not exist."""
        return self.tree.predictions(stage.view) / f"{name}.tif"

    @property
    def map_names(self) -> tuple[str, ...]:
        """Names of the predicted maps: the channels, and ``class`` if each instance has a class."""
        channels = (code for group in self.config.channel_groups for code in group)
        return (*channels, *(("class",) if self.has_classes else ()))

    def read_maps(self, name: str, stage: Stage) -> Image:
        """Read the predicted maps of an image; the last axis has the order of `map_names`.

        Parameters
        ----------
        name : str
            Name of the image.
        stage : Stage
            Stage of the instances.

        Raises
        ------
        UserError
            ``runs.no_maps``: the run did not store the maps.
            The file does not match the configuration.
        """
        path = self.maps_file(name, stage)
        if not path.is_file():
            raise UserError(
                f"{name}: the predicted channels are missing ({path})",
                "test again, for example with --set TRAIN.ENABLE=False",
                "runs.no_maps",
            )
        return read_image(path, self.ndim_of(stage), len(self.map_names))

    def valid_config(self) -> Config:
        """Return the configuration if it is valid, to predict or decode with it.

        Raises
        ------
        UserError
            ``runs.no_configuration``: ``run.json`` contains no configuration; ``config.invalid``.
        """
        source = str(self.tree.run_json)
        if not self.summary.configuration:
            raise UserError(
                f"{source}: the configuration is missing", "repeat the run", "runs.no_configuration"
            )
        return config_from_dict(self.summary.configuration, source=source)


def is_finished(folder: Path) -> bool:
    """Return True if a folder has the summary that a run writes at its end."""
    return (folder / SUMMARY).is_file()


def open_run(run: Path) -> Run:
    """Read the summary and the tables of a finished run.

    Log a warning for each damaged part of a file that is ignored.

    Parameters
    ----------
    run : Path
        Folder of the run.

    Raises
    ------
    UserError
        ``runs.not_a_run``: it is not the folder of a finished run; the codes of `read_scores` and
        `read_record`.
    """
    run = user_path(run, "run")
    if not is_finished(run):
        raise not_a_run(run)
    summary = read_summary(run)
    summary, config = _without_invalid_keys(summary, run / SUMMARY)
    tree = ResultsTree.of_run(run, summary.job.id, summary.job.paths)
    history = read_history(tree)
    opened = Run(tree, summary, config, Scores(), history)
    scores = read_scores(tree.metrics_csv) if tree.metrics_csv.exists() else Scores()
    # Without a comparison in this run, the scores were written by an earlier run.
    return Run(tree, summary, config, scores, history) if opened.has_truth else opened


def read_summary(run: Path) -> RunSummary:
    """Read ``run.json``.

    Parameters
    ----------
    run : Path
        Folder of the run.

    Raises
    ------
    UserError
        The codes of `read_record`.
    """
    return read_record(run / SUMMARY, RunSummary, hint="repeat the run")


def open_tree(run: Path) -> ResultsTree:
    """Return the paths of a run, which may be unfinished or damaged."""
    with captured_messages(), suppress(UserError):
        job = read_summary(run).job
        return ResultsTree.of_run(run, job.id, job.paths)
    return ResultsTree.of_run(run)


def _without_invalid_keys(summary: RunSummary, path: Path) -> tuple[RunSummary, Config]:
    """Replace invalid keys of the configuration by their defaults, with a warning.

    Paths are kept, because paths of another machine can be invalid on this one.
    """
    keys: dict[str, Any] = summary.configuration
    config, errors, _ = examine_values(keys)
    invalid = [name for name, value in keys.items() if name in errors or isinstance(value, dict)]
    invalid = [name for name in invalid if not (name.endswith("PATH") and type(keys[name]) is str)]
    if not invalid:
        return summary, config
    for name in invalid:
        _log.warning(f"{path}: configuration.{name} has an invalid value; its default is used")
    valid = {name: value for name, value in keys.items() if name not in invalid}
    return summary.model_copy(update={"configuration": valid}), examine_values(valid)[0]


def read_history(tree: ResultsTree) -> list[dict[str, float]]:
    """Read the rows of the training log, one per epoch.

    If an epoch was repeated after a resume, its last row is returned. Damaged rows are skipped,
    with a warning.

    Parameters
    ----------
    tree : ResultsTree
        Paths of the run, which may be unfinished.
    """
    logs = [tree.train_log]
    if not tree.train_log.is_file():
        logs = [path for path in tree.train_logs.glob("*.csv") if ".previous" not in path.name]
    if len(logs) != 1:
        return []
    rows = {row.epoch: row.model_dump() for row in read_rows(logs[0], EpochRow)}
    return [rows[epoch] for epoch in sorted(rows)]


def not_a_run(path: Path, alternative: str = "") -> UserError:
    """Return the error for a path that is not the folder of a finished run.

    Parameters
    ----------
    path : Path
        The given path.
    alternative : str
        Other things that the command accepts, such as ``a checkpoint``.
    """
    runs = sorted(p.parent for depth in range(1, 5) for p in path.glob("*/" * depth + SUMMARY))
    hint = f"give {runs[0]}" if runs else "give RESULT_DIR/NAME/results/NAME_RUN"
    if len(runs) > 1:
        hint = f"give one of them, such as {runs[0]}"
    if not path.exists():
        reason = "the folder does not exist"
    elif runs:
        reason = f"is not the folder of a run, but contains {counted(len(runs), 'run')}"
    else:
        reason = f"is not the folder of a finished run (it contains no {SUMMARY})"
        hint += "; `singula run … --resume` finishes a stopped run"
    hint += f", or give {alternative}" if alternative else ""
    return UserError(f"{path}: {reason}", hint, "runs.not_a_run")

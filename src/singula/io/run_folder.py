"""Paths of all files and folders of the results."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Literal, overload

from singula.errors import UserError
from singula.io.atomic import make_folder, remove_leftovers, write_error
from singula.io.run_lock import lock_file
from singula.io.written import protect
from singula.util.format import show
from singula.util.paths import user_name

View = Literal["per_image", "full_image", "as_3d_stack"]
RETEST_FILE = "applied_thresholds.yaml"
"""Configuration that tests a run again with other thresholds, in ``tuning/``."""
_ALWAYS_WRITTEN = ("PATHS.RESULT_DIR.PATH", "PATHS.CHECKPOINT")
_MAX_RUN_ID = 999_999_999
WatershedPart = Literal["seed_map", "foreground", "semantic", "watershed"]


class _Place:
    """Descriptor of a path: its default, and the key with which a user can change it.

    Parameters
    ----------
    default : str
        Format string of the default path; ``{0}`` is the tree.
    key : str, optional
        Configuration key of the path.
    lock : {"folder", "job", None}
        Lock that a writer needs if the folder is outside of the run folder: of the whole folder, or
        of the files whose names begin with NAME_RUN. Files without a lock are equal in all runs.
    """

    def __init__(
        self, default: str, key: str | None = None, lock: Literal["folder", "job"] | None = None
    ) -> None:
        self.default = default
        self.key = key
        self.lock = lock

    @overload
    def __get__(self, tree: None, owner: type[ResultsTree]) -> _Place: ...
    @overload
    def __get__(self, tree: ResultsTree, owner: type[ResultsTree]) -> Path: ...
    def __get__(self, tree: ResultsTree | None, owner: type[ResultsTree]) -> _Place | Path:
        if tree is None:
            return self
        override = tree.overrides.get(self.key) if self.key else None
        if override:
            return Path(tree.fill(override))
        return Path(self.default.format(tree))


def _result_folder(name: str) -> _Place:
    return _Place(f"{{0.run}}/{name}", f"PATHS.RESULT_DIR.{name.upper()}", "folder")


class ResultsTree:
    """Paths of the results of a run.

    The paths are attributes; files and folders are created when they are written. A key that the
    user sets changes its path, and the default paths inside it.

    Parameters
    ----------
    job_dir : Path
        RESULT_DIR/NAME.
    name : str
        NAME, the prefix of checkpoints and charts.
    run_id : int
        Number of the run.
    overrides : mapping of str to str
        Values of the keys PATHS.* and LOG.* that the user set. `JOB_DIR` and `JOB_ID` (NAME_RUN)
        in them are replaced here; an empty value means the default.

    Raises
    ------
    UserError
        ``paths.name``: the name is empty or contains a path separator; ``results.run_id``: the
        number is negative or too large.
    """

    run = _Place("{0.job_dir}/results/{0.job_id}", "PATHS.RESULT_DIR.PATH", "folder")
    # predictions and instances
    per_image = _result_folder("per_image")
    per_image_instances = _result_folder("per_image_instances")
    per_image_post_processing = _result_folder("per_image_post_processing")
    full_image = _result_folder("full_image")
    full_image_instances = _result_folder("full_image_instances")
    full_image_post_processing = _result_folder("full_image_post_processing")
    as_3d_stack = _result_folder("as_3d_stack")
    as_3d_stack_post_processing = _result_folder("as_3d_stack_post_processing")
    instance_associations = _Place(
        "{0.run}/instance_associations", "PATHS.RESULT_DIR.INST_ASSOC_POINTS", "folder"
    )
    watershed_dir = _Place("{0.run}/watershed", "PATHS.WATERSHED_DIR", "folder")
    # checks
    aug = _Place("{0.run}/aug", "PATHS.DA_SAMPLES", "folder")
    gen_check = _Place("{0.run}/gen_check", "PATHS.GEN_CHECKS", "folder")
    gen_mask_check = _Place("{0.run}/gen_mask_check", "PATHS.GEN_MASK_CHECKS", "folder")
    # channels that cannot be written next to the images
    channels = _Place("{0.run}/channels")
    # training
    checkpoints = _Place("{0.job_dir}/checkpoints", "PATHS.CHECKPOINT")
    checkpoint_best = _Place("{0.checkpoints}/{0.job_id}-checkpoint-best.pth")
    checkpoint_last = _Place("{0.checkpoints}/{0.job_id}-checkpoint-last.pth")
    checkpoint_to_load = _Place("{0.checkpoint_best}", "PATHS.CHECKPOINT_FILE")
    mean_file = _Place("{0.checkpoints}/normalization_mean_value.npy", "PATHS.MEAN_INFO_FILE")
    std_file = _Place("{0.checkpoints}/normalization_std_value.npy", "PATHS.STD_INFO_FILE")
    prob_map = _Place("{0.job_dir}/prob_map", "PATHS.PROB_MAP_DIR")
    train_logs = _Place("{0.run}/train_logs", "LOG.LOG_DIR", "job")
    train_log = _Place("{0.train_logs}/{0.log_prefix}.csv")
    tensorboard = _Place("{0.run}/tensorboard", "LOG.TENSORBOARD_LOG_DIR", "job")
    charts = _Place("{0.run}/charts", "PATHS.CHARTS", "job")
    loss_chart = _Place("{0.charts}/{0.job_id}_loss.png")
    model_plot = _Place("{0.charts}/model_plot_{0.job_id}.png")
    # the run as a whole
    overlays = _Place("{0.run}/overlays")
    tuning = _Place("{0.run}/tuning")
    blocks = _Place("{0.run}/chunks")
    exports = _Place("{0.run}/exports")
    config_files = _Place("{0.job_dir}/config_files")
    metrics_csv = _Place("{0.run}/metrics.csv")
    run_json = _Place("{0.run}/run.json")
    progress = _Place("{0.run}/progress.jsonl")
    preview = _Place("{0.run}/preview.png")
    report_html = _Place("{0.run}/report.html")
    log_file = _Place("{0.run}/{0.log_prefix}.log")

    def __init__(
        self,
        job_dir: Path | str,
        name: str,
        run_id: int,
        overrides: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if not 0 <= run_id <= _MAX_RUN_ID:
            raise UserError(
                f"--run_id: got {show(run_id)}, expected 0 to {_MAX_RUN_ID}",
                "give a number such as 1",
                "results.run_id",
            )
        self.job_dir = Path(job_dir)
        self.name = user_name(name, "--name")
        self.run_id = run_id
        self.job_id = f"{self.name}_{run_id}"
        self.overrides = dict(overrides)
        prefix = self.overrides.get("LOG.LOG_FILE_PREFIX") or ""
        self.log_prefix = (
            user_name(self.fill(prefix), "LOG.LOG_FILE_PREFIX") if prefix else self.job_id
        )

    @classmethod
    def of_run(
        cls,
        run: Path,
        job_id: str | None = None,
        overrides: Mapping[str, str] = MappingProxyType({}),
    ) -> ResultsTree:
        """Return the tree of a finished run from its folder, which may have been moved.

        Parameters
        ----------
        run : Path
            RESULT_DIR/NAME/results/NAME_RUN.
        job_id : str, optional
            NAME_RUN; the folder's name by default.
        overrides : mapping of str to str
            As for the class; PATHS.RESULT_DIR.PATH is replaced by `run`.
        """
        run = Path(os.path.abspath(run))
        match = re.fullmatch(r"(.+)_([0-9]{1,9})", job_id or run.name)
        name, number = (match[1], int(match[2])) if match else (run.name or "run", 1)
        paths = {**overrides, "PATHS.RESULT_DIR.PATH": str(run)}
        return cls(run.parent.parent, name, number, paths)

    def locations(self) -> list[Path]:
        """Return all folders and files that a run writes, and the checkpoint that it loads."""
        places = [place for place in vars(ResultsTree).values() if isinstance(place, _Place)]
        return [place.__get__(self, ResultsTree) for place in places]

    @property
    def checkpoint_lock(self) -> Path:
        """Lock file of the checkpoints of this run; other runs of the job may write there too."""
        return lock_file(self.checkpoints, self.job_id)

    def lock_files(self, *, checkpoints: bool) -> list[Path]:
        """Return the lock files that `singula run` must hold to write this run.

        Parameters
        ----------
        checkpoints : bool
            Include the lock of the checkpoints.
        """
        run = Path(os.path.realpath(self.run))
        files = [self.checkpoint_lock] if checkpoints else []
        for place in vars(ResultsTree).values():
            if isinstance(place, _Place) and place.lock is not None:
                folder = Path(os.path.realpath(place.__get__(self, ResultsTree)))
                if run not in folder.parents:
                    files.append(lock_file(folder, self.job_id if place.lock == "job" else ""))
        return files

    def fill(self, text: str) -> str:
        """Replace `JOB_DIR` and `JOB_ID` by the job folder and NAME_RUN."""
        values = {"JOB_DIR": str(self.job_dir), "JOB_ID": self.job_id}
        return re.sub(r"\b(JOB_DIR|JOB_ID)\b", lambda match: values[match[0]], text)

    def prepare(self) -> None:
        """Create the run folder, and check that it and all changed paths can be written.

        Temporary files of killed runs of this job are deleted.

        Raises
        ------
        StorageError
            A file has the name of a folder, or the user has no right to write.
        """
        make_folder(self.run)
        remove_leftovers(self.job_dir)
        for folder in self._separate_folders():
            _check_writable(folder)

    def _separate_folders(self) -> list[Path]:
        """Return the run folder, the folder of checkpoints, and all folders that the user set."""
        return [
            path.parent if path.suffix == ".npy" else path
            for place in vars(ResultsTree).values()
            if isinstance(place, _Place)
            and place.key != "PATHS.CHECKPOINT_FILE"
            and (place.key in self.overrides or place.key in _ALWAYS_WRITTEN)
            for path in [place.__get__(self, ResultsTree)]
        ]

    def protect(self) -> AbstractContextManager[None]:
        """Move files of the user before results replace them, as `singula.io.written.protect`."""
        folders = [*self._separate_folders(), self.config_files, self.prob_map]
        return protect(folders, exempt=[self.blocks])

    def config_file(self, original: Path | str) -> Path:
        """Return the path of the copy of a configuration file."""
        return self.config_files / Path(original).name

    def only_config_file(self) -> Path | None:
        """Return the copy of the configuration file; None if there are none or several."""
        copies = [p for p in self.config_files.glob("*.y*ml") if p.name != RETEST_FILE]
        return copies[0] if len(copies) == 1 else None

    def chart(self, metric: str) -> Path:
        """Return the path of the chart of a metric over the epochs."""
        return self.charts / f"{self.job_id}_{metric}.png"

    def watershed(self, image: str, part: WatershedPart | None = None) -> Path:
        """Return the folder of the watershed inputs of an image, or a file in it."""
        folder = self.watershed_dir / image
        return folder / f"{part}.tif" if part else folder

    def predictions(self, view: View = "per_image") -> Path:
        """Return the folder of the maps that were joined from patches, or of whole images."""
        return self.per_image if view == "per_image" else self.full_image

    def instances(self, view: View = "per_image") -> Path:
        """Return the folder of the instances."""
        if view == "as_3d_stack":
            return self.as_3d_stack
        return self.per_image_instances if view == "per_image" else self.full_image_instances

    def post_processed(self, view: View = "per_image") -> Path:
        """Return the folder of the instances after post-processing."""
        folder: Path = getattr(self, f"{view}_post_processing")
        return folder

    def overlay(self, image: str, view: View = "per_image") -> Path:
        """Return the path of the picture of an image with the outlines of its instances."""
        return self.overlays / (f"{image}.png" if view == "per_image" else f"{image}_{view}.png")

    def full_stats(self, image: str, view: View = "per_image") -> Path:
        """Return the path of the table of measurements of all instances."""
        return self.instances(view) / f"{image}_full_stats.csv"

    def filtered_stats(self, image: str, view: View = "per_image") -> Path:
        """Return the path of the table of measurements of the instances that remain."""
        return self.post_processed(view) / f"{image}_filtered_stats.csv"

    def association_csv(self, image: str, threshold: float) -> Path:
        """Return the path of the table of labels and their matches at an IoU threshold."""
        return self._association(image, threshold, "_gt_assoc.csv")

    def false_positives_csv(self, image: str, threshold: float) -> Path:
        """Return the path of the table of false positives at an IoU threshold."""
        return self._association(image, threshold, "_fp.csv")

    def association_image(self, image: str, threshold: float) -> Path:
        """Return the path of the picture of matches (green), misses (red) and errors (blue)."""
        return self._association(image, threshold, ".tif")

    def _association(self, image: str, threshold: float, end: str) -> Path:
        return self.instance_associations / f"{image}_th_{float(threshold)}{end}"


def _check_writable(folder: Path) -> None:
    """Raise an error if a folder, or its nearest existing parent, cannot be written."""
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise write_error(folder, error) from error

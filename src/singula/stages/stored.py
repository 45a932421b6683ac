"""Predicted maps in the results folder, with what they were predicted from."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.errors import UserError
from singula.io.atomic import write_error
from singula.io.image import Image
from singula.io.read import map_image, read_image
from singula.io.record_files import append_line, read_lines
from singula.io.records import PatchScores, PredictionLine
from singula.io.results import ResultsTree, View
from singula.io.write import write_maps
from singula.io.written import foreign_files, set_aside
from singula.stages import settings as from_config
from singula.stages.progress import file_stamp
from singula.words import counted

Maps = dict[str, npt.NDArray[Any]]
State = Literal["missing", "stale", "unknown", "current"]
# Keys that change the maps of an image, beside its file and the weights
_RELEVANT = (
    "PROBLEM.NDIM", "PROBLEM.INSTANCE_SEG.DATA_CHANNELS", "DATA.PATCH_SIZE", "DATA.NORMALIZATION.",
    "DATA.PREPROCESS.", "DATA.FORCE_RGB", "DATA.TEST.OVERLAP", "DATA.TEST.PADDING",
    "DATA.TEST.MEDIAN_PADDING", "TEST.AUGMENTATION", "TEST.REDUCE_MEMORY", "TEST.PRECISION",
    "TEST.TILE_SIZE",
)  # fmt: skip


class StoredMaps:
    """The maps of a run's test images.

    Each is recorded with hashes of the settings and the weights that made it and a stamp of the
    image's file, in a file of lines that is only ever appended to.

    Parameters
    ----------
    config : Config
    tree : ResultsTree
    weights : str, optional
        `Checkpoint.fingerprint` of the weights in use; without it those of stored maps are not
        compared.
    folder : Path, optional
        Where the maps are, with their records, if not in the run's folders of predictions.
    notify : callable
        Receives a line if records are damaged; their maps count as unknown.
    """

    def __init__(
        self,
        config: Config,
        tree: ResultsTree,
        weights: str | None,
        folder: Path | None = None,
        notify: Callable[[str], None] = warnings.warn,
    ) -> None:
        self.config = config
        self.tree = tree
        self.settings = maps_fingerprint(config)
        self.weights = weights
        self.folder = folder
        lines = read_lines(self._manifest, PredictionLine, notify)
        self.records = {line.file: line for line in lines}

    @property
    def _manifest(self) -> Path:
        return (self.folder or self.tree.run) / "predictions.jsonl"

    def path(self, name: str, view: View) -> Path:
        """File of an image's maps."""
        return (self.folder or self.tree.predictions(view)) / f"{name}.tif"

    def state(self, name: str, view: View, image: Path) -> State:
        """Whether stored maps are those of this image, these settings and these weights.

        Maps without a record, which another program or an earlier version left, are ``unknown``.
        """
        path = self.path(name, view)
        if not path.is_file():
            return "missing"
        record = self.records.get(f"{view}/{name}")
        if record is None or record.stamp != file_stamp(path):
            return "unknown"
        same = record.settings == self.settings and record.image == file_stamp(image)
        if self.weights is not None:
            same = same and record.weights == self.weights
        return "current" if same else "stale"

    def write(self, name: str, view: View, maps: Maps, image: Image, source: Path) -> None:
        """Store maps, and record what they were made from."""
        path = self.path(name, view)
        write_maps(path, list(maps.values()), image.spacing, image.unit)
        self._add(
            PredictionLine(
                file=f"{view}/{name}",
                stamp=file_stamp(path),
                image=file_stamp(source),
                settings=self.settings,
                weights=self.weights,
            )
        )

    def patch_scores(self, name: str, view: View, truth: str) -> dict[str, float] | None:
        """Return the stored scores of an image's patches, or None if not for this ground truth.

        Parameters
        ----------
        truth : str
            Stamp of the ground truth, as from `truth_stamp`.
        """
        record = self.records.get(f"{view}/{name}")
        if record is None or record.patches is None or record.patches.truth != truth:
            return None
        return dict(record.patches.scores)

    def add_patch_scores(
        self, name: str, view: View, truth: str, scores: Mapping[str, float]
    ) -> None:
        """Record the scores of an image's patches with its stored maps."""
        record = self.records[f"{view}/{name}"]
        patches = PatchScores(truth=truth, scores=dict(scores))
        self._add(record.model_copy(update={"patches": patches}))

    def _add(self, record: PredictionLine) -> None:
        self.records[record.file] = record
        append_line(self._manifest, record)

    def read(self, name: str, view: View, image: Image) -> Maps:
        """Stored maps by name.

        Raises
        ------
        UserError
            When their shape is not the image's.
        """
        path = self.path(name, view)
        names = from_config.channel_names(self.config)
        if from_config.n_classes(self.config):
            names = (*names, "class")
        stored = map_image(path, self.config.ndim, len(names))
        if stored is None:  # compressed by another program
            stored = read_image(path, self.config.ndim, len(names)).array
        if stored.shape[:-1] != image.spatial_shape:
            raise UserError(
                f"{path}: the stored prediction has shape {stored.shape[:-1]}, "
                f"the image {image.spatial_shape}",
                "set TEST.REUSE_PREDICTIONS: False to predict again",
            )
        maps: Maps = {}
        outputs = from_config.outputs(self.config)
        half = from_config.in_half(self.config, image.spatial_shape)
        for i, channel in enumerate(names):
            kind: type[np.generic] = np.float32
            if channel == "class":
                kind = np.uint16
            elif half and outputs[i].activation == "sigmoid":
                kind = np.float16
            maps[channel] = stored[..., i].astype(kind, order="C")
        return maps


def maps_fingerprint(config: Config) -> str:
    """Hash of the keys that change the maps of an image."""
    relevant = {k: v for k, v in config.dotted().items() if k.startswith(_RELEVANT)}
    return _hash(json.dumps(relevant, default=str).encode())


def _hash(contents: bytes) -> str:
    return hashlib.blake2b(contents, digest_size=16).hexdigest()


def set_results_aside(
    tree: ResultsTree, notify: Callable[[str], None], *, keep_maps: bool
) -> Path | None:
    """Move the results of an earlier test of this run, so that they do not mix with new ones.

    Folders that the user moved out of the run's own folder stay. Results that were moved before are
    deleted, unless the user has changed some of them.

    Parameters
    ----------
    tree : ResultsTree
    notify : callable
        Receives a line about the moved results.
    keep_maps : bool
        Do not move the predicted maps.

    Returns
    -------
    Path, optional
        Folder of the moved results: ``previous`` in the run's folder, or ``previous_2`` and so on
        where that was kept.
    """
    own = [
        tree.per_image_instances, tree.per_image_post_processing, tree.full_image_instances,
        tree.full_image_post_processing, tree.as_3d_stack, tree.as_3d_stack_post_processing,
        tree.instance_associations, tree.watershed_dir, tree.overlays, tree.metrics_csv,
        tree.progress, tree.exports,
    ]  # fmt: skip
    if not keep_maps:
        own += [tree.per_image, tree.full_image]
    there = [path for path in own if path.exists() and path.parent == tree.run]
    if not there:
        return None
    try:
        with tree.protect():
            changed = sum(1 for path in there for _ in foreign_files(path))
            target = set_aside(tree.run, there)
    except OSError as error:
        raise write_error(tree.run, error) from error
    notify(f"results of an earlier test of this run are now in {target}")
    if changed:
        notify(
            f"  {counted(changed, 'file')} of them changed since Singula wrote them: they will not "
            "be deleted"
        )
    return target

"""Storage of predicted maps in the results folder, with records of their origin."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping, Sequence
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
from singula.io.records.results import PatchScores, PredictionLine
from singula.io.run_folder import ResultsTree, View
from singula.io.write import write_maps
from singula.io.written import foreign_files, set_aside
from singula.pipeline import from_config
from singula.pipeline.progress import file_stamp
from singula.representations.channel_table import CHANNELS
from singula.util.format import counted

_log = logging.getLogger(__name__)
Maps = dict[str, npt.NDArray[Any]]
State = Literal["missing", "stale", "unknown", "current"]
# Keys that affect the maps of an image, in addition to its file and the weights
_RELEVANT = (
    "PROBLEM.NDIM", "PROBLEM.INSTANCE_SEG.DATA_CHANNELS", "DATA.PATCH_SIZE", "DATA.NORMALIZATION.",
    "DATA.PREPROCESS.", "DATA.FORCE_RGB", "DATA.TEST.OVERLAP", "DATA.TEST.PADDING",
    "DATA.TEST.MEDIAN_PADDING", "TEST.AUGMENTATION", "TEST.REDUCE_MEMORY", "TEST.PRECISION",
    "TEST.TILE_SIZE",
)  # fmt: skip


class StoredMaps:
    """Stored maps of the test images of a run.

    The record of each map has hashes of the settings and the weights, and a stamp of the file of
    the image. Records are only appended to their file.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.
    weights : str, optional
        `Checkpoint.fingerprint` of the weights. None: do not compare the weights of stored maps.
    folder : Path, optional
        Folder of the maps and their records. Default: the folders of predictions of the run.
    """

    def __init__(
        self,
        config: Config,
        tree: ResultsTree,
        weights: str | None,
        folder: Path | None = None,
    ) -> None:
        self.config = config
        self.tree = tree
        self.settings = maps_fingerprint(config)
        self.weights = weights
        self.folder = folder
        lines = read_lines(self._manifest, PredictionLine)
        self.records = {line.file: line for line in lines}
        self._lock = threading.Lock()  # several threads write maps

    @property
    def _manifest(self) -> Path:
        return (self.folder or self.tree.run) / "predictions.jsonl"

    def path(self, name: str, view: View) -> Path:
        """Return the file of the maps of an image."""
        return (self.folder or self.tree.predictions(view)) / f"{name}.tif"

    def state(self, name: str, view: View, image: Path) -> State:
        """Return the state of the stored maps of an image.

        Parameters
        ----------
        name : str
            Name of the image.
        view : View
            Kind of prediction.
        image : Path
            File of the image.

        Returns
        -------
        str
            ``missing``; ``current`` if the maps were predicted from this image with these settings
            and weights; ``stale`` if not; ``unknown`` if the maps have no record, such as maps of
            another program.
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
        """Write maps and the record of their origin.

        Parameters
        ----------
        name : str
            Name of the image.
        view : View
            Kind of prediction.
        maps : dict of str to ndarray
            Maps by name.
        image : Image
            Image with the voxel size.
        source : Path
            File of the image.
        """
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
        """Return the stored scores of the patches; None if there are none for this ground truth.

        Parameters
        ----------
        name : str
            Name of the image.
        view : View
            Kind of prediction.
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
        """Add the scores of the patches of an image to the record of its stored maps."""
        record = self.records[f"{view}/{name}"]
        patches = PatchScores(truth=truth, scores=dict(scores))
        self._add(record.model_copy(update={"patches": patches}))

    def _add(self, record: PredictionLine) -> None:
        with self._lock:
            self.records[record.file] = record
            append_line(self._manifest, record)

    def read(self, name: str, view: View, image: Image) -> Maps:
        """Read the stored maps of an image, by name.

        Raises
        ------
        UserError
            ``maps.shape``: the maps do not have the shape of the image.
        """
        path = self.path(name, view)
        types = map_dtypes(self.config, image.spatial_shape)
        stored = map_image(path, self.config.ndim, len(types))
        if stored is None:  # compressed by another program
            stored = read_image(path, self.config.ndim, len(types)).array
        if stored.shape[:-1] != image.spatial_shape:
            raise UserError(
                f"{path}: got a stored prediction of shape {stored.shape[:-1]}, expected "
                f"{image.spatial_shape}, the shape of the image",
                "set TEST.REUSE_PREDICTIONS: False to predict again",
                "maps.shape",
            )
        return {
            name: stored[..., index].astype(dtype, order="C")
            for index, (name, dtype) in enumerate(types.items())
        }


def map_dtypes(config: Config, shape: Sequence[int]) -> dict[str, type[np.generic]]:
    """Return the data type of each predicted map in memory, in the order of the stored channels.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    shape : sequence of int
        Spatial shape of the image.
    """
    uses_half = from_config.in_half(config, shape)
    types: dict[str, type[np.generic]] = {}
    for name in from_config.channel_names(config):
        is_half = uses_half and CHANNELS[name].activation == "sigmoid"
        types[name] = np.float16 if is_half else np.float32
    if from_config.n_classes(config):
        types["class"] = np.uint16
    return types


def maps_fingerprint(config: Config) -> str:
    """Return a hash of the keys that affect the maps of an image."""
    relevant = {k: v for k, v in config.dotted().items() if k.startswith(_RELEVANT)}
    return _hash(json.dumps(relevant, default=str).encode())


def _hash(contents: bytes) -> str:
    return hashlib.blake2b(contents, digest_size=16).hexdigest()


def set_results_aside(tree: ResultsTree, *, keep_maps: bool) -> Path | None:
    """Move the results of an earlier test of this run to the folder ``previous``.

    Configured folders outside of the run's folder are not moved. Results that were moved before are
    deleted, unless the user changed one of their files.

    Parameters
    ----------
    tree : ResultsTree
        Results folder.
    keep_maps : bool
        Do not move the predicted maps.

    Returns
    -------
    Path, optional
        Folder of the moved results: ``previous`` in the run's folder, or ``previous_2`` and so on
        if that folder was kept.
    """
    results = [
        tree.per_image_instances, tree.per_image_post_processing, tree.full_image_instances,
        tree.full_image_post_processing, tree.as_3d_stack, tree.as_3d_stack_post_processing,
        tree.instance_associations, tree.watershed_dir, tree.overlays, tree.metrics_csv,
        tree.progress, tree.exports,
    ]  # fmt: skip
    if not keep_maps:
        results += [tree.per_image, tree.full_image]
    existing = [path for path in results if path.exists() and path.parent == tree.run]
    if not existing:
        return None
    try:
        with tree.protect():
            changed = sum(1 for path in existing for _ in foreign_files(path))
            target = set_aside(tree.run, existing)
    except OSError as error:
        raise write_error(tree.run, error) from error
    _log.info(f"results of an earlier test of this run are now in {target}")
    if changed:
        _log.warning(
            f"  {counted(changed, 'file')} of them changed since Singula wrote them and will not "
            "be deleted"
        )
    return target

"""Decode stored predictions with other thresholds, and save the thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.config import Config, load_config
from singula.config.keys import key_table
from singula.config.load import config_from_dict
from singula.config.thresholds import KEYS, with_tuned
from singula.config.yaml_source import mapping_from_yaml
from singula.data.preprocess import resize_labels
from singula.errors import UserError
from singula.gui.form import check_target
from singula.gui.guard import Guard
from singula.gui.results import Results
from singula.gui.thresholds_in_use import SOURCE_LABELS
from singula.io.read import read_image
from singula.io.run_folder import RETEST_FILE
from singula.io.write import write_text
from singula.metrics import Score, match_overlap, overlap
from singula.pipeline import from_config
from singula.pipeline.postprocess import filter_maps, post_settings, process_instances, seed_filter
from singula.pipeline.thresholds import configured, used_names
from singula.representations.decoders import DecodeSettings, decode
from singula.representations.thresholds import THRESHOLDS
from singula.runs.run import Stage
from singula.util.messages import captured_messages
from singula.util.paths import read_text_file

Array = npt.NDArray[Any]
PREFIX = "PROBLEM.INSTANCE_SEG."
TYPE, SMALL = "DATA_MW_TH_TYPE", "DATA_REMOVE_SMALL_OBJ_BEFORE"
ORDER = "DATA_REMOVE_BEFORE_MW"
LABELS = {
    **{f"DATA_MW_{name}": threshold.label for name, threshold in THRESHOLDS.items()},
    SMALL: "Minimum size of an object, pixels",
}
_MAX_YAML = 1 << 20  # bytes
# Keys of a file that predicts with a model
_PREDICT = {"TRAIN.ENABLE": False, "TEST.ENABLE": True, "MODEL.LOAD_CHECKPOINT": True}
_OLDER = {"DATA_REMOVE_SMALL_OBJ": SMALL, "TH_POINTS": "DATA_MW_TH_POINTS"}


@dataclass(frozen=True)
class Slider:
    """Slider of one threshold.

    Parameters
    ----------
    key : str
        Key in ``PROBLEM.INSTANCE_SEG``.
    label : str
        Description for the page.
    low, high, step : float
        Range and step of the slider.
    value : float
        Value in the run.
    source : str
        Origin of the run's value, such as "tuned"; empty if unknown.
    """

    key: str
    label: str
    low: float
    high: float
    step: float
    value: float
    source: str = ""


@dataclass(frozen=True)
class Outcome:
    """Instances and scores for one set of thresholds.

    Parameters
    ----------
    labels : ndarray of int
        Label image, (y, x) or (z, y, x).
    count : int
        Number of instances.
    scores : list of Score
        Scores at each IoU threshold; empty without annotated pixels.
    """

    labels: Array
    count: int
    scores: list[Score]


@dataclass
class Retune:
    """Decoder of the stored maps of one image of a run.

    Parameters
    ----------
    results : Results
        Results of the run.
    name : str
        Name of the image.
    stage : Stage
        Stage of the instances.

    Raises
    ------
    UserError
        ``gui.no_maps``: the run did not store the maps.
        The maps do not match the configuration.
    """

    results: Results
    name: str
    stage: Stage
    config: Config = field(init=False)
    maps: dict[str, Array] = field(init=False)
    truth: Array | None = field(init=False)
    file_spacing: tuple[float, ...] | None = field(init=False)

    def __post_init__(self) -> None:
        """Read configuration, maps and ground truth."""
        # Needed by some scores. The import takes 0.1 s, which would delay the first slider move.
        import scipy.sparse.csgraph  # noqa: F401

        path = self.results.run.maps_file(self.name, self.stage)
        if not path.is_file():
            raise UserError(
                f"{self.name}: the predicted channels are missing ({path})",
                "test again, for example with --set TRAIN.ENABLE=False",
                "gui.no_maps",
            )
        self.config = self.results.run.valid_config()
        self.maps = self._read_maps(path)
        truth = self.results.images.truth(self.name, self.stage, self._shape)
        self.truth = None if truth is None else truth.sparse_labels

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """Shape of the results, which are not resampled to DATA.PREPROCESS.SPACING as the maps."""
        source = self.results.run.label_image(self.name, self.stage)
        if not self.config.DATA.PREPROCESS.SPACING or source is None:
            return next(iter(self.maps.values())).shape
        return source.read(None).labels.shape

    def _read_maps(self, path: Path) -> dict[str, Array]:
        names = list(from_config.channel_names(self.config))
        if from_config.n_classes(self.config):
            names.append("class")
        stored = read_image(path, self.config.ndim, len(names))
        self.file_spacing = stored.spacing
        maps = {name: np.ascontiguousarray(stored.array[..., i]) for i, name in enumerate(names)}
        return filter_maps(maps, replace(post_settings(self.config), masks=None), None)

    @cached_property
    def sliders(self) -> list[Slider]:
        """Sliders of all thresholds that affect the instances of this configuration."""
        used, sources = self._used(), self._sources()
        sliders = []
        for key in keys_that_matter(self.config):
            if key == SMALL:
                value = float(self.config.PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE)
                sliders.append(
                    Slider(key, LABELS[key], 0, max(200, 4 * value), 1, value, sources.get(key, ""))
                )
                continue
            threshold = THRESHOLDS[key.removeprefix("DATA_MW_")]
            high = threshold.high
            if threshold.search_range is not None:
                high = max(threshold.search_range[1], used[key])
            elif high is None:
                high = self._largest_distance(threshold.channels)
            step = 0.01 if high <= 2 else 0.1
            # Rounded like saved thresholds
            value = round(min(used[key], high), 4)
            source = sources.get(key, "")
            sliders.append(Slider(key, LABELS[key], 0.0, high, step, value, source))
        return sliders

    def _used(self) -> dict[str, float]:
        """Return the thresholds that the run used for this image, including automatic ones."""
        used = self.results.run.test.thresholds.get(self.name, {})
        values = {f"DATA_MW_{key}": v for key, v in used.items() if v is not None}
        keys = self.config.PROBLEM.INSTANCE_SEG
        return {key: values.get(key, getattr(keys, key, 0.0)) for key in LABELS}

    def _sources(self) -> dict[str, str]:
        """Return the origin of the run's thresholds by key in ``PROBLEM.INSTANCE_SEG``."""
        sources = self.results.run.test.threshold_sources
        keys = {name: key.removeprefix(PREFIX) for name, key in KEYS.items()}
        return {keys[name]: SOURCE_LABELS[s] for name, s in sources.items() if s in SOURCE_LABELS}

    def _largest_distance(self, channels: tuple[str, ...]) -> float:
        largest = max((float(self.maps[c].max()) for c in channels if c in self.maps), default=1)
        return max(1.0, float(np.ceil(10 * largest)) / 10)

    def decode(self, values: Mapping[str, float]) -> Outcome:
        """Return instances and scores for other thresholds.

        Parameters
        ----------
        values : mapping of str to float
            Thresholds by key in ``PROBLEM.INSTANCE_SEG``. By default, the values of the run.
        """
        keys = {**from_config.decode_keys(self.config), **self._used(), **values}
        settings = DecodeSettings.from_keys({**keys, TYPE: "manual", SMALL: int(keys[SMALL])})
        post = post_settings(self.config)
        spacing = from_config.spacing(self.config, "TEST", len(self._shape))
        voxel_size = spacing or self.file_spacing
        decoded = decode(
            self.maps,
            self.config.decoder,
            settings=settings,
            spacing=from_config.decoding_spacing(self.config, spacing, len(self._shape)),
            seed_filter=seed_filter(post, voxel_size),
        )
        labels = decoded.labels
        if self.stage.processed:
            changed = process_instances(labels, self.maps, post, voxel_size).labels
            labels = labels if changed is None else changed
        if labels.shape != self._shape:
            labels = resize_labels(labels[..., None], self._shape)[..., 0]
        scores: list[Score] = []
        if self.truth is not None:
            table = overlap(self.truth, labels)
            matches = match_overlap(table, self.config.TEST.MATCHING_STATS_THS)
            scores = [match for match in matches if match.n_images]
        return Outcome(labels, int(np.count_nonzero(np.bincount(labels.ravel())[1:])), scores)


def keys_that_matter(config: Config) -> list[str]:
    """Return the keys of the thresholds that a configuration uses; those for seeds come first."""
    return [KEYS[name].removeprefix(PREFIX) for name in used_names(config)]


def original_config(results: Results, guard: Guard) -> Path | None:
    """Return the configuration file of a run, or its copy in the results; None if not found."""
    from singula.gui.runs import read_record

    tree = results.run.tree
    record, copy = read_record(tree.run), tree.only_config_file()
    is_retest = record is not None and Path(record.config).name == RETEST_FILE
    candidates = [Path(record.config)] if record is not None and not is_retest else []
    candidates += [copy] if copy is not None else []
    return next((p for p in candidates if p.is_file() and guard.allows(p)), None)


def save_configuration(
    source: Path | None, config: Config, values: Mapping[str, float], target: Path, model: Path
) -> Path:
    """Write a configuration that predicts with other thresholds, and return its path.

    The thresholds are marked as tuned. The file does not train: the thresholds suit the maps of
    this model only.

    Parameters
    ----------
    source : Path, optional
        Configuration file whose other keys are kept; by default, all keys of `config`.
    config : Config
        Configuration of the run.
    values : mapping of str to float
        Thresholds by key in ``PROBLEM.INSTANCE_SEG``.
    target : Path
        File to write; it must not exist.
    model : Path
        Checkpoint of the run.

    Raises
    ------
    UserError
        The codes of `check_target`; the source cannot be read.
    """
    import yaml

    check_target(target)
    typed = _typed(values)
    tree = mapping_from_yaml(config.to_yaml(), "")
    if source is not None:
        with captured_messages():
            config = load_config(source)
        tree = mapping_from_yaml(read_text_file(source, _MAX_YAML), str(source))
    section = tree
    for name in ("PROBLEM", "INSTANCE_SEG"):
        section = section.setdefault(name, {})
    # A file must not contain two spellings of a key.
    for old, new in _OLDER.items():
        if new in typed and old in section:
            del section[old]
            if new == SMALL:  # the old spelling also sets the order of removal
                section.setdefault(ORDER, config.PROBLEM.INSTANCE_SEG.DATA_REMOVE_BEFORE_MW)
    section.update(typed)
    changes = {**_PREDICT, "PATHS.CHECKPOINT_FILE": str(model)}
    for key, value in changes.items():
        group, _, name = key.partition(".")
        tree.setdefault(group, {})[name] = value
    predicting = config.replaced(changes, mark_set=True)
    expected = with_tuned(predicting, named_thresholds(values))
    section["TUNED_THRESHOLDS"] = list(expected.PROBLEM.INSTANCE_SEG.TUNED_THRESHOLDS)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
    if not _loads_as(tree, expected):
        text = expected.to_yaml()
    return write_text(target, text)


def save_in_checkpoint(
    results: Results,
    values: Mapping[str, float],
    guard: Guard,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Save thresholds in the checkpoint of a run, for `singula predict`, and return its path.

    Parameters
    ----------
    results : Results
        Results of the run.
    values : mapping of str to float
        Thresholds by key in ``PROBLEM.INSTANCE_SEG``.
    guard : Guard
        Folders that the interface may open.
    provenance : mapping, optional
        Metric, IoU and scores of the search; by default, the thresholds are marked as chosen by
        eye.

    Raises
    ------
    UserError
        ``gui.foreign_checkpoint``: the checkpoint is not from this run.
        ``gui.outside``: the checkpoint is outside of the roots.
        The checkpoint cannot be read.
    """
    from singula.tuning import find_run, save_thresholds

    with captured_messages():
        run = find_run(results.run.tree.run)
    path = guard.check(run.checkpoint.path)
    chosen = named_thresholds(values)
    origin = dict(provenance) if provenance is not None else {"metric": "by eye"}
    if save_thresholds(run, {**configured(run.config), **chosen}, origin) is None:
        raise UserError(
            f"{path}: is not a checkpoint of this run; it was not changed",
            "save a configuration instead",
            "gui.foreign_checkpoint",
        )
    return path


def model_file(results: Results, guard: Guard) -> Path:
    """Return the checkpoint with which a run predicts.

    Parameters
    ----------
    results : Results
        Results of the run.
    guard : Guard
        Folders that the interface may open.

    Raises
    ------
    UserError
        ``gui.outside``: the checkpoint is outside of the roots.
        The checkpoint is missing or cannot be read.
    """
    from singula.tuning import find_run

    with captured_messages():
        return guard.check(find_run(results.run.tree.run).checkpoint.path)


def named_thresholds(values: Mapping[str, float]) -> dict[str, Any]:
    """Return thresholds by name without prefix, with the types of the configuration.

    Parameters
    ----------
    values : mapping of str to float
        Thresholds by key in ``PROBLEM.INSTANCE_SEG``.
    """
    names = {key.removeprefix(PREFIX): name for name, key in KEYS.items()}
    return {names[key]: value for key, value in _typed(values).items()}


def _loads_as(tree: Mapping[str, Any], expected: Config) -> bool:
    """Return True if the keys load as the expected configuration; old spellings may conflict."""
    try:
        return config_from_dict(tree) == expected
    except UserError:
        return False


def _typed(values: Mapping[str, float]) -> dict[str, Any]:
    chosen: dict[str, Any] = {TYPE: "manual"}
    for key, value in values.items():
        whole = key_table()[PREFIX + key].type == "int"
        chosen[key] = int(value) if whole else round(float(value), 4)
    return chosen

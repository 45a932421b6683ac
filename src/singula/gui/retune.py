"""Decode the stored prediction of an image again with other thresholds, and keep what is best."""

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
from singula.errors import UserError
from singula.evaluate import Score, match
from singula.gui.guard import Guard
from singula.gui.results import Results
from singula.instances import DecodeSettings, decode
from singula.io.read import read_image
from singula.io.write import write_text
from singula.paths import read_text_file
from singula.report.run_files import Stage
from singula.stages import settings as from_config
from singula.stages.post import filter_maps, post_settings, process_instances, seed_filter
from singula.stages.thresholds import configured
from singula.tuning.space import searched_keys

Array = npt.NDArray[Any]
PREFIX = "PROBLEM.INSTANCE_SEG."
TYPE, SMALL = "DATA_MW_TH_TYPE", "DATA_REMOVE_SMALL_OBJ_BEFORE"
ORDER = "DATA_REMOVE_BEFORE_MW"
WORDS = {
    "DATA_MW_TH_BINARY_MASK": "Seeds: inside (B) above",
    "DATA_MW_TH_CONTOUR": "Seeds: contour (C) below",
    "DATA_MW_TH_FOREGROUND": "Instances grow where inside (B), or mask (M), is above",
    "DATA_MW_TH_POINTS": "Seeds: central point (P) above",
    "DATA_MW_TH_DISTANCE": "Seeds: distance",
    "DATA_MW_TH_DIST_FOREGROUND": "Instances grow where distance (D) is above",
    SMALL: "Smallest instance, pixels",
}
_SOURCES = {
    "user": "set by you",
    "tuned": "tuned",
    "generated": "proposed",
    "automatic": "automatic, for each image",
    "default": "default",
}
_MAX_YAML = 1 << 20  # bytes
_OLDER = {"DATA_REMOVE_SMALL_OBJ": SMALL, "TH_POINTS": "DATA_MW_TH_POINTS"}
_UNIT = {"DATA_MW_TH_DISTANCE", "DATA_MW_TH_DIST_FOREGROUND"}


@dataclass(frozen=True)
class Slider:
    """One threshold with the range in which it matters.

    Parameters
    ----------
    key : str
        Of ``PROBLEM.INSTANCE_SEG``.
    words : str
    low, high, step : float
    value : float
        As the run used it.
    source : str
        Origin of the run's value, as the interface names it; empty if not known.
    """

    key: str
    words: str
    low: float
    high: float
    step: float
    value: float
    source: str = ""


@dataclass(frozen=True)
class Outcome:
    """Instances of one choice of thresholds.

    Parameters
    ----------
    labels : ndarray
    count : int
    scores : list of Score
        One for each threshold of the matching; empty without truth.
    """

    labels: Array
    count: int
    scores: list[Score]


@dataclass
class Retune:
    """The stored maps of one image of a run, ready to be decoded.

    Parameters
    ----------
    results : Results
    name : str
        The image.
    stage : Stage
        Which instances; only its view matters.

    Raises
    ------
    UserError
        The maps were not kept, or do not belong to this configuration.
    """

    results: Results
    name: str
    stage: Stage
    config: Config = field(init=False)
    maps: dict[str, Array] = field(init=False)
    truth: Array | None = field(init=False)
    of_file: tuple[float, ...] | None = field(init=False)

    def __post_init__(self) -> None:
        """Read configuration, maps and truth."""
        # What scores need where objects compete, a tenth of a second that no slider shall wait for
        import scipy.sparse.csgraph  # noqa: F401

        if not self._path.is_file():
            raise UserError(
                f"{self.name}: its predicted channels are not there ({self._path})",
                "test again, for example with --set TRAIN.ENABLE=False",
            )
        self.config = config_of(self.results)
        self.maps = self._read_maps()
        truth = self.results.sources.truth(self.name, self.stage)
        fits = truth is not None and truth.shape[:-1] == self._shape
        self.truth = truth[..., 0] if truth is not None and fits else None

    @property
    def _shape(self) -> tuple[int, ...]:
        return next(iter(self.maps.values())).shape

    @property
    def _path(self) -> Path:
        return self.results.files.tree.predictions(self.stage.view) / f"{self.name}.tif"

    def _read_maps(self) -> dict[str, Array]:
        names = list(from_config.channel_names(self.config))
        if from_config.n_classes(self.config):
            names.append("class")
        stored = read_image(self._path, 3 if self.results.files.ndim == 3 else 2, len(names))
        self.of_file = stored.spacing  # as the image's file says
        maps = {name: np.ascontiguousarray(stored.array[..., i]) for i, name in enumerate(names)}
        return filter_maps(maps, replace(post_settings(self.config), masks=None), None)

    @cached_property
    def sliders(self) -> list[Slider]:
        """The thresholds on which the instances of this configuration depend."""
        used, sources = self._used(), self._sources()
        sliders = []
        for key in keys_that_matter(self.config):
            if key == SMALL:
                value = float(self.config.PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE)
                sliders.append(
                    Slider(key, WORDS[key], 0, max(200, 4 * value), 1, value, sources.get(key, ""))
                )
                continue
            high = self._largest_distance() if key in _UNIT else 1.0
            step = 0.01 if high <= 2 else 0.1
            # Whole steps, so that a slider can stand where the run's own threshold was.
            value = round(min(used[key], high), 4)
            source = sources.get(key, "")
            sliders.append(Slider(key, WORDS[key], 0.0, high, step, value, source))
        return sliders

    def _used(self) -> dict[str, float]:
        """Thresholds that the run used for this image; automatic ones differ between images."""
        test = self.results.files.summary.test
        told = test.thresholds if test is not None else {}
        used = told.get(self.name, {})
        found = {f"DATA_MW_{key}": v for key, v in used.items() if v is not None}
        keys = self.config.PROBLEM.INSTANCE_SEG
        return {key: found.get(key, getattr(keys, key, 0.0)) for key in WORDS}

    def _sources(self) -> dict[str, str]:
        """Return the origin of the run's thresholds by key of ``PROBLEM.INSTANCE_SEG``."""
        test = self.results.files.summary.test
        found = test.threshold_sources if test is not None else {}
        keys = {name: key.removeprefix(PREFIX) for name, key in KEYS.items()}
        return {keys[name]: _SOURCES[who] for name, who in found.items() if who in _SOURCES}

    def _largest_distance(self) -> float:
        largest = max(
            (float(self.maps[c].max()) for c in ("D", "Dv2") if c in self.maps), default=1
        )
        return max(1.0, float(np.ceil(10 * largest)) / 10)

    def decode(self, values: Mapping[str, float]) -> Outcome:
        """Instances and scores with other thresholds.

        Parameters
        ----------
        values : mapping
            By key; those that are missing stay as the run used them.
        """
        keys = {**from_config.decode_keys(self.config), **self._used(), **values}
        settings = DecodeSettings.from_keys({**keys, TYPE: "manual", SMALL: int(keys[SMALL])})
        post = post_settings(self.config)
        spacing = from_config.spacing(self.config, "TEST", len(self._shape))
        known = spacing or self.of_file
        decoded = decode(
            self.maps,
            self.config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS,
            settings=settings,
            spacing=spacing,
            seed_filter=seed_filter(post, known),
        )
        labels = decoded.labels
        if self.stage.processed:
            changed = process_instances(labels, self.maps, post, known).labels
            labels = labels if changed is None else changed
        scores: list[Score] = []
        if self.truth is not None:
            scores = list(match(self.truth, labels, self.config.TEST.MATCHING_STATS_THS))
        return Outcome(labels, int(np.count_nonzero(np.bincount(labels.ravel())[1:])), scores)


def config_of(results: Results) -> Config:
    """The configuration that a run was made with, from its ``run.json``."""
    values = results.files.summary.configuration
    if not values:
        raise UserError(f"{results.files.tree.run_json}: holds no configuration", "repeat the run")
    return config_from_dict(values, source="run.json")


def keys_that_matter(config: Config) -> list[str]:
    """Keys of thresholds on which the decoding of a configuration depends, seeds first."""
    channels = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    seeds, growth = searched_keys(channels, from_config.decode_settings(config))
    return [*(f"DATA_MW_{key}" for key in (*seeds, *growth)), SMALL]


def original_config(results: Results, guard: Guard) -> Path | None:
    """The file with which a run was started: its own, or the copy in the results."""
    from singula.gui.runs import read_record

    record = read_record(results.files.tree.run)
    copies = sorted(results.files.tree.config_files.glob("*.y*ml"))
    candidates = [Path(record.config)] if record is not None else []
    candidates += copies if len(copies) == 1 else []
    return next((p for p in candidates if p.is_file() and guard.allows(p)), None)


def save_configuration(
    source: Path | None, config: Config, values: Mapping[str, float], target: Path
) -> Path:
    """Write a configuration with other thresholds, marked as tuned; never over an existing file.

    Parameters
    ----------
    source : Path, optional
        The file to change; its other keys stay as they are. None: the complete `config`.
    config : Config
    values : mapping
        By key of ``PROBLEM.INSTANCE_SEG``.
    target : Path

    Raises
    ------
    UserError
        The target exists; the source cannot be read.
    """
    import yaml

    if target.exists():
        raise UserError(f"{target}: exists already", "choose another name")
    chosen = _typed(values)
    tree = yaml.safe_load(config.to_yaml())
    if source is not None:
        config = load_config(source)
        tree = _read_plain(source)
    section = tree
    for name in ("PROBLEM", "INSTANCE_SEG"):
        section = section.setdefault(name, {})
    # Of two spellings of a key in one file only one may stay.
    for old, new in _OLDER.items():
        if new in chosen and old in section:
            del section[old]
            if new == SMALL:  # its spelling decides the order of removal
                section.setdefault(ORDER, config.PROBLEM.INSTANCE_SEG.DATA_REMOVE_BEFORE_MW)
    section.update(chosen)
    names = {key.removeprefix(PREFIX): name for name, key in KEYS.items()}
    expected = with_tuned(config, {names[key]: value for key, value in chosen.items()})
    section["TUNED_THRESHOLDS"] = list(expected.PROBLEM.INSTANCE_SEG.TUNED_THRESHOLDS)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
    if not _says(tree, expected):
        text = expected.to_yaml()
    return write_text(target, text)


def save_in_checkpoint(
    results: Results,
    values: Mapping[str, float],
    guard: Guard,
    worth: Mapping[str, Any] | None = None,
) -> Path:
    """Put thresholds into the run's checkpoint, which `singula predict` then uses.

    Parameters
    ----------
    results : Results
    values : mapping
        By key of ``PROBLEM.INSTANCE_SEG``.
    guard : Guard
    worth : mapping, optional
        How they were found; by eye, where it is not given.

    Raises
    ------
    UserError
        The checkpoint is gone, is another run's, or lies outside.
    """
    from singula.tuning import find_run, save_thresholds

    run = find_run(results.files.tree.run)
    path = guard.check(run.checkpoint.path)
    names = {key.removeprefix(PREFIX): name for name, key in KEYS.items()}
    chosen = {names[key]: value for key, value in _typed(values).items()}
    found = dict(worth) if worth is not None else {"metric": "by eye"}
    if save_thresholds(run, {**configured(run.config), **chosen}, found) is None:
        raise UserError(
            f"{path}: is no checkpoint of this run, and stays as it is", "save a configuration"
        )
    return path


def _says(tree: Mapping[str, Any], expected: Config) -> bool:
    """Whether a changed file means what it should; other old spellings may stand in the way."""
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


def _read_plain(path: Path) -> dict[str, Any]:
    import yaml

    try:
        tree = yaml.safe_load(read_text_file(path, _MAX_YAML))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    return tree if isinstance(tree, dict) else {}

"""Decode stored predictions with other thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.config.thresholds import KEYS
from singula.data.preprocess import resize_labels
from singula.gui.results import Results
from singula.gui.thresholds_in_use import SOURCE_LABELS
from singula.metrics import Score, match_overlap, overlap
from singula.pipeline import from_config
from singula.pipeline.postprocess import filter_maps, post_settings, process_instances, seed_filter
from singula.pipeline.thresholds import used_names
from singula.representations.decoders import DecodeSettings, decode
from singula.representations.thresholds import THRESHOLDS
from singula.runs.run import Stage

Array = npt.NDArray[Any]
PREFIX = "PROBLEM.INSTANCE_SEG."
TYPE, SMALL = "DATA_MW_TH_TYPE", "DATA_REMOVE_SMALL_OBJ_BEFORE"
LABELS = {
    **{f"DATA_MW_{name}": threshold.label for name, threshold in THRESHOLDS.items()},
    SMALL: "Minimum size of an object, pixels",
}


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

    @property
    def is_integer(self) -> bool:
        """True if the threshold is a number of pixels or steps."""
        return self.step >= 1

    def rounded(self, value: float) -> float:
        """Return a position of the slider as a value of the configuration.

        Parameters
        ----------
        value : float
            Position of the slider.
        """
        return int(value) if self.is_integer else round(value, 4)


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
        ``runs.no_maps``: the run did not store the maps.
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

        run = self.results.run
        stored = run.read_maps(self.name, self.stage)
        self.config, self.file_spacing = run.valid_config(), stored.spacing
        maps = {name: stored.array[..., i] for i, name in enumerate(run.map_names)}
        contiguous = {name: np.ascontiguousarray(values) for name, values in maps.items()}
        self.maps = filter_maps(contiguous, replace(post_settings(self.config), masks=None), None)
        truth = self.results.images.truth(self.name, self.stage, self._shape)
        self.truth = None if truth is None else truth.sparse_labels

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """Shape of the results, which are not resampled to DATA.PREPROCESS.SPACING as the maps."""
        source = self.results.run.label_image(self.name, self.stage)
        if not self.config.DATA.PREPROCESS.SPACING or source is None:
            return next(iter(self.maps.values())).shape
        return source.read(None).labels.shape

    @cached_property
    def sliders(self) -> list[Slider]:
        """Sliders of all thresholds that affect the instances of this configuration."""
        used = {
            **self._used(),
            SMALL: float(self.config.PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE),
        }
        sources = self._sources()
        return [
            make_slider(key, used[key], self.maps, sources.get(key, ""))
            for key in keys_that_matter(self.config)
        ]

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


def make_slider(key: str, value: float, maps: Mapping[str, Array], source: str = "") -> Slider:
    """Return the slider of a threshold, with a range for the predicted maps.

    Parameters
    ----------
    key : str
        Key in ``PROBLEM.INSTANCE_SEG``.
    value : float
        Value of the threshold.
    maps : mapping of str to ndarray
        Predicted maps by channel.
    source : str
        Origin of the value.
    """
    if key == SMALL:
        return Slider(key, LABELS[key], 0, max(200, 4 * value), 1, value, source)
    threshold = THRESHOLDS[key.removeprefix("DATA_MW_")]
    high = threshold.high
    if threshold.search_range is not None:
        high = max(threshold.search_range[1], value)
    elif high is None:
        high = _largest_distance(maps, threshold.channels)
    step = 1 if threshold.is_integer else 0.01 if high <= 2 else 0.1
    # Rounded like saved thresholds
    return Slider(key, LABELS[key], 0.0, high, step, round(min(value, high), 4), source)


def _largest_distance(maps: Mapping[str, Array], channels: tuple[str, ...]) -> float:
    largest = max((float(maps[c].max()) for c in channels if c in maps), default=1)
    return max(1.0, float(np.ceil(10 * largest)) / 10)


def keys_that_matter(config: Config) -> list[str]:
    """Return the keys of the thresholds that a configuration uses; those for seeds come first."""
    return [KEYS[name].removeprefix(PREFIX) for name in used_names(config)]

"""Predicted maps with truth, decoded again and again under other thresholds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.arguments import choice, instance, items, number, of_class
from singula.errors import UserError
from singula.evaluate import Match, Overlap, Score, match, match_dataset, match_overlap, overlap
from singula.instances import Decoded, DecodeSettings, decode
from singula.instances.decode import find_decoder
from singula.instances.watershed import is_large, labels_at_border
from singula.runtime import available_cores
from singula.tuning.search import Search
from singula.tuning.space import SIZE, Parameter, searched_keys, size_parameter, threshold_parameter

Array = npt.NDArray[Any]
Maps = Mapping[str, Array]
Spacing = tuple[float, ...] | None
METRICS = {"pq": "panoptic_quality", "f1": "f1"}
_HELD = 2 * 2**30  # bytes of maps that stay in memory
_TABLES = 64
# Decoding takes about a second for so many pixels and core; trials of the grid follow from it.
_PIXELS = 4e9
_MOST, _FEWEST = 125, 27


@dataclass(frozen=True)
class Example:
    """An image whose instances are known.

    Parameters
    ----------
    name : str
    shape : tuple of int
        (y, x) or (z, y, x).
    read : callable
        Gives the predicted maps by channel name, and the true labels.
    spacing : tuple of float, optional
        Size of a pixel for morphology, as configured.
    sizes : tuple of float, optional
        Size of a pixel, as configured or as the image says.
    weight : float
        Weight of the image's score in the objective of the search.
    training : bool
        The network was trained on the image. It counts in the objective of the search, and not in
        the reported scores.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], tuple[Maps, Array]]
    spacing: Spacing = None
    sizes: Spacing = None
    weight: float = 1.0
    training: bool = False


@dataclass(frozen=True)
class Steps:
    """What is done besides decoding; None for nothing.

    Parameters
    ----------
    seeds : callable, optional
        From (seeds, size of a pixel) to those that grow.
    instances : callable, optional
        From (labels, maps, size of a pixel) to the final labels.
    """

    seeds: Callable[[Array, Spacing], Array] | None = None
    instances: Callable[[Array, Maps, Spacing], Array] | None = None


@dataclass(frozen=True)
class Trial:
    """Thresholds and what came of them.

    Parameters
    ----------
    thresholds : dict
        By key without prefix, for example ``{"TH_BINARY_MASK": 0.5, "REMOVE_SMALL_OBJ": 20}``.
    value : float
        Objective of the search: weighted mean over images.
    score : Score
        All scores, means over the images that the network was not trained on.
    images : tuple of Match
        Scores of each image.
    """

    thresholds: dict[str, Any]
    value: float
    score: Score
    images: tuple[Match, ...] = field(repr=False)


def check_goal(metric: str, iou: float) -> None:
    """See that thresholds can be searched for this.

    Raises
    ------
    TypeError, UserError
        An unknown metric, or an IoU that is not a number in (0, 1].
    """
    choice(metric, "--metric", METRICS)
    number(iou, "--iou", above=0, at_most=1)


class Tuner:
    """Decodes stored maps under any thresholds and scores the instances.

    Parameters
    ----------
    examples : sequence of Example
    channels : str
        The configuration of channels, such as ``BC``.
    settings : DecodeSettings
        What is configured.
    metric : {"pq", "f1"}
        Panoptic quality, or F1; both mean over images.
    iou : float
        Of a true and a predicted object that count as a pair.
    steps : Steps, optional

    Raises
    ------
    TypeError, UserError
        Wrong arguments; no images, an unknown metric, or an IoU outside (0, 1].
    """

    def __init__(
        self,
        examples: Sequence[Example],
        channels: str,
        settings: DecodeSettings,
        *,
        metric: str = "pq",
        iou: float = 0.5,
        steps: Steps | None = None,
    ) -> None:
        self.examples = items(examples, "examples", of_class(Example))
        if all(example.training for example in self.examples):
            raise UserError(
                "examples: there is no image to tune thresholds on",
                "give an example that is not of the training images",
                "tuning.no_image",
            )
        check_goal(metric, iou)
        self.channels = find_decoder(channels).name
        self.settings = instance(settings, "settings", DecodeSettings)
        if steps is not None:
            instance(steps, "steps", Steps)
        self.metric = metric
        self.iou = float(iou)
        self.steps = steps or Steps()
        self._held: dict[int, tuple[Maps, Array]] = {}
        self._room = _HELD
        self._lock = threading.Lock()
        self._tables: OrderedDict[tuple[Any, ...], list[tuple[Overlap, Array]]] = OrderedDict()

    def names(self) -> list[str]:
        """Names of the images."""
        return [example.name for example in self.examples]

    def maps(self, image: int = 0) -> tuple[Maps, Array]:
        """Predicted maps and true labels of an image; kept in memory while there is room."""
        with self._lock:
            if image in self._held:
                return self._held[image]
        found = self.examples[image].read()
        size = sum(values.nbytes for values in found[0].values()) + found[1].nbytes
        with self._lock:
            if image not in self._held and size <= self._room:
                self._room -= size
                self._held[image] = found
        return found

    def decode(self, thresholds: Mapping[str, Any], image: int = 0) -> tuple[Array, Match]:
        """Instances of one image under some thresholds, and their scores.

        Parameters
        ----------
        thresholds : mapping
            Configuration keys without prefix; the others stay as configured.
        image : int
            Which of `examples`.

        Returns
        -------
        labels : ndarray of unsigned int
            After all steps.
        scores : Match
            At the IoU of the tuner: f1, panoptic_quality, precision, recall, tp, fp, fn …

        Raises
        ------
        UserError
            For an unknown key or a value that is not allowed.
        """
        decoded = self.decoded(thresholds, image)
        labels = self._final(decoded.labels, image)
        return labels, match(self.maps(image)[1], labels, (self.iou,))[0]

    def decoded(self, thresholds: Mapping[str, Any], image: int = 0) -> Decoded:
        """Instances as decoded, with seeds, area of growth, surface and thresholds."""
        return self._decode(self.settings.changed(thresholds), image)

    def score(self, thresholds: Mapping[str, Any]) -> Trial:
        """Decode and score every image.

        Parameters
        ----------
        thresholds : mapping
            As for `decode`.
        """
        settings = self.settings.changed(thresholds)
        if self._size_follows(settings):
            rest = {key: value for key, value in thresholds.items() if key != SIZE}
            tables = self._overlaps(rest)
            least = (settings.remove_small, settings.min_border_pixels)
            matches = [
                match_overlap(without_small(table, at_border, *least), (self.iou,))[0]
                for table, at_border in tables
            ]
        else:
            matches = self._each(
                lambda image: match(
                    self.maps(image)[1],
                    self._final(self._decode(settings, image).labels, image),
                    (self.iou,),
                )[0]
            )
        pairs = list(zip(self.examples, matches, strict=True))
        total = match_dataset([[m] for e, m in pairs if not e.training], by_image=True)[0]
        value = float(getattr(total, METRICS[self.metric]))
        if any(example.training for example in self.examples):
            values = [getattr(m, METRICS[self.metric]) for m in matches]
            value = float(np.average(values, weights=[e.weight for e in self.examples]))
        return Trial(dict(thresholds), value, total, tuple(matches))

    def parameters(self) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
        """Keys of the seeds' thresholds, and everything that is searched."""
        seeds, growth = searched_keys(self.channels, self.settings)
        keys = seeds + growth
        pixels = sum(int(np.prod(example.shape)) for example in self.examples)
        trials = min(_MOST, max(_FEWEST, _PIXELS / max(pixels, 1)))
        points = max(3, min(9, int(trials ** (1 / max(len(seeds), 1)) + 1e-9)))
        distances = self._distances() if "D" in self.maps(0)[0] else None
        found = [threshold_parameter(key, points, distances) for key in keys]
        sizes = np.concatenate(self._each(lambda i: _object_sizes(self.maps(i)[1])))
        return seeds, (*found, size_parameter(sizes, self.settings.remove_small))

    def start(self) -> dict[str, float]:
        """What is configured; of automatic thresholds the mean over images."""
        used = self._each(lambda image: self._decode(self.settings, image).thresholds)
        means = {key: float(np.mean([values[key] for values in used])) for key in used[0]}
        return {**means, SIZE: self.settings.remove_small}

    def search(self, told: Callable[[int, float], None] | None = None) -> tuple[list[Trial], Trial]:
        """Search thresholds and least size; the first trial is what is configured.

        Parameters
        ----------
        told : callable, optional
            Takes the number of trials so far and the best value, after each one.

        Returns
        -------
        trials : list of Trial
            In the order in which they were tried.
        best : Trial
            The one to take; what is configured where nothing is better.
        """
        trials = [self.score({})]
        seeds, parameters = self.parameters()
        made: dict[tuple[float, ...], Trial] = {}

        def evaluate(point: dict[str, float]) -> float:
            trials.append(self.score({"TH_TYPE": "manual", **point}))
            made[tuple(point.values())] = trials[-1]
            if told is not None:
                told(len(trials), max(trial.value for trial in trials))
            return trials[-1].value

        search = Search(evaluate, parameters, self.start())
        growth = [p.key for p in parameters if p.key not in (*seeds, SIZE)]
        cheap = [SIZE] if self._size_follows(self.settings) else []
        search.grid([*seeds, *cheap])
        if growth:
            search.grid([*growth, *cheap])
        if not cheap:
            search.grid([SIZE])
        search.refine()
        search.centre()
        search.centre(search.plane())
        best = made[tuple(search.best.point.values())]
        return trials, best if best.value > trials[0].value else trials[0]

    def _decode(self, settings: DecodeSettings, image: int) -> Decoded:
        example, change = self.examples[image], self.steps.seeds
        return decode(
            self.maps(image)[0],
            self.channels,
            settings=settings,
            spacing=example.spacing,
            seed_filter=(lambda seeds: change(seeds, example.sizes)) if change else None,
        )

    def _final(self, labels: Array, image: int) -> Array:
        change = self.steps.instances
        if change is None:
            return labels
        return change(labels, self.maps(image)[0], self.examples[image].sizes)

    def _size_follows(self, settings: DecodeSettings) -> bool:
        """Whether small instances can be taken out of the table of overlaps afterwards."""
        return not settings.remove_before and self.steps.instances is None

    def _overlaps(self, thresholds: Mapping[str, Any]) -> list[tuple[Overlap, Array]]:
        """Return for each image the overlaps of instances of any size, and ids at the border."""
        key = tuple(sorted((name, str(value)) for name, value in thresholds.items()))
        if key not in self._tables:
            settings = self.settings.changed({**thresholds, SIZE: 0})

            def table(image: int) -> tuple[Overlap, Array]:
                labels = self._decode(settings, image).labels
                return overlap(self.maps(image)[1], labels), labels_at_border(labels)

            self._tables[key] = self._each(table)
            while len(self._tables) > _TABLES:
                self._tables.popitem(last=False)
        return self._tables[key]

    def _each(self, function: Callable[[int], Any]) -> list[Any]:
        """Result for every image; the heavy steps leave the interpreter to other threads."""
        count = len(self.examples)
        workers = min(available_cores(), count)
        if workers == 1:
            return [function(image) for image in range(count)]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(function, range(count)))

    def _distances(self) -> Array:
        """Predicted distances inside the true objects, some of each image."""

        def some(image: int) -> Array:
            maps, truth = self.maps(image)
            values = maps["D"][truth > 0]
            return values[:: max(1, values.size // 20000)]

        return np.concatenate(self._each(some))


def without_small(table: Overlap, at_border: Array, min_size: int, border_size: int) -> Overlap:
    """Return an overlap table in which small instances are background.

    Parameters
    ----------
    table : Overlap
    at_border : ndarray of int
        Ids of the instances that touch the border of the image.
    min_size, border_size : int
        Smallest number of pixels of an instance, and of an instance at the border.
    """
    ids, row = np.unique(table.pred, return_inverse=True)
    pixels = np.bincount(row, table.pixels, len(ids))
    kept = is_large(pixels, np.isin(ids, at_border), min_size, border_size)
    return Overlap(table.true, np.where(kept[row], table.pred, 0), table.pixels)


def _object_sizes(labels: Array) -> Array:
    """Pixels of each object."""
    ids, counts = np.unique(labels, return_counts=True)
    return counts[ids > 0]

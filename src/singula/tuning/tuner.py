"""Decoding and scoring of predicted maps with different thresholds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.metrics import Match, match_dataset, match_overlap, overlap
from singula.representations.base import Decoder
from singula.representations.channel_table import CHANNELS
from singula.representations.decoders import Decoded, DecodeSettings, decode
from singula.representations.decoders.decode import as_decoder
from singula.representations.decoders.morphology import labels_at_border
from singula.representations.thresholds import THRESHOLDS
from singula.tuning.instances import Instances, object_sizes
from singula.tuning.search import Search
from singula.tuning.space import SIZE, Parameter, size_parameter, threshold_parameter
from singula.tuning.trial import METRICS, Example, Maps, Steps, Trial, check_goal
from singula.util.arguments import instance, items, of_class
from singula.util.process import available_cores

Array = npt.NDArray[Any]
_MAX_CACHE = 2 * 2**30  # bytes of maps in memory
_MAX_TABLES = 64
# Number of pixels that the trials of a grid decode, limited to a range of trials
_GRID_PIXELS = 4e9
_MIN_TRIALS, _MAX_TRIALS = 27, 125


class Tuner:
    """Decoder of stored maps with any thresholds, and scorer of the instances.

    Parameters
    ----------
    examples : sequence of Example
        Images with ground truth.
    channels : str
        Channels of the representation, such as ``BC``.
    settings : DecodeSettings
        Configured settings of decoding.
    metric : {"pq", "f1"}
        Panoptic quality or F1, as a mean over the images.
    iou : float
        Minimum IoU of a true positive.
    steps : Steps, optional
        Steps other than decoding.

    Raises
    ------
    TypeError, UserError
        An argument is wrong; ``tuning.no_image``: there is no validation image.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        channels: str | Decoder,
        settings: DecodeSettings,
        *,
        metric: str = "pq",
        iou: float = 0.5,
        steps: Steps | None = None,
    ) -> None:
        self.examples = items(examples, "examples", of_class(Example))
        if all(example.training for example in self.examples):
            raise UserError(
                "examples: got no image, or only training images, expected a validation image",
                "give an example with training=False",
                "tuning.no_image",
            )
        check_goal(metric, iou)
        self.decoder = as_decoder(channels)
        self.settings = instance(settings, "settings", DecodeSettings)
        if steps is not None:
            instance(steps, "steps", Steps)
        self.metric = metric
        self.iou = float(iou)
        self.steps = steps or Steps()
        self.n_expected = 0  # approximate number of trials of a search, after its start
        self._cache: dict[int, tuple[Maps, Array]] = {}
        self._free_bytes = _MAX_CACHE
        self._lock = threading.Lock()
        self._decoded: OrderedDict[tuple[Any, ...], list[Instances]] = OrderedDict()

    def names(self) -> list[str]:
        """Return the names of the images."""
        return [example.name for example in self.examples]

    def maps(self, image: int = 0) -> tuple[Maps, Array]:
        """Return the predicted maps and the ground truth of an image, from a cache if possible."""
        with self._lock:
            if image in self._cache:
                return self._cache[image]
        maps, truth = self.examples[image].read()
        size = sum(values.nbytes for values in maps.values()) + truth.nbytes
        with self._lock:
            if image not in self._cache and size <= self._free_bytes:
                self._free_bytes -= size
                self._cache[image] = maps, truth
        return maps, truth

    def decode(self, thresholds: Mapping[str, Any], image: int = 0) -> tuple[Array, Match]:
        """Decode an image with all steps, and score the instances.

        Parameters
        ----------
        thresholds : mapping
            Thresholds by configuration key without prefix; the others are as configured.
        image : int
            Index in `examples`.

        Returns
        -------
        labels : ndarray of unsigned int, (y, x) or (z, y, x)
            Label image after all steps.
        scores : Match
            Scores at the IoU of the tuner: f1, panoptic_quality, precision, recall, tp, fp, fn …

        Raises
        ------
        UserError
            A key is unknown, or a value is not allowed.
        """
        decoded = self.decoded(thresholds, image)
        labels = self._final(decoded.labels, image)
        return labels, self._match(image, labels)

    def _match(self, image: int, labels: Array) -> Match:
        """Return the scores of a label image of an image."""
        return match_overlap(overlap(self.maps(image)[1], labels), (self.iou,))[0]

    def decoded(self, thresholds: Mapping[str, Any], image: int = 0) -> Decoded:
        """Decode an image without later steps; the result has the seeds and the thresholds."""
        return self._decode(self.settings.changed(thresholds), image)

    def score(self, thresholds: Mapping[str, Any]) -> Trial:
        """Decode and score every image.

        Parameters
        ----------
        thresholds : mapping
            As for `decode`.

        Raises
        ------
        UserError
            ``tuning.not_annotated``: no validation image has annotated pixels.
        """
        settings = self.settings.changed(thresholds)
        if self._can_filter(settings):
            filters = self.decoder.filters
            limits = {key: settings.thresholds[key] for key in filters}
            limits = {key: limit for key, limit in limits.items() if limit != filters[key]}
            sizes = (settings.remove_small, settings.min_border_pixels)
            matches = [
                match_overlap(instances.remaining(*sizes, limits), (self.iou,))[0]
                for instances in self._instances(thresholds)
            ]
        else:
            matches = self._each(
                lambda image: self._match(
                    image, self._final(self._decode(settings, image).labels, image)
                )
            )
        pairs = list(zip(self.examples, matches, strict=True))
        total = match_dataset([[m] for e, m in pairs if not e.training], by_image=True)[0]
        if not total.n_images:
            raise UserError(
                "examples: no validation image is annotated, expected an image with labels other "
                "than -1",
                "annotate objects in a validation image",
                "tuning.not_annotated",
            )
        value = float(getattr(total, METRICS[self.metric]))
        if any(example.training for example in self.examples):
            scored = [(e.weight, m) for e, m in pairs if m.n_images]
            values = [getattr(m, METRICS[self.metric]) for _, m in scored]
            value = float(np.average(values, weights=[weight for weight, _ in scored]))
        return Trial(dict(thresholds), value, total, tuple(matches))

    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Return the keys of the thresholds that are searched together; see `Decoder`."""
        into_contour = self.settings.grow_into_contour
        return self.decoder.threshold_groups(into_contour=into_contour)

    def parameters(self) -> tuple[Parameter, ...]:
        """Return all parameters of the search."""
        first, *others = self.groups()
        keys = [*first, *chain(*others)]
        pixels = sum(int(np.prod(example.shape)) for example in self.examples)
        trials = min(_MAX_TRIALS, max(_MIN_TRIALS, _GRID_PIXELS / max(pixels, 1)))
        points = max(3, min(9, int(trials ** (1 / max(len(first), 1)) + 1e-9)))
        thresholds = [threshold_parameter(key, points, self._distances(key)) for key in keys]
        sizes = np.concatenate(self._each(lambda i: object_sizes(self.maps(i)[1])))
        return (*thresholds, size_parameter(sizes, self.settings.remove_small))

    def start(self) -> dict[str, float]:
        """Return the configured values; automatic thresholds have their mean over the images."""
        used = self._each(lambda image: self._decode(self.settings, image).thresholds)
        means = {key: float(np.mean([values[key] for values in used])) for key in used[0]}
        return {**means, SIZE: self.settings.remove_small}

    def search(
        self, report_progress: Callable[[int, float], None] | None = None
    ) -> tuple[list[Trial], Trial]:
        """Search the best thresholds and the best minimum size.

        Parameters
        ----------
        report_progress : callable, optional
            Function that receives the number of trials and the best value, after each trial.

        Returns
        -------
        trials : list of Trial
            Trials in their order; the first has the configured thresholds.
        best : Trial
            Best trial; the first one if no trial is better. The search ends after its grids if all
            values are 0.
        """
        trials = [self.score({})]
        by_point: dict[tuple[float, ...], Trial] = {}

        def evaluate(point: dict[str, float]) -> float:
            trials.append(self.score({"TH_TYPE": "manual", **point}))
            by_point[tuple(point.values())] = trials[-1]
            if report_progress is not None:
                report_progress(len(trials), max(trial.value for trial in trials))
            return trials[-1].value

        search = Search(evaluate, self.parameters(), self.start())
        cheap = [SIZE] if self._can_filter(self.settings) else []
        first, *others = self.groups()
        grids = [[*first, *cheap], *([*group, *cheap] for group in others if group)]
        grids += [] if cheap else [[SIZE]]
        self.n_expected = search.expected_evaluations(grids)
        for keys in grids:
            search.grid(keys)
        if max(trial.value for trial in trials) <= 0:
            return trials, trials[0]  # nothing to refine: no setting finds an object
        search.refine()
        search.center()
        search.center(search.plane())
        best = by_point[tuple(search.best.point.values())]
        return trials, best if best.value > trials[0].value else trials[0]

    def _decode(self, settings: DecodeSettings, image: int) -> Decoded:
        example, change = self.examples[image], self.steps.seeds
        return decode(
            self.maps(image)[0],
            self.decoder,
            settings=settings,
            spacing=example.spacing,
            seed_filter=(lambda seeds: change(seeds, example.sizes)) if change else None,
        )

    def _final(self, labels: Array, image: int) -> Array:
        change = self.steps.instances
        if change is None:
            return labels
        return change(labels, self.maps(image)[0], self.examples[image].sizes)

    def _can_filter(self, settings: DecodeSettings) -> bool:
        """Return True if instances can be removed from the table of overlaps."""
        removes_seeds = settings.remove_before and self.decoder.removes_seeds
        return not removes_seeds and self.steps.instances is None

    def _instances(self, thresholds: Mapping[str, Any]) -> list[Instances]:
        """Return the instances of each image before any are removed."""
        removing = {SIZE: 0, **self.decoder.filters}
        rest = {key: value for key, value in thresholds.items() if key not in removing}
        key = tuple(sorted((name, str(value)) for name, value in rest.items()))
        if key not in self._decoded:
            settings = self.settings.changed({**rest, **removing})

            def decoded(image: int) -> Instances:
                maps, truth = self.maps(image)
                labels = self._decode(settings, image).labels
                values: dict[str, Array] = {}
                if self.decoder.filters:
                    prepared, spacing = self.decoder.prepare(maps), self.examples[image].spacing
                    values = self.decoder.filtered_values(labels, prepared, spacing)
                return Instances(overlap(truth, labels), labels_at_border(labels), values)

            self._decoded[key] = self._each(decoded)
            while len(self._decoded) > _MAX_TABLES:
                self._decoded.popitem(last=False)
        return self._decoded[key]

    def _each(self, function: Callable[[int], Any]) -> list[Any]:
        """Return the result of a function for each image, computed in threads."""
        count = len(self.examples)
        workers = min(available_cores(), count)
        if workers == 1:
            return [function(image) for image in range(count)]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(function, range(count)))

    def _distances(self, key: str) -> Array | None:
        """Return predicted distances inside objects; None if they do not determine the search."""
        threshold = THRESHOLDS[key]
        if threshold.high is not None or threshold.search_range is not None:
            return None
        used = [code for code in threshold.channels if code in self.decoder.channels]
        if not used or CHANNELS[used[0]].inside is None:
            return None

        def sample(image: int) -> Array:
            maps, truth = self.maps(image)
            values = maps[used[0]][truth > 0]
            return values[:: max(1, values.size // 20000)]

        return np.concatenate(self._each(sample))

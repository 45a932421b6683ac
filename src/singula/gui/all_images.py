"""Thresholds on all test images of a run: their mean scores, and a new test with them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from singula.errors import UserError
from singula.gui.control import Control
from singula.gui.guard import Guard
from singula.gui.results import Results
from singula.gui.retune import Retune
from singula.gui.save_thresholds import named_thresholds
from singula.io.run_folder import RETEST_FILE
from singula.io.write import write_text
from singula.metrics import Score, match_dataset
from singula.pipeline.run import Job
from singula.pipeline.thresholds import configured
from singula.runs.run import Stage
from singula.util.messages import captured_messages

_MAX_CACHE = 1 << 30  # bytes of maps in memory


@dataclass(frozen=True)
class MeanOutcome:
    """Objects and mean scores of all images for one set of thresholds.

    Parameters
    ----------
    n_images : int
        Number of images that were decoded.
    count : int
        Number of objects in all images.
    scores : list of Score
        Means over the images with annotated pixels, at each IoU threshold; may be empty.
    """

    n_images: int
    count: int
    scores: list[Score]


@dataclass
class AllImages:
    """Decoder of the stored maps of all images of a run.

    Parameters
    ----------
    results : Results
        Results of the run.
    stage : Stage
        Stage of the instances.
    """

    results: Results
    stage: Stage
    missing: set[str] = field(default_factory=set)
    n_done: int = 0
    _cache: OrderedDict[str, Retune] = field(default_factory=OrderedDict)
    _before: dict[str, tuple[int, list[Score]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def names(self) -> list[str]:
        """Names of the images with stored maps."""
        names = self.results.run.image_names(self.stage)
        return [name for name in names if name not in self.missing]

    def outcome(
        self,
        values: Mapping[str, float],
        *,
        is_current: Callable[[], bool] = lambda: True,
    ) -> MeanOutcome | None:
        """Decode and score all images; `n_done` is the number of images that are done.

        Parameters
        ----------
        values : mapping of str to float
            Thresholds by key in ``PROBLEM.INSTANCE_SEG``; empty for those of the run.
        is_current : callable
            Called before each image; if it returns False, the result is None.
        """
        with self._lock:  # pages use several threads
            outcomes: list[tuple[int, list[Score]]] = []
            for name in self.names:
                self.n_done = len(outcomes)
                if not is_current():
                    return None
                try:
                    outcomes.append(self._outcome(name, values))
                except UserError:  # its maps are missing
                    self.missing.add(name)
        scored = [scores for _, scores in outcomes if scores]
        means = match_dataset(scored, by_image=True) if scored else []
        return MeanOutcome(len(outcomes), sum(count for count, _ in outcomes), means)

    def _outcome(self, name: str, values: Mapping[str, float]) -> tuple[int, list[Score]]:
        """Return the number of objects and the scores of an image."""
        if not values and name in self._before:
            return self._before[name]
        outcome = self._open(name).decode(values)
        if not values:
            self._before[name] = outcome.count, outcome.scores
        return outcome.count, outcome.scores

    def _open(self, name: str) -> Retune:
        """Return the decoder of an image; the last ones remain in memory."""
        if name in self._cache:
            self._cache.move_to_end(name)
            return self._cache[name]
        retune = Retune(self.results, name, self.stage)
        self._cache[name] = retune
        while len(self._cache) > 1 and sum(map(_n_bytes, self._cache.values())) > _MAX_CACHE:
            self._cache.popitem(last=False)
        return retune


def _n_bytes(retune: Retune) -> int:
    return sum(values.nbytes for values in retune.maps.values())


def apply_to_all(
    results: Results, values: Mapping[str, float], guard: Guard, control: Control
) -> Path:
    """Test all images of a run again with other thresholds, and return the folder of the run.

    The stored predictions are decoded again in a separate process. Label images, tables, scores and
    report are replaced; the earlier ones are moved to ``previous/``. If another job is in
    progress, the test waits for it.

    Parameters
    ----------
    results : Results
        Results of the run.
    values : mapping of str to float
        Thresholds by key in ``PROBLEM.INSTANCE_SEG``.
    guard : Guard
        Folders that the interface may open.
    control : Control
        Control of runs.

    Raises
    ------
    UserError
        The codes of `Control.start`; the checkpoint of the run is missing.
    """
    from singula.tuning import find_run
    from singula.tuning.run import retest_config

    tree = results.run.tree
    with captured_messages():
        run = find_run(tree.run)
    config = retest_config(run, {**configured(run.config), **named_thresholds(values)})
    path = guard.check(tree.tuning / RETEST_FILE)
    control.check_idle(tree.run)  # its process reads the present file
    write_text(path, "# Test with other thresholds of the page Tune\n" + config.to_yaml())
    return control.start(Job(path, tree.job_dir.parent, tree.name, tree.run_id))

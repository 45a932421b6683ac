"""Test of a run: the loop over the test images, shared by tests in memory and in blocks."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from singula.config import Config
from singula.errors import UserError
from singula.io.pairing import Pair
from singula.io.run_folder import ResultsTree
from singula.pipeline.map_cache import set_results_aside
from singula.pipeline.normalization import with_statistics
from singula.pipeline.overlap import attempt
from singula.pipeline.postprocess import post_settings
from singula.pipeline.results import TestResults
from singula.pipeline.test_inputs import TestInputs
from singula.pipeline.thresholds import apply_tuned, threshold_lines
from singula.training.checkpoint import Checkpoint, load_checkpoint
from singula.training.processes import world_and_rank
from singula.util.messages import is_new

if TYPE_CHECKING:
    from singula.training.device import Device

_log = logging.getLogger(__name__)

Messages = Generator[tuple[str, str]]


@dataclass(frozen=True)
class Tested:
    """Result of the test of one image.

    Parameters
    ----------
    results : TestResults
        Scores and tables of the image.
    message : str
        Description of the result.
    notices : sequence of str
        Notices of the decoder, of which each is reported once in a test.
    """

    results: TestResults
    message: str
    notices: Sequence[str] = ()


@dataclass
class TestRun(ABC):
    """Test of the images of a run.

    An image that cannot be read or does not fit into memory is recorded in `failed`, and the test
    continues with the next image. Errors of the results folder end the test.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.
    device : Device
        Device of the network.
    resume : bool
        Skip images that an earlier run finished with the same weights and settings.

    Attributes
    ----------
    failed : dict of str to str
        Error message of each failed image, by name.
    sources : dict of str to (str, str or None)
        Files of each image and its labels, by name.
    results : TestResults
        Results of the finished images.
    """

    __test__ = False  # not a test case of pytest

    config: Config
    tree: ResultsTree
    device: Device
    resume: bool = False
    failed: dict[str, str] = field(default_factory=dict, init=False)
    sources: dict[str, tuple[str, str | None]] = field(default_factory=dict, init=False)
    results: TestResults = field(init=False)
    inputs: TestInputs = field(init=False)

    def __post_init__(self) -> None:
        """Create the inputs and the empty results."""
        self.inputs = self._open_inputs()
        self.results = TestResults(self.config, self.tree, post_settings(self.config))

    def run(self) -> TestRun:
        """Predict, decode and score all test images, and return the run."""
        pairs = self._find_pairs()
        self.sources = {p.name: (str(p.image), str(p.label) if p.label else None) for p in pairs}
        checkpoint = self._load_checkpoint(pairs)
        self._use_tuned_thresholds(checkpoint)
        n_images, messages = self._prepare(pairs, checkpoint)
        del checkpoint  # the network has its weights
        if self.is_main:  # after all checks that can raise a UserError
            self._set_aside(pairs)
        with closing(messages):
            for number, (name, message) in enumerate(messages, 1):
                if self.reports_images:
                    _log.info(f"[{number}/{n_images}] {name}: {message}")
        self.results.sort(list(self.sources))
        return self

    @property
    def is_main(self) -> bool:
        """True in the process that decodes and writes the results."""
        return world_and_rank()[1] == 0

    @property
    def reports_images(self) -> bool:
        """True if the thresholds and each finished image are reported."""
        return True

    @abstractmethod
    def _open_inputs(self) -> TestInputs:
        """Return the reader of the test images."""

    @abstractmethod
    def _load_checkpoint(self, pairs: Sequence[Pair]) -> Checkpoint | None:
        """Return the weights; None if all predictions are reused."""

    @abstractmethod
    def _prepare(self, pairs: list[Pair], checkpoint: Checkpoint | None) -> tuple[int, Messages]:
        """Validate the inputs of the test before earlier results are moved.

        Returns
        -------
        n_images : int
            Number of images to test.
        messages : generator of (str, str)
            Tests the images, and yields the name of each and a description of its result.
        """

    def _find_pairs(self) -> list[Pair]:
        """Return the valid images, and record the others as failed."""
        pairs, self.failed = self.inputs.find()
        return pairs

    def _load(self, path: Path) -> Checkpoint:
        checkpoint = load_checkpoint(path, report=True)
        return with_statistics(self.config, checkpoint)

    def _use_tuned_thresholds(self, checkpoint: Checkpoint | None) -> None:
        """Use the thresholds saved with the weights, unless the configuration sets them."""
        description = {} if checkpoint is None else checkpoint.description
        self.config, notices = apply_tuned(self.config, description)
        self.results.config = self.config
        if self.reports_images:
            notices += threshold_lines(self.config)
        for line in notices:
            _log.info(line)

    def _set_aside(self, pairs: Sequence[Pair]) -> None:
        """Move the results of an earlier test, unless this test continues it."""
        if not self.resume:
            set_results_aside(self.tree, keep_maps=self.config.TEST.REUSE_PREDICTIONS)

    def _attempt(self, name: str, test: Callable[[TestResults], str]) -> str:
        """Test an image, and return a description of its result, or of its error.

        Parameters
        ----------
        name : str
            Name of the image.
        test : callable
            Adds the image to the given results, which are empty, and returns a description.
        """
        results = self.results.empty()
        outcome = attempt(name, lambda: Tested(results, test(results)))
        return self._add(name, outcome.value, outcome.error)

    def _add(self, name: str, tested: Tested | None, error: UserError | None) -> str:
        """Add an image to the results, or to `failed`, and return a description."""
        if error is not None:
            self.failed[name] = str(error)
            return f"FAILED: {error}"
        if tested is None:
            raise RuntimeError("an image without a result")
        self.results.add(tested.results)
        for notice in tested.notices:
            if is_new(notice):
                _log.warning(f"{name}: {notice}")
        return tested.message

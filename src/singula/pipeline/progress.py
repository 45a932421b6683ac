"""Record of the finished images of a test, for ``--resume``."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path

from singula.config import Config
from singula.io.atomic import write_error
from singula.io.files import change_stamp
from singula.io.record_files import append_line, read_lines
from singula.io.records.results import ImageResult, ProgressLine, ScoreRecord
from singula.io.written import make_way
from singula.metrics import Score
from singula.pipeline.results import TestResults
from singula.util.slurm import record_progress

# Keys that do not change how an image is predicted, decoded or scored
_IRRELEVANT = ("SYSTEM.", "TRAIN.", "LOG.", "AUGMENTOR.", "DATA.TRAIN.", "DATA.VAL.", "LOSS.")


def settings_fingerprint(config: Config, checkpoint: Path | None) -> str:
    """Return a hash of the weights and of all keys that affect the test."""
    relevant = {k: v for k, v in config.written().items() if not k.startswith(_IRRELEVANT)}
    digest = hashlib.blake2b(json.dumps(relevant, default=str).encode(), digest_size=16)
    if checkpoint is not None:
        with checkpoint.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def file_stamp(*paths: Path | None) -> str:
    """Return a hash of the sizes and modification times of files."""
    stamps = [(str(p), *change_stamp(p)) for p in paths if p is not None]
    return hashlib.blake2b(repr(stamps).encode(), digest_size=8).hexdigest()


class Progress:
    """File with one line per finished image, to which lines are only appended.

    Parameters
    ----------
    path : Path
        The file.
    fingerprint : str
        Result of `settings_fingerprint`. Lines with another fingerprint are ignored.
    resume : bool
        Use the lines of an earlier run; otherwise delete the file.
    """

    def __init__(self, path: Path, fingerprint: str, *, resume: bool) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.done: dict[str, ProgressLine] = {}
        self._lock = threading.Lock()  # several threads add images
        if not resume:
            _delete(path)
            return
        for line in read_lines(path, ProgressLine):
            if line.fingerprint == fingerprint:
                self.done[line.image] = line

    def restore(self, image: str, stamp: str, results: TestResults) -> bool:
        """Restore the result of a finished image, and return True if it is up to date.

        Parameters
        ----------
        image : str
            Name of the image.
        stamp : str
            Result of `TestInputs.stamp`.
        results : TestResults
            Results to which the image is added.
        """
        entry = self.done.get(image)
        if entry is None or entry.stamp != stamp:
            return False
        if not all(Path(p).is_file() for p in entry.files) or not _has_all_scores(entry, results):
            return False
        restore_result(image, entry, results)
        return True

    def add(self, image: str, stamp: str, results: TestResults, files: list[Path]) -> None:
        """Append the result of a finished image, with the files that must exist to reuse it."""
        result = result_of(image, results)
        line = ProgressLine(
            image=image,
            fingerprint=self.fingerprint,
            stamp=stamp,
            files=[str(p) for p in files],
            **dict(result),
        )
        with self._lock:
            append_line(self.path, line)
        record_progress()


def _delete(path: Path) -> None:
    try:
        make_way(path)
        path.unlink(missing_ok=True)
    except OSError as error:  # for example, the path is a folder
        raise write_error(path, error) from error


def _has_all_scores(result: ImageResult, results: TestResults) -> bool:
    """Return True if every list of scores has the configured thresholds."""
    configured = sorted(results.config.TEST.MATCHING_STATS_THS)
    lists = (*result.matches.values(), *result.classes.values())
    return all(sorted(s.threshold for s in scores) == configured for scores in lists)


def result_of(image: str, results: TestResults) -> ImageResult:
    """Return the record of the result of an image."""
    scores = results.scores
    return ImageResult(
        instances=results.instances[image],
        thresholds=results.thresholds[image],
        overlay=str(results.overlays[image]),
        maps=scores.maps.get(image, {}),
        matches={v: _records(m[image]) for v, m in scores.matches.items() if image in m},
        classes={
            f"{v}/{n}": _records(m[image]) for (v, n), m in scores.classes.items() if image in m
        },
    )


def restore_result(image: str, result: ImageResult, results: TestResults) -> None:
    """Add the stored result of an image to the results of a test."""
    results.instances[image] = result.instances
    results.thresholds[image] = dict(result.thresholds)
    results.overlays[image] = Path(result.overlay)
    if result.maps:
        results.scores.maps[image] = dict(result.maps)
    for view, scores in result.matches.items():
        results.scores.matches.setdefault(view, {})[image] = _scores(scores)
    for text, scores in result.classes.items():
        view, number = text.rsplit("/", 1)
        results.scores.classes.setdefault((view, int(number)), {})[image] = _scores(scores)


def _records(scores: Sequence[Score]) -> list[ScoreRecord]:
    return [ScoreRecord(**{f: getattr(s, f) for f in ScoreRecord.model_fields}) for s in scores]


def _scores(records: Sequence[ScoreRecord]) -> list[Score]:
    return [Score(**dict(record)) for record in records]

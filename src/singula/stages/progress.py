"""What is done of a test, image by image, so that a second run can skip it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from singula.config import Config
from singula.evaluate import Score
from singula.io.atomic import write_error
from singula.io.files import change_stamp
from singula.io.record_files import append_line, read_lines
from singula.io.records import ImageResult, ProgressLine, ScoreRecord
from singula.stages.finish import Finish
from singula.stages.score import Scores

# Keys that change nothing about how an image is predicted, decoded or scored.
_IRRELEVANT = ("SYSTEM.", "TRAIN.", "LOG.", "AUGMENTOR.", "DATA.TRAIN.", "DATA.VAL.", "LOSS.")


def settings_fingerprint(config: Config, checkpoint: Path | None) -> str:
    """Hash of the weights and of every key that matters for the test."""
    relevant = {k: v for k, v in config.written().items() if not k.startswith(_IRRELEVANT)}
    digest = hashlib.blake2b(json.dumps(relevant, default=str).encode(), digest_size=16)
    if checkpoint is not None:
        with checkpoint.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def file_stamp(*paths: Path | None) -> str:
    """Size and time of files, which tell whether they were changed."""
    found = [(str(p), *change_stamp(p)) for p in paths if p is not None]
    return hashlib.blake2b(repr(found).encode(), digest_size=8).hexdigest()


class Progress:
    """A file of lines, one per finished image; only ever appended to.

    Parameters
    ----------
    path : Path
    fingerprint : str
        Lines that were written under another one do not count.
    resume : bool
        Take the lines that are there; otherwise begin again.
    notify : callable
        Receives a line if lines are damaged; their images are tested again.
    """

    def __init__(
        self, path: Path, fingerprint: str, *, resume: bool, notify: Callable[[str], None]
    ) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.done: dict[str, ProgressLine] = {}
        if not resume:
            _delete(path)
            return
        for line in read_lines(path, ProgressLine, notify):
            if line.fingerprint == fingerprint:
                self.done[line.image] = line

    def restore(self, image: str, stamp: str, finish: Finish) -> bool:
        """Put what is known of a finished image back; False when it has to be done (again)."""
        entry = self.done.get(image)
        if entry is None or entry.stamp != stamp:
            return False
        if not all(Path(p).is_file() for p in entry.files) or not _has_all_scores(entry, finish):
            return False
        put_back(image, entry, finish)
        return True

    def add(self, image: str, stamp: str, finish: Finish, files: list[Path]) -> None:
        """Append a finished image."""
        found = result_of(image, finish)
        line = ProgressLine(
            image=image,
            fingerprint=self.fingerprint,
            stamp=stamp,
            files=[str(p) for p in files],
            **dict(found),
        )
        append_line(self.path, line)


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # a folder
        raise write_error(path, error) from error


def _has_all_scores(result: ImageResult, finish: Finish) -> bool:
    """Return True if every list of scores has the configured thresholds."""
    wanted = sorted(finish.config.TEST.MATCHING_STATS_THS)
    lists = (*result.matches.values(), *result.classes.values())
    return all(sorted(s.threshold for s in scores) == wanted for scores in lists)


def result_of(image: str, finish: Finish) -> ImageResult:
    """Return what a test found out about an image."""
    scores = finish.scores
    return ImageResult(
        instances=finish.instances[image],
        thresholds=finish.thresholds[image],
        overlay=str(finish.overlays[image]),
        maps=scores.maps.get(image, {}),
        matches={v: _records(m[image]) for v, m in scores.matches.items() if image in m},
        classes={
            f"{v}/{n}": _records(m[image]) for (v, n), m in scores.classes.items() if image in m
        },
    )


def put_back(image: str, result: ImageResult, finish: Finish) -> None:
    """Add the result of an image to those of a test."""
    finish.instances[image] = result.instances
    finish.thresholds[image] = dict(result.thresholds)
    finish.overlays[image] = Path(result.overlay)
    if result.maps:
        finish.scores.maps[image] = dict(result.maps)
    for view, scores in result.matches.items():
        finish.scores.matches.setdefault(view, {})[image] = _scores(scores)
    for text, scores in result.classes.items():
        view, number = text.rsplit("/", 1)
        finish.scores.classes.setdefault((view, int(number)), {})[image] = _scores(scores)


def _records(scores: Sequence[Score]) -> list[ScoreRecord]:
    return [ScoreRecord(**{f: getattr(s, f) for f in ScoreRecord.model_fields}) for s in scores]


def _scores(records: Sequence[ScoreRecord]) -> list[Score]:
    return [Score(**dict(record)) for record in records]


def forget(scores: Scores, image: str) -> None:
    """Take an image that failed half-way out of the scores."""
    scores.maps.pop(image, None)
    for matches in (*scores.matches.values(), *scores.classes.values()):
        matches.pop(image, None)

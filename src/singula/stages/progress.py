"""What is done of a test, image by image, so that a second run can skip it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from singula.config import Config
from singula.evaluate import Score
from singula.io.atomic import make_folder, write_error
from singula.io.files import change_stamp
from singula.io.written import record
from singula.stages.finish import Finish
from singula.stages.score import Scores

# Keys that change nothing about how an image is predicted, decoded or scored.
_IRRELEVANT = ("SYSTEM.", "TRAIN.", "LOG.", "AUGMENTOR.", "DATA.TRAIN.", "DATA.VAL.", "LOSS.")
_SCORE_FIELDS = tuple(f.name for f in fields(Score))


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
        Take the lines that are there. Otherwise `set_results_aside` moves the file.
    """

    def __init__(self, path: Path, fingerprint: str, *, resume: bool) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.done: dict[str, dict[str, Any]] = {}
        if resume and path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._take(line)

    def _take(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:  # the line at which a run was killed
            return
        if entry.get("fingerprint") == self.fingerprint:
            self.done[entry["image"]] = entry

    def restore(self, image: str, stamp: str, finish: Finish) -> bool:
        """Put what is known of a finished image back; False when it has to be done (again)."""
        entry = self.done.get(image)
        if entry is None or entry["stamp"] != stamp:
            return False
        files = [Path(p) for p in entry["files"]]
        if not all(p.is_file() for p in files):
            return False
        put_back(image, entry, finish)
        return True

    def add(self, image: str, stamp: str, finish: Finish, files: list[Path]) -> None:
        """Append a finished image."""
        entry = {
            "image": image,
            "fingerprint": self.fingerprint,
            "stamp": stamp,
            "files": [str(p) for p in files],
            **found_of(image, finish),
        }
        make_folder(self.path.parent)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
                file.flush()
                os.fsync(file.fileno())
            record(self.path)
        except OSError as error:
            raise write_error(self.path, error) from error


def found_of(image: str, finish: Finish) -> dict[str, Any]:
    """What a test found out about an image, in plain types."""
    scores = finish.scores
    return {
        "instances": finish.instances[image],
        "thresholds": finish.thresholds[image],
        "overlay": str(finish.overlays[image]),
        "maps": scores.maps.get(image, {}),
        "matches": {v: _plain(m[image]) for v, m in scores.matches.items() if image in m},
        "classes": {
            f"{v}/{n}": _plain(m[image]) for (v, n), m in scores.classes.items() if image in m
        },
    }


def put_back(image: str, found: Mapping[str, Any], finish: Finish) -> None:
    """The same way back."""
    finish.instances[image] = found["instances"]
    finish.thresholds[image] = found["thresholds"]
    finish.overlays[image] = Path(found["overlay"])
    if found["maps"]:
        finish.scores.maps[image] = found["maps"]
    for view, scores in found["matches"].items():
        finish.scores.matches.setdefault(view, {})[image] = _scores(scores)
    for text, scores in found["classes"].items():
        view, number = text.rsplit("/", 1)
        finish.scores.classes.setdefault((view, int(number)), {})[image] = _scores(scores)


def _plain(scores: list[Score]) -> list[Mapping[str, float]]:
    return [{name: getattr(s, name) for name in _SCORE_FIELDS} for s in scores]


def _scores(rows: list[dict[str, Any]]) -> list[Score]:
    return [Score(**row) for row in rows]


def forget(scores: Scores, image: str) -> None:
    """Take an image that failed half-way out of the scores."""
    scores.maps.pop(image, None)
    for matches in (*scores.matches.values(), *scores.classes.values()):
        matches.pop(image, None)

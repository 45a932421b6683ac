"""Look through a data set, file by file, then across files."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from singula.arguments import function, instance, items, of_class
from singula.errors import UserError
from singula.inspection.correct import correct_labels
from singula.inspection.files import (
    FileFacts,
    check_image,
    check_label,
    notice_image_values,
    too_large,
)
from singula.inspection.findings import (
    HINT,
    KINDS,
    PROBLEM,
    Finding,
    InspectedPart,
    Inspection,
    finding,
)
from singula.inspection.given import GivenLabels
from singula.inspection.images import fingerprint, notice_leftovers
from singula.inspection.labels import (
    Noticed,
    look,
    notice_classes,
    notice_objects,
    within_bounds,
)
from singula.inspection.pairing import Paired, pair_part
from singula.inspection.settings import InspectSettings
from singula.io.pairs import Pair, with_places
from singula.paths import user_path
from singula.survey import Folders, find_folders
from singula.survey.dataset import decide_ndim
from singula.words import counted

Array = npt.NDArray[Any]
Notify = Callable[[str], None]


def inspect_dataset(
    data: Path | str | Sequence[Folders],
    settings: InspectSettings | None = None,
    *,
    notify: Notify | None = None,
) -> Inspection:
    """Find what is wrong with images and labels.

    Parameters
    ----------
    data : Path, str or sequence of Folders
        The folder of a data set (`singula.survey.find_folders` says how it may be laid out), or
        its parts.
    settings : InspectSettings, optional
    notify : callable, optional
        Told which part is looked at, and how many of its files are done.

    Returns
    -------
    Inspection

    Raises
    ------
    TypeError, UserError
        Wrong arguments; no such folder, no images in it, or a layout that is not known. Whatever is
        wrong with a single file is a finding.

    Notes
    -----
    Every file is read once; time and memory grow with the pixels, not with the objects. Of images
    above 300 million pixels some boxes are looked at, for their values alone; a note says so.
    """
    if settings is None:
        settings = InspectSettings()
    settings = instance(settings, "settings", InspectSettings)
    if notify is not None:
        function(notify, "notify")
    notes: list[str] = []
    folders: Sequence[Folders]
    if isinstance(data, str | os.PathLike):
        path = user_path(data, "data")
        folders, notes = find_folders(path, external_files=settings.external_files)
    else:
        folders = items(data, "data", of_class(Folders))
        if not folders:
            raise UserError(
                "data: got no parts, expected training, validation or test data",
                "give one part or more",
                "check.no_data",
            )
    paired: list[Paired] = []
    for part in folders:  # the training data come first
        paired.append(pair_part(part, paired[0].endings if paired else ()))
    found = [one for part in paired for one in part.found]
    alone = [Pair(one.file, None, one.file.name) for one in found if one.kind == "unpaired"]
    ndim = settings.ndim or _decide_ndim([*(part.pairs for part in paired), alone])
    smallest = settings.smallest or 3**ndim
    parts, facts = [], []
    for part, files in zip(folders, paired, strict=True):
        pairs = tuple(with_places(files.pairs, part.places))
        visit = _Visit(part.name, ndim, smallest, settings)
        for place, pair in enumerate(pairs):
            if notify and place % 25 == 0:
                notify(f"{part.name}: {place} of {counted(len(pairs), 'file')}")
            facts.append(visit.pair(pair))
        facts[len(facts) - len(pairs) :] = visit.with_usual_background(
            facts[len(facts) - len(pairs) :]
        )
        found += _nothing_to_learn(visit) if part.name == "train" else visit.found
        notes += _notes(part.name, facts[len(facts) - len(pairs) :])
        parts.append(
            InspectedPart(part.name, part.images, part.labels, pairs, visit.count, files.channels)
        )
    found += _differing(facts, settings)
    found += _twins(facts, settings)
    order = {kind: place for place, kind in enumerate(KINDS)}
    found.sort(key=lambda one: order[one.kind])
    return Inspection(ndim, tuple(parts), tuple(found), tuple(notes), smallest)


def _decide_ndim(parts: Sequence[Sequence[Pair]]) -> int:
    """Images or volumes, by the first files that can be read."""
    first = [pair for pairs in parts for pair in pairs[:5]]
    try:
        return decide_ndim(first)
    except UserError:
        votes: Counter[int] = Counter()
        for pair in first:
            try:
                votes[decide_ndim([pair])] += 1
            except UserError:
                continue
        if not votes:
            raise
        return votes.most_common(1)[0][0]


def _notes(part: str, facts: Sequence[FileFacts]) -> list[str]:
    """Return the notes on the files of a part, with the number of files."""
    sampled = [
        f"{part}: of {fact.pair.image.name}, {fact.sampled} were looked at, for values alone"
        for fact in facts
        if fact.pair is not None and fact.sampled
    ]
    count = Counter(note for fact in facts for note in fact.notes)
    return sampled + [f"{part}: {note} ({counted(n, 'file')})" for note, n in count.items()]


def _nothing_to_learn(visit: _Visit) -> list[Finding]:
    """Findings of the training data, where images without any object are a problem if all are."""
    if visit.count:
        return visit.found
    remedy = "draw the objects, each with an id of its own: there is nothing to learn from"
    return [
        replace(one, severity=PROBLEM, suggestion=remedy) if one.kind == "empty" else one
        for one in visit.found
    ]


@dataclass
class _Visit:
    """Goes through the pairs of a part and gathers findings."""

    part: str
    ndim: int
    smallest: int
    settings: InspectSettings

    def __post_init__(self) -> None:
        self.found: list[Finding] = []
        self.counts: dict[Path, int] = {}

    @property
    def count(self) -> int:
        """Return the number of objects in all label images that could be read."""
        return sum(self.counts.values())

    def with_usual_background(self, facts: Sequence[FileFacts]) -> list[FileFacts]:
        """Look again at crowded labels, in which the id of the background surrounds nothing.

        If most label images of a part have the same background id, it is also the background of
        the other label images without zeros.
        """
        labeled = [fact.pair for fact in facts if fact.pair and fact.pair.label]
        known = {
            one.label: one.where[0].id
            for one in self.found
            if one.kind == "background" and one.where
        }
        if not known or 2 * len(known) < len(labeled):
            return list(facts)
        usual = Counter(known.values()).most_common(1)[0][0]
        new = []
        for fact in facts:
            pair = fact.pair
            if pair is not None and fact.label_full and pair.label not in known:
                self.found = [one for one in self.found if one.image != pair.image]
                fact = self.pair(pair, usual)
            new.append(fact)
        return new

    def pair(self, pair: Pair, background: int | None = None) -> FileFacts:
        """Inspect an image and its labels, and return the facts to compare across files.

        Parameters
        ----------
        pair : Pair
        background : int, optional
            Id that the background has in other label images of the part.
        """
        settings = self.settings
        image, facts, noticed = check_image(
            pair.image,
            self.ndim,
            settings.channels,
            grey=settings.grey,
            arrays=pair.arrays,
            sized=self.part in settings.sized,
        )
        facts.part, facts.pair = self.part, pair
        self._add(pair.image, pair, noticed)
        given = label_shape = None
        if pair.label is not None:
            given, label_shape, noticed, is_mask = check_label(
                pair.label,
                self.ndim,
                classes=settings.n_classes is not None,
                arrays=pair.label_arrays,
                background=background,
            )
            self._add(pair.label, pair, noticed)
            if given is not None:
                facts.notes += tuple(f"labels: {note}" for note in given.header.notes)
        shape = facts.shape
        if label_shape is not None and shape is not None and label_shape != shape:
            self._mismatch(pair, shape, label_shape)
            image = None
        if shape is not None:
            self._add(pair.image, pair, self._patch(shape))
        ids = None
        if given is not None and pair.label is not None:
            labels = given.labels
            ids = labels[..., 0].copy() if labels.shape[-1] > 1 else labels[..., 0]
            facts.label_channels = labels.shape[-1]
            facts.label_digest = fingerprint(labels)
            facts.label_full = bool(ids.all())
            if not given.usable:
                ids = None
            elif not too_large(label_shape or ()):
                self._labels(pair, ids, given, image, is_mask=is_mask)
        if image is not None:
            self._add(pair.image, pair, notice_image_values(image, ids))
        return facts

    def _labels(
        self, pair: Pair, ids: Array, given: GivenLabels, image: Array | None, *, is_mask: bool
    ) -> None:
        seen, labels = look(ids, is_mask=is_mask), given.labels
        self.counts[pair.image] = len(seen.objects)
        path = pair.label or pair.image
        noticed = notice_objects(seen, self.smallest, self.settings.patch)
        if labels.shape[-1] > 1 and not seen.semantic:
            classes = labels[..., 1]
            noticed += notice_classes(ids, classes, seen, self.settings.n_classes)
        if any(one.fixable for one in noticed):
            done = correct_labels(
                labels, self.smallest, semantic=seen.semantic, each_piece=given.colours > 0
            )
            noticed = [within_bounds(one, done) for one in noticed]
        self._add(path, pair, noticed)
        if image is not None:
            self._add(path, pair, notice_leftovers(image, ids, seen))

    def _patch(self, shape: tuple[int, ...]) -> list[Noticed]:
        patch = self.settings.patch
        small = patch is not None and any(s < p for s, p in zip(shape, patch, strict=True))
        if not small or self.settings.reflect or self.part == "test" or patch is None:
            return []
        return [Noticed("small_image", f"the image is {shape}, the patch {tuple(patch)}")]

    def _mismatch(self, pair: Pair, image: tuple[int, ...], label: tuple[int, ...]) -> None:
        turned = sorted(image) == sorted(label)
        text = f"the image is {image}, its label {label}"
        remedy = "swap the axes of one of them" if turned else None
        self._add(pair.image, pair, [Noticed("shape", text, suggestion=remedy)])

    def _add(self, path: Path, pair: Pair, noticed: Sequence[Noticed]) -> None:
        for one in noticed:
            self.found.append(
                finding(
                    one.kind,
                    self.part,
                    path,
                    one.text,
                    pair=pair,
                    severity=one.severity,
                    suggestion=one.suggestion,
                    count=one.count,
                    where=one.where,
                    fixable=one.fixable,
                )
            )


def _differing(facts: Sequence[FileFacts], settings: InspectSettings) -> list[Finding]:
    """Files of another type, pixel size or number of channels than most."""
    found = []
    for name, words in (
        ("dtype", "is of type"),
        ("spacing", "has the pixel size"),
        ("channels", "has the number of channels"),
        ("label_channels", "has labels with the number of channels"),
    ):
        known = [fact for fact in facts if getattr(fact, name) is not None and fact.pair]
        counts = Counter(getattr(fact, name) for fact in known)
        if len(counts) < 2 or (name == "channels" and settings.channels is not None):
            continue
        usual = counts.most_common(1)[0][0]
        for fact in known:
            value = getattr(fact, name)
            if value != usual and fact.pair is not None:
                text = f"{words} {_show(value)}, most files {_show(usual)}"
                severe = PROBLEM if "channels" in name else None
                kind = "channels" if name == "channels" else "mixed"
                path = fact.pair.image
                if name == "label_channels" and fact.pair.label is not None:
                    path, kind = fact.pair.label, "classes"
                found.append(finding(kind, fact.part, path, text, pair=fact.pair, severity=severe))
    return found


def _show(value: object) -> str:
    return "unknown" if value == "" else str(value)


def _twins(facts: Sequence[FileFacts], settings: InspectSettings) -> list[Finding]:
    """Images whose pixels are those of another file.

    What is predicted without being scored may be known from the training: a hint, and nothing
    where the very file is named for both.
    """
    same: defaultdict[str, list[FileFacts]] = defaultdict(list)
    for fact in facts:
        if fact.digest:
            same[fact.digest].append(fact)
    found = []
    for group in same.values():
        first = group[0]
        for twin in group[1:]:
            if twin.pair is None or first.pair is None:
                continue
            kind = "leakage" if twin.part != first.part else "duplicate"
            differ = bool(twin.label_digest and first.label_digest) and (
                twin.label_digest != first.label_digest
            )
            text = f"the same pixels as {first.part}: {first.pair.image.name}"
            text += ", but other labels" if differ else ""
            severe, remedy = PROBLEM if differ else None, None
            path, pair = twin.pair.image, twin.pair
            scored = settings.scored and pair.label is not None
            if kind == "leakage" and twin.part == "test" and not scored:
                if path.resolve() == first.pair.image.resolve():
                    continue
                severe, remedy = HINT, "fine for a prediction; there are no scores to spoil"
            found.append(
                finding(kind, twin.part, path, text, pair=pair, severity=severe, suggestion=remedy)
            )
    return found

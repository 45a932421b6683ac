"""Inspection of a data set: each file, then the differences between files."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.dataset.annotated import describe_annotation
from singula.dataset.checks.correct import correct_labels
from singula.dataset.checks.files import FileFacts, check_image, check_label
from singula.dataset.checks.findings import (
    HINT,
    KINDS,
    PROBLEM,
    Finding,
    InspectedPart,
    Inspection,
)
from singula.dataset.checks.images import find_saturation, find_unlabeled, fingerprint
from singula.dataset.checks.label_encodings import DecodedLabels
from singula.dataset.checks.labels import (
    explain_uncorrected,
    find_class_issues,
    find_object_issues,
    looks_semantic,
)
from singula.dataset.checks.pairing import Paired, pair_part
from singula.dataset.checks.settings import InspectSettings
from singula.dataset.facts import Folders, Objects, find_folders
from singula.dataset.facts.objects import survey_objects, survey_sparse
from singula.dataset.facts.shapes import ShapeCollector, ShapeSummary
from singula.dataset.scan import count_notes, decide_ndim, is_too_large
from singula.errors import UserError
from singula.io.pairing import Pair, with_places
from singula.io.unannotated import with_masks
from singula.util.arguments import function, instance, items, of_class
from singula.util.format import counted
from singula.util.paths import user_path
from singula.util.sparse_labels import annotated_mask

Array = npt.NDArray[Any]
Report = Callable[[str], None]


def inspect_dataset(
    data: Path | str | Sequence[Folders],
    settings: InspectSettings | None = None,
    *,
    report_progress: Report | None = None,
) -> Inspection:
    """Find problems of images and labels.

    Parameters
    ----------
    data : Path, str or sequence of Folders
        Folder of a data set (see `singula.dataset.facts.find_folders` for the layouts), or its
        parts.
    settings : InspectSettings, optional
        Requirements on the data; by default, those of any data set.
    report_progress : callable, optional
        Receives the number of inspected files of each part.

    Returns
    -------
    Inspection

    Raises
    ------
    TypeError
        An argument has a wrong type.
    UserError
        The folder does not exist, has no images, or has an unknown layout. Errors of single files
        are findings.

    Notes
    -----
    Every file is read once. Time and memory depend on the number of pixels, not of objects. Images
    above 300 million pixels are read in boxes, and only their values are inspected; a note tells
    the user.
    """
    if settings is None:
        settings = InspectSettings()
    settings = instance(settings, "settings", InspectSettings)
    if report_progress is not None:
        function(report_progress, "report_progress")
    notes: list[str] = []
    folders: Sequence[Folders]
    if isinstance(data, str | os.PathLike):
        path = user_path(data, "data")
        folders, notes = find_folders(
            path, external_files=settings.external_files, channel=settings.channel
        )
    else:
        folders = items(data, "data", of_class(Folders))
        if not folders:
            raise UserError(
                "data: got no parts, expected training, validation or test data",
                "give one part or more",
                "check.no_data",
            )
    paired: list[Paired] = []
    for part in folders:  # training data first, whose endings apply to the other parts
        files = pair_part(part, paired[0].endings if paired else ())
        pairs = with_places(files.pairs, part.places)
        paired.append(replace(files, pairs=with_masks(pairs, part.masks, "IGNORE_PATH")))
    findings = [finding for part in paired for finding in part.findings]
    unpaired = [
        Pair(finding.file, None, finding.file.name)
        for finding in findings
        if finding.kind == "unpaired"
    ]
    candidates = [*(part.pairs for part in paired), unpaired]
    ndim = settings.ndim or decide_ndim(candidates, majority=True)
    smallest = settings.smallest or 3**ndim
    parts: list[InspectedPart] = []
    facts: list[FileFacts] = []
    for part, files in zip(folders, paired, strict=True):
        visit = _Visit(part.name, ndim, smallest, settings)
        part_facts = []
        for place, pair in enumerate(files.pairs):
            if report_progress:
                report_progress(f"{part.name}: {place} of {counted(len(files.pairs), 'file')}")
            part_facts.append(visit.pair(pair))
        part_facts = visit.with_usual_background(part_facts)
        findings += _training_findings(visit) if part.name == "train" else visit.findings
        notes += _notes(part.name, part_facts)
        classes = tuple(sorted(visit.classes))
        parts.append(
            InspectedPart(
                part.name,
                part.images,
                part.labels,
                tuple(files.pairs),
                visit.count,
                classes,
                files.channels,
                visit.shape,
            )
        )
        facts += part_facts
    findings += _differing(facts, settings)
    findings += _duplicates(facts, settings)
    order = {kind: place for place, kind in enumerate(KINDS)}
    findings.sort(key=lambda finding: order[finding.kind])
    return Inspection(ndim, tuple(parts), tuple(findings), tuple(notes), smallest)


def _notes(part: str, facts: Sequence[FileFacts]) -> list[str]:
    """Return the notes on the files of a part, with the number of files."""
    sampled = [
        f"{part}: {fact.pair.image.name} is large; only values were inspected, in {fact.sampled}"
        for fact in facts
        if fact.sampled
    ]
    text = describe_annotation([fact.annotated for fact in facts if fact.pair.label is not None])
    sparse = [] if text is None else [f"{part}: {text}"]
    return [
        *sampled,
        *sparse,
        *count_notes(f"{part}: {note}" for fact in facts for note in fact.notes),
    ]


def _training_findings(visit: _Visit) -> list[Finding]:
    """Return the findings of the training data.

    Images without objects are a problem if no training image has objects.
    """
    if visit.count:
        return visit.findings
    remedy = "draw the objects, each with its own id: there is nothing to learn from"
    return [
        replace(finding, severity=PROBLEM, suggestion=remedy)
        if finding.kind == "empty"
        else finding
        for finding in visit.findings
    ]


@dataclass
class _Visit:
    """Inspection of the pairs of one part, with its findings, objects and classes."""

    part: str
    ndim: int
    smallest: int
    settings: InspectSettings
    findings: list[Finding] = field(default_factory=list)
    counts: dict[Path, int] = field(default_factory=dict)
    classes: set[int] = field(default_factory=set)
    objects: dict[Path, tuple[Objects, float, float]] = field(default_factory=dict)

    @property
    def shape(self) -> ShapeSummary | None:
        """Shapes of the objects in all label images that could be read."""
        shapes = ShapeCollector()
        for objects, density, anisotropy in self.objects.values():
            shapes.add(objects, density, anisotropy)
        return shapes.summary()

    @property
    def count(self) -> int:
        """Number of objects in all label images that could be read."""
        return sum(self.counts.values())

    def with_usual_background(self, facts: Sequence[FileFacts]) -> list[FileFacts]:
        """Inspect crowded labels again, in which the id of the background surrounds nothing.

        If most label images of a part have the same background id, it is also the background of
        the other label images without zeros.
        """
        n_labeled = sum(fact.pair.label is not None for fact in facts)
        backgrounds = {
            finding.label: finding.where[0].id
            for finding in self.findings
            if finding.kind == "background" and finding.where
        }
        if not backgrounds or 2 * len(backgrounds) < n_labeled:
            return list(facts)
        usual = Counter(backgrounds.values()).most_common(1)[0][0]
        new = []
        for fact in facts:
            pair = fact.pair
            if fact.label_full and pair.label not in backgrounds:
                self.findings = [f for f in self.findings if f.image != pair.image]
                fact = self.pair(pair, usual)
            new.append(fact)
        return new

    def pair(self, pair: Pair, background: int | None = None) -> FileFacts:
        """Inspect an image and its labels, and return the facts to compare across files.

        Parameters
        ----------
        pair : Pair
            Image and labels.
        background : int, optional
            Id that the background has in other label images of the part.
        """
        facts = FileFacts(self.part, pair)
        image, issues = check_image(facts, self.ndim, self.settings)
        self._add(pair.image, pair, issues)
        shape, given, label_shape = facts.shape, None, None
        if pair.label is not None:
            classes = self.settings.n_classes is not None
            given, label_shape, issues, is_mask = check_label(
                pair, self.ndim, classes=classes, background=background
            )
            self._add(pair.label, pair, issues)
        if label_shape is not None and shape is not None and label_shape != shape:
            self._add(pair.image, pair, [_mismatch(shape, label_shape)])
            image = None
        if shape is not None:
            self._add(pair.image, pair, self._patch(shape))
        ids = None
        if given is not None and pair.label is not None:
            labels = given.labels
            ids = labels[..., 0].copy() if labels.shape[-1] > 1 else labels[..., 0]
            facts.notes += tuple(f"labels: {note}" for note in given.header.notes)
            if given.sparse_ids is not None:
                facts.annotated = float(annotated_mask(given.sparse_ids).mean())
            facts.label_channels = labels.shape[-1]
            facts.label_digest = fingerprint(labels)
            facts.label_full = bool(ids.all())
            if not given.usable:
                ids = None
            elif not is_too_large(label_shape or ()):
                objects = self._labels(pair, ids, given, image, is_mask=is_mask)
                if objects is not None:
                    density = float(objects.npixels.sum() / ids.size)
                    self.objects[pair.image] = objects, density, facts.anisotropy
        if image is not None:
            self._add(pair.image, pair, find_saturation(image, ids))
        return facts

    def _sparse_labels(self, pair: Pair, ids: Array, labels: Array) -> None:
        """Add the findings on labels that are annotated in part.

        Objects that may continue where pixels are not annotated can have any shape. The cross
        section of an object near its end can have any size.
        """
        self.counts[pair.image] = int((np.unique(ids) > 0).sum())
        if not annotated_mask(ids).any():
            return
        objects, is_section = survey_sparse(ids)
        issues = find_object_issues(objects, self.smallest, self.settings.patch)
        kinds = ("large", "empty") if is_section else ("tiny", "large", "empty")
        issues = [issue for issue in issues if issue.kind in kinds]
        if labels.shape[-1] > 1:
            self.classes.update(np.unique(labels[..., 1][labels[..., 1] > 0]).tolist())
        self._add(pair.label or pair.image, pair, [replace(i, fixable=False) for i in issues])

    def _labels(
        self, pair: Pair, ids: Array, given: DecodedLabels, image: Array | None, *, is_mask: bool
    ) -> Objects | None:
        """Add the findings on the objects of a label image; return the objects, if they are whole.

        Masks, and labels that are annotated in part, have no whole objects.
        """
        if given.sparse_ids is not None:
            self._sparse_labels(pair, given.sparse_ids, given.labels)
            return None
        objects, labels = survey_objects(ids), given.labels
        semantic = looks_semantic(objects, is_mask=is_mask)
        self.counts[pair.image] = len(objects)
        path, smallest = pair.label or pair.image, self.smallest
        issues = find_object_issues(objects, smallest, self.settings.patch, semantic=semantic)
        if labels.shape[-1] > 1 and not semantic:
            classes = labels[..., 1]
            issues += find_class_issues(ids, classes, objects, self.settings.n_classes)
            if not given.issues:
                self.classes.update(np.unique(classes[classes > 0]).tolist())
        if any(issue.fixable for issue in issues):
            corrected = correct_labels(
                labels, smallest, semantic=semantic, each_piece=given.n_colors > 0
            )
            issues = [explain_uncorrected(issue, corrected) for issue in issues]
        self._add(path, pair, issues)
        if image is not None and not semantic:
            self._add(path, pair, find_unlabeled(image, ids, objects))
        return None if semantic or not len(objects) else objects

    def _patch(self, shape: tuple[int, ...]) -> list[Finding]:
        """Return a finding if an image is smaller than the patch."""
        patch = self.settings.patch
        if patch is None or self.settings.reflect or self.part == "test":
            return []
        if all(size >= side for size, side in zip(shape, patch, strict=True)):
            return []
        return [Finding("small_image", f"the image is {shape}, the patch {tuple(patch)}")]

    def _add(self, path: Path, pair: Pair, issues: Sequence[Finding]) -> None:
        """Add findings on a file."""
        self.findings += [issue.located(self.part, path, pair) for issue in issues]


def _mismatch(image: tuple[int, ...], label: tuple[int, ...]) -> Finding:
    """Return the finding that image and labels have different shapes."""
    remedy = "swap the axes of one of them" if sorted(image) == sorted(label) else ""
    text = f"got label shape {label}, expected {image} as of the image"
    return Finding("shape", text, suggestion=remedy)


def _differing(facts: Sequence[FileFacts], settings: InspectSettings) -> list[Finding]:
    """Find files with another type, pixel size or number of channels than most files."""
    findings = []
    for name, description in (
        ("dtype", "is of type"),
        ("spacing", "has the pixel size"),
        ("channels", "has the number of channels"),
        ("label_channels", "has labels with the number of channels"),
    ):
        readable = [fact for fact in facts if getattr(fact, name) is not None]
        counts = Counter(getattr(fact, name) for fact in readable)
        if len(counts) < 2 or (name == "channels" and settings.channels is not None):
            continue
        if name == "spacing" and settings.resampled:
            continue
        usual = counts.most_common(1)[0][0]
        for fact in readable:
            value, pair = getattr(fact, name), fact.pair
            if value != usual:
                text = f"{description} {_show(value)}, most files {_show(usual)}"
                severity = PROBLEM if "channels" in name else ""
                kind, path = "channels" if name == "channels" else "mixed", pair.image
                if name == "label_channels" and pair.label is not None:
                    path, kind = pair.label, "classes"
                finding = Finding(kind, text, severity=severity)
                findings.append(finding.located(fact.part, path, pair))
    return findings


def _show(value: object) -> str:
    """Return a value as text."""
    return "unknown" if value == "" else str(value)


def _duplicates(facts: Sequence[FileFacts], settings: InspectSettings) -> list[Finding]:
    """Find images with the same pixels as another file.

    In a test without scores, training images are only a hint, and no finding if the configuration
    gives the same file twice.
    """
    same: defaultdict[str, list[FileFacts]] = defaultdict(list)
    for fact in facts:
        if fact.digest:
            same[fact.digest].append(fact)
    findings = []
    for group in same.values():
        first = group[0]
        for duplicate in group[1:]:
            pair = duplicate.pair
            kind = "leakage" if duplicate.part != first.part else "duplicate"
            differ = bool(duplicate.label_digest and first.label_digest) and (
                duplicate.label_digest != first.label_digest
            )
            text = f"the same pixels as {first.part}: {first.pair.image.name}"
            text += ", but other labels" if differ else ""
            severity, remedy = PROBLEM if differ else "", ""
            scored = settings.scored and pair.label is not None
            if kind == "leakage" and duplicate.part == "test" and not scored:
                if pair.image.resolve() == first.pair.image.resolve():
                    continue
                severity, remedy = HINT, "no problem for a prediction without scores"
            finding = Finding(kind, text, severity=severity, suggestion=remedy)
            findings.append(finding.located(duplicate.part, pair.image, pair))
    return findings

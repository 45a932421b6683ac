"""Check of a data set by the wizard: progress, cancellation, findings and corrected copies."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from singula.dataset.checks import (
    HINT,
    KINDS,
    PROBLEM,
    Finding,
    FixReport,
    Inspection,
    InspectSettings,
    inspect_dataset,
    write_fixed,
)
from singula.dataset.checks.pairing import pair_part
from singula.dataset.checks.pictures import finding_pictures
from singula.dataset.checks.text import count_findings, extent
from singula.dataset.facts import Folders
from singula.dataset.scan import decide_ndim, scan_pair
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.wizard import Sample, samples
from singula.gui.wording import page_text
from singula.io.pairing import Pair
from singula.report.overlay import encode_png
from singula.util.format import counted
from singula.util.free_names import free_name

DIMENSIONS = {2: "Single images (2D)", 3: "Z-stacks (3D)"}
"""Names of the numbers of spatial dimensions."""
_MAX_PICTURES, _MAX_CACHED, _FILES_TO_DECIDE = 6, 4, 5
_WAIT_SECONDS = 0.2


class CheckCanceledError(Exception):
    """A check was canceled."""


@dataclass(frozen=True)
class FindingGroup:
    """Findings of one kind and severity.

    Parameters
    ----------
    title : str
        Heading.
    severity : {'problem', 'hint'}
        See `singula.dataset.checks.Kind`.
    extent : str
        Number of files, and of objects if they are counted.
    rows : tuple of (str, str)
        Name of the file and description of each finding.
    advice : tuple of str
        Different remedies.
    n_fixable : int
        Number of findings that a corrected copy does not have.
    pictures : tuple of Sample
        Pictures of some findings.
    """

    title: str
    severity: str
    extent: str
    rows: tuple[tuple[str, str], ...]
    advice: tuple[str, ...]
    n_fixable: int
    pictures: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class CheckedData:
    """Result of a check.

    Parameters
    ----------
    parts : tuple of Folders
        Parts of the data set.
    notes : tuple of str
        Notices about the layout.
    shown : dict of str to list of Sample
        Pictures of some images by name of the part.
    inspection : Inspection
        Result of the inspection.
    groups : tuple of FindingGroup
        Findings, problems first.
    """

    parts: tuple[Folders, ...]
    notes: tuple[str, ...]
    shown: dict[str, list[Sample]]
    inspection: Inspection
    groups: tuple[FindingGroup, ...]

    @property
    def is_usable(self) -> bool:
        """True if no problem prevents a training: the remaining problems make it worse."""
        return not any(finding.unusable for finding in self.inspection.problems)

    @property
    def classes(self) -> int:
        """Number of kinds of objects that the labels distinguish."""
        return max((max(part.classes, default=1) for part in self.inspection.parts), default=1)

    @property
    def verdict(self) -> str:
        """Numbers of problems and hints."""
        if not self.inspection.findings:
            return "No problems: the data are fine."
        return count_findings(self.inspection)


Fingerprint = tuple[object, ...]


@dataclass
class CheckCache:
    """Results of the last checks, for pages that are loaded again."""

    _results: OrderedDict[Fingerprint, CheckedData] = field(default_factory=OrderedDict)
    _running: dict[Fingerprint, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def running(self, key: Fingerprint) -> threading.Lock:
        """Return the lock that a check of these files holds."""
        with self._lock:
            return self._running.setdefault(key, threading.Lock())

    def get(self, key: Fingerprint) -> CheckedData | None:
        """Return the result for a fingerprint of files, or None."""
        with self._lock:
            return self._results.get(key)

    def put(self, key: Fingerprint, result: CheckedData) -> None:
        """Store a result, and remove the oldest if there are many."""
        with self._lock:
            self._results[key] = result
            while len(self._results) > _MAX_CACHED:
                self._running.pop(self._results.popitem(last=False)[0], None)


@dataclass
class DataCheck:
    """Check that runs in a thread, while a page shows its progress.

    Parameters
    ----------
    recognize : callable
        Return the parts of the data set and notices about its layout.
    ndim : {2, 3}, optional
        Number of spatial dimensions that the user chose; by default, that of the files.
    cache : CheckCache
        Results of earlier checks.
    """

    recognize: Callable[[], tuple[list[Folders], list[str]]]
    ndim: int | None
    cache: CheckCache
    done: int = 0
    total: int = 0
    _canceled: threading.Event = field(default_factory=threading.Event)

    @property
    def progress(self) -> tuple[str, float | None]:
        """Description, and completed fraction, 0 to 1; None if it is unknown."""
        if not self.total:
            return "Searching for images", None
        return f"Checking images: {self.done} of {self.total}", self.done / self.total

    def cancel(self) -> None:
        """Cancel the check at its next file."""
        self._canceled.set()

    def run(self) -> CheckedData:
        """Find the files, check them, and draw some of them.

        Raises
        ------
        CheckCanceledError
            The check was canceled.
        UserError
            ``gui.wrong_ndim``: the files have another number of dimensions than the user chose.
            Any error of `recognize`, or of the inspection.
        """
        parts, notes = self.recognize()
        key = _fingerprint(parts, self.ndim)
        running = self.cache.running(key)
        while not running.acquire(timeout=_WAIT_SECONDS):  # another page checks the same files
            self._stop_if_canceled()
        try:
            stored = self.cache.get(key)
            return self._run(parts, notes, key) if stored is None else stored
        finally:
            running.release()

    def _run(self, parts: Sequence[Folders], notes: Sequence[str], key: Fingerprint) -> CheckedData:
        """Check the files, and store the result."""
        check_ndim(parts, self.ndim)
        self.total = sum(len(pair_part(part).pairs) for part in parts)
        settings = InspectSettings(ndim=self.ndim)
        inspection = inspect_dataset(parts, settings, report_progress=self._count)
        self.done = self.total
        shown = {}
        for part in inspection.parts:
            self._stop_if_canceled()
            shown[part.name] = samples(part.pairs, inspection.ndim)
        groups = tuple(group_findings(inspection, self._stop_if_canceled))
        result = CheckedData(tuple(parts), tuple(notes), shown, inspection, groups)
        self.cache.put(key, result)
        return result

    def _count(self, _: str) -> None:
        self._stop_if_canceled()
        self.done = min(self.done + 1, self.total)

    def _stop_if_canceled(self) -> None:
        if self._canceled.is_set():
            raise CheckCanceledError


def _fingerprint(parts: Sequence[Folders], ndim: int | None) -> Fingerprint:
    """Return a value that changes with the files of a data set."""
    files = []
    for part in parts:
        for folder in (part.images, part.labels):
            files.append((part.name, str(folder), 0, 0))
            paths: list[Path] = []
            with suppress(OSError):  # the inspection reports unreadable folders and broken links
                paths = sorted(folder.iterdir()) if folder is not None else []
            for path in paths:
                with suppress(OSError):
                    status = path.stat()
                    files.append((part.name, str(path), status.st_mtime_ns, status.st_size))
    return (ndim, *files)


def check_ndim(parts: Sequence[Folders], ndim: int | None) -> None:
    """Raise an error if no file can have the number of spatial dimensions that the user chose.

    Parameters
    ----------
    parts : sequence of Folders
        Parts of the data set; only the first files of each are read.
    ndim : {2, 3}, optional
        Chosen number; nothing is checked without it.

    Raises
    ------
    UserError
        ``gui.wrong_ndim``.
    """
    if ndim is None:
        return
    pairs = [pair_part(part).pairs[:_FILES_TO_DECIDE] for part in parts]
    try:
        actual = decide_ndim(pairs, majority=True)
    except UserError:  # the inspection reports the files
        return
    if actual == ndim or any(_has_ndim(pair, ndim) for part in pairs for pair in part):
        return
    raise UserError(
        f"the images are of the kind {DIMENSIONS[actual]!r}, but {DIMENSIONS[ndim]!r} is chosen",
        f"choose {DIMENSIONS[actual]!r} in step 1",
        "gui.wrong_ndim",
    )


def _has_ndim(pair: Pair, ndim: int) -> bool:
    try:
        scan_pair(pair, ndim)
    except UserError:
        return False
    return True


def group_findings(
    inspection: Inspection, proceed: Callable[[], None] = lambda: None
) -> list[FindingGroup]:
    """Return the findings by severity and kind, problems first, with pictures.

    Parameters
    ----------
    inspection : Inspection
        Result of an inspection.
    proceed : callable
        Called before each kind; may raise an exception to stop.
    """
    groups = []
    for severity in (PROBLEM, HINT):
        for kind, every in inspection.by_kind().items():
            findings = [finding for finding in every if finding.severity == severity]
            if findings:
                proceed()
                groups.append(_group(inspection, kind, findings))
    return groups


def _group(inspection: Inspection, kind: str, findings: Sequence[Finding]) -> FindingGroup:
    pictures = [
        Sample(caption, encode_png(shown, max(shown.shape[:2])), "")
        for shown, caption in finding_pictures(inspection, kind, findings, _MAX_PICTURES)
    ]
    advice = dict.fromkeys(page_text(finding.suggestion) for finding in findings)
    return FindingGroup(
        KINDS[kind].title,
        findings[0].severity,
        extent(findings),
        tuple((f"{f.part}: {f.file.name}", page_text(f.text)) for f in findings),
        tuple(advice),
        sum(finding.fixable for finding in findings),
        tuple(pictures),
    )


def propose_copy(guard: Guard, data: CheckedData) -> str:
    """Return a new folder for a corrected copy, next to the data and inside of the roots.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    data : CheckedData
        Checked data.
    """
    top = Path(os.path.commonpath([folder for p in data.parts for folder in (p.images, p.labels)
                                   if folder is not None]))  # fmt: skip
    top = top.parent if top.name == data.parts[0].name else top
    base = top.parent if guard.allows(top.parent) else guard.home
    return guard.short(base / free_name(base, f"{top.name}_corrected"))


def write_corrected(guard: Guard, data: CheckedData, folder: str) -> FixReport:
    """Write a copy of the data without the findings that can be corrected.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    data : CheckedData
        Checked data.
    folder : str
        New folder.

    Raises
    ------
    UserError
        ``gui.no_folder``: no folder is chosen. Any error of `write_fixed`, or of the guard.
    """
    if not folder.strip():
        raise UserError("no folder is chosen", "enter a new folder", "gui.no_folder")
    target = guard.check(folder)
    guard.check_below([target])
    return write_fixed(data.inspection, target)


def check_classes(data: CheckedData, classes: int) -> None:
    """Raise an error if the labels do not distinguish this number of kinds of objects.

    Parameters
    ----------
    data : CheckedData
        Checked data.
    classes : int
        Number of kinds of objects.

    Raises
    ------
    UserError
        ``gui.no_classes``: the labels have no classes.
    """
    if classes > 1 and not any(part.classes for part in data.inspection.parts):
        raise UserError(
            f"got {classes} kinds of objects, but the label images do not distinguish kinds",
            "enter 1, or add a second channel with the kind of every pixel to the label images",
            "gui.no_classes",
        )


def report_lines(report: FixReport, guard: Guard) -> list[str]:
    """Return lines about a corrected copy: its size, the corrections, and files that are omitted.

    Parameters
    ----------
    report : FixReport
        Contents of the copy.
    guard : Guard
        Folders that the interface may open.
    """
    lines = [
        f"Corrected copy in {guard.short(report.folder)}: {counted(report.files, 'image')}, labels "
        f"of {len(report.corrected)} corrected. The original files are unchanged."
    ]
    omitted = [f"{path.name}: {page_text(why)}" for path, why in report.left_out.items()]
    return lines + [f"Omitted: {line}" for line in omitted]

"""Findings as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from singula.arguments import instance, integer
from singula.inspection.findings import HINT, KINDS, WHOLE_LABELS, Finding, Inspection
from singula.words import counted

_MOST_FILES = 8


def describe(inspection: Inspection, *, most_files: int = _MOST_FILES) -> list[str]:
    """A line for each file, grouped by kind, the worst first.

    Parameters
    ----------
    inspection : Inspection
    most_files : int
        Files that are named of each kind.

    Raises
    ------
    TypeError, UserError
        Wrong arguments.
    """
    inspection = instance(inspection, "inspection", Inspection)
    most_files = integer(most_files, "most_files", at_least=1)
    lines = [summary(inspection), *inspection.notes]
    for kind, findings in inspection.by_kind().items():
        lines += ["", *_group(inspection, kind, findings, most_files)]
    return [*lines, "", verdict(inspection)]


def summary(inspection: Inspection) -> str:
    """What was looked at."""
    words = []
    for part in inspection.parts:
        labelled = any(pair.label for pair in part.pairs)
        objects = f" with {counted(part.objects, 'object')}" if labelled else " without labels"
        words.append(f"{part.name}: {counted(len(part.pairs), 'image')}{objects}")
    return f"{inspection.ndim}D data; {'; '.join(words)}"


def verdict(inspection: Inspection) -> str:
    """The last line."""
    problems, hints = len(inspection.problems), len(inspection.hints)
    if not problems and not hints:
        return "nothing found: the data are fine"
    words = f"{counted(problems, 'problem')}, {counted(hints, 'hint')}"
    fixable = len(inspection.fixable)
    if fixable:
        words += f"; {fixable} of them corrected by --fix FOLDER, which writes a copy"
    return words


def _group(inspection: Inspection, kind: str, findings: Sequence[Finding], most: int) -> list[str]:
    row = KINDS[kind]
    severe = "hint" if all(f.severity == HINT for f in findings) else "PROBLEM"
    lines = [f"{severe}: {row.title} ({extent(findings)})"]
    shown = [(short_name(inspection, finding.file), finding) for finding in findings[:most]]
    width = min(44, max(len(name) for name, _ in shown))
    lines += [f"  {name:<{width}}  {finding.text}" for name, finding in shown]
    if len(findings) > most:
        lines.append(f"  … and {len(findings) - most} more")
    lines += [f"  → {remedy}" for remedy in remedies(findings)]
    return lines


def remedies(findings: Sequence[Finding], most: int = 3) -> list[str]:
    """What to do about findings of a kind, each once."""
    found: dict[str, bool] = {}
    for finding in findings:
        found[finding.suggestion] = found.get(finding.suggestion, False) or finding.fixable
    return [
        f"{text} (--fix does it)" if fixable and "--fix" not in text else text
        for text, fixable in list(found.items())[:most]
    ]


def extent(findings: Sequence[Finding]) -> str:
    """In how many files, and how many objects where these are counted."""
    files = counted(len({finding.file for finding in findings}), "file")
    objects = [one for one in findings if one.where and one.kind not in WHOLE_LABELS]
    if not objects:
        return files
    return f"{counted(sum(finding.count for finding in findings), 'object')} in {files}"


def short_name(inspection: Inspection, path: Path) -> str:
    """A file by part, folder and name."""
    for part in inspection.parts:
        for folder in (part.images, part.labels):
            if folder is not None and path.parent == folder:
                return f"{part.name}/{folder.name}/{path.name}"
    return str(path)

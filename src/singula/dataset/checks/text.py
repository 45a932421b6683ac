"""Lines of text that describe the findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from singula.dataset.checks.findings import (
    HINT,
    KINDS,
    WHOLE_LABELS,
    Finding,
    InspectedPart,
    Inspection,
)
from singula.util.arguments import instance, integer
from singula.util.format import counted

_MAX_FILES = 8


def describe(inspection: Inspection, *, max_files: int = _MAX_FILES) -> list[str]:
    """Return a line for each file, grouped by kind, problems first.

    Parameters
    ----------
    inspection : Inspection
        Result of the inspection.
    max_files : int
        Maximum number of listed files per kind.

    Raises
    ------
    TypeError
        An argument has a wrong type.
    UserError
        `max_files` is less than 1.
    """
    inspection = instance(inspection, "inspection", Inspection)
    max_files = integer(max_files, "max_files", at_least=1)
    shapes = [f"{part.name}: {part.shape.text}" for part in inspection.parts if part.shape]
    lines = [summary(inspection), *shapes, *inspection.notes]
    for kind, findings in inspection.by_kind().items():
        lines += ["", *_group(inspection, kind, findings, max_files)]
    return [*lines, "", verdict(inspection)]


def summary(inspection: Inspection) -> str:
    """Return the numbers of images and objects of each part."""
    texts = (f"{part.name}: {part_summary(part)}" for part in inspection.parts)
    return f"{inspection.ndim}D data; {'; '.join(texts)}"


def part_summary(part: InspectedPart) -> str:
    """Return the numbers of images and objects of a part."""
    has_labels = any(pair.label for pair in part.pairs)
    objects = f" with {counted(part.objects, 'object')}" if has_labels else " without labels"
    return f"{counted(len(part.pairs), 'image')}{objects}"


def verdict(inspection: Inspection) -> str:
    """Return the numbers of problems and hints."""
    if not inspection.findings:
        return "nothing found: the data are fine"
    text = count_findings(inspection)
    fixable = len({finding.file for finding in inspection.fixable})
    if fixable:
        text += f"; --fix FOLDER writes a copy, in which it corrects {counted(fixable, 'file')}"
    return text


def count_findings(inspection: Inspection) -> str:
    """Return the numbers of kinds of problems and hints, and of their files."""
    counts = []
    for findings, noun in ((inspection.problems, "problem"), (inspection.hints, "hint")):
        kinds = counted(len({finding.kind for finding in findings}), noun)
        files = counted(len({finding.file for finding in findings}), "file")
        counts.append(f"{kinds} in {files}" if findings else kinds)
    return ", ".join(counts)


def _group(
    inspection: Inspection, kind: str, findings: Sequence[Finding], max_files: int
) -> list[str]:
    """Return the lines of one kind of findings."""
    row = KINDS[kind]
    severe = "hint" if all(f.severity == HINT for f in findings) else "PROBLEM"
    lines = [f"{severe}: {row.title} ({extent(findings)})"]
    shown = [(short_name(inspection, finding.file), finding) for finding in findings[:max_files]]
    width = min(44, max(len(name) for name, _ in shown))
    lines += [f"  {name:<{width}}  {finding.text}" for name, finding in shown]
    if len(findings) > max_files:
        lines.append(f"  … and {len(findings) - max_files} more")
    lines += [f"  → {remedy}" for remedy in remedies(findings)]
    return lines


def remedies(findings: Sequence[Finding], max_count: int = 3) -> list[str]:
    """Return the first different remedies of some findings."""
    suggestions: dict[str, bool] = {}
    for finding in findings:
        fixable = suggestions.get(finding.suggestion, False) or finding.fixable
        suggestions[finding.suggestion] = fixable
    return [
        f"{text} (--fix does it)" if fixable and "--fix" not in text else text
        for text, fixable in list(suggestions.items())[:max_count]
    ]


def extent(findings: Sequence[Finding]) -> str:
    """Return the number of files, and of objects if they are counted."""
    files = counted(len({finding.file for finding in findings}), "file")
    objects = [f for f in findings if f.where and f.kind not in WHOLE_LABELS]
    if not objects:
        return files
    return f"{counted(sum(finding.count for finding in findings), 'object')} in {files}"


def short_name(inspection: Inspection, path: Path) -> str:
    """Return a file as part, folder and name."""
    for part in inspection.parts:
        for folder in (part.images, part.labels):
            if folder is not None and path.parent == folder:
                return f"{part.name}/{folder.name}/{path.name}"
    return str(path)

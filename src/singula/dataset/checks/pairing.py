"""Pairing of the files of a part; unpaired files are findings instead of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from singula.dataset.checks.channels import (
    ChannelFiles,
    Channels,
    channel_files,
    more_channel_files,
)
from singula.dataset.checks.findings import PROBLEM, Finding
from singula.dataset.facts import Folders
from singula.dataset.facts.folders import match_flat, split_flat
from singula.errors import UserError
from singula.io.entries import check_openable
from singula.io.formats.table import stem_of
from singula.io.list_images import list_images
from singula.io.pairing import Pair, image_cores, label_cores, match_files
from singula.util.format import counted

_ADD_CHANNELS = "add the missing channels of the image, or remove its files"
_REMOVE_FILE = "remove the file, or add this channel to every image"


@dataclass(frozen=True)
class Paired:
    """Paired files of a part.

    Parameters
    ----------
    pairs : list of Pair
        Images with their labels; images with channels in separate files have their first file.
    findings : list of Finding
        Findings on the pairing.
    channels : dict of str to tuple of Path
        Files of images with channels in separate files, by name of the pair.
    endings : tuple of str
        Endings of the names of these files.
    """

    pairs: list[Pair]
    findings: list[Finding] = field(default_factory=list)
    channels: Channels = field(default_factory=dict)
    endings: tuple[str, ...] = ()


def pair_part(part: Folders, train_endings: tuple[str, ...] = ()) -> Paired:
    """Pair the files of a part in the same way as a run, or as many files as possible.

    Parameters
    ----------
    part : Folders
        Folders of the part.
    train_endings : tuple of str, optional
        Endings of channel files in the training data.

    Raises
    ------
    UserError
        A folder does not exist or contains no images.
    """
    name = part.name
    images = list_images(part.images, f"the {name} images")
    if part.places is not None and part.places.together:
        return Paired(part.pairs())
    if part.labels is None:
        separate = more_channel_files(images, train_endings) if train_endings else ChannelFiles()
        if separate.endings:
            return _merge_channels(part, separate, {}, [])
        return Paired(_unlabeled(images))
    flat = part.labels == part.images
    if flat:
        images, labels = split_flat(images)
    else:
        labels = list_images(part.labels, f"the {name} labels")
    if train_endings:  # pairing by name would use one channel such as "cell_0000" as an image
        separate, label_of = channel_files(images, labels, train_endings)
        if separate.endings:
            return _merge_channels(part, separate, label_of, labels)
    pairing_error: UserError | None = None
    if not flat:
        try:
            pairs = part.pairs()
            return Paired(pairs, _by_order(name, pairs))
        except UserError as error:
            pairing_error = error
            if part.images.resolve() == part.labels.resolve():
                raise
    separate, label_of = channel_files(images, labels)
    if separate.endings:
        return _merge_channels(part, separate, label_of, labels)
    if pairing_error is not None and pairing_error.code == "io.names_differ":
        return _unordered(part, images, pairing_error)
    match = match_flat if flat else match_files
    return Paired(*_unpaired_findings(name, *match(images, labels)))


def _unordered(part: Folders, images: Sequence[Path], pairing_error: UserError) -> Paired:
    """Return the images without labels, and a finding that names do not determine the pairs."""
    text = pairing_error.message.partition(": ")[2]
    issue = Finding(
        "order", text, len(images), severity=PROBLEM, suggestion=pairing_error.hint or ""
    )
    return Paired(_unlabeled(images), [issue.located(part.name, part.images)])


def _unlabeled(images: Sequence[Path]) -> list[Pair]:
    """Return images without labels."""
    return [Pair(path, None, stem_of(path)) for path in images]


def _unpaired_findings(
    part: str, pairs: list[Pair], images: Sequence[Path], labels: Sequence[Path]
) -> tuple[list[Pair], list[Finding]]:
    """Return the pairs, and a finding for each unpaired image or label image."""
    findings = [_unpaired(part, path, "an image without labels") for path in images]
    return pairs, findings + [_unpaired(part, path, "labels without an image") for path in labels]


def _unpaired(part: str, path: Path, text: str) -> Finding:
    """Return the finding for a file without a partner, such as a broken link or a pipe."""
    try:
        check_openable(path)
    except UserError as error:
        broken = error.message.removeprefix(f"{path}: ")
        return Finding("unreadable", broken, suggestion=error.hint or "").located(part, path)
    return Finding("unpaired", text).located(part, path)


def _merge_channels(
    part: Folders, separate: ChannelFiles, label_of: Mapping[str, Path], labels: Sequence[Path]
) -> Paired:
    """Pair the images of a part with channels in separate files."""
    name, has_labels = part.name, part.labels is not None
    channels = {
        stem: files
        for stem, files in separate.complete.items()
        if stem in label_of or not has_labels
    }
    pairs = [Pair(files[0], label_of.get(stem), stem) for stem, files in channels.items()]
    findings = _separate_channels(part, channels) if channels else []
    for stem, files in separate.partial.items():
        missing = " and ".join(ending.lstrip("_-. ") for ending in separate.missing(stem))
        text = f"channel {missing} of the image {stem} is missing"
        issue = Finding("apart", text, suggestion=_ADD_CHANNELS)
        findings.append(issue.located(name, files[0]))
    for path in separate.extra:
        text = "an additional file that is not a channel of the other images"
        findings.append(Finding("apart", text, suggestion=_REMOVE_FILE).located(name, path))
    for stem, files in separate.complete.items():
        if stem not in channels:
            issue = Finding("unpaired", "an image without labels")
            findings.append(issue.located(name, files[0]))
    if has_labels:
        used = {label_of[stem] for stem in (*channels, *separate.partial) if stem in label_of}
        unused = [path for path in labels if path not in used]
        more, unpaired = _unpaired_findings(name, *match_files(separate.others, unused))
    else:
        more, unpaired = _unlabeled(separate.others), []
    return Paired([*pairs, *more], [*findings, *unpaired], channels, separate.endings)


def _separate_channels(part: Folders, channels: Channels) -> list[Finding]:
    """Return one finding for a part with channels in separate files."""
    files = next(iter(channels.values()))
    text = (
        f"each of {counted(len(channels), 'image')} is {counted(len(files), 'file')}, one "
        "for each channel, "
        f"such as {', '.join(path.name for path in files)}; only the first is inspected"
    )
    return [Finding("apart", text, fixable=True).located(part.name, part.images)]


def _by_order(name: str, pairs: list[Pair]) -> list[Finding]:
    """Return one finding for a part if names do not confirm its pairs."""
    guessed = [pair for pair in pairs if pair.label and not _related(pair.image, pair.label)]
    if not guessed:
        return []
    first = guessed[0]
    shown = f"{first.image.name} ↔ {first.label.name if first.label else ''}"
    text = f"{counted(len(guessed), 'pair')} made by sorted order only, for example {shown}"
    return [Finding("order", text, len(guessed)).located(name, first.image.parent)]


def _related(image: Path, label: Path) -> bool:
    """Return True if the names of an image and its labels match."""
    return not set(image_cores(image)).isdisjoint(label_cores(label))

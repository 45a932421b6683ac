"""Which files of a part belong together; what is left over is a finding, not an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from singula.errors import UserError
from singula.inspection.channels import Apart, Channels, channel_files, more_channel_files
from singula.inspection.findings import PROBLEM, Finding, finding
from singula.io.entries import check_openable
from singula.io.formats import stem_of
from singula.io.image import ArrayPlaces
from singula.io.listing import list_images
from singula.io.pairs import (
    Pair,
    has_label_word,
    image_cores,
    label_cores,
    match_files,
    pair_files,
)
from singula.survey import Folders
from singula.words import counted

_GIVE = "give every image all of its channels, or take it away"
_TAKE = "take the file away, or give every image such a channel"


@dataclass(frozen=True)
class Paired:
    """The files of a part.

    Parameters
    ----------
    pairs : list of Pair
        An image whose channels are several files is the first of them.
    found : list of Finding
    channels : dict of str to tuple of Path
        All files of such images, by name of the pair.
    endings : tuple of str
        What the names of these files add to that of the image.
    """

    pairs: list[Pair]
    found: list[Finding] = field(default_factory=list)
    channels: Channels = field(default_factory=dict)
    endings: tuple[str, ...] = ()


def pair_part(part: Folders, known: tuple[str, ...] = ()) -> Paired:
    """Pair the files of a part as a run does; where a run refuses, pair what can be paired.

    Parameters
    ----------
    part : Folders
    known : tuple of str, optional
        Endings of the channels' files in the training data.

    Raises
    ------
    UserError
        A folder that does not exist or holds no image.
    """
    name = part.name
    images = list_images(part.images, f"the {name} images")
    places = part.places or ArrayPlaces()
    if places.together:
        return Paired(part.pairs())
    if part.labels is None:
        alone = [Pair(p, None, stem_of(p), places.image, places.labels) for p in images]
        apart = more_channel_files(images, known) if known else Apart()
        return _put_together(part, apart, {}, []) if apart.endings else Paired(alone)
    flat = part.labels == part.images
    if flat:
        labels = [path for path in images if has_label_word(path)]
        images = [path for path in images if path not in set(labels)]
    else:
        labels = list_images(part.labels, f"the {name} labels")
    if known:  # before names are paired: of "cell_0000" alone they would make a whole image
        apart, label_of = channel_files(images, labels, known)
        if apart.endings:
            return _put_together(part, apart, label_of, labels)
    refused: UserError | None = None
    if not flat:
        try:
            keys = f"{name} images", f"{name} labels"
            pairs = pair_files(
                part.images, part.labels, *keys, places=part.places, by_order=part.by_order
            )
            return Paired(pairs, _by_order(name, pairs))
        except UserError as error:
            refused = error
            if part.images.resolve() == part.labels.resolve():
                raise
    apart, label_of = channel_files(images, labels)
    if apart.endings:
        return _put_together(part, apart, label_of, labels)
    if refused is not None and refused.code == "io.names_differ":
        return _unordered(part, images, refused)
    return Paired(*_matched(name, images, labels))


def _unordered(part: Folders, images: Sequence[Path], refused: UserError) -> Paired:
    """Return the images without labels, and a finding: the names do not show how to pair them."""
    places = part.places or ArrayPlaces()
    alone = [Pair(path, None, stem_of(path), places.image, places.labels) for path in images]
    text = refused.message.partition(": ")[2]
    found = finding(
        "order", part.name, part.images, text, severity=PROBLEM, suggestion=refused.hint,
        count=len(images),
    )  # fmt: skip
    return Paired(alone, [found])


def _matched(
    part: str, images: Sequence[Path], labels: Sequence[Path]
) -> tuple[list[Pair], list[Finding]]:
    """Pair what names allow; a finding for each file that is left over."""
    pairs, alone, unused = match_files(images, labels)
    found = [_left_over(part, path, "an image without labels") for path in alone]
    found += [_left_over(part, path, "labels without image") for path in unused]
    return pairs, found


def _left_over(part: str, path: Path, text: str) -> Finding:
    """Return the finding for a file without a partner, such as a broken link or a pipe."""
    try:
        check_openable(path)
    except UserError as error:
        broken = error.message.removeprefix(f"{path}: ")
        return finding("unreadable", part, path, broken, suggestion=error.hint)
    return finding("unpaired", part, path, text)


def _put_together(
    part: Folders, apart: Apart, label_of: Mapping[str, Path], labels: Sequence[Path]
) -> Paired:
    """The images of a part whose channels are a file each, and what does not fit."""
    name, wanted = part.name, part.labels is not None
    channels = {
        stem: files for stem, files in apart.complete.items() if stem in label_of or not wanted
    }
    pairs = [Pair(files[0], label_of.get(stem), stem) for stem, files in channels.items()]
    found = _apart(part, channels) if channels else []
    for stem, files in apart.partial.items():
        missing = " and ".join(ending.lstrip("_-. ") for ending in apart.missing(stem))
        text = f"channel {missing} of the image {stem} is missing"
        found.append(finding("apart", name, files[0], text, suggestion=_GIVE))
    for path in apart.extra:
        text = "a file more than the channels that the other images have"
        found.append(finding("apart", name, path, text, suggestion=_TAKE))
    for stem, files in apart.complete.items():
        if stem not in channels:
            found.append(finding("unpaired", name, files[0], "an image without labels"))
    if wanted:
        used = {label_of[stem] for stem in (*channels, *apart.partial) if stem in label_of}
        more, alone = _matched(name, apart.others, [p for p in labels if p not in used])
    else:
        more, alone = [Pair(path, None, stem_of(path)) for path in apart.others], []
    return Paired([*pairs, *more], [*found, *alone], channels, apart.endings)


def _apart(part: Folders, channels: Channels) -> list[Finding]:
    """One finding for a part whose images are several files each."""
    files = next(iter(channels.values()))
    text = (
        f"each of {counted(len(channels), 'image')} is {counted(len(files), 'file')}, one "
        "for each channel, "
        f"such as {', '.join(path.name for path in files)}; only the first is looked at"
    )
    return [finding("apart", part.name, part.images, text, fixable=True)]


def _by_order(name: str, pairs: list[Pair]) -> list[Finding]:
    """One finding for a part whose names say nothing of what belongs together."""
    guessed = [pair for pair in pairs if pair.label and not _related(pair.image, pair.label)]
    if not guessed:
        return []
    first = guessed[0]
    shown = f"{first.image.name} ↔ {first.label.name if first.label else ''}"
    text = f"{counted(len(guessed), 'pair')} made by order alone, for example {shown}"
    return [finding("order", name, first.image.parent, text, count=len(guessed))]


def _related(image: Path, label: Path) -> bool:
    return not set(image_cores(image)).isdisjoint(label_cores(label))

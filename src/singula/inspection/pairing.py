"""Which files of a part belong together; what is left over is a finding, not an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from singula.errors import UserError
from singula.inspection.channels import Channels, channel_files, more_channel_files
from singula.inspection.findings import Finding, finding
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
    """

    pairs: list[Pair]
    found: list[Finding] = field(default_factory=list)
    channels: Channels = field(default_factory=dict)


def pair_part(part: Folders, known: Channels | None = None) -> Paired:
    """Pair the files of a part as a run does; where a run refuses, pair what can be paired.

    Parameters
    ----------
    part : Folders
    known : dict, optional
        Images of other parts whose channels are several files.

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
        channels = more_channel_files(images, known) if known else {}
        if channels:
            pairs = [Pair(files[0], None, stem) for stem, files in channels.items()]
            return Paired(pairs, _apart(part, channels), channels)
        return Paired([Pair(p, None, stem_of(p), places.image, places.labels) for p in images])
    if part.labels == part.images:
        labels = [path for path in images if has_label_word(path)]
        images = [path for path in images if path not in set(labels)]
    else:
        labels = list_images(part.labels, f"the {name} labels")
        try:
            keys = f"{name} images", f"{name} labels"
            pairs = pair_files(part.images, part.labels, *keys, places=part.places)
            return Paired(pairs, _by_order(name, pairs))
        except UserError:
            if part.images.resolve() == part.labels.resolve():
                raise
    channels, label_of = channel_files(images, labels)
    if channels:
        pairs = [Pair(files[0], label_of[stem], stem) for stem, files in channels.items()]
        return Paired(pairs, _apart(part, channels), channels)
    pairs, alone, unused = match_files(images, labels)
    found = [finding("unpaired", name, path, "an image without labels") for path in alone]
    found += [finding("unpaired", name, path, "labels without image") for path in unused]
    return Paired(pairs, found)


def _apart(part: Folders, channels: Channels) -> list[Finding]:
    """One finding for a part whose images are several files each."""
    files = next(iter(channels.values()))
    text = (
        f"each of {counted(len(channels), 'image')} is {len(files)} files, one for each channel, "
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
    text = f"{len(guessed)} pairs are made by order alone, for example {shown}"
    return [finding("order", name, first.image.parent, text, count=len(guessed))]


def _related(image: Path, label: Path) -> bool:
    return not set(image_cores(image)).isdisjoint(label_cores(label))

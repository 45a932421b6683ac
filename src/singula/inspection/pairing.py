"""Which files of a part belong together; what is left over is a finding, not an error."""

from __future__ import annotations

from pathlib import Path

from singula.errors import UserError
from singula.inspection.findings import Finding, finding
from singula.io.formats import stem_of
from singula.io.image import ArrayPlaces
from singula.io.listing import list_images
from singula.io.pairs import Pair, core_names, has_label_word, match_files, pair_files
from singula.survey import Folders


def pair_part(part: Folders) -> tuple[list[Pair], list[Finding]]:
    """Pair the files of a part as a run does; where a run refuses, pair what can be paired.

    Raises
    ------
    UserError
        A folder that does not exist or holds no image.
    """
    name = part.name
    images = list_images(part.images, f"the {name} images")
    places = part.places or ArrayPlaces()
    if places.together:
        return part.pairs(), []
    if part.labels is None:
        return [Pair(p, None, stem_of(p), places.image, places.labels) for p in images], []
    if part.labels == part.images:
        labels = [path for path in images if has_label_word(path)]
        images = [path for path in images if path not in set(labels)]
    else:
        labels = list_images(part.labels, f"the {name} labels")
        try:
            keys = f"{name} images", f"{name} labels"
            pairs = pair_files(part.images, part.labels, *keys, places=part.places)
            return pairs, _by_order(name, pairs)
        except UserError:
            if part.images.resolve() == part.labels.resolve():
                raise
    pairs, alone, unused = match_files(images, labels)
    found = [finding("unpaired", name, path, "an image without labels") for path in alone]
    found += [finding("unpaired", name, path, "labels without image") for path in unused]
    return pairs, found


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
    return bool(set(core_names(image)) & set(core_names(label)))

"""What an inspection found, as plain values; and the table of everything that it looks for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from singula.io.image import ArrayPlace
from singula.io.pairs import Pair

PROBLEM, HINT = "problem", "hint"
MOST_PLACES = 200
# Kinds of findings about a whole label image, even if they name an object
WHOLE_LABELS = frozenset({"one_hot", "inverted", "background", "slices"})


@dataclass(frozen=True)
class Kind:
    """One thing to look for.

    Parameters
    ----------
    title : str
        As a heading.
    severity : {'problem', 'hint'}
        A problem makes a run stop or its result worse; a hint is for a person to judge.
    suggestion : str
        What to do about it.
    unusable : bool
        The pair cannot be trained on, so that a corrected copy goes without it.
    """

    title: str
    severity: str
    suggestion: str
    unusable: bool = False


_DRAW = "draw or delete the objects in the label image"
# In the order in which they are shown: what stops a run first.
KINDS: dict[str, Kind] = {
    "unreadable": Kind(
        "Files that cannot be read", PROBLEM, "open it in Fiji and save it again as TIFF", True
    ),
    "unpaired": Kind(
        "Images without labels, labels without image",
        PROBLEM,
        "give every image a label of the same name (before the suffix), or take it away",
        True,
    ),
    "shape": Kind(
        "Image and label differ in size",
        PROBLEM,
        "give each image the label of the same size; see that the right files are paired",
        True,
    ),
    "axes": Kind(
        "Axes that are in doubt",
        HINT,
        "write the axes into the file: in Fiji, Image > Properties…, then save as TIFF",
    ),
    "apart": Kind(
        "Channels in separate files",
        PROBLEM,
        "put the channels of an image into one file, in Fiji with Image > Color > Merge Channels…",
    ),
    "left_out": Kind(
        "Files that hold several images, of which one is read",
        HINT,
        "save each image as a file of its own; `singula predict` takes all of them",
    ),
    "order": Kind(
        "Names of images and labels that differ",
        HINT,
        "name each label as its image",
    ),
    "channels": Kind(
        "Channels that do not fit",
        PROBLEM,
        "give images of one number of channels, and write it at the end of DATA.PATCH_SIZE",
    ),
    "small_image": Kind(
        "Images smaller than the patch",
        PROBLEM,
        "set DATA.REFLECT_TO_COMPLETE_SHAPE: True, or a smaller DATA.PATCH_SIZE",
    ),
    "label_type": Kind(
        "Label images of an unusual type",
        PROBLEM,
        "export the ids as 8- or 16-bit grey TIFF",
    ),
    "one_hot": Kind(
        "One-hot masks instead of ids",
        PROBLEM,
        "store one plane in which every pixel has the id of its object, and 0 is the background",
    ),
    "inverted": Kind(
        "Masks that are inverted",
        PROBLEM,
        "invert the mask (in Fiji, Edit > Invert), so that the background is 0, and give each "
        "object its own id; never fill what looks like holes",
    ),
    "background": Kind(
        "Labels whose background has an id",
        PROBLEM,
        "give the background the value 0",
    ),
    "slices": Kind(
        "Labels that were made slice by slice",
        PROBLEM,
        "link the cuts of an object through adjacent slices, for example by their overlap, so that "
        "it has one id; do not give each of them an id of its own",
    ),
    "semantic": Kind(
        "Masks instead of ids",
        PROBLEM,
        "give each object its own id; where objects touch, only a person can part them",
    ),
    "pieces": Kind(
        "Ids in several disconnected pieces",
        PROBLEM,
        "give each piece its own id, or delete stray pixels",
    ),
    "tiny": Kind(
        "Objects of a few pixels",
        PROBLEM,
        "delete them: nothing is left of them inside their contour, unless "
        "DATA_CONTOUR_MODE is outer",
    ),
    "classes": Kind(
        "Classes that do not fit the objects",
        PROBLEM,
        "give all pixels of an object one class, from 1 to MODEL.N_CLASSES - 1",
    ),
    "leakage": Kind(
        "The same image in training and test or validation",
        PROBLEM,
        "keep it in one of them: scores on images that were trained on say nothing",
    ),
    "duplicate": Kind(
        "The same image twice", HINT, "delete one; if their labels differ, find out which is right"
    ),
    "constant": Kind(
        "Images of one single value", PROBLEM, "take the file away, or export it again"
    ),
    "empty": Kind(
        "Images without any object",
        HINT,
        "fine if there is none to see; else draw them, or take the pair away",
    ),
    "holes": Kind("Objects with holes", HINT, "fill them, unless the objects are rings"),
    "large": Kind(
        "Objects larger than the patch",
        HINT,
        "a larger DATA.PATCH_SIZE lets the network see them whole; or shrink the images",
    ),
    "leftover": Kind(
        "Structures that look like the labelled ones but have no label",
        HINT,
        f"look at them: {_DRAW}",
    ),
    "saturated": Kind(
        "Saturated images", HINT, "expose less; what is cut off at the top is lost to the network"
    ),
    "mixed": Kind(
        "Files that differ from the others",
        HINT,
        "bring all images to one pixel size and type, at best in the microscope's software",
    ),
}


@dataclass(frozen=True)
class Place:
    """Where something is in an image.

    Parameters
    ----------
    id : int
        Of the object; 0 where there is none.
    low, high : tuple of int
        Bounding box, (y, x) or (z, y, x), `high` being the first pixel beyond it.
    """

    id: int
    low: tuple[int, ...]
    high: tuple[int, ...]


@dataclass(frozen=True)
class Finding:
    """One thing in one file.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    severity : {'problem', 'hint'}
    part : str
        train, val or test.
    file : Path
        The file to be looked at.
    text : str
        What was found, without the file's name.
    suggestion : str
        What to do about it.
    count : int
        Objects, or 1 for a whole file.
    where : tuple of Place
        The first `MOST_PLACES` of them.
    fixable : bool
        A corrected copy has it no more.
    image, label : Path, optional
        The pair it belongs to.
    arrays, label_arrays : ArrayPlace, optional
        Which arrays of containers they are.
    """

    kind: str
    severity: str
    part: str
    file: Path
    text: str
    suggestion: str
    count: int = 1
    where: tuple[Place, ...] = ()
    fixable: bool = False
    image: Path | None = None
    label: Path | None = None
    arrays: ArrayPlace | None = None
    label_arrays: ArrayPlace | None = None

    @property
    def unusable(self) -> bool:
        """Whether a corrected copy goes without the pair."""
        if self.severity != PROBLEM:
            return False
        return KINDS[self.kind].unusable or (
            self.kind in ("label_type", "axes", "apart", "order") and not self.fixable
        )


@dataclass(frozen=True)
class InspectedPart:
    """Training, validation or test data, and what belongs together in it.

    Parameters
    ----------
    name : {'train', 'val', 'test'}
    images : Path
        Folder.
    labels : Path, optional
        Folder; equal to `images` where they lie side by side.
    pairs : tuple of Pair
        Labels are None where the part has none.
    objects : int
        In all label images that could be read.
    channels : dict of str to tuple of Path
        By name of a pair: the files of its channels, where these are several.
    """

    name: str
    images: Path
    labels: Path | None
    pairs: tuple[Pair, ...]
    objects: int
    channels: dict[str, tuple[Path, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspection:
    """All that was found in a data set.

    Parameters
    ----------
    ndim : {2, 3}
    parts : tuple of InspectedPart
    findings : tuple of Finding
        In the order of `KINDS`, then of the parts and files.
    notes : tuple of str
        What was decided on the way.
    smallest : int
        Pixels below which an object is tiny.
    """

    ndim: int
    parts: tuple[InspectedPart, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    smallest: int = 9

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What should be put right."""
        return tuple(f for f in self.findings if f.severity == PROBLEM)

    @property
    def hints(self) -> tuple[Finding, ...]:
        """What is for a person to judge."""
        return tuple(f for f in self.findings if f.severity == HINT)

    @property
    def fixable(self) -> tuple[Finding, ...]:
        """What a corrected copy has no more."""
        return tuple(f for f in self.findings if f.fixable)

    def by_kind(self) -> dict[str, list[Finding]]:
        """Findings of each kind that occurs, problems first."""
        found: dict[str, list[Finding]] = {}
        for finding in sorted(self.findings, key=lambda f: f.severity == HINT):
            found.setdefault(finding.kind, []).append(finding)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain types; paths stay paths, which `write_json` takes."""
        return asdict(self)


def finding(
    kind: str,
    part: str,
    file: Path,
    text: str,
    *,
    pair: Pair | None = None,
    severity: str | None = None,
    suggestion: str | None = None,
    count: int = 1,
    where: tuple[Place, ...] = (),
    fixable: bool = False,
) -> Finding:
    """A finding with what its kind says of severity and remedy, unless it is known better."""
    row = KINDS[kind]
    return Finding(
        kind,
        severity or row.severity,
        part,
        file,
        text,
        suggestion or row.suggestion,
        count,
        where[:MOST_PLACES],
        fixable,
        pair.image if pair else None,
        pair.label if pair else None,
        pair.arrays if pair else None,
        pair.label_arrays if pair else None,
    )

"""Results of an inspection, and the table of all kinds of findings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from singula.dataset.facts.shapes import ShapeSummary
from singula.io.image import ArrayPlace
from singula.io.pairing import Pair

PROBLEM, HINT = "problem", "hint"
MAX_PLACES = 200
# Kinds of findings about a whole label image, even if they name an object
WHOLE_LABELS = frozenset({"one_hot", "inverted", "background", "slices"})


@dataclass(frozen=True)
class Kind:
    """One kind of finding.

    Parameters
    ----------
    title : str
        Heading.
    severity : {'problem', 'hint'}
        A problem stops a run or makes its results worse; a hint needs the judgment of a person.
    suggestion : str
        Remedy.
    unusable : bool
        The pair cannot be used for training, so that a corrected copy does not contain it.
    """

    title: str
    severity: str
    suggestion: str
    unusable: bool = False


_DRAW = "draw or delete the objects in the label image"
# In the order of the output: problems that stop a run come first.
KINDS: dict[str, Kind] = {
    "unreadable": Kind(
        "Files that cannot be read",
        PROBLEM,
        "open the file in Fiji and save it again as TIFF",
        True,
    ),
    "unpaired": Kind(
        "Images without labels, labels without an image",
        PROBLEM,
        "give every image labels of the same name (before the suffix), or remove it",
        True,
    ),
    "shape": Kind(
        "Image and label differ in size",
        PROBLEM,
        "give each image labels of the same size; check that the right files are paired",
        True,
    ),
    "voxel_size": Kind(
        "Images that cannot be resampled to the common voxel size",
        PROBLEM,
        "set the voxel size in the file, or DATA.TRAIN.RESOLUTION and those of the other parts",
    ),
    "axes": Kind(
        "Uncertain axes",
        HINT,
        "write the axes into the file: in Fiji, Image > Properties…, then save as TIFF",
    ),
    "apart": Kind(
        "Channels in separate files",
        PROBLEM,
        "merge the channels of an image into one file (in Fiji, Image > Color > Merge Channels…)",
    ),
    "left_out": Kind(
        "Files with several images, of which one is read",
        HINT,
        "save each image in a separate file; `singula predict` reads all of them",
    ),
    "order": Kind(
        "Different names of images and labels",
        HINT,
        "give labels the name of their image",
    ),
    "channels": Kind(
        "Wrong numbers of channels",
        PROBLEM,
        "give all images the same number of channels, and set it as the last value of "
        "DATA.PATCH_SIZE",
    ),
    "small_image": Kind(
        "Images smaller than the patch",
        PROBLEM,
        "set DATA.REFLECT_TO_COMPLETE_SHAPE: True, or a smaller DATA.PATCH_SIZE",
    ),
    "label_type": Kind(
        "Label images of an unusual type",
        PROBLEM,
        "export the ids as 8- or 16-bit gray TIFF",
    ),
    "one_hot": Kind(
        "One-hot masks instead of ids",
        PROBLEM,
        "store one plane with the id of the object in every pixel, and 0 in the background",
    ),
    "inverted": Kind(
        "Inverted masks",
        PROBLEM,
        "do not fill the apparent holes: invert the mask (in Fiji, Edit > Invert), so that the "
        "background is 0, and give each object its own id",
    ),
    "background": Kind(
        "Labels whose background has an id",
        PROBLEM,
        "give the background the value 0",
    ),
    "slices": Kind(
        "Slices that were labeled separately",
        PROBLEM,
        "link the cross sections of an object in adjacent slices, for example by their overlap, so "
        "that each object has one id",
    ),
    "semantic": Kind(
        "Masks instead of ids",
        PROBLEM,
        "separate touching objects manually; give each region its own id",
    ),
    "pieces": Kind(
        "Ids with several connected components",
        PROBLEM,
        "give each component its own id, or delete stray pixels",
    ),
    "tiny": Kind(
        "Objects of a few pixels",
        PROBLEM,
        "delete them: they have no pixels inside their contour, unless DATA_CONTOUR_MODE is outer",
    ),
    "classes": Kind(
        "Classes that do not match the objects",
        PROBLEM,
        "give all pixels of an object one class, from 1 to MODEL.N_CLASSES - 1",
    ),
    "leakage": Kind(
        "The same image in training and test or validation",
        PROBLEM,
        "keep it in one of them: scores on training images are meaningless",
    ),
    "duplicate": Kind(
        "The same image twice", HINT, "delete one; if their labels differ, keep the correct ones"
    ),
    "constant": Kind("Images with a single value", PROBLEM, "remove the file, or export it again"),
    "empty": Kind(
        "Images without objects",
        HINT,
        "correct if the image shows no objects; otherwise draw them, or remove the pair",
    ),
    "holes": Kind("Objects with holes", HINT, "unless the objects are rings, fill them"),
    "large": Kind(
        "Objects larger than the patch",
        HINT,
        "increase DATA.PATCH_SIZE so that patches contain whole objects, or downsample the images",
    ),
    "leftover": Kind(
        "Structures that look like objects but have no label",
        HINT,
        f"inspect them: {_DRAW}",
    ),
    "saturated": Kind(
        "Saturated images", HINT, "reduce the exposure; values above the maximum are lost"
    ),
    "mixed": Kind(
        "Files that differ from the others",
        HINT,
        "convert all images to one pixel size and type, if possible in the microscope software",
    ),
}


@dataclass(frozen=True)
class Place:
    """Position of a finding in an image.

    Parameters
    ----------
    id : int
        Id of the object; 0 if there is none.
    low, high : tuple of int
        Bounding box, (y, x) or (z, y, x); `high` is exclusive.
    """

    id: int
    low: tuple[int, ...]
    high: tuple[int, ...]


@dataclass(frozen=True)
class Finding:
    """One finding in one file.

    Parameters
    ----------
    kind : str
        Key of `KINDS`.
    text : str
        Description, without the name of the file.
    count : int
        Number of objects, or 1 for a whole file.
    where : tuple of Place
        Positions of at most `MAX_PLACES` objects.
    fixable : bool
        A corrected copy does not have the finding.
    severity : {'problem', 'hint'}
        See `Kind`; by default, that of the kind.
    suggestion : str
        Remedy; by default, that of the kind.
    part : {'train', 'val', 'test'}
        Part of the data set.
    file : Path
        File with the finding.
    image, label : Path, optional
        Pair of the finding.
    arrays, label_arrays : ArrayPlace, optional
        Arrays of the pair in container files.
    """

    kind: str
    text: str
    count: int = 1
    where: tuple[Place, ...] = ()
    fixable: bool = False
    severity: str = ""
    suggestion: str = ""
    part: str = ""
    file: Path = Path()
    image: Path | None = None
    label: Path | None = None
    arrays: ArrayPlace | None = None
    label_arrays: ArrayPlace | None = None

    def __post_init__(self) -> None:
        """Insert the severity and the remedy of the kind, and limit the number of positions."""
        row = KINDS[self.kind]
        object.__setattr__(self, "where", self.where[:MAX_PLACES])
        object.__setattr__(self, "severity", self.severity or row.severity)
        object.__setattr__(self, "suggestion", self.suggestion or row.suggestion)

    def located(self, part: str, file: Path, pair: Pair | None = None) -> Finding:
        """Return the finding with its part, file and pair."""
        if pair is None:
            return replace(self, part=part, file=file)
        return replace(
            self,
            part=part,
            file=file,
            image=pair.image,
            label=pair.label,
            arrays=pair.arrays,
            label_arrays=pair.label_arrays,
        )

    @property
    def unusable(self) -> bool:
        """True if a corrected copy does not contain the pair."""
        if self.severity != PROBLEM:
            return False
        return KINDS[self.kind].unusable or (
            self.kind in ("label_type", "axes", "apart", "order") and not self.fixable
        )


@dataclass(frozen=True)
class InspectedPart:
    """Training, validation or test data with the pairs of files.

    Parameters
    ----------
    name : {'train', 'val', 'test'}
        Name of the part.
    images : Path
        Folder of the images.
    labels : Path, optional
        Folder of the labels; equal to `images` if both are in one folder.
    pairs : tuple of Pair
        Images with their labels, which are None if the part has no labels.
    objects : int
        Number of objects in all label images that could be read.
    classes : tuple of int
        Classes other than 0 in the label images, ascending.
    channels : dict of str to tuple of Path
        Files of the channels by name of the pair, if channels are in separate files.
    shape : ShapeSummary, optional
        Shapes of the objects; None without objects.
    """

    name: str
    images: Path
    labels: Path | None
    pairs: tuple[Pair, ...]
    objects: int
    classes: tuple[int, ...] = ()
    channels: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    shape: ShapeSummary | None = None


@dataclass(frozen=True)
class Inspection:
    """Result of the inspection of a data set.

    Parameters
    ----------
    ndim : {2, 3}
        Number of spatial dimensions.
    parts : tuple of InspectedPart
        Training data, then validation and test data if there are any.
    findings : tuple of Finding
        Findings in the order of `KINDS`, then of the parts and files.
    notes : tuple of str
        Notes for the user on decisions.
    smallest : int
        Minimum number of pixels of an object; smaller objects are tiny.
    """

    ndim: int
    parts: tuple[InspectedPart, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    smallest: int = 9

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings that should be corrected."""
        return tuple(f for f in self.findings if f.severity == PROBLEM)

    @property
    def hints(self) -> tuple[Finding, ...]:
        """Findings that need the judgment of a person."""
        return tuple(f for f in self.findings if f.severity == HINT)

    @property
    def fixable(self) -> tuple[Finding, ...]:
        """Findings that a corrected copy does not have."""
        return tuple(f for f in self.findings if f.fixable)

    def by_kind(self) -> dict[str, list[Finding]]:
        """Return the findings by kind, problems first."""
        groups: dict[str, list[Finding]] = {}
        for finding in sorted(self.findings, key=lambda f: f.severity == HINT):
            groups.setdefault(finding.kind, []).append(finding)
        return groups

    def to_dict(self) -> dict[str, Any]:
        """Return the result as dicts and lists, with the paths that `write_json` accepts."""
        return asdict(self)

"""The label images to export: those of a finished run, of a folder, or one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.arguments import label_image
from singula.errors import UserError
from singula.evaluate import overlap
from singula.io.formats import stem_of
from singula.io.image import ArrayPlace, Spacing, check_spacing
from singula.io.listing import list_images
from singula.io.read import read_header, read_labels
from singula.io.units import replaced_size
from singula.postprocess.labels import count_instances
from singula.words import counted

Labels = npt.NDArray[Any]
_PIECES, _MASK_PIECES, _FEW_PAIRS = 4, 2, 100


@dataclass(frozen=True, eq=False)
class Instances:
    """One label image with what is known of it.

    Parameters
    ----------
    name : str
        What its files are called.
    labels : ndarray of unsigned int
        (y, x) or (z, y, x), 0 the background, any ids.
    classes : dict of int to int, optional
        Class of each id, 0 for none; None without classes.
    spacing : tuple of float, optional
        Size of a pixel along each axis, z first; None when it is not known.
    unit : str, optional
        Unit of `spacing`.
    file_name : str
        The image that was segmented, as far as it is known.
    replaced : str
        Message on the voxel size of the file, if the user set another one.
    """

    name: str
    labels: Labels
    classes: dict[int, int] | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    file_name: str = ""
    replaced: str = ""

    @property
    def ndim(self) -> int:
        """Spatial axes, 2 or 3."""
        return self.labels.ndim


@dataclass(frozen=True)
class Source:
    """A label image that can be read.

    Parameters
    ----------
    path : Path
    name : str
    ndim : int
    classes : bool
        Whether its second channel holds classes.
    spacing : tuple of float, optional
        Instead of what the file says.
    unit : str, optional
        Unit of `spacing`, or instead of the file's.
    file_name : str
        The image that was segmented.
    foreign : bool
        It is a user's file, not of a run, and may be no label image.
    spacing_from : str
        Option or key that set `spacing`.
    arrays : ArrayPlace, optional
        Allows files outside, to which the file refers.
    """

    path: Path
    name: str
    ndim: int
    classes: bool = False
    spacing: Spacing | None = None
    unit: str | None = None
    file_name: str = ""
    foreign: bool = False
    spacing_from: str = "--spacing"
    arrays: ArrayPlace | None = None

    def read(self) -> Instances:
        """The label image.

        Raises
        ------
        UserError
            When the file is no label image, or the spacing has another number of axes.
        """
        image = read_labels(self.path, self.ndim, self.classes, arrays=self.arrays)
        labels = image.array[..., 0]
        if self.foreign:
            check_ids(str(self.path), labels)
        replaced = None
        if self.spacing is not None:
            sizes = check_spacing(self.spacing, self.ndim)
            replaced = replaced_size(self.spacing_from, sizes, image.spacing, image.unit, self.unit)
            image = image.with_spacing(sizes)
        classes = class_of_each(labels, image.array[..., 1]) if self.classes else None
        return Instances(
            self.name,
            labels,
            classes,
            image.spacing,
            self.unit or image.unit,
            self.file_name or self.path.name,
            replaced or "",
        )


def check_ids(name: str, labels: Labels) -> None:
    """See that numbers are ids of objects, and not brightness or a mask.

    Almost every object of a label image is one piece, and inside it neighbours are equal.

    Raises
    ------
    UserError
        Where the values lie in many places each, or most neighbours differ.
    """
    import cc3d

    count = count_instances(labels)
    if not count:
        return
    dtype = labels.dtype if labels.dtype.kind == "u" else np.uint32
    whole = np.require(labels, dtype, ["C", "W"])  # cc3d takes no read-only array
    _, pieces = cc3d.connected_components(
        whole, connectivity=8 if labels.ndim == 2 else 26, return_N=True
    )
    equal, pairs = _equal_neighbours(labels)
    most = _MASK_PIECES if count == 1 and labels.max() == 255 else _PIECES
    if pieces < most * count and (pairs < _FEW_PAIRS or equal > pairs / 2):
        return
    values = "only value lies" if count == 1 else f"{count} values lie"
    raise UserError(
        f"{name}: is no label image: its {values} in {counted(pieces, 'separate place')}; "
        "labels give every "
        "object an id of its own",
        "give the labels, not the image that was segmented; a mask becomes labels in Fiji: "
        "Plugins > MorphoLibJ > Binary Images > Connected Components Labeling",
    )


def _equal_neighbours(labels: Labels) -> tuple[int, int]:
    """How many pixels are equal to the next one along an axis, of how many that are both set."""
    equal = pairs = 0
    for axis in range(labels.ndim):
        moved = np.moveaxis(labels, axis, 0)
        both = (moved[1:] != 0) & (moved[:-1] != 0)
        pairs += int(np.count_nonzero(both))
        equal += int(np.count_nonzero(both & (moved[1:] == moved[:-1])))
    return equal, pairs


def class_of_each(labels: Labels, classes: Labels) -> dict[int, int]:
    """Class of each instance: that of most of its classified pixels; 0 where there is none."""
    table = overlap(labels, classes)
    # Ascending numbers of pixels, so the last one for an id is the largest; classes before none
    order = np.lexsort((-table.pred.astype(np.int64), table.pixels, table.pred > 0))
    found = zip(table.true[order].tolist(), table.pred[order].tolist(), strict=True)
    return {label: kind for label, kind in found if label}


def find_sources(
    path: Path | str,
    *,
    spacing: Spacing | None = None,
    unit: str | None = None,
    external_files: bool = False,
) -> list[Source]:
    """Label images behind a path.

    Parameters
    ----------
    path : Path or str
        The folder of a finished run, whose instances after all steps are taken; a folder of label
        images; or one label image.
    spacing, unit
        Size of a pixel, z first, and its unit, instead of what files and configuration say.
    external_files : bool
        Label images of the user may refer to files outside.

    Raises
    ------
    UserError
        When there is none, or two would have one name.
    """
    path, place = Path(path), ArrayPlace(external_files=external_files)
    if (path / "run.json").is_file():
        sources = list(_of_run(path))
    elif path.is_file():
        sources = [_of_file(path, place)]
    elif path.is_dir() and not any(path.glob("results/*/run.json")):
        sources = [_of_file(file, place) for file in list_images(path, "RUN")]
    else:
        below = sorted(p.parent for p in path.glob("results/*/run.json"))
        raise UserError(
            f"{path}: is neither the folder of a finished run nor label images",
            f"give {below[0]}" if below else "give a folder such as results/cells/results/cells_1",
        )
    names: dict[str, Path] = {}
    for source in sources:
        if source.name in names:
            raise UserError(
                f"{names[source.name]} and {source.path} would both be called {source.name}",
                "export them one by one into two folders",
            )
        names[source.name] = source.path
    if unit is not None and spacing is None:
        for source in sources:
            if source.spacing is None and read_header(source.path, source.arrays).spacing is None:
                raise _unit_alone(unit, str(source.path))
    return [
        replace(
            s,
            spacing=s.spacing if spacing is None else spacing,
            unit=unit or s.unit,
            spacing_from=s.spacing_from if spacing is None else "--spacing",
        )
        for s in sources
    ]


def _of_run(run: Path) -> Iterator[Source]:
    from singula.report.run_files import open_run

    files = open_run(run)
    stages = files.stages()
    if not stages:
        raise UserError(
            f"{run}: this run left no instances", "test with it first (TEST.ENABLE: True)"
        )
    # The first view, and of it the last step
    stage = [s for s in stages if s.view == stages[0].view][-1]
    ndim = 3 if stage.view == "as_3d_stack" else files.ndim
    sizes = files.key("DATA.TEST.RESOLUTION", [-1])
    known = len(sizes) == ndim and min(sizes) > 0
    test = files.summary.test
    tested = test.files if test is not None else {}
    for name, path in files.instance_files(stage).items():
        image = Path(tested[name][0] or "").name if name in tested else ""
        spacing = tuple(float(size) for size in sizes) if known else None
        yield Source(
            path,
            name,
            ndim,
            files.has_classes,
            spacing,
            file_name=image,
            spacing_from="DATA.TEST.RESOLUTION",
        )


def _of_file(path: Path, place: ArrayPlace) -> Source:
    """Axes and classes of a file by what it says of itself."""
    header = read_header(path, place)
    shape, axes = header.shape, header.axes
    if axes is not None:
        ndim = 3 if "Z" in axes else 2
        classes = "C" in axes and shape[axes.index("C")] == 2
    else:
        ndim = 3 if sum(size > 1 for size in shape) > 2 else 2
        classes = False
    return Source(path, stem_of(path), ndim, classes, foreign=True, arrays=place)


def of_array(labels: Labels, name: str, spacing: Spacing | None, unit: str | None) -> Instances:
    """A label image from memory, checked."""
    checked = label_image(labels, "source")
    check_ids("the array", checked)
    if unit is not None and spacing is None:
        raise _unit_alone(unit, "the array")
    sizes = check_spacing(spacing, checked.ndim) if spacing is not None else None
    return Instances(name, checked, None, sizes, unit, name)


def _unit_alone(unit: str, name: str) -> UserError:
    return UserError(
        f"--unit: found {unit!r}, but nothing says the size of a pixel of {name}",
        "give it with --spacing, or leave --unit out",
    )

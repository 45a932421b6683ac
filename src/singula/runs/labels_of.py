"""Label images to export: of a finished run, a folder, a file, or an array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.io.formats.table import stem_of
from singula.io.image import ArrayPlace, Spacing, check_spacing
from singula.io.list_images import list_images
from singula.io.read import read_header, read_labels
from singula.io.units import replaced_size
from singula.labels.index import count_instances
from singula.metrics import overlap
from singula.util.arguments import label_image
from singula.util.format import counted

Labels = npt.NDArray[Any]
# Maximum mean number of connected components per id, in label images and for a single id of 255
_MAX_COMPONENTS, _MAX_MASK_COMPONENTS = 4, 2
_MIN_PAIRS = 100  # of neighbors, for a decision from their values


@dataclass(frozen=True, eq=False)
class Instances:
    """A label image with its metadata.

    Parameters
    ----------
    name : str
        Name of the image, from which names of files are made.
    labels : ndarray of unsigned int
        Label image (y, x) or (z, y, x); 0 is the background, and ids may have gaps.
    classes : dict of int to int, optional
        Class of each id, 0 for none; None without classes.
    spacing : tuple of float, optional
        Pixel size along each axis, z first; None if it is unknown.
    unit : str, optional
        Unit of `spacing`.
    file_name : str
        File name of the segmented image, or of the label image if that is unknown.
    size_notice : str
        Notice that the user replaced the pixel size of the file; empty for none.
    """

    name: str
    labels: Labels
    classes: dict[int, int] | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    file_name: str = ""
    size_notice: str = ""

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return self.labels.ndim


@dataclass(frozen=True)
class LabelSource:
    """A file that contains a label image.

    Parameters
    ----------
    path : Path
        The file, or the folder of a Zarr.
    name : str
        Name of the image.
    ndim : {2, 3}
        Number of spatial axes.
    classes : bool
        True if the second channel contains classes.
    spacing : float or tuple of float, optional
        Pixel size, z first; overrides the metadata of the file.
    unit : str, optional
        Unit of the pixel size; overrides the metadata of the file.
    file_name : str
        File name of the segmented image.
    foreign : bool
        True for a file of the user, which may not be a label image; False for a file of a run.
    spacing_from : str
        Option or key that set `spacing`, for messages.
    arrays : ArrayPlace, optional
        Access to files elsewhere to which the file refers.
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
        """Read the label image.

        Raises
        ------
        UserError
            The codes of `check_ids`, `read_labels` and `check_spacing`.
        """
        image = read_labels(self.path, self.ndim, self.classes, arrays=self.arrays)
        labels = image.array[..., 0]
        if self.foreign:
            check_ids(str(self.path), labels)
        notice = None
        if self.spacing is not None:
            sizes = check_spacing(self.spacing, self.ndim)
            notice = replaced_size(self.spacing_from, sizes, image.spacing, image.unit, self.unit)
            image = image.with_spacing(sizes)
        classes = instance_classes(labels, image.array[..., 1]) if self.classes else None
        return Instances(
            self.name,
            labels,
            classes,
            image.spacing,
            self.unit or image.unit,
            self.file_name or self.path.name,
            notice or "",
        )


def check_ids(name: str, labels: Labels) -> None:
    """Raise an error if an array contains gray values or a mask instead of ids.

    In a label image, nearly every object is a single connected component, and neighboring pixels
    have equal ids.

    Parameters
    ----------
    name : str
        Name of the array, for the message.
    labels : ndarray of int
        Array (y, x) or (z, y, x).

    Raises
    ------
    UserError
        ``labels.not_labels``: each value has many connected components, or most neighbors differ.
    """
    import cc3d

    count = count_instances(labels)
    if not count:
        return
    dtype = labels.dtype if labels.dtype.kind == "u" else np.uint32
    whole = np.require(labels, dtype, ["C", "W"])  # cc3d does not accept read-only arrays
    _, n_components = cc3d.connected_components(
        whole, connectivity=8 if labels.ndim == 2 else 26, return_N=True
    )
    equal, pairs = _equal_neighbors(labels)
    is_mask = count == 1 and labels.max() == 255
    max_components = _MAX_MASK_COMPONENTS if is_mask else _MAX_COMPONENTS
    if n_components < max_components * count and (pairs < _MIN_PAIRS or equal > pairs / 2):
        return
    raise UserError(
        f"{name}: got {counted(count, 'value')} in "
        f"{counted(n_components, 'connected component')}, expected a label image with one id per "
        "object",
        "give the labels, not the segmented image; to convert a mask to labels in Fiji, use "
        "Plugins > MorphoLibJ > Binary Images > Connected Components Labeling",
        "labels.not_labels",
    )


def _equal_neighbors(labels: Labels) -> tuple[int, int]:
    """Return the number of neighboring foreground pixels with equal ids, and of all such pairs."""
    equal = pairs = 0
    for axis in range(labels.ndim):
        moved = np.moveaxis(labels, axis, 0)
        both = (moved[1:] != 0) & (moved[:-1] != 0)
        pairs += int(np.count_nonzero(both))
        equal += int(np.count_nonzero(both & (moved[1:] == moved[:-1])))
    return equal, pairs


def instance_classes(labels: Labels, classes: Labels) -> dict[int, int]:
    """Return the class of each instance: the most frequent nonzero class of its pixels.

    Parameters
    ----------
    labels, classes : ndarray of int
        Label image, and class of each pixel (0 for none), of the same shape.

    Returns
    -------
    dict of int to int
        Class of each id; 0 if no pixel has a class.
    """
    table = overlap(labels, classes)
    # The last row of an id wins: the largest number of pixels, and any class before none.
    order = np.lexsort((-table.pred.astype(np.int64), table.pixels, table.pred > 0))
    rows = zip(table.true[order].tolist(), table.pred[order].tolist(), strict=True)
    return {label: kind for label, kind in rows if label}


def find_sources(
    path: Path | str,
    *,
    spacing: Spacing | None = None,
    unit: str | None = None,
    external_files: bool = False,
) -> list[LabelSource]:
    """Find the label images to export.

    Parameters
    ----------
    path : Path or str
        Folder of a finished run (its instances after all steps), folder of label images, or label
        image.
    spacing : float or sequence of float, optional
        Pixel size, z first; overrides the metadata and the configuration.
    unit : str, optional
        Unit of the pixel size; overrides the metadata.
    external_files : bool
        Allow label images of the user to refer to files elsewhere.

    Raises
    ------
    UserError
        ``export.no_labels``: no label image was found; ``export.no_instances``: the run has none;
        ``export.same_name``: two images have the same name; ``export.unit_without_size``: the pixel
        size is unknown.
    """
    path, place = Path(path), ArrayPlace(external_files=external_files)
    if (path / "run.json").is_file():
        sources = list(_find_in_run(path))
    elif path.is_file():
        sources = [_open_file(path, place)]
    elif path.is_dir() and not any(path.glob("results/*/run.json")):
        sources = [_open_file(file, place) for file in list_images(path, "RUN")]
    else:
        below = sorted(p.parent for p in path.glob("results/*/run.json"))
        raise UserError(
            f"{path}: expected the folder of a finished run, or label images",
            f"give {below[0]}" if below else "give a folder such as results/cells/results/cells_1",
            "export.no_labels",
        )
    names: dict[str, Path] = {}
    for source in sources:
        if source.name in names:
            raise UserError(
                f"{names[source.name]} and {source.path} have the same name {source.name}",
                "export the files separately into two folders",
                "export.same_name",
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


def _find_in_run(run: Path) -> Iterator[LabelSource]:
    from singula.runs.run_files import open_run

    files = open_run(run)
    stages = files.stages()
    if not stages:
        raise UserError(
            f"{run}: contains no instances",
            "run the test first (TEST.ENABLE: True)",
            "export.no_instances",
        )
    # The last step of the first view
    stage = [s for s in stages if s.view == stages[0].view][-1]
    ndim = 3 if stage.view == "as_3d_stack" else files.ndim
    sizes = files.key("DATA.TEST.RESOLUTION", [-1])
    has_size = len(sizes) == ndim and min(sizes) > 0
    test = files.summary.test
    tested = test.files if test is not None else {}
    for name, path in files.instance_files(stage).items():
        image = Path(tested[name][0] or "").name if name in tested else ""
        spacing = tuple(float(size) for size in sizes) if has_size else None
        yield LabelSource(
            path,
            name,
            ndim,
            files.has_classes,
            spacing,
            file_name=image,
            spacing_from="DATA.TEST.RESOLUTION",
        )


def _open_file(path: Path, place: ArrayPlace) -> LabelSource:
    """Return the source for a file of the user; axes and classes are read from its metadata."""
    header = read_header(path, place)
    shape, axes = header.shape, header.axes
    if axes is not None:
        ndim = 3 if "Z" in axes else 2
        classes = "C" in axes and shape[axes.index("C")] == 2
    else:
        ndim = 3 if sum(size > 1 for size in shape) > 2 else 2
        classes = False
    return LabelSource(path, stem_of(path), ndim, classes, foreign=True, arrays=place)


def instances_from_array(
    labels: Labels, name: str, spacing: Spacing | None, unit: str | None
) -> Instances:
    """Validate an array of labels.

    Parameters
    ----------
    labels : ndarray of int
        Label image (y, x) or (z, y, x).
    name : str
        Name of the image.
    spacing : float or sequence of float, optional
        Pixel size, z first.
    unit : str, optional
        Unit of the pixel size.

    Raises
    ------
    TypeError, UserError
        The array is not a label image. ``labels.not_labels``; ``export.unit_without_size``.
    """
    checked = label_image(labels, "source")
    check_ids("the array", checked)
    if unit is not None and spacing is None:
        raise _unit_alone(unit, "the array")
    sizes = check_spacing(spacing, checked.ndim) if spacing is not None else None
    return Instances(name, checked, None, sizes, unit, name)


def _unit_alone(unit: str, name: str) -> UserError:
    return UserError(
        f"--unit: got {unit!r}, but the pixel size of {name} is unknown",
        "give the pixel size with --spacing, or omit --unit",
        "export.unit_without_size",
    )

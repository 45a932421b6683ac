"""Label images to export: of a finished run, a folder, a file, or an array."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from singula.errors import UserError
from singula.io.formats.table import stem_of
from singula.io.image import ArrayPlace, Spacing, check_spacing
from singula.io.list_images import list_images
from singula.io.read import read_header
from singula.io.slide_notes import slide_of
from singula.report.overlay import OVERLAY_SUFFIX
from singula.runs.images import open_images
from singula.runs.instances import Instances, Labels, LabelSource, check_ids
from singula.runs.run import is_finished, not_a_run, open_run
from singula.util.arguments import label_image

_log = logging.getLogger(__name__)


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
        ``runs.not_a_run``: no label image was found; ``export.no_instances``: the run has none;
        ``export.same_name``: two images have the same name; ``export.unit_without_size``: the pixel
        size is unknown.
    """
    path, place = Path(path), ArrayPlace(external_files=external_files)
    if is_finished(path):
        sources = _find_in_run(path)
    elif path.is_file():
        sources = [_open_file(path, place)]
    elif path.is_dir() and not any(map(is_finished, path.glob("results/*"))):
        sources = [_open_file(file, place) for file in label_image_files(path)]
    else:
        raise not_a_run(path, "label images")
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


def label_image_files(folder: Path) -> list[Path]:
    """Return the images of a folder without the pictures that `singula predict` adds to them.

    Parameters
    ----------
    folder : Path
        Folder of label images.

    Raises
    ------
    UserError
        The codes of `list_images`.
    """
    files = list_images(folder, "RUN")
    pictures = {f"{stem_of(file)}{OVERLAY_SUFFIX}" for file in files}
    return [file for file in files if file.name not in pictures]


def _find_in_run(path: Path) -> list[LabelSource]:
    """Return the instances of the first view after the last step."""
    run = open_run(path)
    return list(run.label_images(run.final_stage))


def add_images(
    items: Iterable[Instances],
    path: Path,
    *,
    external_files: bool,
) -> Iterator[Instances]:
    """Add the raw image to each label image of a run, for its intensities.

    Parameters
    ----------
    items : iterable of Instances
        Label images of the run.
    path : Path
        Folder of the run.
    external_files : bool
        Allow images to refer to files elsewhere.
    """
    run = open_run(path)
    images, stage = open_images(run, external_files=external_files), run.final_stage
    for item in items:
        is_large = images.window(item.name) is not None
        raw = None if is_large else images.raw(item.name, stage, item.labels.shape)
        if raw is None:
            reason = "too large" if is_large else "missing, or has another shape"
            _log.warning(f"{item.name}: no intensities, because the raw image is {reason}")
        yield replace(item, image=raw)


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
    slide = None if place.inside else slide_of(path)
    return LabelSource(path, stem_of(path), ndim, classes, foreign=True, arrays=place, slide=slide)


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

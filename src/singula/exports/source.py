"""The label images to export: those of a finished run, of a folder, or one file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.evaluate import overlap
from singula.io.formats import stem_of
from singula.io.listing import list_images
from singula.io.read import read_header, read_labels
from singula.postprocess.labels import check_labels, check_spacing

Labels = npt.NDArray[Any]


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
    """

    name: str
    labels: Labels
    classes: dict[int, int] | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    file_name: str = ""

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
    """

    path: Path
    name: str
    ndim: int
    classes: bool = False
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    file_name: str = ""

    def read(self) -> Instances:
        """The label image.

        Raises
        ------
        UserError
            When the file is no label image, or the spacing has another number of axes.
        """
        image = read_labels(self.path, self.ndim, self.classes)
        labels = image.array[..., 0]
        spacing, unit = image.spacing, image.unit
        if self.spacing is not None:
            spacing = check_spacing(self.spacing, self.ndim)
            # A configured size has no unit of its own: the file's, if it says the same size.
            known = image.spacing is not None and np.allclose(spacing, image.spacing, rtol=1e-3)
            unit = unit if known else None
        classes = class_of_each(labels, image.array[..., 1]) if self.classes else None
        return Instances(
            self.name,
            labels,
            classes,
            spacing,
            self.unit or unit,
            self.file_name or self.path.name,
        )


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
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
) -> list[Source]:
    """Label images behind a path.

    Parameters
    ----------
    path : Path or str
        The folder of a finished run, whose instances after all steps are taken; a folder of label
        images; or one label image.
    spacing, unit
        Size of a pixel, z first, and its unit, instead of what files and configuration say.

    Raises
    ------
    UserError
        When there is none, or two would have one name.
    """
    path = Path(path)
    if (path / "run.json").is_file():
        sources = list(_of_run(path))
    elif path.is_file():
        sources = [_of_file(path)]
    elif path.is_dir() and not any(path.glob("results/*/run.json")):
        sources = [_of_file(file) for file in list_images(path, "RUN")]
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
    sizes = tuple(float(size) for size in spacing) if spacing is not None else None
    return [
        replace(s, spacing=s.spacing if sizes is None else sizes, unit=unit or s.unit)
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
    tested = (files.summary.get("test") or {}).get("files") or {}
    for name, path in files.instance_files(stage).items():
        image = Path(tested[name][0]).name if name in tested else ""
        spacing = tuple(float(size) for size in sizes) if known else None
        yield Source(path, name, ndim, files.has_classes, spacing, file_name=image)


def _of_file(path: Path) -> Source:
    """Axes and classes of a file by what it says of itself."""
    header = read_header(path)
    shape, axes = header.shape, header.axes
    if axes is not None:
        ndim = 3 if "Z" in axes else 2
        classes = "C" in axes and shape[axes.index("C")] == 2
    else:
        ndim = 3 if sum(size > 1 for size in shape) > 2 else 2
        classes = False
    return Source(path, stem_of(path), ndim, classes)


def of_array(
    labels: Labels, name: str, spacing: Sequence[float] | None, unit: str | None
) -> Instances:
    """A label image from memory, checked."""
    checked = check_labels(labels)
    sizes = check_spacing(spacing, checked.ndim) if spacing is not None else None
    return Instances(name, checked, None, sizes, unit, name)

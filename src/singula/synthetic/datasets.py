"""Data sets of drawn objects of different shapes: cells, rods and tissue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singula.io.write import write_tiff
from singula.synthetic.fluorescence import dataset_files
from singula.synthetic.packed_cells import TISSUE_SPACING, CellImage, make_cells, make_tissue
from singula.synthetic.rods import make_rods


@dataclass(frozen=True)
class Drawing:
    """Kind of drawn data set.

    Parameters
    ----------
    draw : callable
        Function from a shape and a generator to an image with its ground truth.
    shape : tuple of int
        Usual shape of an image, (y, x) or (z, y, x).
    spacing : tuple of float, optional
        Voxel size that is written into the files.
    """

    draw: Callable[[Sequence[int], np.random.Generator], CellImage]
    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None = None


DRAWINGS = {
    "cells": Drawing(make_cells, (192, 192)),
    "rods": Drawing(make_rods, (192, 192)),
    "tissue": Drawing(make_tissue, (28, 64, 64), TISSUE_SPACING),
}
"""Kinds of drawn data sets by name."""


def make_drawn_dataset(
    folder: Path | str,
    name: str,
    rng: np.random.Generator,
    *,
    n_train: int,
    n_val: int,
    n_test: int,
    shape: Sequence[int] | None = None,
) -> None:
    """Write a data set of images ``folder/{train,val,test}/{x,y}/image_000.tif``.

    Parameters
    ----------
    folder : Path or str
        Folder of the data set; files with the same names are replaced.
    name : {'cells', 'rods', 'tissue'}
        Touching convex cells, long bent rods, or volumes of a tissue without background.
    rng : numpy.random.Generator
        Source of randomness.
    n_train, n_val, n_test : int
        Number of images of each part.
    shape : sequence of int, optional
        Shape of an image; by default, the one of `DRAWINGS`.

    Raises
    ------
    ValueError
        An unknown name, or a shape with a wrong number of axes.
    UserError
        The folder cannot be written.
    """
    if name not in DRAWINGS:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(DRAWINGS)}")
    drawing = DRAWINGS[name]
    size = tuple(drawing.shape if shape is None else shape)
    axes = "ZYX"[-len(drawing.shape) :]
    files = dataset_files(folder, n_train, n_val, n_test)
    for image_file, label_file in zip(files[::2], files[1::2], strict=True):
        drawn = drawing.draw(size, rng)
        write_tiff(image_file, drawn.image, axes, drawing.spacing)
        write_tiff(label_file, drawn.labels, axes, drawing.spacing)

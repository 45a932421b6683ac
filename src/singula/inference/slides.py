"""Prediction of whole slides: the resolution to read, and results in coordinates of the slide."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from singula.errors import UserError
from singula.exports.qupath import write_geojson
from singula.exports.tables import instance_table
from singula.inference.model import Model
from singula.inference.outputs import table_file
from singula.io.files import guarded
from singula.io.formats.slide import Slide, find_tissue, level_for, read_slide
from singula.io.formats.table import format_of, stem_of
from singula.io.image import ArrayPlace, resized_spacing
from singula.io.pairing import Pair
from singula.io.read import read_header
from singula.io.records.slides import SlideNote
from singula.io.slide_notes import note_slide
from singula.io.units import format_spacing, in_microns
from singula.io.write import write_csv
from singula.pipeline.object_size import TrainedObjects
from singula.runs.instances import LabelSource

_log = logging.getLogger(__name__)
NUCLEUS = 7.5
"""Typical diameter of a nucleus in stained tissue, in µm."""
BLOCK = (1024, 1024)
"""Shape of the blocks of a slide, in pixels; small blocks leave out more glass."""
GEOJSON_SUFFIX = ".geojson"
"""End of the name of the outlines of a slide."""
_SAME = 1.05  # ratio of two resolutions that are not resampled


def is_slide(path: Path) -> bool:
    """Return True if the suffix of a file is that of a whole slide."""
    kind = format_of(path)
    return kind is not None and kind.slide


def slide_pair(
    model: Model,
    pair: Pair,
    spacing: Sequence[float] | None,
    unit: str | None,
    factors: Sequence[float] | Literal["auto"] | None,
    *,
    glass: bool,
) -> Pair:
    """Return the file of a slide with the resolution at which it is read.

    Parameters
    ----------
    model : Model
        Trained model.
    pair : Pair
        Slide.
    spacing : sequence of float, optional
        Size (y, x) of a pixel of the finest level; replaces the size in the file.
    unit : str, optional
        Unit of `spacing`. Default: µm.
    factors : sequence of float or "auto", optional
        Factor of each axis by which the finest level is enlarged. Default, and "auto": from the
        pixel size and the size of the training objects.
    glass : bool
        Predict glass, too.

    Raises
    ------
    UserError
        ``predict.slide_pixel_size``: the pixel size is not known; ``predict.slide_spacing``: the
        pixels have another aspect ratio than DATA.PREPROCESS.SPACING; ``predict.scale_unknown``:
        the size of the training objects is not known; the codes of `read_slide`.
    """
    slide = guarded(pair.image, lambda kind: read_slide(pair.image))
    if isinstance(factors, tuple):
        downsample = 1 / math.prod(factors) ** (1 / len(factors))
    else:
        size = slide.pixel_size if spacing is None else in_microns(spacing, unit or "µm")[0]
        if size is None:
            raise UserError(
                f"{pair.image}: got a slide without a pixel size, expected one to choose its "
                "resolution",
                "give the pixel size in µm, such as --spacing 0.25,0.25, or a factor with --scale",
                "predict.slide_pixel_size",
            )
        objects, common = model.objects, model.reader.common
        if common is not None:
            _check_shape_of_pixels(pair.image, size, common.size)
            objects = replace(objects, spacing=common.size, unit="µm")
        downsample = downsample_for(math.sqrt(math.prod(size)), objects, slide.downsamples)
    place = replace(pair.arrays or ArrayPlace(), downsample=downsample, tissue_only=not glass)
    return replace(pair, arrays=place)


def _check_shape_of_pixels(path: Path, size: Sequence[float], common: Sequence[float]) -> None:
    """Raise an error if a slide, which has one factor for both axes, cannot have a common size."""
    ratio = size[0] / size[1] / (common[0] / common[1])
    if not 1 / _SAME < ratio < _SAME:
        raise UserError(
            f"{path}: got pixels of {format_spacing(size, 'µm')}, expected the ratio of height to "
            f"width of {format_spacing(common, 'µm')} (DATA.PREPROCESS.SPACING)",
            "correct the pixel size with --spacing, or give a factor with --scale",
            "predict.slide_spacing",
        )


def downsample_for(
    pixel_size: float, objects: TrainedObjects, levels: Sequence[float] = ()
) -> float:
    """Return the factor of a slide at which its nuclei have the size of the training objects.

    Parameters
    ----------
    pixel_size : float
        Size of a pixel of the finest level, in µm.
    objects : TrainedObjects
        Sizes of the training objects. If the voxel size of the training images is known, the slide
        is read with this pixel size; else with that for which a nucleus of 7.5 µm has the size of
        the training objects.
    levels : sequence of float
        Downsampling factors of the levels; a level within 5 % is read without resampling.

    Raises
    ------
    UserError
        ``predict.scale_unknown``: neither size is known.

    Examples
    --------
    >>> downsample_for(0.25, TrainedObjects(size=(20.0, 20.0)))
    1.5
    """
    trained = in_microns(objects.spacing, objects.unit)
    if trained[0] is not None and trained[1] == "µm":
        target = math.prod(trained[0]) ** (1 / len(trained[0]))
    elif objects.size is not None:
        target = NUCLEUS / math.prod(objects.size) ** (1 / len(objects.size))
    else:
        raise UserError(
            "--scale: got none, expected a factor, because an earlier version trained this model "
            "and did not store the size of its training objects",
            "give a factor, such as --scale 0.5, or train the model again",
            "predict.scale_unknown",
        )
    downsample = target / pixel_size
    close = [level for level in levels if 1 / _SAME < level / downsample < _SAME]
    return min(close, key=lambda level: abs(math.log(level / downsample)), default=downsample)


def slide_spacing(
    pair: Pair, spacing: Sequence[float] | None, unit: str | None
) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the pixel size of the resolution at which a slide is read, and its unit.

    Parameters
    ----------
    pair : Pair
        Slide, from `slide_pair`.
    spacing, unit
        As for `slide_pair`.
    """
    if spacing is None:
        header = read_header(pair.image, pair.arrays)
        return header.spacing, header.unit
    finest = read_header(pair.image).shape
    shape = read_header(pair.image, pair.arrays).shape
    return resized_spacing(spacing, finest[:2], shape[:2]), unit or "µm"


def describe_slide(pair: Pair) -> str:
    """Return the resolution of a slide and the share of its tissue, for the log."""
    place = pair.arrays or ArrayPlace()
    slide = read_slide(pair.image)
    level = level_for(slide.downsamples, place.downsample)
    size = read_header(pair.image, place).spacing
    text = f"level {level}, scale {1 / place.downsample:.3g}"
    if size is not None:
        text += f", {size[-1]:.3g} µm per pixel"
    if place.tissue_only:
        text += f"; tissue on {find_tissue(pair.image, place.downsample).share:.1%} of the area"
    return text


def write_slide_results(pair: Pair, target: Path, labels: Path, table: Path | None) -> None:
    """Write the instances of a slide for QuPath, and their measurements.

    Parameters
    ----------
    pair : Pair
        Slide, from `slide_pair`.
    target : Path
        Final name of the label image; the files are written next to it.
    labels : Path
        Label image (Zarr), in which the relation to the slide is stored.
    table : Path, optional
        Table of the run in blocks, for the intensities. None: write no table.
    """
    place = pair.arrays or ArrayPlace()
    slide = read_slide(pair.image)
    share = find_tissue(pair.image, place.downsample).share if place.tissue_only else None
    note = note_of(slide, pair.image, place.downsample, share)
    note_slide(labels, note)
    item = LabelSource(labels, stem_of(target), 2, _has_classes(labels), slide=note).read()
    write_geojson(item, target.with_suffix(GEOJSON_SUFFIX))
    if table is None:
        return
    import pandas as pd

    columns = instance_table(item)
    stored = pd.read_csv(table).set_index("label")
    intensities = stored.filter(like="intensity_").reindex(columns["label"])
    columns = columns.assign(**{str(k): intensities[k].to_numpy() for k in intensities})
    write_csv(table_file(target), columns)


def note_of(slide: Slide, path: Path, downsample: float, share: float | None) -> SlideNote:
    """Return the relation of a label image at a resolution to its slide."""
    height, width = slide.scaled_shape(downsample)
    return SlideNote(
        file=path.name,
        downsample=(slide.shape[0] / height, slide.shape[1] / width),
        origin=slide.origin,
        tissue=share,
    )


def _has_classes(labels: Path) -> bool:
    axes = read_header(labels).axes or ""
    return "C" in axes

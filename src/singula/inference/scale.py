"""Factors by which images are enlarged before prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from singula.dataset.facts.facts import MAX_SPACING_RATIO
from singula.errors import UserError
from singula.io.units import format_spacing, in_microns
from singula.pipeline.common_spacing import MAX_FACTOR
from singula.pipeline.object_size import TrainedObjects
from singula.util.arguments import as_array, instance
from singula.util.format import show

Factors = tuple[float, ...]
Scale = float | Sequence[float] | Literal["auto"] | None
"""Factor for all axes or for each axis, z first; "auto": from the objects; None: not resampled."""


def scale_from_text(text: str | None, name: str = "text") -> Scale:
    """Parse the value of ``--scale``.

    Parameters
    ----------
    text : str, optional
        ``auto``, a factor, or a factor for each axis separated by commas.
    name : str
        Name of the value in errors, such as ``--scale``.

    Raises
    ------
    TypeError
        Not texts.
    UserError
        ``predict.scale``: any other text, or a factor that is not from 1/32 to 32.

    Examples
    --------
    >>> scale_from_text("auto"), scale_from_text("0.5"), scale_from_text("1,0.5,0.5")
    ('auto', (0.5,), (1.0, 0.5, 0.5))
    """
    name = instance(name, "name", str)
    if text is None:
        return None
    if instance(text, "text", str).strip().lower() == "auto":
        return "auto"
    try:
        factors = tuple(float(part) for part in text.strip("()[] ").split(","))
    except ValueError as error:
        raise _invalid(name, text) from error
    # The images give the number of axes; everything else is known before a model is loaded.
    if not all(1 / MAX_FACTOR <= factor <= MAX_FACTOR for factor in factors):
        raise _invalid(name, text)
    return factors


def check_scale(scale: Scale, ndim: int) -> Factors | Literal["auto"] | None:
    """Validate a scale, and expand it to one factor per axis.

    Parameters
    ----------
    scale : float, sequence of float or "auto", optional
        See `Scale`.
    ndim : int
        Number of spatial axes.

    Raises
    ------
    TypeError
        Not numbers.
    UserError
        ``predict.scale``: not a factor or one factor per axis, from 1/32 to 32.
    """
    if scale is None or (isinstance(scale, str) and scale == "auto"):
        return scale
    values = as_array(scale, "scale", kinds="iuf").astype(np.float64)
    if values.size == 1 and values.ndim <= 1:
        values = np.repeat(values, ndim)
    valid = (values >= 1 / MAX_FACTOR) & (values <= MAX_FACTOR)
    if values.shape != (ndim,) or not valid.all():
        typed = scale[0] if isinstance(scale, tuple) and len(scale) == 1 else scale
        raise _invalid("--scale", typed, ndim)
    return tuple(values.tolist())


def _invalid(name: str, scale: object, ndim: int | None = None) -> UserError:
    axes = "one for each axis" if ndim is None else f"{ndim} factors, one for each axis"
    return UserError(
        f"{name}: got {show(scale)}, expected auto, a factor from 1/{MAX_FACTOR:g} to "
        f"{MAX_FACTOR:g}, or {axes} (z first)",
        "divide the size of the training objects by that of the objects in this image: give 0.5 if "
        "these objects are twice as large",
        "predict.scale",
    )


def factors_from_spacing(
    spacing: Sequence[float], unit: str | None, objects: TrainedObjects
) -> Factors | None:
    """Return the factors that give an image the voxel size of a model.

    Parameters
    ----------
    spacing : sequence of float
        Voxel size of the image, z first.
    unit : str, optional
        Unit of `spacing`. Default: the unit of the model.
    objects : TrainedObjects
        Sizes of the model.

    Returns
    -------
    tuple of float or None
        Factor by which the image is enlarged along each axis. None if the voxel sizes differ by at
        most 25 % along each axis, or cannot be compared.

    Raises
    ------
    UserError
        ``predict.spacing_range``: a factor is not in the range from 1/32 to 32.

    Examples
    --------
    >>> trained = TrainedObjects(spacing=(0.25, 0.25), unit="µm")
    >>> factors_from_spacing((500, 500), "nm", trained)
    (2.0, 2.0)
    """
    trained = objects.spacing
    if trained is None:
        return None
    sizes, symbol = in_microns(spacing, unit or objects.unit)
    if sizes is None or len(sizes) != len(trained) or symbol != objects.unit:
        return None
    factors = tuple(size / other for size, other in zip(sizes, trained, strict=True))
    if all(1 / MAX_SPACING_RATIO <= factor <= MAX_SPACING_RATIO for factor in factors):
        return None
    if not all(1 / MAX_FACTOR <= factor <= MAX_FACTOR for factor in factors):
        raise UserError(
            f"--spacing: got {format_spacing(sizes, symbol)}, expected a size similar to that of "
            f"the training images, {format_spacing(trained, objects.unit)}",
            "give the unit with --unit, or prevent resampling with --scale 1",
            "predict.spacing_range",
        )
    return factors

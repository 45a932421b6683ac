"""Voxel size of an image file, and notes on the file for the user."""

from __future__ import annotations

from singula.io.advice import advice_for
from singula.io.axes import Layout
from singula.io.image import Header
from singula.io.units import format_spacing
from singula.util.arguments import flag, instance

_MAX_LISTED = 8


def geometry(header: Header, ndim: int) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the voxel size of an image along its spatial axes, and its unit.

    If the file gives no size along z, the size along x is used; `file_notes` reports it.

    Parameters
    ----------
    header : Header
        Header of the image.
    ndim : {2, 3}
        Number of spatial axes.

    Returns
    -------
    spacing : tuple of float or None
        Size along (y, x) or (z, y, x); None if the file gives none.
    unit : str or None
        Unit of `spacing`.
    """
    spacing = header.spacing
    if spacing is None:
        return None, None
    if len(spacing) < ndim:
        spacing = (spacing[-1], *spacing)
    return spacing[-ndim:], header.unit


def lacks_z_spacing(header: Header, ndim: int) -> bool:
    """Return True if the file gives pixel sizes along y and x, but the image also needs one for z.

    Parameters
    ----------
    header : Header
        Header of the image.
    ndim : {2, 3}
        Number of spatial axes.
    """
    return header.spacing is not None and len(header.spacing) < ndim


def file_notes(header: Header, layout: Layout, *, sized: bool = False) -> list[str]:
    """Return the notes on a file for the user, without the name of the file.

    Parameters
    ----------
    header : Header
        Header of the file.
    layout : Layout
        Axes and channels of the image.
    sized : bool
        Omit the note on a missing size along z: the voxel size comes from elsewhere or is unused.

    Raises
    ------
    TypeError
        An argument of the wrong type.
    """
    header, layout = instance(header, "header", Header), instance(layout, "layout", Layout)
    sized = flag(sized, "sized")
    notes = list(header.notes)
    if header.left_out:
        notes.append(left_out_note(header))
    incomplete = lacks_z_spacing(header, len(layout.spatial_shape)) and not sized
    if header.spacing is not None and incomplete:
        x_size = format_spacing(header.spacing[-1:], header.unit)
        notes.append(
            f"it gives no valid voxel size along z, so the size along x, {x_size}, is used: "
            f"{advice_for(header.command).voxel_size}"
        )
    if layout.channels != layout.stored_channels:
        notes.append("its alpha channel (transparency) is left out")
    return notes


def left_out_note(header: Header) -> str:
    """Return a note with the images of a file that are not read.

    Parameters
    ----------
    header : Header
        Header of the file.

    Raises
    ------
    TypeError
        An argument of the wrong type.
    """
    header = instance(header, "header", Header)
    listed = ", ".join(header.left_out[:_MAX_LISTED])
    more = len(header.left_out) - _MAX_LISTED
    total = len(header.left_out) + 1
    return f"it holds {total} images, of which the first is read; left out: {listed}" + (
        f" and {more} more" if more > 0 else ""
    )

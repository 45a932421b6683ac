"""Read images and labels: any supported file becomes a channel-last array with its geometry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from singula.arguments import flag, function, instance, integer
from singula.errors import UserError
from singula.io.advice import advice_for
from singula.io.axes import Layout, decide_layout
from singula.io.entries import reader_path
from singula.io.files import check_place, list_series, read_header, read_mapped, read_pixels
from singula.io.formats import IMAGE_SUFFIXES, format_of, stem_of
from singula.io.image import AnyArray, ArrayPlace, Header, Image
from singula.io.units import describe
from singula.io.values import (
    check_classes,
    check_finite,
    colour_labels,
    native,
    shades,
    to_ids,
)
from singula.words import counted

Notify = Callable[[str], None]
_MOST_LISTED = 8

__all__ = [
    "IMAGE_SUFFIXES",
    "ArrayPlace",
    "Header",
    "Image",
    "Notify",
    "file_notes",
    "image_layout",
    "label_layout",
    "left_out_note",
    "list_series",
    "map_image",
    "map_labels",
    "read_header",
    "read_image",
    "read_labels",
]


def read_image(
    path: Path | str,
    ndim: int,
    channels: int | None = None,
    notify: Notify | None = None,
    *,
    grey: bool = False,
    arrays: ArrayPlace | None = None,
) -> Image:
    """Read an image.

    Parameters
    ----------
    path : Path or str
        A file with one of `IMAGE_SUFFIXES`.
    ndim : int
        2 or 3 spatial axes.
    channels : int, optional
        The number that the image must have; it also tells axes apart where the file does not.
    notify : callable, optional
        Takes what the user should know, such as a dropped alpha channel.
    grey : bool
        Images with one channel are allowed too; it is repeated.
    arrays : ArrayPlace, optional
        Which of several arrays, images or time points, and what its axes are.

    Returns
    -------
    Image
        Array (y, x, c) or (z, y, x, c), values and type as stored, native byte order.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; unreadable file, axes or channels that do not fit the problem, NaN or
        infinite values.
    """
    path = check_image_arguments(path, ndim, channels, grey=grey, arrays=arrays)
    notify = None if notify is None else function(notify, "notify")
    array, header = read_pixels(path, arrays)
    if header.palette is not None:
        array = shades(header.palette)[array]
    layout = image_layout(path, header, ndim, channels, grey=grey)
    array = layout.apply(native(array))
    check_finite(path, array)
    if channels is not None and array.shape[-1] < channels:
        array = np.repeat(array, channels, axis=-1)
    _tell(path, header, layout, notify)
    return _image(path, header, layout, array)


def read_labels(
    path: Path | str,
    ndim: int,
    classes: bool = False,
    notify: Notify | None = None,
    *,
    n_classes: int | None = None,
    arrays: ArrayPlace | None = None,
) -> Image:
    """Read a label image: the id of its object in every pixel, 0 for background.

    Parameters
    ----------
    path : Path or str
        A file with one of `IMAGE_SUFFIXES`, not JPEG.
    ndim : int
        2 or 3 spatial axes.
    classes : bool
        Whether a second channel with the class of each pixel is expected.
    notify : callable, optional
        Takes what the user should know, such as a dropped second channel.
    n_classes : int, optional
        Classes must be below it.
    arrays : ArrayPlace, optional
        Which of several arrays, images or time points, and what its axes are.

    Returns
    -------
    Image
        Array (y, x, c) or (z, y, x, c) of the smallest unsigned type; c is 1 (ids) or 2 (ids,
        class).

    Raises
    ------
    TypeError, UserError
        Wrong arguments; unreadable file; a colour picture; fractions, negative ids or ids above
        2**32 - 1; no class channel; a class not below `n_classes`.
    """
    path = check_label_arguments(path, ndim, classes, arrays=arrays)
    notify = None if notify is None else function(notify, "notify")
    if n_classes is not None:
        n_classes = integer(n_classes, "n_classes", at_least=0)
    array, header = read_pixels(path, arrays, labels=True)
    layout = label_layout(path, header, ndim, classes)
    array = layout.apply(native(array))
    _tell(path, header, layout, notify)
    if layout.channels == 3:
        if not (array == array[..., :1]).all():
            raise colour_labels(path, header)
        array = array[..., :1]
    if layout.channels == 2 and not classes:
        array = array[..., :1]
        if notify:
            notify(
                f"{path}: its second channel (the class) is left out, for MODEL.N_CLASSES is not "
                "more than 2"
            )
    labels = to_ids(path, array)
    if n_classes is not None and classes:
        check_classes(path, labels[..., 1], n_classes)
    return _image(path, header, layout, labels)


def map_image(
    path: Path | str,
    ndim: int,
    channels: int | None = None,
    *,
    grey: bool = False,
    arrays: ArrayPlace | None = None,
) -> AnyArray | None:
    """Return the pixels of an image as a view of its file, which takes no memory.

    Parameters
    ----------
    path, ndim, channels, grey, arrays
        As for `read_image`.

    Returns
    -------
    ndarray or None
        What `read_image` gives, read-only; None where the pixels are compressed, scattered, of
        foreign byte order, or colours of a palette. Values are not checked.

    Raises
    ------
    UserError
        As `read_image`, but for values.
    """
    path = check_image_arguments(path, ndim, channels, grey=grey, arrays=arrays)
    found = read_mapped(path, arrays)
    if found is None or found[1].palette is not None:
        return None
    mapped, header = found
    view = image_layout(path, header, ndim, channels, grey=grey).view(mapped)
    if view is not None and channels is not None and view.shape[-1] < channels:
        view = np.broadcast_to(view, (*view.shape[:-1], channels))
    return view


def map_labels(
    path: Path | str, ndim: int, classes: bool = False, *, arrays: ArrayPlace | None = None
) -> AnyArray | None:
    """Return labels as such a view; None where `read_labels` would change more than their type.

    Raises
    ------
    UserError
        As `read_labels`, but for values.
    """
    path = check_label_arguments(path, ndim, classes, arrays=arrays)
    found = read_mapped(path, arrays)
    if found is None or found[0].dtype.kind != "u":
        return None
    mapped, header = found
    layout = label_layout(path, header, ndim, classes)
    return layout.view(mapped) if layout.channels == 1 + classes else None


def image_layout(
    path: Path, header: Header, ndim: int, channels: int | None, *, grey: bool = False
) -> Layout:
    """Decide the axes of an image and check its number of channels.

    Parameters
    ----------
    path : Path
        Named in errors.
    header : Header
    ndim, channels, grey
        As for `read_image`; with `grey` an image of one channel passes as well.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; axes or channels that do not fit the problem.
    """
    path = check_image_arguments(path, ndim, channels, grey=grey)
    header = instance(header, "header", Header)
    if header.palette is not None:
        colours = shades(header.palette).shape[1:]
        header = replace(header, shape=header.shape + colours, axes="YXS" if colours else "YX")
    expected = None if channels is None else (channels, *((1,) if grey else ()))
    layout = decide_layout(path, header, ndim, expected)
    if channels is not None and expected is not None and layout.channels not in expected:
        raise UserError(
            f"{path}: has {counted(layout.channels, 'channel')} ({header}), but DATA.PATCH_SIZE "
            f"ends in {channels}",
            f"set the last entry of DATA.PATCH_SIZE to {layout.channels}, or convert the images to "
            f"{counted(channels, 'channel')}; a grey picture that was saved as colour becomes "
            "grey again with Image > Type > 8-bit in Fiji",
        )
    return layout


def label_layout(path: Path, header: Header, ndim: int, classes: bool) -> Layout:
    """Decide the axes of a label image and check its number of channels.

    Three channels pass: whether they are colours or one grey value thrice, the pixels tell.

    Parameters
    ----------
    path : Path
        Named in errors.
    header : Header
    ndim, classes
        As for `read_labels`.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; axes or channels that do not fit the problem; a lossy format.
    """
    path = check_label_arguments(path, ndim, classes)
    header = instance(header, "header", Header)
    kind = format_of(path)
    if kind is not None and kind.lossy:
        raise UserError(
            f"{path}: labels cannot be {kind.name} files, whose compression changes the ids",
            "export the labels again as TIFF or PNG; a converted file keeps the damage",
        )
    layout = decide_layout(path, header, ndim, (1, 2, 3))
    if layout.channels > 3:
        raise colour_labels(path, header)
    if classes and layout.channels != 2:
        raise UserError(
            f"{path}: has {counted(layout.channels, 'channel')} ({header}), but "
            "MODEL.N_CLASSES is more "
            "than 2: labels then have 2, the ids and the class of each pixel",
            "add the class channel, or set MODEL.N_CLASSES to 2",
        )
    return layout


def file_notes(header: Header, layout: Layout, *, sized: bool = False) -> list[str]:
    """List what a user should know about a file, without its name.

    Parameters
    ----------
    header : Header
    layout : Layout
        From `image_layout` or `label_layout`.
    sized : bool
        The voxel size is known from another source, or not used.

    Raises
    ------
    TypeError
        Wrong arguments.
    """
    header, layout = instance(header, "header", Header), instance(layout, "layout", Layout)
    sized = flag(sized, "sized")
    notes = list(header.notes)
    if header.left_out:
        notes.append(left_out_note(header))
    incomplete = lacks_depth(header, len(layout.spatial_shape)) and not sized
    if header.spacing is not None and incomplete:
        depth = describe(header.spacing[-1:], header.unit)
        notes.append(
            f"it gives no valid voxel size along z; that along x, {depth}, is assumed: "
            f"{advice_for(header.command).voxel_size}"
        )
    if layout.channels != layout.stored_channels:
        notes.append("its alpha channel (transparency) is left out")
    return notes


def left_out_note(header: Header) -> str:
    """Name the images of a file that are not read.

    Parameters
    ----------
    header : Header

    Raises
    ------
    TypeError
        Not a header.
    """
    header = instance(header, "header", Header)
    listed = ", ".join(header.left_out[:_MOST_LISTED])
    more = len(header.left_out) - _MOST_LISTED
    total = len(header.left_out) + 1
    return f"it holds {total} images, of which the first is read; left out: {listed}" + (
        f" and {more} more" if more > 0 else ""
    )


def check_image_arguments(
    path: object,
    ndim: object,
    channels: object = None,
    *,
    grey: object = False,
    arrays: object = None,
) -> Path:
    """Return the path of an image that is to be read, and refuse wrong arguments.

    Raises
    ------
    TypeError, UserError
        The argument that is wrong, by its name in `read_image`.
    """
    integer(ndim, "ndim", at_least=2, at_most=3)
    if channels is not None:
        integer(channels, "channels", at_least=1)
    flag(grey, "grey")
    check_place(arrays)
    return reader_path(path)


def check_label_arguments(
    path: object, ndim: object, classes: object = False, *, arrays: object = None
) -> Path:
    """Return the path of labels that are to be read; see `check_image_arguments`."""
    flag(classes, "classes")
    return check_image_arguments(path, ndim, arrays=arrays)


def _tell(path: Path, header: Header, layout: Layout, notify: Notify | None) -> None:
    if notify is not None:
        for note in file_notes(header, layout):
            notify(f"{path}: {note}")


def geometry(header: Header, spatial: int) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the voxel size along so many axes, and its unit.

    If the file gives sizes in the plane only, the size along z is assumed to be that along x.
    `file_notes` reports it.
    """
    spacing = header.spacing
    if spacing is None:
        return None, None
    if len(spacing) < spatial:
        spacing = (spacing[-1], *spacing)
    return spacing[-spatial:], header.unit


def lacks_depth(header: Header, spatial: int) -> bool:
    """Return True if the file gives a pixel size in the plane, but none along z."""
    return header.spacing is not None and len(header.spacing) < spatial


def _image(path: Path, header: Header, layout: Layout, array: AnyArray) -> Image:
    """Join array and geometry."""
    spacing, unit = geometry(header, array.ndim - 1)
    return Image(
        array=array,
        spacing=spacing,
        unit=unit,
        name=stem_of(path),
        path=path,
        axes_note=layout.note,
    )

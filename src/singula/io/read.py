"""Read images and labels of any supported format as channel-last arrays with their geometry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.io.advice import advice_for
from singula.io.axes import Layout, decide_layout
from singula.io.entries import reader_path
from singula.io.files import check_place, list_series, read_header, read_mapped, read_pixels
from singula.io.formats.table import IMAGE_SUFFIXES, format_of, stem_of
from singula.io.geometry import file_notes, geometry, left_out_note
from singula.io.image import AnyArray, ArrayPlace, Header, Image
from singula.io.label_values import (
    check_classes,
    check_finite,
    color_labels_error,
    native,
    shades,
    to_ids,
)
from singula.io.selection import count_channels
from singula.io.unannotated import check_mask_shape, is_sparse_set, mask_place
from singula.util.arguments import flag, instance, integer
from singula.util.format import counted
from singula.util.sparse_labels import without_annotation

__all__ = [
    "IMAGE_SUFFIXES",
    "ArrayPlace",
    "Header",
    "Image",
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
    *,
    allow_gray: bool = False,
    arrays: ArrayPlace | None = None,
) -> Image:
    """Read an image.

    Parameters
    ----------
    path : Path or str
        Image file (or folder, for Zarr and N5) with one of `IMAGE_SUFFIXES`.
    ndim : {2, 3}
        Number of spatial axes.
    channels : int, optional
        Required number of channels. It also identifies the channel axis of an array without
        metadata. None: any number.
    allow_gray : bool
        Accept an image with one channel, too, and repeat it `channels` times.
    arrays : ArrayPlace, optional
        Selection of one of several arrays, images or time points, and its axes.

    Returns
    -------
    Image
        Array of shape (y, x, c) or (z, y, x, c) with the stored values and type, in native byte
        order. The colors of a palette replace its indices.

    Raises
    ------
    TypeError
        An argument of the wrong type.
    UserError
        ``arguments.…``: a wrong argument; ``io.unreadable`` and the other codes of `read_header`:
        the file cannot be read; the codes of `image_layout`: axes or channels do not fit the
        problem. NaN or infinite values.
    """
    path = check_image_arguments(path, ndim, channels, allow_gray=allow_gray, arrays=arrays)
    array, header = read_pixels(path, arrays)
    if header.palette is not None:
        array = shades(header.palette)[array]
    layout = image_layout(path, header, ndim, channels, allow_gray=allow_gray)
    array = layout.apply(native(array))
    check_finite(path, array)
    if channels is not None and array.shape[-1] < channels:
        array = np.repeat(array, channels, axis=-1)
    return _image(path, header, layout, array)


def read_labels(
    path: Path | str,
    ndim: int,
    classes: bool = False,
    *,
    n_classes: int | None = None,
    arrays: ArrayPlace | None = None,
) -> Image:
    """Read a label image: the id of the instance at each pixel, 0 for background.

    Parameters
    ----------
    path : Path or str
        Label file (or folder, for Zarr and N5) with one of `IMAGE_SUFFIXES`; not JPEG.
    ndim : {2, 3}
        Number of spatial axes.
    classes : bool
        Require a second channel with the class of each pixel.
    n_classes : int, optional
        Number of classes, with the background; the classes of the file must be smaller.
    arrays : ArrayPlace, optional
        Selection of one of several arrays, images or time points, and its axes.

    Returns
    -------
    Image
        Array of shape (y, x, c) or (z, y, x, c), of the smallest unsigned type that holds its
        values. The channels are the ids and, with `classes`, the classes. If pixels are not
        annotated, their id is -1, their class is 0, and the type is signed.

    Raises
    ------
    TypeError
        An argument of the wrong type.
    UserError
        ``arguments.…``: a wrong argument; ``io.unreadable`` and the other codes of `read_header`:
        the file cannot be read; the codes of `label_layout`: axes or channels do not fit; the codes
        of `to_ids`: values are not ids (fractions, negative, above 2**32 - 1). A color picture; a
        class that is not below `n_classes`.
    """
    path = check_label_arguments(path, ndim, classes, arrays=arrays)
    if n_classes is not None:
        n_classes = integer(n_classes, "n_classes", at_least=0)
    array, header = read_pixels(path, arrays, labels=True)
    layout = label_layout(path, header, ndim, classes)
    array = layout.apply(native(array))
    if layout.channels == 3:
        if not (array == array[..., :1]).all():
            raise color_labels_error(path, header)
        array = array[..., :1]
    if layout.channels == 2 and not classes:
        array = array[..., :1]
    labels = to_ids(path, array, lambda: is_sparse_set(path, array, arrays))
    if arrays is not None and arrays.ignore:
        labels = without_annotation(labels, _excluded(path, arrays, labels.shape[:-1]))
    if n_classes is not None and classes:
        check_classes(path, labels[..., 1], n_classes)
    return _image(path, header, layout, labels)


def map_image(
    path: Path | str,
    ndim: int,
    channels: int | None = None,
    *,
    allow_gray: bool = False,
    arrays: ArrayPlace | None = None,
) -> AnyArray | None:
    """Map the pixels of an image file into memory without reading them.

    Parameters
    ----------
    path, ndim, channels, allow_gray, arrays
        As for `read_image`.

    Returns
    -------
    ndarray, shape (y, x, c) or (z, y, x, c), or None
        The array of `read_image` as a read-only view of the file; its values are not checked. None
        if the pixels are compressed, not contiguous, in foreign byte order, or palette indices.

    Raises
    ------
    UserError
        As `read_image`, except for errors on values.
    """
    path = check_image_arguments(path, ndim, channels, allow_gray=allow_gray, arrays=arrays)
    mapped_file = read_mapped(path, arrays)
    if mapped_file is None or mapped_file[1].palette is not None:
        return None
    mapped, header = mapped_file
    view = image_layout(path, header, ndim, channels, allow_gray=allow_gray).view(mapped)
    if view is not None and channels is not None and view.shape[-1] < channels:
        view = np.broadcast_to(view, (*view.shape[:-1], channels))
    return view


def map_labels(
    path: Path | str, ndim: int, classes: bool = False, *, arrays: ArrayPlace | None = None
) -> AnyArray | None:
    """Map the pixels of a label file into memory without reading them.

    Parameters
    ----------
    path, ndim, classes, arrays
        As for `read_labels`.

    Returns
    -------
    ndarray, shape (y, x, c) or (z, y, x, c), or None
        Ids and, with `classes`, classes, as a read-only view of the file; values are not checked.
        None if the file cannot be mapped, or if `read_labels` changes more than the type.

    Raises
    ------
    UserError
        As `read_labels`, except for errors on values.
    """
    path = check_label_arguments(path, ndim, classes, arrays=arrays)
    mapped_file = read_mapped(path, arrays)
    if mapped_file is None or mapped_file[0].dtype.kind != "u":
        return None
    if arrays is not None and arrays.ignore:
        return None
    mapped, header = mapped_file
    layout = label_layout(path, header, ndim, classes)
    return layout.view(mapped) if layout.channels == 1 + classes else None


def image_layout(
    path: Path, header: Header, ndim: int, channels: int | None, *, allow_gray: bool = False
) -> Layout:
    """Find the axes of an image, and validate its number of channels.

    Parameters
    ----------
    path : Path
        Image file, for messages.
    header : Header
        Header of the image.
    ndim : {2, 3}
        Number of spatial axes.
    channels : int, optional
        Required number of channels; None for any number.
    allow_gray : bool
        Accept one channel, too.

    Raises
    ------
    TypeError
        An argument of the wrong type.
    UserError
        ``arguments.…``: a wrong argument; ``io.channel_count``: another number of channels; the
        codes of `decide_layout`.
    """
    path = check_image_arguments(path, ndim, channels, allow_gray=allow_gray)
    header = instance(header, "header", Header)
    if header.palette is not None:
        samples = shades(header.palette).shape[1:]
        header = replace(header, shape=header.shape + samples, axes="YXS" if samples else "YX")
    expected = None if channels is None else (channels, *((1,) if allow_gray else ()))
    layout = decide_layout(path, header, ndim, expected)
    if channels is not None and expected is not None and layout.channels not in expected:
        raise _channel_count(path, header, layout, channels)
    return layout


def _channel_count(path: Path, header: Header, layout: Layout, channels: int) -> UserError:
    """Return the error for another number of channels than the configured one."""
    remedies = [f"set the last entry of DATA.PATCH_SIZE to {layout.channels}"]
    if channels == 1 and count_channels(header) > 1:
        remedies.append(advice_for(header.command).channel)
    remedies.append(
        f"convert the images to {counted(channels, 'channel')}; to convert a gray image that was "
        "saved in color, use Image > Type > 8-bit in Fiji"
    )
    return UserError(
        f"{path}: has {counted(layout.channels, 'channel')} ({header}), but DATA.PATCH_SIZE ends "
        f"in {channels}",
        ", or ".join(remedies),
        "io.channel_count",
    )


def label_layout(path: Path, header: Header, ndim: int, classes: bool) -> Layout:
    """Find the axes of a label image, and validate its number of channels.

    Three channels are accepted here: they can be equal, and `read_labels` compares their pixels.

    Parameters
    ----------
    path : Path
        Label file, for messages.
    header : Header
        Header of the label image.
    ndim : {2, 3}
        Number of spatial axes.
    classes : bool
        Require a second channel with the class of each pixel.

    Raises
    ------
    TypeError
        An argument of the wrong type.
    UserError
        ``arguments.…``: a wrong argument; ``labels.lossy_format``: a JPEG file;
        ``labels.no_class_channel``: not two channels, with `classes`; more than 3 channels; the
        codes of `decide_layout`.
    """
    path = check_label_arguments(path, ndim, classes)
    header = instance(header, "header", Header)
    file_format = format_of(path)
    if file_format is not None and file_format.lossy:
        raise UserError(
            f"{path}: labels cannot be {file_format.name} files, whose compression changes the ids",
            "export the labels again as TIFF or PNG; a converted file keeps the damage",
            "labels.lossy_format",
        )
    layout = decide_layout(path, header, ndim, (1, 2, 3))
    if layout.channels > 3:
        raise color_labels_error(path, header)
    if classes and layout.channels != 2:
        raise UserError(
            f"{path}: got {counted(layout.channels, 'channel')} ({header}), expected 2 (ids and "
            "classes), because MODEL.N_CLASSES is more than 2",
            "add the class channel, or set MODEL.N_CLASSES to 2",
            "labels.no_class_channel",
        )
    return layout


def check_image_arguments(
    path: object,
    ndim: object,
    channels: object = None,
    *,
    allow_gray: object = False,
    arrays: object = None,
) -> Path:
    """Validate the arguments of a function that reads an image, and return the path.

    Parameters
    ----------
    path, ndim, channels, allow_gray, arrays
        As for `read_image`.

    Raises
    ------
    TypeError
        An argument of the wrong type.
    UserError
        ``arguments.…``: a wrong argument, named as in `read_image`.
    """
    integer(ndim, "ndim", at_least=2, at_most=3)
    if channels is not None:
        integer(channels, "channels", at_least=1)
    flag(allow_gray, "allow_gray")
    check_place(arrays)
    return reader_path(path)


def check_label_arguments(
    path: object, ndim: object, classes: object = False, *, arrays: object = None
) -> Path:
    """Validate the arguments of a function that reads labels; see `check_image_arguments`."""
    flag(classes, "classes")
    return check_image_arguments(path, ndim, arrays=arrays)


def _excluded(path: Path, place: ArrayPlace, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Read the mask of the pixels of a label file that are not annotated."""
    stored = read_image(place.ignore, len(shape), 1, arrays=mask_place(place)).array[..., 0]
    check_mask_shape(place, path, stored.shape, shape)
    excluded: NDArray[np.bool_] = stored != 0
    return excluded


def _image(path: Path, header: Header, layout: Layout, array: AnyArray) -> Image:
    """Return an array with the geometry of its file."""
    spacing, unit = geometry(header, array.ndim - 1)
    return Image(
        array=array,
        spacing=spacing,
        unit=unit,
        name=stem_of(path),
        path=path,
        axes_note=layout.note,
    )

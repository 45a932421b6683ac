"""Read images and labels: any supported file becomes a channel-last array with its geometry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.io.axes import Layout, decide_layout
from singula.io.formats import FORMATS, IMAGE_SUFFIXES, Format, stem_of
from singula.io.image import AnyArray, Header, Image

Notify = Callable[[str], None]
_Result = TypeVar("_Result")

__all__ = [
    "IMAGE_SUFFIXES",
    "Header",
    "Image",
    "Notify",
    "file_notes",
    "image_layout",
    "label_layout",
    "map_image",
    "map_labels",
    "read_header",
    "read_image",
    "read_labels",
]

_LARGEST_ID = 2**32 - 1


def read_header(path: Path | str) -> Header:
    """Read shape, type, axes and voxel size; the pixels stay on disk.

    Parameters
    ----------
    path : Path or str
        A file with one of `IMAGE_SUFFIXES`.

    Returns
    -------
    Header

    Raises
    ------
    UserError
        Missing, empty, damaged or unsupported file; complex or object numbers.
    """
    path = Path(path)
    header = _guarded(path, lambda kind: kind.header(path))
    _check_header(path, header)
    return header


def read_image(
    path: Path | str,
    ndim: int,
    channels: int | None = None,
    notify: Notify | None = None,
    *,
    grey: bool = False,
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

    Returns
    -------
    Image
        Array (y, x, c) or (z, y, x, c), values and type as stored, native byte order.

    Raises
    ------
    UserError
        Unreadable file, axes or channels that do not fit the problem, NaN or infinite values.
    """
    path = Path(path)
    array, header = _pixels(path)
    if header.palette is not None:
        array = _shades(header.palette)[array]
    layout = image_layout(path, header, ndim, channels, grey=grey)
    array = layout.apply(_native(array))
    _check_finite(path, array)
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

    Returns
    -------
    Image
        Array (y, x, c) or (z, y, x, c) of the smallest unsigned type; c is 1 (ids) or 2 (ids,
        class).

    Raises
    ------
    UserError
        Unreadable file; a colour picture; fractions, negative ids or ids above 2**32 - 1; no
        class channel; a class not below `n_classes`.
    """
    path = Path(path)
    array, header = _pixels(path)
    layout = label_layout(path, header, ndim, classes)
    array = layout.apply(_native(array))
    _tell(path, header, layout, notify)
    if layout.channels == 3:
        if not (array == array[..., :1]).all():
            raise _colour_labels(path, header)
        array = array[..., :1]
    if layout.channels == 2 and not classes:
        array = array[..., :1]
        if notify:
            notify(
                f"{path}: its second channel (the class) is left out, for MODEL.N_CLASSES is not "
                "more than 2"
            )
    labels = _ids(path, array)
    if n_classes is not None and classes:
        _check_classes(path, labels[..., 1], n_classes)
    return _image(path, header, layout, labels)


def map_image(
    path: Path | str, ndim: int, channels: int | None = None, *, grey: bool = False
) -> AnyArray | None:
    """The pixels of an image as a view of its file, which takes no memory.

    Parameters
    ----------
    path, ndim, channels, grey
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
    path = Path(path)
    mapped, header = _mapped(path)
    if mapped is None or header.palette is not None:
        return None
    view = image_layout(path, header, ndim, channels, grey=grey).view(mapped)
    if view is not None and channels is not None and view.shape[-1] < channels:
        view = np.broadcast_to(view, (*view.shape[:-1], channels))
    return view


def map_labels(path: Path | str, ndim: int, classes: bool = False) -> AnyArray | None:
    """The same for labels; None where `read_labels` would change more than their type.

    Raises
    ------
    UserError
        As `read_labels`, but for values.
    """
    path = Path(path)
    mapped, header = _mapped(path)
    if mapped is None or mapped.dtype.kind != "u":
        return None
    layout = label_layout(path, header, ndim, classes)
    return layout.view(mapped) if layout.channels == 1 + classes else None


def _mapped(path: Path) -> tuple[AnyArray | None, Header]:
    mapped, header = _guarded(path, lambda kind: (kind.mapped(path), kind.header(path)))
    _check_header(path, header)
    return (mapped if mapped is not None and mapped.dtype.isnative else None), header


def image_layout(
    path: Path, header: Header, ndim: int, channels: int | None, *, grey: bool = False
) -> Layout:
    """Decide the axes of an image and check its number of channels.

    With `grey` an image of one channel passes as well.

    Raises
    ------
    UserError
        Axes or channels that do not fit the problem.
    """
    if header.palette is not None:
        colours = _shades(header.palette).shape[1:]
        header = replace(header, shape=header.shape + colours, axes="YXS" if colours else "YX")
    expected = None if channels is None else (channels, *((1,) if grey else ()))
    layout = decide_layout(path, header, ndim, expected)
    if expected is not None and layout.channels not in expected:
        raise UserError(
            f"{path}: has {layout.channels} channel(s) ({header}), but DATA.PATCH_SIZE ends in "
            f"{channels}",
            f"set the last entry of DATA.PATCH_SIZE to {layout.channels}, or convert the images to "
            f"{channels} channel(s); a grey picture that was saved as colour becomes grey again "
            "with Image > Type > 8-bit in Fiji",
        )
    return layout


def label_layout(path: Path, header: Header, ndim: int, classes: bool) -> Layout:
    """Decide the axes of a label image and check its number of channels.

    Three channels pass: whether they are colours or one grey value thrice, the pixels tell.

    Raises
    ------
    UserError
        Axes or channels that do not fit the problem; a lossy format.
    """
    kind = FORMATS[path.suffix.lower()]
    if kind.lossy:
        raise UserError(
            f"{path}: labels cannot be {kind.name} files, whose compression changes the ids",
            "export the labels again as TIFF or PNG; a converted file keeps the damage",
        )
    layout = decide_layout(path, header, ndim, (1, 2, 3))
    if layout.channels > 3:
        raise _colour_labels(path, header)
    if classes and layout.channels != 2:
        raise UserError(
            f"{path}: has {layout.channels} channel(s) ({header}), but MODEL.N_CLASSES is more "
            "than 2: labels then have 2, the ids and the class of each pixel",
            "add the class channel, or set MODEL.N_CLASSES to 2",
        )
    return layout


def _pixels(path: Path) -> tuple[AnyArray, Header]:
    array, header = _guarded(path, lambda kind: kind.pixels(path))
    _check_header(path, header)
    return array, header


def _guarded(path: Path, read: Callable[[Format], _Result]) -> _Result:
    """Call a reader; whatever goes wrong in it becomes an error that names the file."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UserError(
            f"{path}: its suffix is none of {', '.join(IMAGE_SUFFIXES)}",
            "save it as TIFF, for example with Fiji",
        )
    try:
        if path.stat().st_size == 0:
            raise ValueError("the file is empty")
        return read(kind)
    except Exception as error:  # decoders raise errors of any kind
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = (reason or type(error).__name__).splitlines()[0][:160]
        raise UserError(
            f"{path}: cannot be read as {kind.name} ({reason})",
            "open it in Fiji: if that fails too, copy or export it again; else save it as TIFF",
        ) from error


def _check_header(path: Path, header: Header) -> None:
    dtype = header.dtype
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise UserError(
            f"{path}: its values are of type {dtype}; allowed are bool, integers and floats of up "
            "to 64 bits",
            "convert it, for example to uint8, uint16 or float32",
        )
    if 0 in header.shape or not header.shape:
        raise UserError(f"{path}: holds no pixels ({header})", "copy or export it again")


def _native(array: AnyArray) -> AnyArray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _shades(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the palette as colours, shape (256, 3), or, if it is grey, as shape (256,)."""
    full = np.zeros((256, 3), np.uint8)
    full[: len(palette)] = palette
    return full[:, 0] if (full == full[:, :1]).all() else full


def _check_finite(path: Path, array: AnyArray) -> None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    nan = int(np.isnan(array).sum())
    infinite = int(np.isinf(array).sum())
    raise UserError(
        f"{path}: {nan} value(s) are NaN and {infinite} infinite; every value must be a number",
        "replace them, for example with 0, before the run",
    )


def _ids(path: Path, array: AnyArray) -> AnyArray:
    """Labels as the smallest unsigned integers that hold them."""
    _check_finite(path, array)
    if array.dtype.kind == "f":
        broken = array[array != np.rint(array)]
        if broken.size:
            raise UserError(
                f"{path}: {broken.size} label value(s) are no whole numbers, the first {broken[0]}"
                "; a label image holds the id of its object in every pixel",
                "give the labels, not a probability map or a resampled picture",
            )
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0:
        raise UserError(
            f"{path}: the label ids go down to {lowest}; ids are 0 (background) or positive",
            "give every object a positive id; 8- or 16-bit files may have been saved as signed",
        )
    if highest > _LARGEST_ID:
        raise UserError(
            f"{path}: the label ids go up to {highest}; the largest allowed is {_LARGEST_ID}",
            "number the objects again from 1",
        )
    return array.astype(np.min_scalar_type(highest), copy=False)


def _check_classes(path: Path, found: AnyArray, n_classes: int) -> None:
    highest = int(found.max())
    if highest >= n_classes:
        raise UserError(
            f"{path}: its class channel holds {highest}, but MODEL.N_CLASSES is {n_classes}: "
            f"allowed are 0 (background) to {n_classes - 1}",
            f"set MODEL.N_CLASSES to {highest + 1}, or correct the class channel",
        )


def _colour_labels(path: Path, header: Header) -> UserError:
    return UserError(
        f"{path}: is a picture of labels, not labels ({header}): a label image has 1 channel "
        "(the id of its object in every pixel), or 2 (ids and classes)",
        "export the labels as a 16-bit grey image (TIFF or PNG) instead of a colour picture",
    )


def file_notes(header: Header, layout: Layout) -> list[str]:
    """List what a user should know about a file, without its name."""
    dropped = layout.channels != layout.stored_channels
    return [*header.notes, *["its alpha channel (transparency) is left out"] * dropped]


def _tell(path: Path, header: Header, layout: Layout, notify: Notify | None) -> None:
    if notify is not None:
        for note in file_notes(header, layout):
            notify(f"{path}: {note}")


def _image(path: Path, header: Header, layout: Layout, array: AnyArray) -> Image:
    """Join array and geometry, with the part of the voxel size that the axes need."""
    spatial = array.ndim - 1
    spacing = header.spacing
    known = spacing is not None and len(spacing) >= spatial
    return Image(
        array=array,
        spacing=spacing[-spatial:] if spacing is not None and known else None,
        unit=header.unit if known else None,
        name=stem_of(path),
        path=path,
        axes_note=layout.note,
    )

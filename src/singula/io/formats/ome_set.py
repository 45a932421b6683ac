"""OME-TIFF files that belong to a set: the metadata of the planes that one file stores.

Each file of a set carries (or names) the metadata of the whole set. Bio-Formats and tifffile then
read the whole set from any of its files. Singula reads only the planes stored in the named file.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from singula.errors import UserError
from singula.io.entries import check_openable
from singula.util.format import counted
from singula.util.paths import open_regular

if TYPE_CHECKING:
    from tifffile import TiffFile

_NDTIFF_INDEX = "NDTiff.index"
# Lengths of the axes in the summary of Micro-Manager, in the order of its index
_SUMMARY_SIZES = ("Channels", "Slices", "Frames", "Positions")
_MAX_COMPANION = 1 << 32  # bytes; an OME-TIFF can be the companion of others
_PLANE_NAMES = {"C": "channel", "Z": "z slice", "T": "time point"}
_OWN = "only the planes stored in this file are read"
_UNKNOWN = "only the pages stored in this file are read; their axes are unknown"


@dataclass(frozen=True)
class OwnMetadata:
    """Metadata of the planes that a file of a set stores.

    Parameters
    ----------
    xml : str, optional
        OME metadata without the planes of other files; None if the planes are unknown. The pages
        are then read without OME metadata.
    note : str
        Note on the set for the user; empty for a file that is no longer part of a set.
    """

    xml: str | None
    note: str


@contextmanager
def open_own_planes(path: Path) -> Iterator[tuple[TiffFile, str]]:
    """Open a TIFF file whose series consist of the planes in this file only.

    Parameters
    ----------
    path : Path
        TIFF file, which can belong to a set of files.

    Yields
    ------
    tif : TiffFile
        The open file.
    note : str
        Note on the set for the user; empty for a file that is not part of a set.

    Raises
    ------
    UserError
        ``io.part_of_a_stack``: the planes in the file do not form a complete stack.
    """
    from tifffile import TiffFile

    # OME metadata can name any file; tifffile opens none of them.
    flags: dict[str, Any] = {"_multifile": False}
    with _without_warnings(), TiffFile(path, **flags) as tif:
        xml = tif.ome_metadata
        metadata = _own_metadata(path, xml, len(tif.pages)) if xml is not None else None
        several = xml is not None and xml.count("<Pixels") > 1
        is_stack = several and tif.is_mmstack
        if metadata is None and not is_stack and not _has_foreign_pages(tif, path):
            yield tif, ""
            return
    # The index of Micro-Manager and NDTiff covers the whole set, too.
    flags |= {"is_mmstack": False, "is_ndtiff": False}
    if metadata is None and several:
        with TiffFile(path, **flags) as tif:
            yield tif, ""
    elif metadata is None:
        # With another name, tifffile does not search for the other files of the index.
        with (
            path.open("rb") as file,
            _without_warnings(),
            TiffFile(file, name="one file", is_ndtiff=False, _multifile=False) as tif,
        ):
            yield tif, f"one file of a set; {_OWN}"
    elif metadata.xml is None:
        with TiffFile(path, is_ome=False, **flags) as tif:
            yield tif, metadata.note
    else:
        with TiffFile(path, omexml=metadata.xml, **flags) as tif:
            yield tif, metadata.note


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress the warnings of tifffile about files of a Micro-Manager set that are not read."""

    def is_other(record: logging.LogRecord) -> bool:
        return "MMStack" not in record.getMessage()

    logger = logging.getLogger("tifffile")
    logger.filters.insert(0, is_other)  # before filters that collect messages
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def image_metadata(xml: str, number: int | None) -> str:
    """Return the metadata of one image, or all metadata without a number.

    Parameters
    ----------
    xml : str
        OME metadata.
    number : int, optional
        Number of the image among the images with planes; None for the only image.
    """
    if number is None:
        return xml
    root = ElementTree.fromstring(xml)
    images = [item for item in root.iterfind("{*}Image") if item.find("*/{*}TiffData") is not None]
    for position, image in enumerate(images):
        if position != number and number < len(images):
            root.remove(image)
    return ElementTree.tostring(root, encoding="unicode")


def _has_foreign_pages(tif: TiffFile, path: Path) -> bool:
    """Return True if an index of Micro-Manager or NDTiff names planes of other files.

    tifffile would open these files at any path in the index.
    """
    from tifffile import read_micromanager_metadata, read_ndtiff_index

    if tif.is_ndtiff:
        index = path.parent / _NDTIFF_INDEX
        check_openable(index)
        return any(entry[1] != path.name for entry in read_ndtiff_index(index))
    if not tif.is_mmstack:
        return False
    metadata = read_micromanager_metadata(tif.filehandle, {"Summary", "IndexMap"})
    index_map, summary = metadata.get("IndexMap"), metadata.get("Summary")
    if index_map is None or not isinstance(summary, dict):
        return False
    declared = (int(summary.get(name, 1)) for name in _SUMMARY_SIZES)
    stored = (index_map[:, : len(_SUMMARY_SIZES)].max(axis=0) + 1).tolist()
    sizes = [max(pair) for pair in zip(declared, stored, strict=True)]
    return bool(prod(sizes) > len(index_map))


def _own_metadata(path: Path, xml: str, n_pages: int) -> OwnMetadata | None:
    """Restrict the metadata of a set to one of its files; None for a file outside of a set."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    own_id = root.get("UUID", "").strip()
    companion = root.find("{*}BinaryOnly")
    if companion is not None:
        name = companion.get("MetadataFile", "")
        companion_root = _read_companion(path.parent / Path(name).name) if name else None
        if companion_root is None:
            return OwnMetadata(None, f"its OME metadata are in {name}, not found: {_UNKNOWN}")
        root = companion_root
    links = [link for link in root.iterfind("{*}Image/{*}Pixels/{*}TiffData/{*}UUID")]
    if companion is None and all(_file_id(link) == own_id for link in links):
        return None
    is_own = _own_links(path, own_id, links)
    files = {_file_name(link) or _file_id(link) for link in links}
    if is_own is None:
        return OwnMetadata(None, f"one of {len(files)} files of a set: {_UNKNOWN}")
    note = _restrict(path, root, is_own, n_pages)
    if note is None:
        return OwnMetadata(None, f"the metadata of its set do not name its planes: {_UNKNOWN}")
    if len(files) > 1 or note:
        share = f" ({note})" if note else ""
        note = f"one of {counted(len(files), 'file')} of a set; {_OWN}{share}"
    return OwnMetadata(ElementTree.tostring(root, encoding="unicode"), note)


def _read_companion(path: Path) -> Element | None:
    """Read the metadata file of a set: an XML file or another OME-TIFF."""
    from tifffile import TiffFile, TiffFileError

    try:
        with open_regular(path, max_bytes=_MAX_COMPANION) as file:
            try:
                with TiffFile(file, name=path.name) as tif:
                    return ElementTree.fromstring(tif.ome_metadata or "")
            except TiffFileError:
                file.seek(0)
                return ElementTree.parse(file).getroot()
    except (OSError, UserError, ElementTree.ParseError):
        return None


def _own_links(path: Path, own_id: str, links: list[Element]) -> Callable[[Element], bool] | None:
    """Return a predicate for links to the file itself: by name, else by id; None if unknown."""
    name = unicodedata.normalize("NFC", path.name).lower()
    if any(_file_name(link) == name for link in links):
        return lambda link: _file_name(link) == name
    if own_id and any(_file_id(link) == own_id for link in links):
        return lambda link: _file_id(link) == own_id
    # The metadata name a single file, so it is this file under an earlier name.
    if len({(_file_name(link), _file_id(link)) for link in links}) <= 1:
        return lambda link: True
    return None


def _file_name(link: Element) -> str:
    name = link.get("FileName", "").replace("\\", "/").rpartition("/")[2]
    return unicodedata.normalize("NFC", name).lower()


def _file_id(link: Element) -> str:
    return (link.text or "").strip()


def _restrict(
    path: Path, root: Element, is_own: Callable[[Element], bool], n_pages: int
) -> str | None:
    """Remove the planes of other files from the metadata.

    Returns
    -------
    str or None
        The share of the set that remains, such as "1 of 2 channels"; None if no plane remains.
    """
    images = root.findall("{*}Image")
    total, shares = 0, []
    for image in images:
        pixels = image.find("{*}Pixels")
        total += pixels is not None and pixels.find("{*}TiffData") is not None
        planes = {} if pixels is None else _own_planes(pixels, is_own, n_pages)
        if pixels is None or not planes:
            root.remove(image)
        else:
            shares.append(_keep_planes(path, pixels, planes))
    if not shares:
        return None
    parts = [f"{len(shares)} of {counted(total, 'image')}"] if len(shares) < total else []
    return ", ".join([*parts, *shares[0]])


def _plane_axes(pixels: Element) -> tuple[str, list[int], int]:
    """Return the axes that count planes, slowest first, their lengths, and samples per pixel."""
    axes = pixels.get("DimensionOrder", "XYCZT")[:1:-1]
    channel = pixels.find("{*}Channel")
    samples = 1 if channel is None else int(channel.get("SamplesPerPixel", 1))
    sizes = [int(pixels.get(f"Size{axis}", 1)) for axis in axes]
    return (
        axes,
        [n // samples if a == "C" else n for a, n in zip(axes, sizes, strict=True)],
        samples,
    )


def _own_planes(pixels: Element, is_own: Callable[[Element], bool], n_pages: int) -> dict[int, int]:
    """Map the number of each plane of an image that the file stores to its page."""
    axes, sizes, _ = _plane_axes(pixels)
    planes: dict[int, int] = {}
    for data in pixels.iterfind("{*}TiffData"):
        link = data.find("{*}UUID")
        first = [int(data.get(f"First{axis}", 0)) for axis in axes]
        inside = all(number < size for number, size in zip(first, sizes, strict=True))
        if (link is not None and not is_own(link)) or not inside:
            continue
        page = int(data.get("IFD", 0))
        default = data.get("NumPlanes", 1 if "IFD" in data.attrib else 0)
        count = int(data.get("PlaneCount", default)) or n_pages
        start = int(np.ravel_multi_index(first, sizes))
        for step in range(min(count, prod(sizes) - start)):
            planes[start + step] = page + step
    return planes


def _keep_planes(path: Path, pixels: Element, planes: dict[int, int]) -> list[str]:
    """Reduce the metadata of an image to some planes.

    Returns
    -------
    list of str
        The share along each axis that is shorter now, such as "1 of 2 channels".

    Raises
    ------
    UserError
        ``io.part_of_a_stack``: the planes do not fill a grid of channels, slices and time points.
    """
    axes, sizes, samples = _plane_axes(pixels)
    places = {n: tuple(int(i) for i in np.unravel_index(n, sizes)) for n in planes}
    remaining = [sorted({place[axis] for place in places.values()}) for axis in range(len(axes))]
    shares = [
        f"{len(numbers)} of {counted(size, _PLANE_NAMES.get(axis, axis))}"
        for axis, numbers, size in zip(axes, remaining, sizes, strict=True)
        if len(numbers) < size
    ]
    if prod(len(numbers) for numbers in remaining) != len(planes):
        raise UserError(
            f"{path}: got {counted(len(planes), 'plane')} of a set of files, expected complete "
            f"stacks; the planes are spread over {', '.join(shares) or 'all axes'}",
            "open the set in Fiji with File > Import > Bio-Formats, and save each image as a TIFF",
            "io.part_of_a_stack",
        )
    for axis, numbers in zip(axes, remaining, strict=True):
        pixels.set(f"Size{axis}", str(len(numbers) * (samples if axis == "C" else 1)))
    channels = pixels.findall("{*}Channel")
    for number, channel in enumerate(channels):
        if "C" in axes and number not in remaining[axes.index("C")]:
            pixels.remove(channel)
    old = pixels.findall("{*}TiffData")
    for data in old:
        pixels.remove(data)
    for number, page in sorted(planes.items()):
        data = ElementTree.SubElement(pixels, old[0].tag, {"IFD": str(page), "PlaneCount": "1"})
        for axis, numbers, place in zip(axes, remaining, places[number], strict=True):
            data.set(f"First{axis}", str(numbers.index(place)))
    return shares

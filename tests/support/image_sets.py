"""Files of several images, and sets of files, as written by microscopes and converters."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

HEAD = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
SHAPE = (18, 22)
ORDER = "XYCZT"


def planes(count: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Return planes that differ everywhere."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.stack([(1000 * n + 30 * y + x).astype(np.uint16) for n in range(1, count + 1)])


def plane_text(name: str, ifd: int, own_id: str, **first: int) -> str:
    starts = "".join(f' First{axis.upper()}="{n}"' for axis, n in first.items())
    link = f'<UUID FileName="{name}">urn:uuid:{own_id}</UUID>'
    return f'<TiffData{starts} IFD="{ifd}" PlaneCount="1">{link}</TiffData>'


def image_text(number: int, text: str, c: int = 1, z: int = 1, t: int = 1, more: str = "") -> str:
    channels = "".join(f'<Channel ID="Channel:{number}:{i}"/>' for i in range(c))
    return (
        f'<Image ID="Image:{number}" Name="Pos{number}"><Pixels ID="Pixels:{number}" '
        f'DimensionOrder="{ORDER}" Type="uint16" SizeX="{SHAPE[1]}" SizeY="{SHAPE[0]}" '
        f'SizeC="{c}" SizeZ="{z}" SizeT="{t}" {more}>{channels}{text}</Pixels></Image>'
    )


def write_plain(path: Path, pixels: np.ndarray, xml: str, **options: Any) -> Path:
    """Write pages with a description on the first page, as a microscope does."""
    pages = pixels.reshape(-1, *pixels.shape[-2:])
    with tifffile.TiffWriter(path) as tif:
        for number, page in enumerate(pages):
            text = xml.encode() if number == 0 else None
            tif.write(page, description=text, metadata=None, contiguous=False, **options)
    return path


def write_positions(folder: Path, count: int, **options: Any) -> list[Path]:
    """Write one file per position, each with the metadata of all positions (Micro-Manager)."""
    names = [f"Pos{n}.ome.tif" for n in range(count)]
    text = "".join(
        image_text(
            n,
            plane_text(name, 0, f"id{n}"),
            more=f'PhysicalSizeX="{n + 1}" PhysicalSizeY="{n + 1}"',
        )
        for n, name in enumerate(names)
    )
    return [
        write_plain(folder / name, page, f'{HEAD} UUID="urn:uuid:id{n}">{text}</OME>', **options)
        for n, (name, page) in enumerate(zip(names, planes(count), strict=True))
    ]


def write_companion(folder: Path, companion: str) -> list[Path]:
    names = ["w1.ome.tif", "w2.ome.tif"]
    files = []
    for n, (name, page) in enumerate(zip(names, planes(2), strict=True)):
        link = f'<BinaryOnly MetadataFile="{companion}" UUID="urn:uuid:main"/>'
        own = f'{HEAD} UUID="urn:uuid:id{n}">{link}</OME>'
        files.append(write_plain(folder / name, page, own))
    return files


def ome_group(group: Any, array: np.ndarray, version: str) -> None:
    """Fill a group with an OME-Zarr image (c, y, x)."""
    group.create_array("0", data=array[None])
    entry = {
        "axes": [{"name": "c", "type": "channel"}, *({"name": a, "type": "space"} for a in "yx")],
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2]}]}
        ],
    }
    set_ome(group, version, {"multiscales": [entry]})


def set_ome(group: Any, version: str, values: dict[str, Any]) -> None:
    if version == "0.5":
        group.attrs["ome"] = {"version": version, **values}
    else:
        group.attrs.update(values)


def write_plate(path: Path, version: str) -> dict[str, np.ndarray]:
    root = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    wells = ["B/2", "A/1"]  # the order of the metadata counts
    set_ome(root, version, {"plate": {"wells": [{"path": well} for well in wells]}})
    images = {}
    for well in wells:
        group = root.create_group(well)
        set_ome(group, version, {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
        for field in "01":
            images[f"{well}/{field}"] = planes(len(images) + 1)[-1]
            ome_group(group.create_group(field), images[f"{well}/{field}"], version)
    return images


def write_collection(path: Path, version: str, *, listed: bool) -> dict[str, np.ndarray]:
    """Write the layout of bioformats2raw: images 0, 1, … below a root without an image."""
    root = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    set_ome(root, version, {"bioformats2raw.layout": 3})
    names = [str(n) for n in range(11)]
    if listed:
        names = ["1", "0"]
        set_ome(root.create_group("OME"), version, {"series": names})
    images = {name: planes(number + 1)[-1] for number, name in enumerate(names)}
    for name, array in images.items():
        ome_group(root.create_group(name), array, version)
    return images


def write_micromanager(
    folder: Path, pixels: np.ndarray, *, ome: bool, together: bool = False
) -> list[Path]:
    """Write stacks as Micro-Manager does: a file per position, with an index before the pages.

    Parameters
    ----------
    folder : Path
    pixels : ndarray, shape (positions, channels, y, x), uint16
    ome : bool
        Write OME metadata, too, those of all positions in each file.
    together : bool
        Write all positions into one file.
    """
    count, channels = pixels.shape[:2]
    if together:
        return [_write_positions_together(folder / "run_MMStack.ome.tif", pixels)]
    names = [f"run_MMStack_Pos{number}.ome.tif" for number in range(count)]
    images = "".join(
        image_text(
            number,
            "".join(plane_text(name, c, f"id{number}", c=c) for c in range(channels)),
            c=channels,
        )
        for number, name in enumerate(names)
    )
    for number, (name, planes_) in enumerate(zip(names, pixels, strict=True)):
        text = f'{HEAD} UUID="urn:uuid:id{number}">{images}</OME>' if ome else ""
        places = [(c, number) for c in range(channels)]
        (folder / name).write_bytes(_micromanager_file(planes_, places, count, text.encode()))
    return [folder / name for name in names]


def _write_positions_together(path: Path, pixels: np.ndarray) -> Path:
    count, channels = pixels.shape[:2]
    images = "".join(
        image_text(
            number,
            "".join(
                plane_text(path.name, channels * number + c, "id0", c=c) for c in range(channels)
            ),
            c=channels,
        )
        for number in range(count)
    )
    text = f'{HEAD} UUID="urn:uuid:id0">{images}</OME>'
    places = [(c, number) for number in range(count) for c in range(channels)]
    pages = pixels.reshape(-1, *pixels.shape[2:])
    path.write_bytes(_micromanager_file(pages, places, count, text.encode()))
    return path


def _micromanager_file(
    pages: np.ndarray, places: list[tuple[int, int]], count: int, text: bytes
) -> bytes:
    """Return a file with a page for each place (channel, position)."""
    summary = {
        "MicroManagerVersion": "2.0",
        "Prefix": "run",
        "Frames": 1,
        "Slices": 1,
        "Channels": 1 + max(channel for channel, _ in places),
        "Positions": count,
    }
    packed = json.dumps(summary).encode()
    start = 40 + len(packed) + len(packed) % 2
    body, index = b"", b""
    for page_number, (page, (channel, position)) in enumerate(zip(pages, places, strict=True)):
        offset = start + len(body)
        index += struct.pack("<5I", channel, 0, 0, position, offset)
        note = (b"" if page_number else text) + b"\0\0\0\0\0"
        extra = offset + 162 + page.nbytes  # the pixels follow the 13 tags
        last = extra + len(note) + len(note) % 2
        tags = [
            (254, 4, 1, 0), (256, 4, 1, page.shape[1]), (257, 4, 1, page.shape[0]),
            (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (270, 2, len(note), extra),
            (273, 4, 1, offset + 162), (277, 3, 1, 1), (278, 4, 1, page.shape[0]),
            (279, 4, 1, page.nbytes), (296, 3, 1, 1), (51123, 2, 6, last),
        ]  # fmt: skip
        following = last + 6 if page_number + 1 < len(pages) else 0
        ifd = struct.pack("<H", 13) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        body += ifd + struct.pack("<I", following) + page.astype("<u2").tobytes()
        body += note + b"\0" * (len(note) % 2) + b"{}\0\0\0\0"
    head = struct.pack("<2sHI", b"II", 42, start)
    head += struct.pack("<8I", 54773648, start + len(body), 0, 0, 0, 0, 2355492, len(packed))
    table = struct.pack("<2I", 3453623, len(pages)) + index
    return head + packed + b"\0" * (len(packed) % 2) + body + table

"""Small files of microscopes: CZI by the library of Zeiss, LIF, ND2, OIF and OIB by hand.

Only the parts that the readers need are written; ND2 as version 2.1, whose metadata are XML.
OIB is a compound file (OLE) of the files of an OIF.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

Pixels = np.ndarray


def write_czi(
    path: Path, array: Pixels, axes: str, names: Sequence[str] = (), **sizes: float
) -> Path:
    """Write an image (axes of planes, then y, x and optionally color) in one scene."""
    from pylibCZIrw import czi

    lead = axes.rstrip("S")[:-2]
    with czi.create_czi(str(path), exist_ok=True) as file:
        for position in np.ndindex(array.shape[: len(lead)]):
            pixels = array[position]
            # CZI stores blue first.
            pixels = pixels[..., None] if pixels.ndim == 2 else pixels[..., ::-1]
            file.write(pixels, plane=dict(zip(lead, position, strict=True)))
        file.write_metadata("test", dict(enumerate(names)), **sizes)
    return path


def write_lif(path: Path, images: dict[str, tuple[Pixels, str]], step: float) -> Path:
    """Write images by name, each with its axes; `step` is the distance of pixels in m.

    The last axis is stored without gaps. Channels have color tables of the names C0, C1, ….
    """
    numbers = {"X": 1, "Y": 2, "Z": 3, "T": 4, "λ": 5, "M": 10}
    elements, blocks = "", b""
    for number, (name, (array, axes)) in enumerate(images.items()):
        increments = dict(zip(axes, array.strides, strict=True))
        sizes = dict(zip(axes, array.shape, strict=True))
        channels = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * array.itemsize}" '
            f'NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" LUTName="C{channel}" '
            f'IsLUTInverted="0" BytesInc="{channel * increments.get("C", 0)}" BitInc="0"/>'
            for channel in range(sizes.get("C", 1))
        )
        dimensions = "".join(
            f'<DimensionDescription DimID="{numbers[axis]}" NumberOfElements="{sizes[axis]}" '
            f'Origin="0" Length="{(sizes[axis] - 1) * step}" Unit="m" BitInc="0" '
            f'BytesInc="{increments[axis]}"/>'
            for axis in axes[::-1]
            if axis != "C"
        )
        block = f"MemBlock_{number}"
        elements += (
            f'<Element Name="{name}"><Data><Image><ImageDescription>'
            f"<Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
            f"</ImageDescription></Image></Data>"
            f'<Memory Size="{array.nbytes}" MemoryBlockID="{block}"/></Element>'
        )
        text = block.encode("utf-16-le")
        head = (0x70, 14 + len(text), 0x2A, array.nbytes, 0x2A, len(block))
        blocks += struct.pack("<IIBQBI", *head) + text + array.tobytes()
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="test"><Children>'
        f"{elements}</Children></Element></LMSDataContainerHeader>"
    )
    text = xml.encode("utf-16-le")
    head = struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(xml))
    path.write_bytes(head + text + blocks)
    return path


def _value(name: str, value: Any) -> str:
    """Return a value of the metadata of ND2 as XML."""
    if isinstance(value, dict):
        return f"<{name}>{''.join(_value(*item) for item in value.items())}</{name}>"
    if isinstance(value, list):
        return f"<{name}>{''.join(_value('no_name', item) for item in value)}</{name}>"
    kinds = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f'<{name} runtype="{kinds[type(value)]}" value="{text}"/>'


def _loops(sizes: Sequence[tuple[str, int]], z_step: float) -> dict[str, Any]:
    """Return nested loops over time points, positions and slices."""
    (axis, count), *rest = sizes
    kind, keys = {
        "T": (1, {"uiCount": count, "dStart": 0.0, "dPeriod": 1.0, "dDuration": float(count)}),
        "P": (2, {"Points": [{"dPosX": float(n), "pPosName": f"p{n}"} for n in range(count)]}),
        "Z": (4, {"uiCount": count, "dZStep": z_step, "dZLow": 0.0, "dZHigh": 9.0, "iType": 0}),
    }[axis]
    loop: dict[str, Any] = {"eType": kind, "uLoopPars": keys}
    if rest:
        loop["ppNextLevelEx"] = [_loops(rest, z_step)]
    return loop


def write_nd2(
    path: Path, array: Pixels, axes: str, names: Sequence[str], pixel: float, z_step: float
) -> Path:
    """Write an image whose axes end in c, y and x; pixel size and step along z in µm."""
    lead = axes[:-3]
    frames = array.reshape(-1, *array.shape[-3:])
    *_, height, width = array.shape
    bits = array.dtype.itemsize * 8
    chunks: dict[bytes, bytes] = {}

    def store(name: bytes, content: dict[str, Any]) -> None:
        chunks[name] = f'<?xml version="1.0"?>{_value("variant", content)}'.encode()

    store(
        b"ImageAttributes!",
        {"uiWidth": width, "uiHeight": height, "uiComp": len(names), "uiBpcInMemory": bits,
         "uiWidthBytes": width * len(names) * bits // 8,
         "uiBpcSignificant": bits, "uiSequenceCount": len(frames), "eCompression": 2},
    )  # fmt: skip
    spectrum = {"uiCount": 1, "pPoint": {"Point0": {"dWavelength": 500.0, "dTValue": 1.0}}}
    probe = {"m_ExcitationSpectrum": spectrum, "m_EmissionSpectrum": spectrum}
    planes = {
        f"Plane{number}": {"sDescription": name, "uiCompCount": 1, "pFluorescentProbe": probe}
        for number, name in enumerate(names)
    }
    store(
        b"ImageMetadataSeq|0!",
        {"bCalibrated": True, "dCalibration": pixel,
         "sPicturePlanes": {"uiCount": len(names), "sPlaneNew": planes}},
    )  # fmt: skip
    if lead:
        sizes = list(zip(lead, array.shape, strict=False))
        store(b"ImageMetadata!", _loops(sizes, z_step))
    for number, frame in enumerate(frames):
        pixels = np.ascontiguousarray(np.moveaxis(frame, 0, -1)).tobytes()
        chunks[f"ImageDataSeq|{number}!".encode()] = struct.pack("<d", number) + pixels
    magic, content, table = 0x0ABECEDA, io.BytesIO(), b""
    content.write(struct.pack("<IIQ", magic, 32, 64) + b"ND2 FILE SIGNATURE CHUNK NAME01!")
    content.write(b"Ver2.1".ljust(64, b"\0"))

    def append(name: bytes, data: bytes, reserved: int) -> int:
        start = content.tell()
        content.write(struct.pack("<IIQ", magic, reserved, len(data)) + name.ljust(reserved, b"\0"))
        content.write(data)
        return start

    for name, data in chunks.items():
        start = append(name, data, 4072 if name.startswith(b"ImageData") else 64)
        table += name + struct.pack("<QQ", start, len(data))
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    start = append(b"ND2 FILEMAP SIGNATURE NAME 0001!", table + end + b"\0" * 16, 64)
    content.write(end + struct.pack("<Q", start))
    path.write_bytes(content.getvalue())
    return path


def _oif_files(
    name: str, array: Pixels, axes: str, dyes: Sequence[str], pixel: float, z_step: float, scan: str
) -> dict[str, bytes]:
    """Return the files of an OIF by their paths: settings, and a TIFF for each plane."""
    lead = axes[:-2]
    sizes = dict(zip(lead, array.shape, strict=False)) | dict(
        zip(scan[::-1], array.shape[-2:], strict=True)
    )
    order = scan + lead[::-1]
    lines = [
        "[ProfileSaveInfo]", f'Name="{name}"', 'Version="1.0.0.0"',
        "[Axis Parameter Common]", f'AxisOrder="{order}"',
        "[Reference Image Parameter]", f"WidthConvertValue={pixel}", 'WidthUnit="um"',
        f"HeightConvertValue={pixel}", 'HeightUnit="um"', "ValidBitCounts=12",
    ]  # fmt: skip
    for number, axis in enumerate("XYZTCL"):
        lines += [
            f"[Axis {number} Parameters Common]",
            f'AxisCode="{axis}"',
            f"MaxSize={sizes.get(axis, 0)}",
        ]
        if axis == "Z":
            lines += [f"Interval={z_step * 1000}", 'UnitName="nm"']
    for number, dye in enumerate(dyes, 1):
        lines += [f"[GUI Channel {number} Parameters]", f'DyeName="{dye}"', f'CH Name="CH{number}"']
    text = "\r\n".join(lines) + "\r\n"
    files = {name: b"\xff\xfe" + text.encode("utf-16-le")}
    for position in np.ndindex(array.shape[:-2]):
        part = "".join(f"{axis}{n + 1:03d}" for axis, n in zip(lead, position, strict=True))
        tif = io.BytesIO()
        tifffile.imwrite(tif, array[position], metadata=None)
        files[f"{name}.files/s_{part}.tif"] = tif.getvalue()
    return files


def write_oif(
    path: Path, array: Pixels, axes: str, dyes: Sequence[str], pixel: float, z_step: float,
    scan: str = "XY",
) -> Path:  # fmt: skip
    """Write settings and a folder of TIFF files; `scan` names the two axes of a plane."""
    for name, data in _oif_files(path.name, array, axes, dyes, pixel, z_step, scan).items():
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).write_bytes(data)
    return path


def write_oib(
    path: Path, array: Pixels, axes: str, dyes: Sequence[str], pixel: float, z_step: float,
    *, small: bool = False,
) -> Path:  # fmt: skip
    """Write the files of an OIF as streams of a compound file; see `compound_file`."""
    name = f"{path.stem}.oif"
    files = _oif_files(name, array, axes, dyes, pixel, z_step, "XY")
    main = files.pop(name)
    info = ["[OibSaveInfo]", "MainFileName=Stream00000", f"Stream00000={name}"]
    info += ["Storage00001=" + name + ".files"]
    streams = {"Stream00000": main}
    for number, (inner, data) in enumerate(files.items(), 1):
        info.append(f"Stream{number:05d}={inner}")
        streams[f"Stream{number:05d}"] = data
    text = "\r\n".join(info) + "\r\n"
    streams["OibInfo.txt"] = b"\xff\xfe" + text.encode("utf-16-le")
    path.write_bytes(compound_file(streams, small=small))
    return path


def compound_file(streams: dict[str, bytes], *, small: bool = False) -> bytes:
    """Return a compound file (OLE, version 3) with these streams in its root.

    With `small`, it also has a list of sectors for small streams.
    """
    size, end, free = 512, 0xFFFFFFFE, 0xFFFFFFFF
    table: list[int] = []
    body = io.BytesIO()

    def store(data: bytes) -> int:
        first, count = len(table), -(-len(data) // size)
        table.extend([*range(first + 1, first + count), end])
        body.write(data.ljust(count * size, b"\0"))
        return first

    starts = [store(data) for data in streams.values()]
    root = _entry("Root Entry", 5, child=1, start=end, size=0)
    entries = [
        _entry(name, 2, right=n + 2 if n + 1 < len(streams) else free, start=start, size=len(data))
        for n, ((name, data), start) in enumerate(zip(streams.items(), starts, strict=True))
    ]
    directory = store(b"".join([root, *entries]))
    mini, n_mini = end, 0
    if small:  # a list of sectors for small streams, which no stream uses
        mini, n_mini = store(struct.pack("<128I", end, *[free] * 127)), 1
    per_sector = size // 4
    n_tables = -(-(len(table) + 200) * 65 // (64 * per_sector))  # with room for their own sectors
    own = list(range(len(table), len(table) + n_tables))
    table += [0xFFFFFFFD] * n_tables
    # The header lists 109 sectors of the table; further sectors list the others.
    listed, others = own[:109] + [free] * max(0, 109 - n_tables), own[109:]
    lists, extra = b"", end
    n_extra = -(-len(others) // (per_sector - 1))
    if others:
        extra = len(table)
        for number in range(n_extra):
            part = others[number * (per_sector - 1) :][: per_sector - 1]
            after = extra + number + 1 if number + 1 < n_extra else end
            part = [*part, *[free] * (per_sector - 1 - len(part)), after]
            lists += struct.pack(f"<{per_sector}I", *part)
        table += [0xFFFFFFFC] * n_extra
    table += [free] * (n_tables * per_sector - len(table))
    body.write(struct.pack(f"<{len(table)}I", *table) + lists)
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16
    header += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    # Even small streams are stored in sectors: the limit of 0 bytes excludes none.
    header += struct.pack("<9I", 0, n_tables, directory, 0, 0, mini, n_mini, extra, n_extra)
    header += struct.pack("<109I", *listed)
    return header + body.getvalue()


def _entry(
    name: str, kind: int, *, child: int = 0xFFFFFFFF, right: int = 0xFFFFFFFF, start: int, size: int
) -> bytes:
    text = (name + "\0").encode("utf-16-le")
    head = struct.pack("<64sHBBIII", text, len(text), kind, 1, 0xFFFFFFFF, right, child)
    return head + b"\0" * 36 + struct.pack("<IQ", start, size)

"""Units of length, and the voxel size of a file: each axis validated, one unit for all axes."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from singula.errors import UserError
from singula.util.format import show

# Meters per unit, by the symbols of OME-XML. The symbols are case-sensitive: Mm is not mm.
METERS: dict[str, float] = {
    "Ym": 1e24, "Zm": 1e21, "Em": 1e18, "Pm": 1e15, "Tm": 1e12, "Gm": 1e9, "Mm": 1e6, "km": 1e3,
    "hm": 1e2, "dam": 1e1, "m": 1.0, "dm": 1e-1, "cm": 1e-2, "mm": 1e-3, "µm": 1e-6, "nm": 1e-9,
    "pm": 1e-12, "fm": 1e-15, "am": 1e-18, "zm": 1e-21, "ym": 1e-24, "Å": 1e-10,
    "thou": 2.54e-5, "li": 0.0254 / 12, "in": 0.0254, "ft": 0.3048, "yd": 0.9144, "mi": 1609.344,
    "pt": 0.0254 / 72, "ua": 149597870700.0, "ly": 9460730472580800.0,
    "pc": 149597870700.0 * 648000 / math.pi,
}  # fmt: skip
_PREFIXES = {
    "yotta": "Y", "zetta": "Z", "exa": "E", "peta": "P", "tera": "T", "giga": "G", "mega": "M",
    "kilo": "k", "hecto": "h", "deca": "da", "": "", "deci": "d", "centi": "c", "milli": "m",
    "micro": "µ", "nano": "n", "pico": "p", "femto": "f", "atto": "a", "zepto": "z", "yocto": "y",
}  # fmt: skip
# Names that OME-Zarr allows; it has none for dam, thou, li, ua, ly and pt.
NAMES: dict[str, str] = {
    **{f"{prefix}m": f"{name}meter" for name, prefix in _PREFIXES.items() if prefix != "da"},
    "Å": "angstrom", "in": "inch", "ft": "foot", "yd": "yard", "mi": "mile", "pc": "parsec",
}  # fmt: skip
_SYMBOLS = {name: symbol for symbol, name in NAMES.items()} | {
    "um": "µm", "micron": "µm", "decameter": "dam", "dekameter": "dam", "ångström": "Å",
    "ångstrom": "Å", "angström": "Å", "inche": "in", "feet": "ft", "point": "pt", "line": "li",
}  # fmt: skip
_USUAL_UNITS = ("µm", "nm", "mm", "Å", "cm", "m")
_NO_LENGTH = {
    "", "pixel", "pixels", "px", "voxel", "voxels", "none", "null", "unknown", "reference frame",
    "referenceframe",
}  # fmt: skip


def unit_symbol(text: object) -> str | None:
    r"""Return the symbol of a unit of length; None if the text does not name a unit.

    Parameters
    ----------
    text : object
        A symbol or a name in any usual spelling: ``um``, ``micron``, ``\\u00B5m``, ``Inches``.

    Returns
    -------
    str or None
        A key of `METERS`; an unknown name unchanged; None for an empty text and for ``pixel`` and
        ``reference frame``, which are not lengths.

    Examples
    --------
    >>> unit_symbol("microns"), unit_symbol("Nanometre"), unit_symbol("reference frame")
    ('µm', 'nm', None)
    """
    word = re.sub(
        r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), str(text or "").strip()
    )
    # Two code points look like µ, and two like Å.
    word = unicodedata.normalize("NFC", word).replace("\N{GREEK SMALL LETTER MU}", "µ")
    lower = word.lower()
    if lower in _NO_LENGTH:
        return None
    if word in METERS:
        return word
    name = lower.replace("metre", "meter")
    for spelling in (name, name.removesuffix("s")):
        if spelling in _SYMBOLS:
            return _SYMBOLS[spelling]
    return "Å" if lower == "å" else lower if lower in METERS else word


def check_unit(unit: str | None, name: str) -> str | None:
    """Return a unit that a user gave, or refuse it.

    Parameters
    ----------
    unit : str, optional
        Any spelling that `unit_symbol` accepts, or a word without a length, such as ``pixel``.
    name : str
        Option or argument that it comes from, for messages.

    Raises
    ------
    UserError
        ``units.unknown``: it is neither.
    """
    if unit is None:
        return None
    if not isinstance(unit, str) or unit_symbol(unit) not in {None, *METERS}:
        raise UserError(
            f"{name}: got {show(unit)}, expected one of {', '.join(METERS)}, or a name such as "
            "micron or nanometer",
            "convert the voxel size to one of these units",
            "units.unknown",
        )
    return unit


def convert(size: float, unit: str, target: str) -> float:
    """Convert a length between units, and remove the rounding noise.

    Parameters
    ----------
    size : float
        Length in `unit`.
    unit, target : str
        Units, keys of `METERS`.

    Examples
    --------
    >>> convert(0.3, "µm", "nm")
    300.0
    """
    if unit == target:
        return size
    return round_significant(size * (METERS[unit] / METERS[target]))


def round_significant(size: float, digits: int = 12) -> float:
    """Round to significant digits: 0.30000000000000004 becomes 0.3."""
    return float(f"{size:.{digits}g}")


def in_microns(
    spacing: Sequence[float] | None, unit: str | None
) -> tuple[tuple[float, ...] | None, str | None]:
    """Convert a voxel size to µm if its unit is a known length; else return it unchanged.

    Parameters
    ----------
    spacing : sequence of float, optional
        Voxel size along each spatial axis, in `unit`.
    unit : str, optional
        Unit in any spelling.

    Returns
    -------
    spacing : tuple of float or None
        Voxel size along the same axes.
    unit : str or None
        "µm", or the unit unchanged.
    """
    symbol = unit_symbol(unit)
    if spacing is None or symbol not in METERS:
        return None if spacing is None else tuple(spacing), unit
    return tuple(convert(size, symbol, "µm") for size in spacing), "µm"


@dataclass(frozen=True)
class VoxelSize:
    """Voxel size in the metadata of a file.

    Parameters
    ----------
    spacing : tuple of float, optional
        Size along (z, y, x), or along (y, x) if the size along z is missing; in `unit`.
    unit : str, optional
        Symbol of the unit; None if the sizes are not lengths.
    notes : tuple of str
        Notes for the user on axes whose size is missing or invalid.
    """

    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    notes: tuple[str, ...] = ()


UNCALIBRATED = VoxelSize()


def voxel_size(
    sizes: Mapping[str, object], units: Mapping[str, object], *, calibrated: bool = False
) -> VoxelSize:
    """Validate the size along each axis, and convert all sizes to the unit of x.

    An axis is left out if its size is not a finite positive number, or if its unit cannot be
    compared with the units of the other axes. If only one of y and x remains, its size is used for
    both. Sizes without a unit of length are kept as relative sizes, unless all of them are 1.

    Parameters
    ----------
    sizes : mapping of str to object
        Size by axis (z, y, x), without the axes that the metadata do not mention.
    units : mapping of str to object
        Unit by axis, in any spelling.
    calibrated : bool
        Keep sizes that are all 1 and have no unit, because the metadata state them.

    Returns
    -------
    VoxelSize
        Validated sizes, and notes on axes without a valid size.

    Examples
    --------
    >>> voxel_size({"z": 0.3, "y": 50, "x": 50}, {"z": "µm", "y": "nm", "x": "nm"}).spacing
    (300.0, 50.0, 50.0)
    """
    symbols = {axis: unit_symbol(units.get(axis)) for axis in sizes}
    valid = {axis: size for axis in "zyx" if (size := _positive(sizes.get(axis))) is not None}
    lengths = {axis for axis in valid if symbols[axis] in METERS}
    if lengths & {"y", "x"}:
        used = {axis: size for axis, size in valid.items() if axis in lengths}
    else:
        plane = next((axis for axis in "xy" if axis in valid), None)
        if plane is None:
            return VoxelSize(notes=_missing_size_notes(sizes, valid, {}))
        used = {axis: size for axis, size in valid.items() if symbols[axis] == symbols[plane]}
    base = "x" if "x" in used else "y"
    unit = symbols[base]
    if unit in METERS:
        used = {axis: convert(size, symbols[axis] or "", unit) for axis, size in used.items()}
    elif unit is None and set(used.values()) == {1.0} and not calibrated:
        return UNCALIBRATED  # the default of most formats
    spacing = (*((used["z"],) if "z" in used else ()), *(used.get(a, used[base]) for a in "yx"))
    return VoxelSize(spacing, unit, _missing_size_notes(sizes, valid, used, unit))


def _positive(value: object) -> float | None:
    try:
        size = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return size if 0 < size < math.inf else None


def _missing_size_notes(
    sizes: Mapping[str, object],
    valid: Mapping[str, float],
    used: Mapping[str, float],
    unit: str | None = None,
) -> tuple[str, ...]:
    """Return a note if y or x has no usable size; a missing size along z affects volumes only."""
    missing = [axis for axis in "yx" if axis not in used]
    if not missing or not any(axis in sizes for axis in "yx"):
        return ()
    if not used:
        if not valid:
            return ()
        return ("it gives no valid pixel size along y and x, so its voxel size is not used",)
    axis, other = missing[0], "x" if missing[0] == "y" else "y"
    return (
        f"it gives no valid pixel size along {axis}, so the size along {other}, "
        f"{format_spacing((used[other],), unit)}, is used",
    )


def infer_unit(
    given: Sequence[float], spacing: Sequence[float] | None, unit: str | None
) -> str | None:
    """Infer the unit of a voxel size by comparison with the voxel size of a file.

    Parameters
    ----------
    given : sequence of float
        Voxel size that a user set without a unit, z first.
    spacing : sequence of float, optional
        Voxel size of the file, z first, in `unit`.
    unit : str, optional
        Unit of `spacing`.

    Returns
    -------
    str or None
        The unit in which the sizes along y and x are equal; None if there is none.

    Examples
    --------
    >>> infer_unit((0.3, 0.05, 0.05), (1000, 50, 50), "nm")
    'µm'
    """
    if spacing is None or unit is None:
        return None
    if _agree(given[-2:], spacing[-2:]):
        return unit
    symbol = unit_symbol(unit)
    if symbol is None or symbol not in METERS:
        return None
    for candidate in _USUAL_UNITS:
        if _agree(given[-2:], [convert(size, symbol, candidate) for size in spacing[-2:]]):
            return candidate
    return None


def _agree(first: Sequence[float], second: Sequence[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(first, second, strict=True))


def replaced_size(
    source: str,
    given: Sequence[float],
    spacing: Sequence[float] | None,
    unit: str | None,
    given_unit: str | None = None,
) -> str | None:
    """Return a message if the voxel size of the user differs from the file's; else None.

    Parameters
    ----------
    source : str
        Key or option of the user's voxel size.
    given, spacing, unit
        As for `infer_unit`.
    given_unit : str, optional
        Unit of `given`, if the user set one.
    """
    if spacing is None:
        return None
    given_unit = given_unit or infer_unit(given, spacing, unit)
    sizes: Sequence[float] = spacing
    file_symbol, given_symbol = unit_symbol(unit) or "", unit_symbol(given_unit) or ""
    if file_symbol in METERS and given_symbol in METERS:
        sizes = [convert(size, file_symbol, given_symbol) for size in spacing]
    if _agree(given, sizes):
        return None
    return (
        f"{source}: the voxel size {format_spacing(given, given_unit)} is used instead of the "
        f"voxel size in the file, {format_spacing(spacing, unit)}"
    )


def format_spacing(spacing: Sequence[float], unit: str | None) -> str:
    """Format a voxel size for a message: ``0.5 µm``, or ``(1, 0.2, 0.2) µm``."""
    sizes = [f"{size:.6g}" for size in spacing]
    text = sizes[0] if len(sizes) == 1 else f"({', '.join(sizes)})"
    return f"{text} {unit}" if unit else text

"""Read NIfTI files, the format of medical imaging and nnU-Net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.formats.containers import library
from singula.io.image import AnyArray, Header
from singula.io.sizes import DEFLATE, check_size
from singula.io.units import round_significant, voxel_size
from singula.util.format import counted

_UNITS = {"meter": "m", "mm": "mm", "micron": "µm"}
# Reversed: NIfTI stores x first, and vectors along the fifth axis.
_AXES = "CTZYX"


def nifti_header(path: Path) -> Header:
    """Read the header of a NIfTI file.

    Raises
    ------
    UserError
        ``io.library_missing``: nibabel is not installed; ``io.cut_off``, ``io.impossible_size``.
    ValueError
        The image has more than five axes, or colors.
    """
    return _header(path, _open(path))


def nifti_pixels(path: Path) -> tuple[AnyArray, Header]:
    """Read the values, with the scaling of the header and axes from z to x, and the header.

    Raises
    ------
    UserError, ValueError
        As `nifti_header`.
    """
    image = _open(path)
    header = _header(path, image)
    return np.asarray(image.dataobj, header.dtype).T, header


def _open(path: Path) -> Any:
    return library("nibabel", path, "NIfTI", extra="nifti").load(path)


def _header(path: Path, image: Any) -> Header:
    shape = tuple(image.shape[::-1])
    if not 2 <= len(shape) <= len(_AXES):
        raise ValueError(
            f"it has {counted(len(shape), 'axis', 'axes')}, expected 2 to {len(_AXES)}"
        )
    stored = image.get_data_dtype()
    if stored.names:
        raise ValueError("its values are colors; save it as gray, or as TIFF")
    size = path.stat().st_size
    if path.name.lower().endswith(".gz"):
        check_size(path, shape, stored.itemsize, size, DEFLATE)
    else:
        check_size(path, shape, stored.itemsize, size - int(image.dataobj.offset))
    scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)
    unit = _UNITS.get(image.header.get_xyzt_units()[0])
    voxels = voxel_size(_zooms(image, min(len(shape), 3)), dict.fromkeys("xyz", unit))
    return Header(
        shape=shape,
        dtype=np.dtype(np.float64) if scaled else stored.newbyteorder("="),
        axes=_AXES[-len(shape) :],
        spacing=voxels.spacing,
        unit=voxels.unit,
        notes=voxels.notes,
        affine=_affine(image.header),
        source="the NIfTI format",
    )


def _zooms(image: Any, count: int) -> dict[str, float]:
    """Return the stored size along x, y and z; nibabel would replace a size of 0 by 1."""
    with image.file_map["image"].get_prepare_fileobj("rb") as file:
        stored = type(image.header).from_fileobj(file, check=False)["pixdim"][1 : 1 + count]
    # float32: 0.2 is stored as 0.20000000298
    return {
        axis: round_significant(abs(float(size)), 7)
        for axis, size in zip("xyz", stored, strict=False)
    }


def _affine(header: Any) -> npt.NDArray[np.float64] | None:
    """Return the affine of a file; None without one, for which nibabel returns a default."""
    for read in (header.get_sform, header.get_qform):
        affine, code = read(coded=True)
        if code:
            return np.asarray(affine, np.float64)
    return None

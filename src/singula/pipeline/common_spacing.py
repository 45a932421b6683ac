"""Resampling of images of several voxel sizes to a common one (DATA.PREPROCESS.SPACING)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from singula.data.preprocess import scaled_shape
from singula.errors import UserError
from singula.io.units import format_spacing, in_microns

MAX_FACTOR = 32.0
"""Largest factor by which an axis of an image is enlarged; its inverse is the smallest."""
_KEY = "DATA.PREPROCESS.SPACING"


@dataclass(frozen=True)
class CommonSpacing:
    """Voxel size to which images are resampled.

    Parameters
    ----------
    size : tuple of float
        Voxel size, z first, in µm if the voxel sizes of the images have a unit of length.
    key : str
        Key of the voxel size of images that do not give one, for messages.
    """

    size: tuple[float, ...]
    key: str

    def factors(
        self, path: Path, spacing: Sequence[float] | None, unit: str | None
    ) -> tuple[float, ...]:
        """Return the factor of each axis by which an image is enlarged.

        Parameters
        ----------
        path : Path
            File of the image, for messages.
        spacing : sequence of float, optional
            Voxel size of the image, z first.
        unit : str, optional
            Unit of `spacing`.

        Raises
        ------
        UserError
            ``data.no_voxel_size``: the image has no voxel size; ``data.voxel_size_range``: a factor
            is not in the range from 1/32 to 32.
        """
        sizes, symbol = in_microns(spacing, unit)
        if sizes is None:
            raise UserError(
                f"{path}: gives no voxel size, which {_KEY} needs",
                f"set {self.key} (singula predict: --spacing), add the voxel size to the file "
                f"(Fiji: Image > Properties…), or remove {_KEY}",
                "data.no_voxel_size",
            )
        factors = tuple(size / other for size, other in zip(sizes, self.size, strict=True))
        if not all(1 / MAX_FACTOR <= factor <= MAX_FACTOR for factor in factors):
            raise UserError(
                f"{path}: has voxels of {format_spacing(sizes, symbol)}, expected a size similar "
                f"to {format_spacing(self.size, symbol)} ({_KEY})",
                f"correct the voxel size of the file, or set {self.key} or {_KEY}",
                "data.voxel_size_range",
            )
        return factors

    def shape(
        self,
        path: Path,
        shape: Sequence[int],
        spacing: Sequence[float] | None,
        unit: str | None,
    ) -> tuple[int, ...]:
        """Return the spatial shape of a resampled image.

        Parameters
        ----------
        path, spacing, unit
            As for `factors`.
        shape : sequence of int
            Spatial shape of the stored image.

        Raises
        ------
        UserError
            As for `factors`.
        """
        return scaled_shape(shape, self.factors(path, spacing, unit))

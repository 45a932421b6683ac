"""Size of the training objects and of their voxels, for the description of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.dataset.facts.facts import MAX_SPACING_RATIO
from singula.io.units import in_microns
from singula.labels.diameters import equivalent_diameters, representative

_RANGE = (5, 95)  # percentiles of the medians of images


@dataclass(frozen=True)
class TrainedObjects:
    """Sizes of the objects and voxels that a model was trained on.

    Parameters
    ----------
    size : tuple of float, optional
        Median diameter of the objects along each axis, in pixels; None if it is not known.
    range : tuple of float, optional
        5th and 95th percentile of the median diameters of the images, along x.
    spacing : tuple of float, optional
        Voxel size, z first; None if it is not known.
    unit : str, optional
        Unit of `spacing`.
    """

    size: tuple[float, ...] | None = None
    range: tuple[float, float] | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> TrainedObjects:
        """Return the sizes in the description of a checkpoint.

        Parameters
        ----------
        description : mapping
            Description of a checkpoint; earlier versions have no sizes. Sizes with another number
            of axes than the network are not known.
        """
        limits, voxel = description.get("object_range"), description.get("voxel_size") or {}
        ndim = (description.get("model") or {}).get("ndim")

        def by_axis(sizes: Sequence[float] | None) -> tuple[float, ...] | None:
            return tuple(sizes) if sizes and ndim in (None, len(sizes)) else None

        return cls(
            by_axis(description.get("object_size")),
            (limits[0], limits[1]) if limits else None,
            by_axis(voxel.get("spacing")),
            voxel.get("unit"),
        )


UNKNOWN_OBJECTS = TrainedObjects()


def mean_objects(models: Sequence[TrainedObjects]) -> TrainedObjects:
    """Return the mean object size of several models with the same voxel size.

    Parameters
    ----------
    models : sequence of TrainedObjects
        Sizes of each model; the range of the result contains all of their ranges.
    """
    sizes = [model.size for model in models]
    ranges = [model.range for model in models]
    size, limits = None, None
    if all(sizes):
        size = tuple(float(np.mean(axis)) for axis in zip(*filter(None, sizes), strict=True))
    if all(ranges):
        low, high = zip(*filter(None, ranges), strict=True)
        limits = min(low), max(high)
    return replace(models[0], size=size, range=limits)


class ObjectSizes:
    """Collect the sizes of the objects of training images.

    Diameters are those of the disk or ball with the size of an object. In images with anisotropic
    voxels, the diameter in pixels differs between the axes.
    """

    def __init__(self) -> None:
        self._diameters: list[npt.NDArray[np.float64]] = []  # shape (objects, axes) by image
        self._cut: list[npt.NDArray[np.bool_]] = []
        self._spacings: list[tuple[tuple[float, ...] | None, str | None]] = []
        self._pixels: list[tuple[int, float]] = []  # of an image, and annotated

    def add(
        self,
        labels: npt.NDArray[Any],
        spacing: Sequence[float] | None,
        unit: str | None,
        *,
        annotated: float = 1.0,
    ) -> None:
        """Measure the objects of an image.

        Parameters
        ----------
        labels : ndarray of int, (y, x) or (z, y, x)
            Instance ids at the resolution of the training; 0 is background.
        spacing : sequence of float, optional
            Voxel size along each axis of `labels`.
        unit : str, optional
            Unit of `spacing`.
        annotated : float
            Share of the pixels that are annotated.
        """
        self._pixels.append((labels.size, annotated * labels.size))
        diameters, cut = equivalent_diameters(labels)
        sizes = np.array(spacing if spacing is not None else [1.0] * labels.ndim)
        per_axis = np.prod(sizes) ** (1 / labels.ndim) / sizes
        self._diameters.append(diameters[:, None] * per_axis)
        self._cut.append(cut)
        self._spacings.append(in_microns(spacing, unit))

    @property
    def annotated(self) -> float:
        """Share of the pixels of all images that are annotated."""
        pixels, annotated = (sum(counts) for counts in zip(*self._pixels, strict=True))
        return float(annotated / pixels)

    def describe(self) -> dict[str, Any]:
        """Return the fields of a checkpoint's description, in plain types; empty without objects.

        Returns
        -------
        dict
            ``object_size``: median diameter of the objects along each axis, in pixels;
            ``object_range``: 5th and 95th percentile of the median diameters of the images, along
            x; ``voxel_size``: median voxel size, in µm if the unit is known. The voxel size is
            omitted if an image has none, or if the voxel sizes differ by more than 25 %.
        """
        images = [
            diameters[representative(diameters[:, -1], cut)]
            for diameters, cut in zip(self._diameters, self._cut, strict=True)
            if len(diameters)
        ]
        if not images:
            return {}
        diameters, cut = np.concatenate(self._diameters), np.concatenate(self._cut)
        pooled = diameters[representative(diameters[:, -1], cut)]
        medians = [float(np.median(image[:, -1])) for image in images]
        return {
            "object_size": np.median(pooled, axis=0).tolist(),
            "object_range": np.percentile(medians, _RANGE).tolist(),
            **self._voxel_size(),
        }

    def _voxel_size(self) -> dict[str, Any]:
        spacings = [spacing for spacing, _ in self._spacings if spacing is not None]
        units = {unit for _, unit in self._spacings}
        if len(spacings) < len(self._spacings) or len(units) > 1:
            return {}
        sizes = np.array(spacings)
        if (sizes.max(axis=0) > MAX_SPACING_RATIO * sizes.min(axis=0)).any():
            return {}
        return {"voxel_size": {"spacing": np.median(sizes, axis=0).tolist(), "unit": units.pop()}}

"""Voxel size of predicted images: of an option, or else of the model."""

from __future__ import annotations

from dataclasses import dataclass

from singula.inference.model import Model
from singula.io.image import resized_spacing
from singula.pipeline import from_config


@dataclass(frozen=True)
class VoxelSizes:
    """Voxel size of the options ``--spacing`` and ``--unit``.

    Parameters
    ----------
    spacing : tuple of float, optional
        Voxel size of the stored images, z first.
    unit : str, optional
        Unit of the voxel size.
    resampled : bool
        True if images are resampled (``--scale``). The voxel size of the model is then not that of
        the images.
    """

    spacing: tuple[float, ...] | None
    unit: str | None
    resampled: bool = False

    def of(self, model: Model, shape: tuple[int, ...]) -> tuple[float, ...] | None:
        """Return the voxel size of an image: from the option, or else from the model.

        The voxel size of the model refers to preprocessed images.

        Parameters
        ----------
        model : Model
            Trained model.
        shape : tuple of int
            Spatial shape of the stored image, in pixels.
        """
        if model.reader.common is not None:  # the configured size is that of stored images
            return self.spacing or model.reader.spacing
        configured = from_config.spacing(model.config, "TEST", model.ndim)
        if self.spacing is not None or configured is None:
            return self.spacing
        if self.resampled:
            return None
        steps = model.reader.steps
        if steps is None or steps.resize is None:
            return configured
        return resized_spacing(configured, steps.resize.shape, shape)

"""Prediction of arrays with a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.preprocess import preprocess, resample, resize_labels, scaled_shape
from singula.errors import UserError
from singula.inference.auto_scale import AutoScale, estimate_scale
from singula.inference.scale import Factors, Scale, check_scale
from singula.io.image import Spacing, check_spacing, resized_spacing
from singula.io.label_values import native
from singula.pipeline import from_config
from singula.pipeline.confidence import predicted_confidence
from singula.pipeline.object_size import UNKNOWN_OBJECTS, TrainedObjects
from singula.pipeline.postprocess import (
    PostSettings,
    filter_maps,
    process_instances,
    seed_filter,
)
from singula.pipeline.predict_image import predict_maps
from singula.pipeline.readers import Reader
from singula.prediction import Predictor
from singula.prediction.ensemble import mean_maps
from singula.representations.decoders import Decoded, DecodeSettings, decode, warn_of_unused
from singula.util.arguments import as_array, choice, flag, integer, items, label_image
from singula.util.format import counted, show

if TYPE_CHECKING:
    from singula.data.normalize import Normalizer

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Model:
    """Trained network with its normalization, channels, thresholds and processing steps.

    Use `singula.load` to create a model.

    Parameters
    ----------
    config : Config
        Configuration of the training.
    predictor : Predictor
        Network for prediction.
    normalizer : Normalizer
        Normalization of images.
    post : PostSettings
        Steps after decoding.
    reader : Reader
        Reading and preprocessing of test images.
    notices : tuple of str
        Notices about the checkpoint and its thresholds.
    checkpoint : Path, optional
        File of the checkpoint.
    objects : TrainedObjects
        Sizes of the objects and voxels of the training images.
    others : tuple of Model
        Other models of an ensemble: their maps are averaged with the maps of this network.

    Examples
    --------
    Maps are predicted once, and decoded with other thresholds as often as necessary:

    >>> import singula
    >>> model = singula.load("results/cells/results/cells_1")
    >>> maps = model.predict_maps(image)
    >>> sorted(maps)
    ['B', 'C']
    >>> labels, decoded = model.instances(maps, thresholds={"TH_BINARY_MASK": 0.6})
    >>> labels.shape == image.shape, decoded.thresholds["TH_BINARY_MASK"]
    (True, 0.6)
    """

    config: Config
    predictor: Predictor
    normalizer: Normalizer
    post: PostSettings
    reader: Reader
    notices: tuple[str, ...] = ()
    checkpoint: Path | None = None
    objects: TrainedObjects = UNKNOWN_OBJECTS
    others: tuple[Model, ...] = ()

    @property
    def ndim(self) -> int:
        """Spatial dimensions of the images, 2 or 3."""
        return self.config.ndim

    @property
    def axes(self) -> str:
        """Spatial axes as text, ``y, x`` or ``z, y, x``."""
        return "y, x" if self.ndim == 2 else "z, y, x"

    @property
    def channels(self) -> str:
        """Channels of the representation, such as ``BC``."""
        return self.config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS

    def predict_maps(
        self, array: Array, *, augment: bool | None = None, scale: Scale = None
    ) -> dict[str, Array]:
        """Predict the maps of an image.

        The image is preprocessed like the test images of the run. The maps have the shape of the
        preprocessed image, which differs with `scale` and with DATA.PREPROCESS.RESIZE.

        Parameters
        ----------
        array : ndarray, (y, x[, c]) or (z, y, x[, c])
            Image with the data type and range of the training images.
        augment : bool, optional
            Average over mirrored and rotated views; as configured by default.
        scale : float, sequence of float or "auto", optional
            Factor by which the image is enlarged before prediction, for all axes or for each axis,
            z first; see `singula.data.preprocess.resample`. "auto": see `estimate_scale`.

        Returns
        -------
        dict of ndarray, (y, x) or (z, y, x)
            Maps by channel name.

        Raises
        ------
        TypeError, UserError
            `array` is not an array of numbers; ``model.shape``: dimensions or channels differ from
            the training images; ``model.not_finite``: it contains NaN or infinite values;
            ``predict.scale``: `scale` is not valid; ``predict.scale_resize``: the images of the
            model are resized to a fixed shape; ``predict.scale_unknown``: `scale` is "auto", and
            the sizes of the training objects are not known.
        """
        if augment is not None:
            augment = flag(augment, "augment")
        image = self._image(array)
        factors = self.factors(scale)
        if factors == "auto":
            factors = self.factors(self.estimate_scale(image).factor)
        if isinstance(factors, tuple):
            image = resample(image, scaled_shape(image.shape[:-1], factors))
        if self.others:
            members = (self, *self.others)
            maps = mean_maps(
                partial(member._network_maps, image, augment, class_probabilities=True)
                for member in members
            )
        else:
            maps = self._network_maps(image, augment)
        return filter_maps(maps, self.post, None)

    def _network_maps(
        self, image: Array, augment: bool | None, *, class_probabilities: bool = False
    ) -> dict[str, Array]:
        """Return the maps of this network alone, before the filters."""
        if self.reader.steps is not None:
            image = preprocess(image, self.reader.steps)
        return predict_maps(
            self.config,
            self.predictor,
            self.normalizer,
            image,
            augment=augment,
            class_probabilities=class_probabilities,
        )

    def predict(
        self,
        array: Array,
        *,
        thresholds: str | Mapping[str, object] | None = None,
        spacing: Spacing | None = None,
        augment: bool | None = None,
        scale: Scale = None,
    ) -> Array:
        """Predict the instances of an image.

        Parameters
        ----------
        array : ndarray, (y, x[, c]) or (z, y, x[, c])
            Image with the data type and range of the training images.
        thresholds : "auto" or mapping, optional
            As for `singula.decode`. Other thresholds are the values that `singula tune` saved, or
            else the configuration of the training.
        spacing : float or sequence of float, optional
            Size of a pixel by axis, z first; as configured by default. If the model was trained at
            a common voxel size (DATA.PREPROCESS.SPACING), the image is resampled to it, and has
            this voxel size by default.
        augment : bool, optional
            As for `predict_maps`.
        scale : float, sequence of float or "auto", optional
            As for `predict_maps`. All steps in pixels refer to the enlarged image; the label image
            has the shape of `array`.

        Returns
        -------
        ndarray of unsigned int, (y, x) or (z, y, x)
            Label image: instances from 1, background 0.

        Raises
        ------
        TypeError, UserError
            As for `predict_maps` and `singula.decode`.
        """
        if spacing is not None:
            spacing = check_spacing(spacing, self.ndim)
        array = as_array(array, "array")
        shape = array.shape[: self.ndim]
        if scale is None and spacing is not None and self.reader.common is not None:
            scale = self.reader.common.factors(Path("array"), spacing, None)
        maps = self.predict_maps(array, augment=augment, scale=scale)
        if spacing is not None and scale is not None:
            spacing = resized_spacing(spacing, shape, next(iter(maps.values())).shape)
        labels, _ = self.instances(maps, thresholds=thresholds, spacing=spacing)
        return self.restore(labels, shape)

    def estimate_scale(self, array: Array) -> AutoScale:
        """Estimate the factor that gives the objects of an image the size of the training objects.

        Parameters
        ----------
        array : ndarray, (y, x[, c]) or (z, y, x[, c])
            As for `predict_maps`.

        Raises
        ------
        TypeError, UserError
            As for `predict_maps`.
        """

        def predict(crop: Array, zoom: float) -> Array:
            labels, _ = self.instances(self.predict_maps(crop, augment=False, scale=zoom))
            return labels

        return estimate_scale(self._image(array), self.objects, predict)

    def factors(self, scale: Scale) -> Factors | Literal["auto"] | None:
        """Return the factor of each axis by which images are enlarged; None without resampling.

        Parameters
        ----------
        scale : float, sequence of float or "auto", optional
            As for `predict_maps`.

        Raises
        ------
        UserError
            ``predict.scale``, ``predict.scale_resize``.
        """
        factors = check_scale(scale, self.ndim)
        if factors is None or set(factors) == {1.0}:
            return None
        if self.reader.steps is not None and self.reader.steps.resize is not None:
            raise UserError(
                f"--scale: got {show(scale)} for a model whose images are resized to the shape "
                f"{self.reader.steps.resize.shape} (DATA.PREPROCESS.RESIZE), expected 1",
                "omit --scale, or train a model without DATA.PREPROCESS.RESIZE",
                "predict.scale_resize",
            )
        return factors

    def restore(self, labels: Array, shape: Sequence[int]) -> Array:
        """Resize labels or classes of a preprocessed image to the shape of the original image.

        Parameters
        ----------
        labels : ndarray of int, (y, x) or (z, y, x)
            Label image or class image.
        shape : sequence of int
            Spatial shape of the original image, in pixels.

        Returns
        -------
        ndarray of int, (y, x) or (z, y, x)
            Labels of the given shape.

        Raises
        ------
        TypeError, UserError
            `labels` is not a label image, or `shape` has another number of axes.
        """
        labels = label_image(labels, ndim=self.ndim, axes=f"({self.axes})")
        shape = items(shape, "shape", partial(integer, at_least=1), count=self.ndim)
        if labels.shape == tuple(shape):
            return labels
        return resize_labels(labels[..., None], shape)[..., 0]

    def instances(
        self,
        maps: Mapping[str, Array],
        *,
        thresholds: str | Mapping[str, object] | None = None,
        spacing: Spacing | None = None,
        of_file: Spacing | None = None,
    ) -> tuple[Array, Decoded]:
        """Decode maps to instances, with all steps after decoding.

        Parameters
        ----------
        maps : mapping
            Predicted maps by channel name, as `predict_maps` returns them.
        thresholds : "auto" or mapping, optional
            As for `predict`.
        spacing : float or sequence of float, optional
            As for `predict`.
        of_file : float or sequence of float, optional
            Size of a pixel of the maps according to the file. The steps after decoding use it if no
            other size is given or configured.

        Returns
        -------
        labels : ndarray of unsigned int, (y, x) or (z, y, x)
            Label image after all steps.
        decoded : Decoded
            Result of decoding, with seeds and thresholds.

        Raises
        ------
        TypeError, UserError
            As for `singula.decode`.
        """
        sizes = from_config.spacing(self.config, "TEST")
        if spacing is not None:
            sizes = check_spacing(spacing, self.ndim)
        measured = sizes
        if of_file is not None:
            stored = check_spacing(of_file, self.ndim, "of_file")
            measured = stored if sizes is None else sizes
        decoded = decode(
            maps,
            self.config.decoder,
            settings=self._decoding(thresholds),
            spacing=from_config.decoding_spacing(self.config, sizes),
            seed_filter=seed_filter(self.post, measured),
        )
        processed = process_instances(decoded.labels, maps, self.post, measured)
        labels = decoded.labels if processed.labels is None else processed.labels
        return labels, decoded

    def confidence(self, labels: Array, maps: Mapping[str, Array]) -> dict[int, float]:
        """Return how well the maps in each instance agree with the channels of its shape.

        Parameters
        ----------
        labels : ndarray of int, (y, x) or (z, y, x)
            Label image from `instances`, or a correction of it, with the shape of the maps.
        maps : mapping of str to ndarray
            Predicted maps by channel name, as `predict_maps` returns them.

        Returns
        -------
        dict of int to float
            Confidence from 0 to 1 by id; see `singula.measure.confidence`.

        Raises
        ------
        TypeError, UserError
            As for `singula.measure.confidence.confidence`.
        """
        return predicted_confidence(self.config, labels, maps)

    def _decoding(self, thresholds: str | Mapping[str, object] | None) -> DecodeSettings:
        configured = from_config.decode_settings(self.config)
        if thresholds is None:
            return configured
        if isinstance(thresholds, str):
            thresholds = {"TH_TYPE": choice(thresholds, "thresholds", ("auto", "manual"))}
        changed = configured.changed(thresholds)
        warn_of_unused(thresholds)
        return changed

    def _image(self, array: Array) -> Array:
        """Return the array with a channel axis at its end, and verify its shape and values."""
        image = native(as_array(array, "array"))
        gray = self.reader.gray
        if image.ndim == self.ndim and (self.config.in_channels == 1 or gray):
            image = image[..., None]
        if image.ndim == self.ndim + 1 and image.shape[-1] == 1 and gray:
            image = np.repeat(image, self.config.in_channels, axis=-1)
        if image.ndim != self.ndim + 1 or image.shape[-1] != self.config.in_channels:
            raise UserError(
                f"array: got shape {np.shape(array)}, expected ({self.axes}, "
                f"{counted(self.config.in_channels, 'channel')})",
                "move the channels to the end, or use a model trained on such images",
                "model.shape",
            )
        if not image.size:
            raise UserError(
                f"array: got shape {np.shape(array)}, expected sides of 1 or more",
                "omit images without pixels",
                "model.shape",
            )
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise UserError(
                f"array: got {int(np.count_nonzero(~np.isfinite(image)))} values that are NaN or "
                "infinite, expected finite numbers",
                "replace them, for example with numpy.nan_to_num",
                "model.not_finite",
            )
        return image

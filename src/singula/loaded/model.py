"""A trained model without its YAML file: the checkpoint carries all that it needs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.arguments import as_array, choice, flag, integer, items
from singula.config import Config
from singula.data.preprocess import Reference, preprocess, resize_labels
from singula.errors import UserError
from singula.instances import Decoded, DecodeSettings, decode, warn_of_unused
from singula.io.image import Spacing, check_spacing
from singula.io.values import native
from singula.paths import user_path
from singula.prediction import Predictor
from singula.stages import settings as from_config
from singula.stages.maps import predict_maps
from singula.stages.normalization import with_statistics
from singula.stages.post import (
    PostSettings,
    filter_maps,
    post_settings,
    process_instances,
    seed_filter,
)
from singula.stages.reading import Reader, reader_for
from singula.stages.thresholds import apply_tuned, threshold_lines
from singula.stages.weights import predictor_from, trained_config
from singula.training.checkpoint import load_checkpoint
from singula.words import counted

if TYPE_CHECKING:
    import torch

    from singula.data.normalize import Normalizer

Array = npt.NDArray[Any]
Notify = Callable[[str], None]


def find_model(path: Path | str) -> Path:
    """The checkpoint of a run folder, or the path itself when it is a file.

    Parameters
    ----------
    path : Path or str

    Raises
    ------
    UserError
        Not a path; ``model.missing``: no checkpoint, with the place where it was expected.
    """
    path = user_path(path, "path")
    if path.is_file():
        return path
    places = [
        path.parent.parent / "checkpoints" / f"{path.name}-checkpoint-{kind}.pth"
        for kind in ("best", "last")
    ]
    places += sorted(path.glob("checkpoints/*-checkpoint-best.pth"))
    for place in places:
        if place.is_file():
            return place
    raise UserError(
        f"--model: {path} is neither a checkpoint nor the folder of a finished run "
        f"(looked for {places[0]})",
        "give a .pth file, or a folder such as results/cells/results/cells_1",
        "model.missing",
    )


@dataclass(frozen=True)
class Model:
    """A network with the normalisation, channels, thresholds and steps it was trained with.

    Made by `singula.load`.

    Parameters
    ----------
    config : Config
        The configuration of its training.
    predictor : Predictor
    normalizer : Normalizer
    post : PostSettings
    reader : Reader
        How the run's test images were read and preprocessed.
    notices : tuple of str
        What to know of its thresholds.
    checkpoint : Path, optional
        The file that it was read from.
    """

    config: Config
    predictor: Predictor
    normalizer: Normalizer
    post: PostSettings
    reader: Reader
    notices: tuple[str, ...] = ()
    checkpoint: Path | None = None

    @property
    def ndim(self) -> int:
        """Spatial dimensions of the images, 2 or 3."""
        return self.config.ndim

    @property
    def axes(self) -> str:
        """Spatial axes in words, ``y, x`` or ``z, y, x``."""
        return "y, x" if self.ndim == 2 else "z, y, x"

    @property
    def channels(self) -> str:
        """The configuration of channels, such as ``BC``."""
        return self.config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS

    def predict_maps(self, array: Array, *, augment: bool | None = None) -> dict[str, Array]:
        """Maps by channel name, each of the image's spatial shape.

        The image is preprocessed as the run's test images were; maps are as large as it is then
        (DATA.PREPROCESS.RESIZE).

        Parameters
        ----------
        array : ndarray
            (y, x[, c]) or (z, y, x[, c]), of the type and scale of the training images.
        augment : bool, optional
            Average over mirrored and turned views; as configured by default.

        Raises
        ------
        TypeError, UserError
            Not an array of numbers, or dimensions or channels that differ from the training's.
        """
        if augment is not None:
            augment = flag(augment, "augment")
        image = self._image(array)
        if self.reader.steps is not None:
            image = preprocess(image, self.reader.steps)
        maps = predict_maps(
            self.config,
            self.predictor,
            self.normalizer,
            image,
            augment=augment,
            notify=warnings.warn,
        )
        return filter_maps(maps, self.post, None)

    def predict(
        self,
        array: Array,
        *,
        thresholds: str | Mapping[str, object] | None = None,
        spacing: Spacing | None = None,
        augment: bool | None = None,
    ) -> Array:
        """Labels of an image: instances from 1, 0 for background.

        Parameters
        ----------
        array : ndarray
            (y, x[, c]) or (z, y, x[, c]).
        thresholds : "auto" or mapping, optional
            As in `singula.decode`. Others are those of the model: the values that `singula tune`
            saved, or else those of the training's configuration.
        spacing : float or sequence of float, optional
            Size of a pixel, per axis z first; as configured by default.
        augment : bool, optional
            See `predict_maps`.

        Returns
        -------
        ndarray of unsigned int, (y, x) or (z, y, x)

        Raises
        ------
        TypeError, UserError
            As `predict_maps` and `singula.decode`.
        """
        if spacing is not None:
            spacing = check_spacing(spacing, self.ndim)
        maps = self.predict_maps(array, augment=augment)
        labels, _ = self.instances(maps, thresholds=thresholds, spacing=spacing)
        return self.restore(labels, np.shape(array)[: self.ndim])

    def restore(self, labels: Array, shape: Sequence[int]) -> Array:
        """Labels, or classes, at the size of the image from which they were predicted.

        Parameters
        ----------
        labels : ndarray of int, (y, x) or (z, y, x)
        shape : sequence of int
            Spatial shape of the image, in pixels.

        Raises
        ------
        TypeError, UserError
            Not labels, or not a shape of as many axes.
        """
        labels = as_array(labels, "labels", ndim=self.ndim, kinds="iu", axes=f"({self.axes})")
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
        """Labels after all steps, and how they were decoded.

        Parameters
        ----------
        maps, thresholds, spacing
            As for `predict`.
        of_file : float or sequence of float, optional
            What the file says of the size of a pixel of the maps. The steps after decoding measure
            with it, as in a run, where no other size is given or configured.

        Raises
        ------
        TypeError, UserError
            As `singula.decode`.
        """
        sizes = from_config.spacing(self.config, "TEST")
        if spacing is not None:
            sizes = check_spacing(spacing, self.ndim)
        known = sizes
        if of_file is not None:
            stored = check_spacing(of_file, self.ndim, "of_file")
            known = stored if known is None else known
        decoded = decode(
            maps,
            self.channels,
            settings=self._decoding(thresholds),
            spacing=sizes,
            seed_filter=seed_filter(self.post, known),
        )
        processed = process_instances(decoded.labels, maps, self.post, known)
        labels = decoded.labels if processed.labels is None else processed.labels
        return labels, decoded

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
        """The array with a channel axis at its end."""
        image = native(as_array(array, "array"))
        grey = self.reader.grey
        if image.ndim == self.ndim and (self.config.in_channels == 1 or grey):
            image = image[..., None]
        if image.ndim == self.ndim + 1 and image.shape[-1] == 1 and grey:
            image = np.repeat(image, self.config.in_channels, axis=-1)
        if image.ndim != self.ndim + 1 or image.shape[-1] != self.config.in_channels:
            raise UserError(
                f"array: got the shape {np.shape(array)}, expected ({self.axes}, "
                f"{counted(self.config.in_channels, 'channel')})",
                "move the channels to the end, or use a model trained on such images",
                "model.shape",
            )
        if not image.size:
            raise UserError(
                f"array: got the shape {np.shape(array)}, expected sides of 1 or more",
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


def load(run_or_checkpoint: Path | str, *, device: str | torch.device = "cpu") -> Model:
    """Load a trained model from a run folder or a checkpoint.

    Parameters
    ----------
    run_or_checkpoint : Path or str
        A folder such as ``results/cells/results/cells_1``, or a ``.pth`` file.
    device : str or torch.device
        Where to predict.

    Returns
    -------
    Model

    Raises
    ------
    TypeError, UserError
        Wrong arguments; no checkpoint, or one that cannot be read.
    """
    from singula.training.device import torch_device

    where = torch_device(device)
    path = user_path(run_or_checkpoint, "run_or_checkpoint")
    notices: list[str] = []
    checkpoint = load_checkpoint(find_model(path), notices.append)
    config = trained_config(checkpoint)
    config, tuned = apply_tuned(config, checkpoint.description, always=True)
    notices += tuned
    checkpoint = with_statistics(config, checkpoint, notices.append)
    notices += threshold_lines(config)
    predictor, normalizer = predictor_from(config, checkpoint, where)
    known = checkpoint.description.get("reference")
    reader = reader_for(config, "TEST", Reference.from_dict(known) if known else None)
    post = post_settings(config)
    return Model(
        config, predictor, normalizer, post, reader, tuple(notices), checkpoint.path.absolute()
    )

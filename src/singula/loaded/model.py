"""A trained model without its YAML file: the checkpoint carries all that it needs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.preprocess import Reference, preprocess, resize_labels
from singula.errors import UserError
from singula.instances import Decoded, DecodeSettings, decode, warn_of_unused
from singula.io.image import Spacing, check_spacing
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

    Raises
    ------
    UserError
        Saying where a checkpoint was looked for.
    """
    path = Path(path)
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
        UserError
            When dimensions or channels differ from the training's.
        """
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
        """
        maps = self.predict_maps(array, augment=augment)
        labels, _ = self.instances(maps, thresholds=thresholds, spacing=spacing)
        return self.restore(labels, np.shape(array)[: self.ndim])

    def restore(self, labels: Array, shape: Sequence[int]) -> Array:
        """Labels, or classes, at the size of the image from which they were predicted."""
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
        """
        sizes = from_config.spacing(self.config, "TEST")
        if spacing is not None:
            sizes = check_spacing(spacing, self.ndim)
        known = sizes
        if known is None and of_file is not None:
            known = check_spacing(of_file, self.ndim)
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
            thresholds = {"TH_TYPE": thresholds}
        warn_of_unused(thresholds)
        return configured.changed(thresholds)

    def _image(self, array: Array) -> Array:
        """The array with a channel axis at its end."""
        image = np.asarray(array)
        grey = self.reader.grey
        if image.ndim == self.ndim and (self.config.in_channels == 1 or grey):
            image = image[..., None]
        if image.ndim == self.ndim + 1 and image.shape[-1] == 1 and grey:
            image = np.repeat(image, self.config.in_channels, axis=-1)
        if image.ndim != self.ndim + 1 or image.shape[-1] != self.config.in_channels:
            raise UserError(
                f"the array has shape {np.shape(array)}; this model takes ({self.axes}, "
                f"{counted(self.config.in_channels, 'channel')})",
                "move the channels to the end, or use a model trained on such images",
            )
        if not image.size:
            raise UserError(
                f"the array has shape {np.shape(array)}, so no pixels; allowed sides of 1 or more"
            )
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise UserError(
                f"the array holds {int(np.count_nonzero(~np.isfinite(image)))} values that are no "
                "finite numbers",
                "replace them, for example with numpy.nan_to_num",
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
    UserError
        When there is no checkpoint, or it cannot be read.
    """
    import torch

    notices: list[str] = []
    path = find_model(user_path(run_or_checkpoint, "run_or_checkpoint"))
    checkpoint = load_checkpoint(path, notices.append)
    config = trained_config(checkpoint)
    config, tuned = apply_tuned(config, checkpoint.description, always=True)
    notices += tuned
    checkpoint = with_statistics(config, checkpoint, notices.append)
    notices += threshold_lines(config)
    predictor, normalizer = predictor_from(config, checkpoint, torch.device(device))
    known = checkpoint.description.get("reference")
    reader = reader_for(config, "TEST", Reference.from_dict(known) if known else None)
    post = post_settings(config)
    return Model(
        config, predictor, normalizer, post, reader, tuple(notices), checkpoint.path.absolute()
    )

"""Verification that an image matches a model."""

from __future__ import annotations

from pathlib import Path

from singula.errors import UserError
from singula.inference.choose import MODELS, image_kind
from singula.inference.image_scales import is_in_color
from singula.inference.model import Model
from singula.inference.voxel_sizes import VoxelSizes
from singula.io.advice import advice_for
from singula.io.axes import TIME_POINTS
from singula.io.geometry import geometry
from singula.io.image import Header
from singula.io.pairing import Pair
from singula.io.read import file_notes, image_layout, read_header
from singula.io.selection import count_channels, list_channels
from singula.io.units import replaced_size
from singula.util.format import counted


def check_image(model: Model, pair: Pair, sizes: VoxelSizes) -> list[str]:
    """Verify that an image matches a model, and return the notes on its file.

    Parameters
    ----------
    model : Model
        Trained model.
    pair : Pair
        The image.
    sizes : VoxelSizes
        Voxel size of ``--spacing`` and ``--unit``.

    Raises
    ------
    UserError
        ``predict.image_shape``: the dimensions or channels differ.
    """
    path, channels, gray = pair.image, model.config.in_channels, model.reader.gray
    header = read_header(path, pair.arrays)
    try:
        expected = None if is_in_color(model, pair) else channels
        layout = image_layout(path, header, model.ndim, expected, allow_gray=gray)
    except UserError as error:
        if error.code == TIME_POINTS:
            raise
        axes, allowed = model.axes, counted(channels, "channel")
        hint = (
            "give images like the training images, or a model for such images; correct wrong axes "
            "of a TIFF in Fiji: Image > Properties…, then save"
        )
        if (channels == 1 or gray) and count_channels(header) > 1:
            hint = f"the image has the channels {list_channels(header)}: " + (
                advice_for("predict").channel
            )
        if model.ndim == 2 and _is_volume(path, header):
            hint = f"use a model for volumes (--model {MODELS['volume']})" + (
                f"; or, if its slices are channels, {advice_for('predict').channel}"
                if header.axes is None
                else ", or save each slice as an image"
            )
        raise UserError(
            f"{path}: got {header}, expected an image ({axes}) with "
            f"{allowed}{' or one channel' if gray else ''} for this model",
            hint,
            "predict.image_shape",
        ) from error
    given = sizes.of(model, layout.spatial_shape)
    notes = file_notes(header, layout, sized=given is not None)
    if given is not None:
        option = "--spacing" if sizes.spacing is not None else "DATA.TEST.RESOLUTION of the model"
        line = replaced_size(option, given, *geometry(header, model.ndim), sizes.unit)
        if line is not None and sizes.spacing is None:
            line += "; set --spacing to use another size"
        notes += [line] if line else []
    return notes


def _is_volume(path: Path, header: Header) -> bool:
    """Return True for an image for which `choose_models` chooses a model for volumes."""
    try:
        return image_kind(path, header) == "volume"
    except UserError:  # several channels
        return False

"""Choice of a built-in model for an image, by its axes and colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from singula.errors import UserError
from singula.inference.gray import is_color, is_gray
from singula.inference.tasks import Frames
from singula.io.files import list_series, read_header
from singula.io.image import ArrayPlace, Header
from singula.io.selection import count_channels, count_time_points, list_channels
from singula.util.format import counted
from singula.zoo.models import built_in_models

Kind = Literal["plane", "colors", "volume"]
MODELS: dict[Kind, str] = {"plane": "nuclei", "colors": "nuclei_he", "volume": "nuclei_3d"}
"""Built-in models by the kind of images."""
_IMAGES: dict[Kind, tuple[str, str]] = {
    "plane": ("gray image", "gray images"),
    "colors": ("color image", "color images"),
    "volume": ("volume", "volumes"),
}
_MAX_CHANNELS = 4  # of an axis without a name; a longer axis has slices


@dataclass(frozen=True)
class ModelChoice:
    """Built-in model, and the files that it is chosen for.

    Parameters
    ----------
    model : str
        Name of the model.
    files : tuple of Path
        Image files.
    reason : str
        Number and kind of the images, for the user.
    """

    model: str
    files: tuple[Path, ...]
    reason: str


def choose_models(
    files: Sequence[Path],
    *,
    series: int | None = None,
    array: str = "",
    channel: str = "",
    frames: Frames = None,
    external_files: bool = False,
) -> tuple[list[ModelChoice], dict[Path, UserError]]:
    """Choose a built-in model for each file.

    Parameters
    ----------
    files : sequence of Path
        Image files.
    series, array, channel, frames, external_files
        As for `plan_predictions`. Only the first time point is read.

    Returns
    -------
    choices : list of ModelChoice
        Models with their files.
    errors : dict of Path to UserError
        Errors of the other files: ``predict.several_channels``: the image has channels that are not
        colors, and none is selected; ``zoo.no_model``: there is no built-in model for the image;
        the codes of `read_header`.
    """
    place = ArrayPlace(
        inside=array,
        series=series,
        command="predict",
        channel=channel,
        external_files=external_files,
    )
    kinds: dict[Kind, list[Path]] = {}
    errors: dict[Path, UserError] = {}
    for path in files:
        try:
            kind = _kind_of_file(path, place, frames)
            _check_model(path, kind)
        except UserError as error:
            errors[path] = error
        else:
            kinds.setdefault(kind, []).append(path)
    return [_choice(kind, chosen) for kind, chosen in kinds.items()], errors


def _check_model(path: Path, kind: Kind) -> None:
    """Raise an error if there is no built-in model for a kind of images."""
    if MODELS[kind] not in built_in_models():
        raise UserError(
            f"{path}: got a {_IMAGES[kind][0]}, for which this version has no built-in model (it "
            f"has {', '.join(built_in_models())})",
            "give a model with --model: a run of yours, or the name of a built-in model",
            "zoo.no_model",
        )


def _choice(kind: Kind, files: list[Path]) -> ModelChoice:
    name = MODELS[kind]
    count = counted(len(files), *_IMAGES[kind])
    example = f", such as {files[0].name}" if files[1:] else f" ({files[0].name})"
    return ModelChoice(name, tuple(files), f"{count}{example}: model {name}")


def _kind_of_file(path: Path, place: ArrayPlace, frames: Frames) -> Kind:
    """Return the kind of the first image of a file.

    Raises
    ------
    UserError
        ``predict.several_channels``; the codes of `read_header`.
    """
    first = place if place.series is not None else list_series(path, place)[0].place
    header = read_header(path, first)
    kind = image_kind(path, header)
    if frames is not None and count_time_points(header) > 1:
        first = replace(first, frame=frames if isinstance(frames, int) else 0)
    if kind == "colors" and is_gray(path, first):
        return "plane"
    return kind


def image_kind(path: Path, header: Header) -> Kind:
    """Return the kind of an image: a gray plane, a plane in color, or a volume.

    Parameters
    ----------
    path : Path
        Image file, for messages.
    header : Header
        Header of the image. Time points are not considered.

    Raises
    ------
    UserError
        ``predict.several_channels``: the image has several channels that are not colors.
    """
    if header.axes is None:
        shape = [size for size in header.shape if size > 1]
        if is_color(header):
            return "colors"
        channels = count_channels(header) if len(shape) > 2 else 1
        if channels <= _MAX_CHANNELS or len(shape) > 3:
            _check_one_channel(path, header, channels)
        return "volume" if len(shape) > 2 else "plane"
    sizes = dict(zip(header.axes, header.shape, strict=True))
    _check_one_channel(path, header, count_channels(header))
    if sizes.get("Z", sizes.get("Q", 1)) > 1:
        return "volume"
    return "colors" if is_color(header) else "plane"


def _check_one_channel(path: Path, header: Header, channels: int) -> None:
    if channels > 1:
        raise UserError(
            f"{path}: got {counted(channels, 'channel')} ({header}), expected one channel or "
            "colors for a built-in model",
            f"select the channel of the nuclei with --channel, one of {list_channels(header)}",
            "predict.several_channels",
        )

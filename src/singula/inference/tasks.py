"""Planning of predictions: a task for each image, series and time point of the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from singula.errors import UserError
from singula.inference.model import Model
from singula.inference.outputs import TABLE_SUFFIX
from singula.inference.slides import is_slide
from singula.io.entries import reader_path
from singula.io.files import is_container
from singula.io.formats.table import stem_of
from singula.io.image import ArrayPlace, Series
from singula.io.output_folder import OutputFolder
from singula.io.pairing import Pair
from singula.io.read import list_series, read_header
from singula.io.selection import count_time_points
from singula.pipeline.readers import places_for
from singula.report.overlay import OVERLAY_SUFFIX
from singula.util.arguments import choice, flag, instance, integer, items
from singula.util.format import show
from singula.util.paths import as_name, user_path

Frames = int | Literal["all"] | None
_MAX_DIGITS = 9  # Python refuses to convert thousands of digits


def parse_frames(text: str | None, name: str = "text") -> Frames:
    """Return the time points of ``--frames``: all, the number of one, or None.

    Parameters
    ----------
    text : str, optional
        ``all``, or a number from 0.
    name : str
        Name of the value in errors, such as ``--frames``.

    Raises
    ------
    TypeError
        Not texts.
    UserError
        ``predict.frames``: another text.

    Examples
    --------
    >>> parse_frames("all"), parse_frames("3")
    ('all', 3)
    """
    name = instance(name, "name", str)
    if text is None:
        return None
    word = instance(text, "text", str).strip().lower()
    if word == "all":
        return "all"
    if word.isdecimal() and len(word) <= _MAX_DIGITS:
        return int(word)
    raise UserError(
        f"{name}: got {show(text)}, expected all or a number from 0",
        "give --frames all for one result per time point, or --frames 0 for the first one",
        "predict.frames",
    )


def plan_predictions(
    model: Model,
    files: Sequence[Path],
    output: Path,
    *,
    series: int | None = None,
    array: str = "",
    frames: Frames = None,
    channel: str = "",
    tables: bool = False,
    overlays: bool = False,
    overwrite: bool = True,
    external_files: bool = False,
) -> list[Pair]:
    """List the images to predict with the names of their results.

    Parameters
    ----------
    model : Model
        Trained model.
    files : sequence of Path
        Files from `gather_images`.
    output : Path
        Folder for the results, ``<name>.tif``; or URL of an object store, for ``<name>.zarr``.
    series : int, optional
        Number of the image to predict in files of several images, from 0; all by default.
    array : str
        Path of the array or of a group of images in containers (Zarr, HDF5, N5). By default the
        path in the configuration of the model, or the only array.
    frames : int or "all", optional
        Number of a time point, from 0, or all time points with a result for each. By default,
        images must have a single time point.
    channel : str
        Name or number, from 0, of the channel to predict. By default the channel in the
        configuration of the model, or all channels.
    tables : bool
        ``<name>_stats.csv`` will be written, too.
    overlays : bool
        ``<name>_overlay.png`` will be written, too.
    overwrite : bool
        Existing results may be replaced or skipped.
    external_files : bool
        Images may refer to files outside of their folder. The configuration of the model cannot
        allow this.

    Returns
    -------
    list of Pair
        Images without labels. The name is the file name without suffix, with ``_<series>`` for
        files of several images (``two_1``, ``plate_A_1_0``) and ``_t<frame>`` for several time
        points (``movie_t003``).

    Raises
    ------
    TypeError, UserError
        An argument is wrong; ``predict.no_container``: `array` without a container;
        ``predict.same_name``: two images have the same result; ``predict.overwrites_input``: a
        result would replace an input; ``predict.exists``: a result exists.
    """
    model = instance(model, "model", Model)
    files = items(files, "files", reader_path)
    output = user_path(output, "output")
    if series is not None:
        series = integer(series, "series", at_least=0)
    array, channel = instance(array, "array", str), instance(channel, "channel", str)
    if frames is not None and not isinstance(frames, str):
        frames = integer(frames, "frames", at_least=0)
    elif frames is not None:
        choice(frames, "frames", ("all",))
    tables, overwrite = flag(tables, "tables"), flag(overwrite, "overwrite")
    external_files = flag(external_files, "external_files")
    overlays = flag(overlays, "overlays")
    if array and files and not any(is_container(path) for path in files):
        raise UserError(
            f"--array: got {array!r} for {files[0].name}, expected a Zarr, HDF5 or N5 file",
            "omit --array",
            "predict.no_container",
        )
    configured = places_for(model.config, "TEST").image
    place = replace(
        configured,
        inside=array or configured.inside,
        command="predict",
        external_files=external_files,
        channel=channel or configured.channel,
    )
    tasks = [task for path in files for task in image_tasks(path, place, series, frames)]
    check_targets(tasks, files, output, tables=tables, overlays=overlays, overwrite=overwrite)
    return tasks


def image_tasks(
    path: Path, place: ArrayPlace, series: int | None = None, frames: Frames = None
) -> list[Pair]:
    """Return the images of a file with the names of their results, as for `plan_predictions`."""
    stem = stem_of(path)
    try:
        available = list_series(path, place)
    except UserError:  # raised again and reported when the image is predicted
        available = [Series("", place)]
    if series is not None and not series < len(available):
        return [Pair(path, None, stem, replace(place, series=series))]
    selected = available if series is None else [available[series]]
    tasks = []
    for item in selected:
        name = stem if len(available) == 1 else f"{stem}_{as_name(item.name)}"
        tasks += _frame_tasks(Pair(path, None, name, item.place), item.place, frames)
    return tasks


def _frame_tasks(pair: Pair, place: ArrayPlace, frames: Frames) -> list[Pair]:
    if frames is None:
        return [pair]
    try:
        count = count_time_points(read_header(pair.image, place))
    except UserError:  # as above
        count = 1
    numbers = range(count) if frames == "all" else [frames]
    if count == 1 and frames == "all":
        return [pair]
    digits = max(3, len(str(count - 1)))
    return [
        replace(
            pair,
            name=pair.name if count == 1 else f"{pair.name}_t{number:0{digits}d}",
            arrays=replace(place, frame=number),
        )
        for number in numbers
    ]


def check_targets(
    tasks: Sequence[Pair],
    files: Sequence[Path],
    output: Path,
    *,
    tables: bool = False,
    overlays: bool = False,
    overwrite: bool = True,
) -> None:
    """Raise an error if results would replace each other, an input, or an existing file.

    Parameters
    ----------
    tasks : sequence of Pair
        Images to predict.
    files, output, tables, overlays, overwrite
        As for `plan_predictions`.

    Raises
    ------
    UserError
        ``predict.same_name``, ``predict.overwrites_input``, ``predict.exists``.
    """
    ends = (TABLE_SUFFIX,) * tables + (OVERLAY_SUFFIX,) * overlays
    names: dict[str, Path] = {}
    for task in tasks:
        if task.name in names:
            raise UserError(
                f"{names[task.name]} and {task.image}: got the same result {task.name}.tif, "
                "expected different names",
                "predict the images into two folders",
                "predict.same_name",
            )
        names[task.name] = task.image
    inputs = {file.resolve(): file for file in files}
    targets = [output / f"{name}{end}" for name in names for end in (".tif", ".zarr", *ends)]
    targets += [output / f"{name}.geojson" for name, path in names.items() if is_slide(path)]
    for target in targets:
        if target.resolve() in inputs:
            raise UserError(
                f"{inputs[target.resolve()]}: is an input, and a result would replace it",
                "choose another folder with -o",
                "predict.overwrites_input",
            )
    present = OutputFolder(output).existing([target.name for target in targets])
    if present and not overwrite:
        more = f" and {len(present) - 1} more" if present[1:] else ""
        raise UserError(
            f"{present[0]}{more}: already exists",
            "choose another folder with -o, continue an interrupted prediction with --resume, or "
            "replace the files with --overwrite",
            "predict.exists",
        )

"""Commands for trained models: predict, models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from singula.cli.app import (
    MODEL_GPU,
    REPEAT_HINT,
    RESUME_HINT,
    ChannelOption,
    ExternalFilesOption,
    app,
    begin_command,
    number_option,
    path_argument,
    path_option,
)
from singula.cli.models import MODEL_NAMES, ModelCommand
from singula.errors import UserError
from singula.util.format import counted
from singula.util.streams import print_line

if TYPE_CHECKING:
    from singula.inference import Model


@app.command(cls=ModelCommand)
def predict(
    context: typer.Context,
    images: Annotated[
        list[Path], path_argument("IMAGES", kind="any", help="Images or folders of images.")
    ],
    output: Annotated[
        Path,
        path_option(
            "--output",
            "-o",
            kind="output",
            help="Folder for the label images, or URL of an object store (s3://…).",
        ),
    ],
    model: Annotated[
        list[Path] | None,
        path_option(
            *MODEL_NAMES,
            kind="any",
            help="Built-in model, folder of a run, checkpoint, or model package (.zip); of several "
            "models, the mean is used [a built-in model for the image; `singula models` lists "
            "them].",
        ),
    ] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help=MODEL_GPU)] = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment", help="Average over flips and rotations [as in the run]."
        ),
    ] = None,
    tables: Annotated[
        bool, typer.Option("--tables/--no-tables", help="Write measurements as CSV.")
    ] = True,
    overlay: Annotated[
        bool,
        typer.Option("--overlay/--no-overlay", help="Write the outlines over the image as PNG."),
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip images that are already predicted.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="WORKERS",
            help="Predict in blocks with these workers, as for `run --dask`.",
        ),
    ] = None,
    series: Annotated[
        int | None,
        number_option(
            "--series",
            kind=int,
            metavar="N",
            at_least=0,
            help="Number of the image in a file with several images, from 0 [all].",
        ),
    ] = None,
    array: Annotated[
        str | None,
        typer.Option(
            "--array", metavar="PATH", help="Path of the array inside a Zarr, HDF5 or N5 file."
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            "--frames",
            metavar="all|N",
            help="Time points of a time-lapse to predict: all, or a number from 0.",
        ),
    ] = None,
    channel: ChannelOption = None,
    spacing: Annotated[
        str | None,
        typer.Option(
            "--spacing",
            help="Voxel size, z first, instead of that in the files, such as 0.3,0.1,0.1.",
        ),
    ] = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="Unit of --spacing, such as µm.")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            metavar="auto|FACTOR",
            help="Enlarge images by this factor before prediction, such as 0.5, or 1,0.5,0.5 for "
            "z, y and x; auto: estimate it from the objects. Label images have the size of the "
            "input [--spacing divided by the voxel size of the training images].",
        ),
    ] = None,
    glass: Annotated[
        bool, typer.Option("--glass", help="Predict the glass of whole slides, too.")
    ] = False,
    external_files: ExternalFilesOption = False,
) -> None:
    """Find the objects in images with a built-in or trained model.

    Writes label images, measurements, and pictures of the outlines. Images that do not fit into
    memory are predicted in blocks and written as OME-Zarr.

    Find nuclei with a built-in model: singula predict images/ -o instances

    Use your own model: singula predict new/*.tif --model results/cells/results/cells_1 -o instances

    Average several models: singula predict new/*.tif --model RUN_1 RUN_2 RUN_3 -o instances

    Predict each time point: singula predict movie.tif --frames all --model RUN -o instances

    Predict one of several channels: singula predict a.ome.tif --channel DAPI --model RUN -o out
    """
    begin_command(RESUME_HINT)
    from singula.util.process import importing, prepare_process

    prepare_process()
    with importing():
        from singula.measure.compile_ahead import compile_ahead

        context.with_resource(compile_ahead())
        from singula.exports import sizes_from_text
        from singula.inference import (
            parse_frames,
            plan_predictions,
            predict_files,
            scale_from_text,
        )
        from singula.inference.failures import failure_error
        from singula.inference.outputs import describe_results
        from singula.inference.tasks import check_targets
        from singula.io.output_folder import OutputFolder
        from singula.io.run_lock import hold, output_locks

    sizes = None if spacing is None else sizes_from_text(spacing, "--spacing")
    factors = scale_from_text(scale, "--scale")
    if dask is not None:
        from singula.blocks.dask_options import check_dask_option

        check_dask_option(dask)
    selection: dict[str, Any] = {
        "series": series,
        "array": array or "",
        "channel": channel or "",
        "frames": parse_frames(frames, "--frames"),
        "external_files": external_files,
    }
    files, groups, failed = _assigned_models(images, model, selection)
    with hold(output_locks(OutputFolder(output).local), "predict"):
        targets: dict[str, Any] = {
            "tables": tables,
            "overlays": overlay,
            "overwrite": overwrite or resume,
        }
        plans = [
            (
                loaded,
                plan_predictions(loaded, chosen, output, **selection, **targets),
            )
            for loaded, chosen in ((_loaded(names, gpu), chosen) for names, chosen in groups)
        ]
        tasks = [task for _, planned in plans for task in planned]
        check_targets(tasks, files, output, **targets)
        count, first = len(tasks) + len(failed), 1
        for loaded, planned in plans:
            failed |= predict_files(
                loaded,
                planned,
                output,
                augment=augment,
                tables=tables,
                overlays=overlay,
                resume=resume,
                dask=dask,
                spacing=sizes,
                unit=unit,
                scale=factors,
                glass=glass,
                first=first,
                total=len(tasks),
            )
            first += len(planned)
    names = describe_results(output, [task.name for task in tasks])
    if len(failed) < count:
        print_line(f"{count - len(failed)} of {counted(count, 'image')}: {output}{names}")
    if failed:
        raise failure_error(failed, count)


def _assigned_models(
    images: Sequence[Path], model: Sequence[Path] | None, selection: Mapping[str, Any]
) -> tuple[list[Path], list[tuple[Sequence[Path | str], Sequence[Path]]], dict[str, UserError]]:
    """Return the image files, the models with their files, and the errors of other files.

    The choice of built-in models and the errors are printed.

    Raises
    ------
    UserError
        No file can be predicted.
    """
    from singula.inference import gather_images
    from singula.inference.choose import choose_models
    from singula.inference.failures import FailureReport, common_error, failure_error

    files: list[Path] = []
    errors: dict[Path, UserError] = {}
    for path in images:
        try:
            files += gather_images([path])
        except UserError as error:
            errors[path] = error
    groups: list[tuple[Sequence[Path | str], Sequence[Path]]]
    groups = [(model, files)] if model and files else []
    if not model:
        choices, refused = choose_models(files, **selection)
        errors |= refused
        for choice in choices:
            print_line(choice.reason)
        groups = [([choice.model], choice.files) for choice in choices]
    shared = None if groups else common_error(errors)
    if shared is not None:
        raise shared
    report = FailureReport()
    for path, failure in errors.items():
        report.add(path, failure)
    if not groups:
        raise failure_error(report.errors, len(report.errors))
    return files, groups, report.errors


def _loaded(names: Sequence[Path | str], gpu: str | None) -> Model:
    """Load a model, and print its notices."""
    from singula.inference import load
    from singula.training.device import choose_for_model

    model = load(names, device=choose_for_model(gpu).torch)
    for line in model.notices:
        print_line(line)
    return model


@app.command()
def models(
    folder: Annotated[
        Path | None, path_argument("[FOLDER]", kind="any", help="Folder with runs.")
    ] = None,
) -> None:
    """List the built-in models and the runs below a folder.

    Shows training data, object size, scores and license. Example: singula models results/
    """
    begin_command(REPEAT_HINT)
    from singula.inference import list_models
    from singula.zoo.models import built_in_models

    listed = list_models(folder)
    for line in repr(listed).splitlines():
        print_line(line)
    print_line("")
    if folder is not None and len(listed) == len(built_in_models()):
        print_line(f"no finished run in {folder}")
    print_line("to use a model: singula predict IMAGES -o OUT --model NAME")

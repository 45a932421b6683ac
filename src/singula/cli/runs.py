"""Commands for runs and trained models: run, predict, tune, export, report."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from singula.cli.app import (
    REPEAT_HINT,
    RESUME_HINT,
    ExternalFilesOption,
    VersionOption,
    app,
    begin_command,
    complete_from,
    complete_key,
    path_argument,
    path_option,
    run_app,
)
from singula.errors import ExitCode, UserError
from singula.util.format import counted
from singula.util.streams import print_line

MODEL_GPU = "Device: 0, cuda:0, or cpu [a GPU if available]."


@run_app.command()
@app.command()
def run(
    config: Annotated[
        Path, path_option("--config", "-cfg", kind="any", help="Configuration file.")
    ],
    result_dir: Annotated[
        Path,
        path_option(
            "--result_dir",
            "-rdir",
            kind="output folder",
            help="Folder in which the job's folder is created.",
        ),
    ] = Path(),
    name: Annotated[
        str | None,
        typer.Option(
            "--name", "-name", help="Name of the job [the name of the configuration file]."
        ),
    ] = None,
    run_id: Annotated[
        int, typer.Option("--run_id", "-rid", help="Number of the run, to repeat a job.")
    ] = 1,
    gpu: Annotated[
        str | None, typer.Option("--gpu", "-gpu", help='Device: 0, cuda:0, "0, 1", or cpu.')
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option("--gpus", min=1, help="Number of GPUs to train on, one process for each."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one key of the configuration; may be repeated.",
            autocompletion=complete_key,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="WORKERS",
            help="Workers for blocks (TEST.BY_CHUNKS): local:N, tcp://HOST:PORT, slurm:FILE.",
        ),
    ] = None,
    version: VersionOption = False,
) -> None:
    """Train, predict and score according to a configuration file.

    Example: singula run --config cells.yaml --result_dir results --name cells --run_id 1

    Continue an interrupted run: singula run --config cells.yaml --resume

    Train for fewer epochs: singula run --config cells.yaml --set TRAIN.EPOCHS=5

    Train on two GPUs: singula run --config cells.yaml --gpus 2

    Predict large images with four workers: singula run --config cells.yaml --dask local:4
    """
    begin_command(RESUME_HINT)
    from singula.util.process import prepare_process

    prepare_process()
    from singula.pipeline.run import Job
    from singula.pipeline.run import run as run_job

    job = Job(
        config,
        result_dir,
        name,
        run_id,
        gpu,
        tuple(overrides or ()),
        resume=resume,
        live=sys.stdout.isatty(),
        dask=dask,
    )
    if not os.environ.get("RANK"):
        from singula.commands.launch import count_gpus, launch_run

        count = gpus or count_gpus(gpu)
        if count > 1:
            raise typer.Exit(launch_run(count, job))
    report = run_job(job)
    if report.test is not None and report.test.failed:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def predict(
    images: Annotated[
        list[Path], path_argument("images", kind="any", help="Images or folders of images.")
    ],
    model: Annotated[
        Path, path_option("--model", "-m", kind="any", help="Folder of a run, or checkpoint.")
    ],
    output: Annotated[
        Path,
        path_option("--output", "-o", kind="output folder", help="Folder for the label images."),
    ],
    gpu: Annotated[str | None, typer.Option("--gpu", help=MODEL_GPU)] = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment", help="Average over flips and rotations [as in the run]."
        ),
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="Write measurements as CSV.")] = False,
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
        typer.Option(
            "--series",
            metavar="N",
            min=0,
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
    external_files: ExternalFilesOption = False,
) -> None:
    """Predict the instances of images with a trained model, without a configuration file.

    Images that do not fit into memory are predicted in blocks and written as OME-Zarr.

    Example: singula predict new/*.tif --model results/cells/results/cells_1 -o instances

    Predict each time point: singula predict movie.tif --frames all --model RUN -o instances
    """
    begin_command(RESUME_HINT)
    from singula.util.process import importing, prepare_process

    prepare_process()
    with importing():
        from singula.exports import sizes_from_text
        from singula.inference import (
            gather_images,
            load,
            parse_frames,
            plan_predictions,
            predict_files,
        )
        from singula.io.run_lock import hold, output_locks
        from singula.training.device import choose_for_model

    sizes = None if spacing is None else sizes_from_text(spacing)
    time_points = parse_frames(frames)
    if dask is not None:
        from singula.blocks.dask_options import check_dask_option

        check_dask_option(dask)
    files = gather_images(images)
    with hold(output_locks(output), "predict"):
        loaded = load(model, device=choose_for_model(gpu).torch)
        for line in loaded.notices:
            print_line(line)
        tasks = plan_predictions(
            loaded,
            files,
            output,
            series=series,
            array=array or "",
            frames=time_points,
            tables=tables,
            overwrite=overwrite or resume,
            external_files=external_files,
        )
        failed = predict_files(
            loaded,
            tasks,
            output,
            augment=augment,
            tables=tables,
            resume=resume,
            dask=dask,
            spacing=sizes,
            unit=unit,
        )
    print_line(f"{len(tasks) - len(failed)} of {counted(len(tasks), 'image')}: {output}")
    if len(failed) == len(tasks):
        raise UserError(
            f"none of {counted(len(tasks), 'image')} could be predicted",
            "correct the errors above and repeat the command",
            "predict.all_failed",
        )
    if failed:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def tune(
    run_folder: Annotated[
        Path,
        path_argument("RUN", kind="any", help="Folder of a run, RESULT_DIR/NAME/results/NAME_1."),
    ],
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help="Score to maximize, averaged over images: pq (panoptic quality) or f1.",
            autocompletion=complete_from("singula.tuning.tuner", "METRICS"),
        ),
    ] = "pq",
    iou: Annotated[
        float,
        typer.Option("--iou", help="Minimum IoU of a true and a predicted object that match."),
    ] = 0.5,
    save: Annotated[
        bool, typer.Option("--save/--no-save", help="Save the thresholds in the checkpoint.")
    ] = True,
    gpu: Annotated[str | None, typer.Option("--gpu", help=MODEL_GPU)] = None,
) -> None:
    """Find the decoding thresholds with the best score on the validation images.

    Each image is predicted once. All settings are then decoded from the stored predictions.

    Example: singula tune results/cells/results/cells_1
    """
    begin_command(REPEAT_HINT)
    from singula.util.process import prepare_process

    prepare_process()
    from singula.training.device import choose_for_model
    from singula.tuning import result_lines
    from singula.tuning import tune as tune_thresholds

    device = choose_for_model(gpu).torch
    result = tune_thresholds(
        run_folder,
        metric=metric,
        iou=iou,
        save=save,
        device=device,
    )
    for line in result_lines(result):
        print_line(line)
    for title, path in result.files.items():
        print_line(f"{title}: {path}")
    if result.saved is not None:
        print_line(
            f"saved in {result.saved}: `singula predict` uses these thresholds; `singula run`"
        )
        print_line("  uses each of them that its configuration does not set")
    print_line("stored instances and `singula export` are unchanged:")
    print_line("  test or predict again to use the new thresholds")


@app.command()
def export(
    source: Annotated[
        Path, path_argument("RUN", kind="any", help="Folder of a run, or label images.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="Format: imagej, qupath, ome-zarr, csv or coco.",
            autocompletion=complete_from("singula.exports.export", "FORMATS"),
        ),
    ],
    output: Annotated[
        Path | None,
        path_option(
            "--output", "-o", kind="output folder", help="Folder for the files [RUN/exports]."
        ),
    ] = None,
    spacing: Annotated[
        str | None, typer.Option("--spacing", help="Pixel size, z first, such as 0.25,0.25.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="Unit of --spacing, such as µm.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    external_files: ExternalFilesOption = False,
) -> None:
    """Export the instances of a run, or label images, for other programs.

    Example: singula export results/cells/results/cells_1 --to imagej

    Export label images: singula export labels/ --to csv --spacing 0.25,0.25 --unit µm -o tables
    """
    begin_command(REPEAT_HINT)
    from singula.exports import export as export_instances
    from singula.exports import sizes_from_text

    sizes = None if spacing is None else sizes_from_text(spacing)
    written = export_instances(
        source,
        to,
        output,
        spacing=sizes,
        unit=unit,
        overwrite=overwrite,
        external_files=external_files,
    )
    print_line(f"written: {written[0]}" + (f" and {len(written) - 1} more" if written[1:] else ""))


@app.command()
def report(
    run_folder: Annotated[
        Path,
        path_argument("RUN", kind="any", help="Folder of the run, RESULT_DIR/NAME/results/NAME_1."),
    ],
) -> None:
    """Write report.html of a finished run: scores, curves, pictures and tables on one page.

    Every run writes this page at its end. Example: singula report results/cells/results/cells_1
    """
    begin_command(REPEAT_HINT)
    from singula.report.build import build_report

    print_line(str(build_report(run_folder)))

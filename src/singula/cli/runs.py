"""Commands for runs: run, tune, export."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from singula.cli.app import (
    MODEL_GPU,
    REPEAT_HINT,
    RESUME_HINT,
    ExternalFilesOption,
    VersionOption,
    app,
    begin_command,
    complete_from,
    complete_key,
    number_option,
    path_argument,
    path_option,
    run_app,
)
from singula.errors import ExitCode
from singula.util.format import counted
from singula.util.streams import print_line


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
        int,
        number_option("--run_id", "-rid", kind=int, help="Number of the run, to repeat a job."),
    ] = 1,
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", "-gpu", help='Device: 0, cuda:0, "0, 1", mps, auto, or cpu.'),
    ] = None,
    gpus: Annotated[
        int | None,
        number_option(
            "--gpus", kind=int, at_least=1, help="Number of GPUs to train on, one process for each."
        ),
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
    from singula.util.slurm import join_step, requeue_if_interrupted

    join_step()
    if not os.environ.get("RANK"):
        from singula.commands.launch import count_gpus, launch_run

        count = gpus or count_gpus(gpu)
        if count > 1:
            raise typer.Exit(launch_run(count, job))
    with requeue_if_interrupted():
        report = run_job(job)
    if report.test is not None and report.test.failed:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def tune(
    run_folders: Annotated[
        list[Path],
        path_argument(
            "RUN",
            kind="any",
            help="Folder of a run, RESULT_DIR/NAME/results/NAME_1; several for an ensemble.",
        ),
    ],
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help="Score to maximize, averaged over images: pq (panoptic quality) or f1.",
            autocompletion=complete_from("singula.tuning.trial", "METRICS"),
        ),
    ] = "pq",
    iou: Annotated[
        float,
        number_option(
            "--iou", kind=float, help="Minimum IoU of a true and a predicted object that match."
        ),
    ] = 0.5,
    save: Annotated[
        bool, typer.Option("--save/--no-save", help="Save the thresholds in the checkpoint.")
    ] = True,
    gpu: Annotated[str | None, typer.Option("--gpu", help=MODEL_GPU)] = None,
) -> None:
    """Find the decoding thresholds with the best score.

    The score is that of the validation images of the training. Each image is predicted once. All
    settings are then decoded from the stored predictions.

    Example: singula tune results/cells/results/cells_1

    Thresholds of an ensemble: singula tune results/cells/results/cells_*
    """
    begin_command(REPEAT_HINT)
    from singula.util.process import prepare_process

    prepare_process()
    from singula.training.device import choose_for_model
    from singula.tuning import result_lines
    from singula.tuning import tune as tune_thresholds

    device = choose_for_model(gpu).torch
    result = tune_thresholds(
        run_folders,
        metric=metric,
        iou=iou,
        save=save,
        device=device,
    )
    for line in result_lines(result):
        print_line(line)
    for title, path in result.files.items():
        print_line(f"{title}: {path}")
    if result.saved is not None and run_folders[1:]:
        print_line(f"saved in {counted(len(run_folders), 'checkpoint')}: `singula predict` uses")
        print_line("  these thresholds if --model names exactly these models")
    elif result.saved is not None:
        print_line(
            f"saved in {result.saved}: `singula predict` uses these thresholds; `singula run`"
        )
        print_line("  uses each of them that its configuration does not set")
    if result.has_match:
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
    objects: Annotated[
        str,
        typer.Option(
            "--objects",
            help="corrected (of images with corrections) or predicted.",
            autocompletion=complete_from("singula.runs.corrections", "OBJECTS"),
        ),
    ] = "corrected",
    external_files: ExternalFilesOption = False,
) -> None:
    """Export instances to ImageJ, QuPath, OME-Zarr, CSV or COCO.

    Example: singula export results/cells/results/cells_1 --to imagej

    Export label images: singula export labels/ --to csv --spacing 0.25,0.25 --unit µm -o tables
    """
    begin_command(REPEAT_HINT)
    from singula.exports import export as export_instances
    from singula.exports import sizes_from_text

    sizes = None if spacing is None else sizes_from_text(spacing, "--spacing")
    written = export_instances(
        source,
        to,
        output,
        spacing=sizes,
        unit=unit,
        overwrite=overwrite,
        external_files=external_files,
        objects=objects,
    )
    print_line(f"written: {written[0]}" + (f" and {len(written) - 1} more" if written[1:] else ""))

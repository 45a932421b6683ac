"""Commands about runs: to make one, and to use what it left."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from singula.cli.app import (
    AGAIN,
    RESUME,
    ExternalFilesOption,
    VersionOption,
    after_interruption,
    app,
    complete_key,
    path_argument,
    path_option,
    run_app,
    say,
    words_of,
)
from singula.errors import ExitCode, UserError
from singula.words import counted

MODEL_GPU = "0, cuda:0, or cpu [a GPU where there is one]."


@run_app.command()
@app.command()
def run(
    config: Annotated[Path, path_option("--config", "-cfg", kind="any", help="The YAML file.")],
    result_dir: Annotated[
        Path,
        path_option(
            "--result_dir",
            "-rdir",
            kind="output folder",
            help="Where the job's folder is created.",
        ),
    ] = Path(),
    name: Annotated[
        str | None, typer.Option("--name", "-name", help="Name of the job [the file's name].")
    ] = None,
    run_id: Annotated[
        int, typer.Option("--run_id", "-rid", help="Number of the run, for repetitions.")
    ] = 1,
    gpu: Annotated[
        str | None, typer.Option("--gpu", "-gpu", help='0, cuda:0, "0, 1", or cpu.')
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option("--gpus", min=1, help="Train on so many GPUs, one process for each."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one key; may be repeated.",
            autocompletion=complete_key,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where this run stopped.")] = False,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="WORKERS",
            help="Who works on blocks (TEST.BY_CHUNKS): local:N, tcp://HOST:PORT, slurm:FILE.",
        ),
    ] = None,
    version: VersionOption = False,
) -> None:
    """Train, predict and score as a configuration file says.

    Example: singula run --config cells.yaml --result_dir results --name cells --run_id 1

    Go on after an interruption: singula run --config cells.yaml --resume

    Fewer epochs this time: singula run --config cells.yaml --set TRAIN.EPOCHS=5

    On two GPUs: singula run --config cells.yaml --gpus 2

    Images larger than memory, by four workers: singula run --config cells.yaml --dask local:4
    """
    after_interruption(RESUME)
    from singula.runtime import prepare_process

    prepare_process()
    from singula.workflow import Job
    from singula.workflow import run as run_job

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
        from singula.launch import gpus_named, launch_run

        count = gpus or gpus_named(gpu)
        if count > 1:
            raise typer.Exit(launch_run(count, job))
    report = run_job(job, say)
    if report.test is not None and report.test.failed:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def predict(
    images: Annotated[
        list[Path], path_argument("images", kind="any", help="Images, or folders of images.")
    ],
    model: Annotated[
        Path, path_option("--model", "-m", kind="any", help="A run folder or a checkpoint.")
    ],
    output: Annotated[
        Path,
        path_option("--output", "-o", kind="output folder", help="Folder for the label images."),
    ],
    gpu: Annotated[str | None, typer.Option("--gpu", help=MODEL_GPU)] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment/--no-augment", help="Average over turned views.")
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="Write measurements as CSV.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what is there already.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask", metavar="WORKERS", help="In blocks, by the workers of `run --dask`."
        ),
    ] = None,
    series: Annotated[
        int | None,
        typer.Option(
            "--series", metavar="N", min=0, help="Image in a file of several, from 0 [all]."
        ),
    ] = None,
    array: Annotated[
        str | None,
        typer.Option("--array", metavar="PATH", help="The array in a Zarr, HDF5 or N5."),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option("--frames", metavar="all|N", help="Time points of a time-lapse, from 0."),
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option("--spacing", help="Voxel size, z first, in place of the files': 0.3,0.1,0.1"),
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Its unit, such as µm.")] = None,
    external_files: ExternalFilesOption = False,
) -> None:
    """Find the instances of images with a trained model, without any configuration file.

    Images that do not fit into memory are done in blocks, and written as OME-Zarr.

    Example: singula predict new/*.tif --model results/cells/results/cells_1 -o instances

    Each time point of a time-lapse: singula predict movie.tif --frames all --model RUN -o instances
    """
    after_interruption(RESUME)
    from singula.runtime import importing, prepare_process

    prepare_process()
    with importing():
        from singula.exports import sizes_from_text
        from singula.io.run_lock import hold, output_locks
        from singula.loaded import (
            gather_images,
            load,
            parse_frames,
            plan_predictions,
            predict_files,
        )
        from singula.training.device import choose_for_model

    sizes = None if spacing is None else sizes_from_text(spacing)
    time_points = parse_frames(frames)
    if dask is not None:
        from singula.scaleout.dask_way import check_way

        check_way(dask)
    files = gather_images(images)
    with hold(output_locks(output), "predict", say):
        loaded = load(model, device=choose_for_model(gpu, say).torch)
        for line in loaded.notices:
            say(line)
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
            notify=say,
            dask=dask,
            spacing=sizes,
            unit=unit,
        )
    say(f"{len(tasks) - len(failed)} of {counted(len(tasks), 'image')}: {output}")
    if len(failed) == len(tasks):
        raise UserError(
            f"none of {counted(len(tasks), 'image')} could be predicted",
            "correct the causes in the lines above, and repeat the command",
            "predict.all_failed",
        )
    if failed:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def tune(
    run_folder: Annotated[
        Path,
        path_argument("RUN", kind="any", help="A run's folder, RESULT_DIR/NAME/results/NAME_1."),
    ],
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help="pq (panoptic quality) or f1, means over images.",
            autocompletion=words_of("singula.tuning.tuner", "METRICS"),
        ),
    ] = "pq",
    iou: Annotated[
        float, typer.Option("--iou", help="IoU of a true and a predicted object that match.")
    ] = 0.5,
    save: Annotated[
        bool, typer.Option("--save/--no-save", help="Put the thresholds into the checkpoint.")
    ] = True,
    gpu: Annotated[str | None, typer.Option("--gpu", help=MODEL_GPU)] = None,
) -> None:
    """Find the decoding thresholds that suit the validation images best.

    The images are predicted once; every setting is then decoded from the stored predictions.

    Example: singula tune results/cells/results/cells_1
    """
    after_interruption(AGAIN)
    from singula.runtime import prepare_process

    prepare_process()
    from singula.training.device import choose_for_model
    from singula.tuning import result_lines
    from singula.tuning import tune as tune_thresholds

    device = choose_for_model(gpu, say).torch
    result = tune_thresholds(
        run_folder, metric=metric, iou=iou, save=save, device=device, notify=say
    )
    for line in result_lines(result):
        say(line)
    for what, path in result.files.items():
        say(f"{what}: {path}")
    if result.saved is not None:
        say(f"saved in {result.saved}: `singula predict` uses them, and `singula run` uses")
        say("  them for each threshold that you did not set in its configuration")
    say("stored instances and `singula export` keep the thresholds of the run:")
    say("  test again, or predict, to use the new ones")


@app.command()
def export(
    source: Annotated[
        Path, path_argument("RUN", kind="any", help="A run's folder, or label images.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="imagej, qupath, ome-zarr, csv or coco.",
            autocompletion=words_of("singula.exports.export", "FORMATS"),
        ),
    ],
    output: Annotated[
        Path | None,
        path_option("--output", "-o", kind="output folder", help="Folder [RUN/exports]."),
    ] = None,
    spacing: Annotated[
        str | None, typer.Option("--spacing", help="Size of a pixel, z first: 0.25,0.25")
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Its unit, such as µm.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    external_files: ExternalFilesOption = False,
) -> None:
    """Write the instances of a run, or of label images, for other programs.

    Example: singula export results/cells/results/cells_1 --to imagej

    Label images: singula export labels/ --to csv --spacing 0.25,0.25 --unit µm -o tables
    """
    after_interruption(AGAIN)
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
        notify=say,
    )
    say(f"written: {written[0]}" + (f" and {len(written) - 1} more" if written[1:] else ""))


@app.command()
def report(
    run_folder: Annotated[
        Path,
        path_argument("RUN", kind="any", help="The run's folder, RESULT_DIR/NAME/results/NAME_1."),
    ],
) -> None:
    """Write report.html of a finished run: scores, curves, pictures and tables on one page.

    Every run ends with it. Example: singula report results/cells/results/cells_1
    """
    after_interruption(AGAIN)
    from singula.report.build import build_report

    say(str(build_report(run_folder, say)))

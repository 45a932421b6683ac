"""Commands for data sets and the browser interface: init, demo, check, gui."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from singula.cli.app import (
    REPEAT_HINT,
    ChannelOption,
    ExternalFilesOption,
    app,
    begin_command,
    number_option,
    path_argument,
    path_option,
)
from singula.errors import ExitCode, UserError


@app.command()
def init(
    dataset: Annotated[Path, path_argument("DATASET", kind="any", help="Folder of the data set.")],
    output: Annotated[
        Path,
        path_option(
            "--output",
            "-o",
            kind="output file",
            help="Configuration file to write; it must not exist.",
        ),
    ] = Path("config.yaml"),
    minutes: Annotated[
        float,
        number_option(
            "--minutes",
            kind=float,
            help="Time limit of the training on this machine, in minutes.",
        ),
    ] = 30.0,
    start: Annotated[
        Path | None,
        path_option(
            "--from",
            kind="any",
            help="Start the training from a run, checkpoint, package or built-in model, such as "
            "nuclei, if it finds the objects.",
        ),
    ] = None,
    data_channels: Annotated[
        str | None,
        typer.Option(
            help="Channels that the network learns, such as BC or F+Gh+Gv (DATA_CHANNELS); by "
            "default, chosen from the objects.",
        ),
    ] = None,
    channel: ChannelOption = None,
    external_files: ExternalFilesOption = False,
) -> None:
    """Write a suitable configuration for images and labels.

    Images and labels are measured, and each value has a reason. DATASET contains train/x and
    train/y (or raw and label, images and masks …), and optionally val and test in the same form. It
    may also contain pairs of files such as cell1.tif and cell1_mask.tif.

    Example: singula init cells -o cells.yaml

    Fine-tune a model on a few images: singula init cells --from nuclei -o cells.yaml

    With the folder of your corrections: singula init predictions/corrected --from nuclei
    """
    begin_command(REPEAT_HINT)
    from singula.util.process import prepare_process

    prepare_process()
    from singula.autoconfig.report import init_dataset
    from singula.pipeline.timing import measure_proposal

    find_start = corrections = None
    if start is not None and data_channels is not None:
        raise UserError(
            f"--data-channels: got {data_channels} together with --from {start}, expected only "
            "one: a model that is trained further keeps its channels",
            "omit --data-channels, or train from scratch without --from",
            "init.channels_of_model",
        )
    if start is not None:
        from functools import partial

        from singula.commands.fine_tune import arrange_corrections, is_corrections, score_before
        from singula.commands.start_model import find_start as find_start_of_model

        if is_corrections(dataset):
            dataset = corrections = arrange_corrections(dataset, start, output)
        find_start = partial(find_start_of_model, path=start)
    init_dataset(
        dataset,
        output,
        minutes=minutes,
        measure=measure_proposal,
        find_start=find_start,
        external_files=external_files,
        channel=channel or "",
        channels=data_channels,
    )
    if corrections is not None and start is not None:
        score_before(corrections, start, output)


@app.command()
def demo(
    three_d: Annotated[bool, typer.Option("--3d", help="Use volumes instead of images.")] = False,
    output: Annotated[
        Path,
        path_option("--output", "-o", kind="output folder", help="Folder for data and results."),
    ] = Path("singula_demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Test the installation with few images and two epochs.")
    ] = False,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Device: 0, cuda:0, mps, auto, or cpu.")
    ] = None,
) -> None:
    """Find nuclei in drawn images, then train on such images.

    The result of the built-in model needs no training and is ready after some seconds. For the
    training, the demonstration times a step first. It then chooses the network and the number of
    epochs so that everything takes less than four minutes on two cores.

    Example: singula demo --3d
    """
    begin_command(REPEAT_HINT)
    from singula.util.process import prepare_process

    prepare_process()
    from singula.commands.demo import run_demo

    live, ndim = sys.stdout.isatty(), 3 if three_d else 2
    run_demo(output, ndim, quick=quick, live=live, gpu=gpu)


@app.command()
def check(
    dataset: Annotated[
        Path | None,
        path_argument("[DATASET]", kind="any", help="Folder with train/x, train/y and so on."),
    ] = None,
    config: Annotated[
        Path | None,
        path_option("--config", "-cfg", kind="any", help="Configuration file, instead of DATASET."),
    ] = None,
    fix: Annotated[
        Path | None,
        path_option(
            "--fix",
            kind="output folder",
            help="Write a corrected copy of the data to this new folder.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        path_option(
            "--html", kind="output file", help="Write an HTML page with a picture of each problem."
        ),
    ] = None,
    no_timing: Annotated[
        bool, typer.Option("--no-timing", help="With --config: skip the timing of training steps.")
    ] = False,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Device: 0, cuda:0, mps, auto, or cpu.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one key of the configuration; may be repeated.",
        ),
    ] = None,
    channel: ChannelOption = None,
    external_files: ExternalFilesOption = False,
) -> None:
    """Find problems in images and labels before training.

    The exit code is 1 if there are problems, and 0 if there are none or only hints.

    Example: singula check cells --html check.html --fix cells_fixed

    Estimate time and memory of a run: singula check --config cells.yaml
    """
    begin_command(REPEAT_HINT)
    from singula.util.process import prepare_process

    prepare_process()
    from singula.commands.check import check_data

    inspection = check_data(
        dataset,
        config,
        fix=fix,
        html=html,
        timed=not no_timing,
        gpu=gpu,
        overrides=overrides or [],
        external_files=external_files,
        channel=channel or "",
        live=sys.stdout.isatty(),
    )
    if inspection.problems:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def gui(
    root: Annotated[
        list[Path] | None,
        path_option(
            "--root", kind="any", help="Folder that the interface may open [the current folder]."
        ),
    ] = None,
    port: Annotated[
        int | None, number_option("--port", kind=int, help="Port [any free port].")
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address without opening a browser.")
    ] = False,
) -> None:
    """Open the browser interface.

    Segment images, configure and start runs, view results, and tune thresholds.

    Example: singula gui --root ~/images
    """
    begin_command("runs that the interface started continue")
    from singula.gui import start

    start(root or [], port, browser=not no_browser)

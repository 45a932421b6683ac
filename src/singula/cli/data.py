"""Commands about data sets, and the interface."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from singula.cli.app import (
    AGAIN,
    ExternalFilesOption,
    after_interruption,
    app,
    path_argument,
    path_option,
    say,
)
from singula.errors import ExitCode


@app.command()
def init(
    dataset: Annotated[Path, path_argument("DATASET", kind="any", help="Folder of the data set.")],
    output: Annotated[
        Path,
        path_option(
            "--output", "-o", kind="output file", help="The file to write; it must not exist."
        ),
    ] = Path("config.yaml"),
    minutes: Annotated[
        float, typer.Option("--minutes", help="What the training may take on this machine.")
    ] = 30.0,
    external_files: ExternalFilesOption = False,
) -> None:
    """Look at images and labels and write a configuration that suits them, with its reasons.

    DATASET holds train/x and train/y (or raw and label, images and masks …), and val and test
    likewise if there are such, or files side by side such as cell1.tif and cell1_mask.tif.

    Example: singula init cells -o cells.yaml
    """
    after_interruption(AGAIN)
    from singula.runtime import prepare_process

    prepare_process()
    from singula.propose.report import init_dataset
    from singula.stages.timing import measure_proposal

    init_dataset(
        dataset,
        output,
        minutes=minutes,
        notify=say,
        measure=measure_proposal,
        external_files=external_files,
    )


@app.command()
def demo(
    three_d: Annotated[bool, typer.Option("--3d", help="Volumes instead of images.")] = False,
    output: Annotated[
        Path,
        path_option("--output", "-o", kind="output folder", help="Folder for data and results."),
    ] = Path("singula_demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Few images, two epochs: only to see that it works.")
    ] = False,
    gpu: Annotated[str | None, typer.Option("--gpu", help="0, cuda:0, or cpu.")] = None,
) -> None:
    """Make synthetic nuclei, train on them, and show the result; needs no data.

    It times a training step first, and chooses the network and the number of epochs so that the
    demonstration takes less than four minutes on two cores.

    Example: singula demo --3d
    """
    after_interruption(AGAIN)
    from singula.runtime import prepare_process

    prepare_process()
    from singula.demonstration import run_demo

    live, ndim = sys.stdout.isatty(), 3 if three_d else 2
    run_demo(output, ndim, quick=quick, live=live, notify=say, gpu=gpu)


@app.command()
def check(
    dataset: Annotated[
        Path | None,
        path_argument("[DATASET]", kind="any", help="A folder with train/x, train/y and so on."),
    ] = None,
    config: Annotated[
        Path | None,
        path_option("--config", "-cfg", kind="any", help="The YAML file, instead of a folder."),
    ] = None,
    fix: Annotated[
        Path | None,
        path_option(
            "--fix", kind="output folder", help="New folder for a corrected copy of the data."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        path_option(
            "--html", kind="output file", help="Write a page with pictures of what was found."
        ),
    ] = None,
    no_timing: Annotated[
        bool, typer.Option("--no-timing", help="With --config: count, but time nothing.")
    ] = False,
    gpu: Annotated[str | None, typer.Option("--gpu", help="0, cuda:0, or cpu.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key.")
    ] = None,
    external_files: ExternalFilesOption = False,
) -> None:
    """Find what is wrong with images and labels, before a network learns it.

    Ends with 1 when there are problems, with 0 when there are none or only hints.

    Example: singula check cells --html check.html --fix cells_fixed

    What a run will take: singula check --config cells.yaml
    """
    after_interruption(AGAIN)
    from singula.runtime import prepare_process

    prepare_process()
    from singula.checking import check_data

    found = check_data(
        dataset,
        config,
        fix=fix,
        html=html,
        timed=not no_timing,
        gpu=gpu,
        overrides=overrides or [],
        external_files=external_files,
        live=sys.stdout.isatty(),
        notify=say,
    )
    if found.problems:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def gui(
    root: Annotated[
        list[Path] | None, path_option("--root", kind="any", help="Folder to open [here].")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port [any free one].")] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
) -> None:
    """Work in the browser: make a configuration, run it, look at results, tune thresholds.

    Example: singula gui --root ~/images
    """
    after_interruption("runs that it started continue")
    from singula.gui import start

    start(root or [], port, browser=not no_browser, notify=say)

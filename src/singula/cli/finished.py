"""Commands for finished runs: report, package, reproduce."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from singula.cli.app import REPEAT_HINT, RESUME_HINT, app, begin_command, path_argument, path_option
from singula.errors import ExitCode
from singula.util.streams import print_line


@app.command()
def report(
    run_folder: Annotated[
        Path,
        path_argument("RUN", kind="any", help="Folder of the run, RESULT_DIR/NAME/results/NAME_1."),
    ],
    methods: Annotated[
        bool,
        typer.Option(
            "--methods", help="Print a paragraph for a publication instead, with its citations."
        ),
    ] = False,
    bibtex: Annotated[
        bool, typer.Option("--bibtex", help="Print the citations as a BibTeX file instead.")
    ] = False,
) -> None:
    """Write report.html of a finished run.

    The page contains scores, curves, pictures and tables. Every run writes this page at its end.
    Example: singula report results/cells/results/cells_1

    Print the methods for a publication: singula report results/cells/results/cells_1 --methods
    """
    begin_command(REPEAT_HINT)
    if methods or bibtex:
        from singula.report.methods import describe_methods
        from singula.runs.run import open_run

        text = describe_methods(open_run(run_folder))
        if methods:
            print_line("\n".join([text.paragraph, "", *text.references()]))
        if bibtex:
            print_line(text.bibtex())
        return
    from singula.report.build import build_report

    print_line(str(build_report(run_folder)))


@app.command()
def package(
    model: Annotated[
        Path,
        path_argument("RUN", kind="any", help="Folder of a run, checkpoint, or built-in model."),
    ],
    output: Annotated[
        Path, path_option("--output", "-o", kind="output file", help="File to write, *.zip.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the model [name of the file].")
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="SPDX",
            help="License of the weights, such as CC-BY-4.0 [of a built-in model].",
        ),
    ] = None,
    author: Annotated[
        list[str] | None,
        typer.Option(
            "--author",
            metavar="NAME[, AFFILIATION]",
            help="Author of the model; may be repeated.",
        ),
    ] = None,
    cite: Annotated[
        list[str] | None,
        typer.Option("--cite", metavar="DOI", help="Publication about the model; may be repeated."),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Word for a search, such as nuclei; may be repeated."),
    ] = None,
    image: Annotated[
        Path | None,
        path_option(
            "--image",
            kind="input",
            help="Image for the test tensors; its center becomes public [synthetic nuclei].",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
) -> None:
    """Write a model as a package for the BioImage Model Zoo.

    The package has weights as tensors and TorchScript, axes, normalization, channels, test tensors
    and documentation. The option --model of `singula predict` accepts it like the original model.

    Example: singula package results/cells/results/cells_1 -o cells.zip --license CC-BY-4.0
    --author "A. Author, Institute" --tag cells
    """
    begin_command(REPEAT_HINT)
    from singula.util.process import prepare_process

    prepare_process()
    from singula.inference import write_package

    written = write_package(
        model,
        output,
        name=name or "",
        license=license or "",
        authors=author or (),
        cite=cite or (),
        tags=tag or (),
        image=image,
        overwrite=overwrite,
    )
    print_line(f"written: {written}")


@app.command()
def reproduce(
    run_folder: Annotated[
        Path,
        path_argument("RUN", kind="any", help="Folder of the run, RESULT_DIR/NAME/results/NAME_1."),
    ],
    output: Annotated[
        Path | None,
        path_option(
            "--output",
            "-o",
            kind="output folder",
            help="New folder for the repetition [NAME_1_reproduced].",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="OLD=NEW",
            help="Present place of a folder of the data that was moved; may be repeated.",
        ),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", help='Device: 0, cuda:0, "0, 1", mps, auto, or cpu [as in the run].'),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted repetition.")
    ] = False,
) -> None:
    """Repeat a finished run in a new folder, and compare results.

    The run is described by its run.json. The images must be those of the run. On the same type of
    processor and with the same versions, weights, label images, tables and scores must be
    identical; otherwise, F1 may differ by 0.01. The exit code is 0 if the run was reproduced, and 1
    if not.

    Example: singula reproduce results/cells/results/cells_1 -o repeated

    If the images were moved: singula reproduce RUN --data /old/cells=/new/cells
    """
    begin_command(RESUME_HINT)
    from singula.util.process import prepare_process

    prepare_process()
    from singula.commands.reproduce import reproduce as repeat

    result = repeat(
        run_folder,
        output,
        data=tuple(data or ()),
        gpu=gpu,
        resume=resume,
        live=sys.stdout.isatty(),
    )
    for line in result.lines():
        print_line(line)
    if not result.is_reproduced:
        raise typer.Exit(ExitCode.INCOMPLETE)

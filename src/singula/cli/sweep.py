"""Command for many runs: sweep."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from singula.cli.app import (
    app,
    begin_command,
    complete_key,
    number_option,
    path_argument,
    path_option,
)
from singula.errors import ExitCode
from singula.util.format import counted
from singula.util.streams import print_line


@app.command()
def sweep(
    config: Annotated[Path, path_argument("CONFIG", kind="any", help="Configuration file.")],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=V1,V2",
            help="Values of a key to compare, or uniform(LOW,HIGH), loguniform(LOW,HIGH) or "
            "integer(LOW,HIGH) with --trials; may be repeated.",
            autocompletion=complete_key,
        ),
    ] = None,
    folds: Annotated[
        int | None,
        number_option(
            "--folds",
            kind=int,
            help="Cross-validate with this number of folds, and score their ensemble.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one key in all runs; may be repeated.",
            autocompletion=complete_key,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        number_option(
            "--trials",
            kind=int,
            at_least=1,
            help="Number of random combinations [all combinations].",
        ),
    ] = None,
    seed: Annotated[
        int,
        number_option(
            "--seed",
            kind=int,
            at_least=0,
            at_most=2**32 - 1,
            help="Seed of random combinations.",
        ),
    ] = 0,
    result_dir: Annotated[
        Path,
        path_option(
            "--result_dir",
            "-rdir",
            kind="output folder",
            help="Folder in which the folder of the sweep is created.",
        ),
    ] = Path(),
    name: Annotated[
        str | None,
        typer.Option("--name", "-name", help="Name of the sweep [name of the file with _sweep]."),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", "-gpu", help='Device: 0, cuda:0, "0, 1", or cpu.')
    ] = None,
    index: Annotated[
        int | None,
        number_option(
            "--index",
            kind=int,
            help="Only start the run of this number, from 1 "
            "[SLURM_ARRAY_TASK_ID; otherwise all runs].",
        ),
    ] = None,
    slurm: Annotated[
        Path | None,
        path_option(
            "--slurm",
            kind="output file",
            help="Write a SLURM script for a job array, instead of starting the runs.",
        ),
    ] = None,
) -> None:
    """Compare values of keys or cross-validate, in many runs.

    Writes one table and one chart of the results. Repeat the command to continue: finished runs
    are not repeated, and interrupted ones continue.

    Compare: singula sweep cells.yaml --vary TRAIN.LR=0.001,0.002 --vary TRAIN.BATCH_SIZE=4,8

    Draw values: singula sweep cells.yaml --vary TRAIN.LR=loguniform(1e-4,1e-2) --trials 10

    Cross-validate: singula sweep cells.yaml --folds 5

    Write a script for a job array: singula sweep cells.yaml --folds 5 --slurm folds.sh
    """
    begin_command("repeat the command to continue")
    from singula.util.process import prepare_process

    prepare_process()
    from singula.util.slurm import join_step, requeue_if_interrupted

    join_step()
    from singula.commands.sweep.execute import run_sweep, unfinished
    from singula.commands.sweep.plan import SweepOptions
    from singula.commands.sweep.results import table_lines
    from singula.commands.sweep.slurm import write_script

    options = SweepOptions(
        config,
        tuple(vary or ()),
        tuple(overrides or ()),
        folds,
        trials,
        seed,
        result_dir,
        name,
        gpu,
        sys.stdout.isatty(),
    )
    if slurm is not None:
        planned, script = write_script(options, slurm, index)
        print_line(f"written: {script}, for {counted(len(planned.runs), 'run')}")
        print_line(f"to start them: sbatch {script}")
        return
    with requeue_if_interrupted():
        report = run_sweep(options, index)
    for line in table_lines(report.sweep, report.results):
        print_line(line)
    print_line(f"table: {report.table}")
    if report.chart is not None:
        print_line(f"chart: {report.chart}")
    remaining = unfinished(report)
    if remaining is not None:
        print_line(remaining)
    for title, error in report.failed.items():
        print_line(f"FAILED: {title}: {error}")
    if report.failed:
        raise typer.Exit(ExitCode.INCOMPLETE)

"""The command line: arguments to the workflow, and errors as people read them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from singula import __version__
from singula.errors import UserError

# Without rich's help pages `--help` answers at once.
app = typer.Typer(
    name="singula",
    help="Find every object in microscopy images, 2D or 3D, and give each its own id.",
    epilog="First steps: singula demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
run_app = typer.Typer(
    name="biapy",
    help="The same as `singula run`, under the name that the configuration format knows.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


_AGAIN, _say = "the same command begins anew", partial(print, flush=True)


@contextmanager
def _interruptible(next_step: str = "the same command with --resume goes on") -> Iterator[None]:
    try:  # Ctrl-C leaves something behind
        yield
    except KeyboardInterrupt:
        print(f"\ninterrupted; what was written is complete: {next_step}", file=sys.stderr)
        raise typer.Exit(130) from None


def complete_key(incomplete: str) -> list[str]:
    """Keys and their words for the shell."""
    from singula.config.keys import completions

    return completions(incomplete)


def _version(wanted: bool) -> None:
    if wanted:
        _say(f"singula {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@run_app.command()
@app.command()
def run(
    config: Annotated[Path, typer.Option("--config", "-cfg", help="The YAML file.")],
    result_dir: Annotated[
        Path, typer.Option("--result_dir", "-rdir", help="Where the job's folder is created.")
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
) -> None:
    """Train, predict and score as a configuration file says.

    Example: singula run --config cells.yaml --result_dir results --name cells --run_id 1

    Go on after an interruption: singula run --config cells.yaml --resume

    Fewer epochs this time: singula run --config cells.yaml --set TRAIN.EPOCHS=5

    On two GPUs: singula run --config cells.yaml --gpus 2

    Images larger than memory, by four workers: singula run --config cells.yaml --dask local:4
    """
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
    if "RANK" not in os.environ:
        from singula.launch import gpus_named, launch_run

        count = gpus or gpus_named(gpu)
        if count > 1:
            raise typer.Exit(launch_run(count, job))
    with _interruptible():
        report = run_job(job, _say)
    if report.test is not None and report.test.failed:
        raise typer.Exit(1)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="A run folder or a checkpoint.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the label images.")],
    gpu: Annotated[str | None, typer.Option("--gpu", help="0, cuda:0, or cpu.")] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment/--no-augment", help="Average over turned views.")
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="Write measurements as CSV.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what is there already.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Find the instances of images with a trained model, without any configuration file.

    Example: singula predict new/*.tif --model results/cells/results/cells_1 -o instances
    """
    from singula.runtime import importing, prepare_process

    prepare_process()
    with importing():
        from singula.loaded import gather_images, load, predict_files
        from singula.training.device import choose_device

    files = gather_images(images, output, tables=tables, overwrite=overwrite or resume)
    loaded = load(model, device=choose_device(gpu, "cpu", "32", _say).torch)
    for line in loaded.notices:
        _say(line)
    with _interruptible():
        failed = predict_files(
            loaded, files, output, augment=augment, tables=tables, resume=resume, notify=_say
        )
    _say(f"{len(files) - len(failed)} of {len(files)} images: {output}")
    if failed:
        raise typer.Exit(1)


@app.command()
def init(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of the data set.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write; it must not exist.")
    ] = Path("config.yaml"),
    minutes: Annotated[
        float, typer.Option("--minutes", help="What the training may take on this machine.")
    ] = 30.0,
) -> None:
    """Look at images and labels and write a configuration that suits them, with its reasons.

    DATASET holds train/x and train/y (or raw and label, images and masks …), and val and test
    likewise if there are such, or files side by side such as cell1.tif and cell1_mask.tif.

    Example: singula init cells -o cells.yaml
    """
    from singula.runtime import prepare_process

    prepare_process()
    from singula.propose.report import init_dataset

    init_dataset(dataset, output, minutes=minutes, notify=_say)


@app.command()
def tune(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder, RESULT_DIR/NAME/results/NAME_1.")
    ],
    metric: Annotated[
        str, typer.Option("--metric", help="pq (panoptic quality) or f1, means over images.")
    ] = "pq",
    iou: Annotated[
        float, typer.Option("--iou", help="IoU of a true and a predicted object that match.")
    ] = 0.5,
    save: Annotated[
        bool, typer.Option("--save/--no-save", help="Put the thresholds into the checkpoint.")
    ] = True,
    gpu: Annotated[str | None, typer.Option("--gpu", help="0, cuda:0, or cpu.")] = None,
) -> None:
    """Find the decoding thresholds that suit the validation images best.

    The images are predicted once; every setting is then decoded from the stored predictions.

    Example: singula tune results/cells/results/cells_1
    """
    from singula.runtime import prepare_process

    prepare_process()
    from singula.training.device import choose_device
    from singula.tuning import result_lines
    from singula.tuning import tune as tune_thresholds

    device = choose_device(gpu, "cpu", "32", _say).torch
    with _interruptible(_AGAIN):
        result = tune_thresholds(
            run_folder, metric=metric, iou=iou, save=save, device=device, notify=_say
        )
    for line in result_lines(result):
        _say(line)
    for what, path in result.files.items():
        _say(f"{what}: {path}")
    if result.saved is not None:
        _say(f"saved in {result.saved}: `singula predict` uses them, and `singula run` does where")
        _say("  its configuration gives no thresholds")
    _say("stored instances stay those of the run's own thresholds, also for `singula export`:")
    _say("  test again, or predict, for the new ones")


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or label images.")],
    to: Annotated[str, typer.Option("--to", help="imagej, qupath, ome-zarr, csv or coco.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder [RUN/exports].")
    ] = None,
    spacing: Annotated[
        str | None, typer.Option("--spacing", help="Size of a pixel, z first: 0.25,0.25")
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Its unit, such as µm.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write the instances of a run, or of label images, for other programs.

    Example: singula export results/cells/results/cells_1 --to imagej

    Label images: singula export labels/ --to csv --spacing 0.25,0.25 --unit µm -o tables
    """
    from singula.exports import export as export_instances
    from singula.exports import sizes_from_text

    sizes = None if spacing is None else sizes_from_text(spacing)
    with _interruptible(_AGAIN):
        written = export_instances(
            source, to, output, spacing=sizes, unit=unit, overwrite=overwrite, notify=_say
        )
    _say(f"written: {written[0]}" + (f" and {len(written) - 1} more" if written[1:] else ""))


@app.command()
def demo(
    three_d: Annotated[bool, typer.Option("--3d", help="Volumes instead of images.")] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for data and results.")
    ] = Path("singula_demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Few images, two epochs: only to see that it works.")
    ] = False,
    gpu: Annotated[str | None, typer.Option("--gpu", help="0, cuda:0, or cpu.")] = None,
) -> None:
    """Make synthetic nuclei, train on them, and show the result; needs no data, about 3 minutes.

    Example: singula demo --3d
    """
    from singula.runtime import prepare_process

    prepare_process()
    from singula.demonstration import run_demo

    live, ndim = sys.stdout.isatty(), 3 if three_d else 2
    with _interruptible(_AGAIN):
        run_demo(output, ndim, quick=quick, live=live, notify=_say, gpu=gpu)


@app.command()
def check(
    dataset: Annotated[
        Path | None,
        typer.Argument(metavar="[DATASET]", help="A folder with train/x, train/y and so on."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-cfg", help="The YAML file, instead of a folder.")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option("--fix", help="New folder for a corrected copy of the data.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with pictures of what was found.")
    ] = None,
    no_timing: Annotated[
        bool, typer.Option("--no-timing", help="With --config: count, but time nothing.")
    ] = False,
    gpu: Annotated[str | None, typer.Option("--gpu", help="0, cuda:0, or cpu.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key.")
    ] = None,
) -> None:
    """Find what is wrong with images and labels, before a network learns it.

    Ends with 1 when there are problems, with 0 when there are none or only hints.

    Example: singula check cells --html check.html --fix cells_fixed

    What a run will take: singula check --config cells.yaml
    """
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
        live=sys.stdout.isatty(),
        notify=_say,
    )
    if found.problems:
        raise typer.Exit(1)


@app.command()
def report(
    run_folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="The run's folder, RESULT_DIR/NAME/results/NAME_1."),
    ],
) -> None:
    """Write report.html of a finished run: scores, curves, pictures and tables on one page.

    Every run ends with it. Example: singula report results/cells/results/cells_1
    """
    from singula.report.build import build_report

    _say(str(build_report(run_folder)))


@app.command()
def gui(
    root: Annotated[
        list[Path] | None, typer.Option("--root", help="Folder to open [here].")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port [any free one].")] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
) -> None:
    """Work in the browser: make a configuration, run it, look at results, tune thresholds.

    Example: singula gui --root ~/images
    """
    from singula.gui import start

    start(root or [], port, browser=not no_browser, notify=_say)


def _guarded(command: Callable[..., Any]) -> None:
    # A blank after a line's last backslash, easily copied, is an argument to a shell.
    sys.argv[1:] = [word for word in sys.argv[1:] if word.strip() or not word]
    try:
        command()
    except UserError as error:
        rank = int(os.environ.get("RANK", "0"))
        print(f"error: {f'[process {rank}] ' if rank else ''}{error}", file=sys.stderr)
        raise SystemExit(2) from None


def main() -> None:
    """Entry point of ``singula``."""
    _guarded(app)


def run_main() -> None:
    """Entry point of ``biapy``."""
    _guarded(run_app)


if __name__ == "__main__":
    main()

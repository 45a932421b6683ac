"""Functions for the forms of `notebooks/`, in the order of the forms."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from singula.errors import UserError
from singula.io.write import write_text
from singula.io.written import foreign_files, protect
from singula.util.format import counted, install_command
from singula.util.messages import print_messages
from singula.util.paths import user_name, user_path
from singula.util.process import prepare_process
from singula.util.sparse_labels import without_unannotated

if TYPE_CHECKING:
    from singula.dataset.facts import Folders
    from singula.pipeline.run import RunReport

P = ParamSpec("P")
T = TypeVar("T")

LET_DATA_DECIDE = "let the data decide"
AS_LABELED = "as in the labels"
_FIRST_LINE = "# Written by a notebook of Singula from the properties of the data:"
_MAX_SIDE = 900  # pixels of a picture in the notebook
_MAX_ROWS = 10


class NotebookError(Exception):
    """Error that a notebook displays as a message without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def _without_traceback(command: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function to display messages and a `UserError` like the command line."""

    @functools.wraps(command)
    def decorated(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with print_messages(print):
                return command(*args, **kwargs)
        except UserError as error:
            raise NotebookError(f"error: {error}") from None

    return decorated


@dataclass(frozen=True)
class Plan:
    """Configuration file and results folder of a run.

    Parameters
    ----------
    config, output : Path
        Configuration file, and parent of the job's folder.
    name : str
        Name of the job.
    """

    config: Path
    output: Path
    name: str


@_without_traceback
def choose_data(
    ndim: int,
    train_images: str,
    train_labels: str,
    test_images: str = "",
    test_labels: str = "",
    *,
    demo: Path = Path("singula_demo"),
) -> tuple[Folders, ...]:
    """Find images and labels, and show the first pair.

    Parameters
    ----------
    ndim : {2, 3}
        Number of spatial dimensions.
    train_images, train_labels, test_images, test_labels : str
        Folders. If all are empty, synthetic nuclei are generated. Without test images, some
        training images are held out.
    demo : Path
        Folder for synthetic nuclei.

    Raises
    ------
    NotebookError
        ``notebook.no_training_data``: training images or training labels are missing.
        ``notebook.no_test_images``: there are test labels, but no test images.
        Any error in the files.
    """
    from singula.dataset.facts import Folders
    from singula.io.pairing import pairing_rule

    given = [train_images, train_labels, test_images, test_labels]
    if not any(path.strip() for path in given):
        parts = _demo_data(ndim, demo)
    else:
        if not train_images.strip() or not train_labels.strip():
            hint = "give both folders, or leave all fields empty to use synthetic images"
            message = "train_images and train_labels: one is empty"
            raise UserError(message, hint, "notebook.no_training_data")
        if test_labels.strip() and not test_images.strip():
            message = "test_images: got no folder, expected a folder because test_labels is set"
            raise UserError(message, "give both folders or neither", "notebook.no_test_images")
        images = _folder(train_images, "train_images")
        parts = (Folders("train", images, _folder(train_labels, "train_labels")),)
        if test_images.strip():
            labels = _folder(test_labels, "test_labels") if test_labels.strip() else None
            parts += (Folders("test", _folder(test_images, "test_images"), labels),)
    for part in parts:
        pairs = part.pairs()
        rule = pairing_rule(pairs)
        if rule is not None:
            print(f"{rule[0]}: {rule[1]}")
        print(f"{part.name}: {counted(len(pairs), 'image')} in {part.images}")
    _preview(parts[0], ndim)
    return parts


@_without_traceback
def prepare(
    parts: Sequence[Folders],
    ndim: int,
    find: str,
    classes: str,
    output: str,
    name: str,
    minutes: float,
) -> Plan:
    """Write a configuration from the data and the answers, and show its reasons.

    Parameters
    ----------
    parts : sequence of Folders
        Result of `choose_data`.
    ndim, find
        Number of spatial dimensions; one of `kinds`.
    classes : str
        Number of classes of objects, or `AS_LABELED`.
    output, name : str
        Parent of the results folder, and its name. A configuration that an earlier call wrote
        there is replaced, unless it was changed in the meantime.
    minutes : float
        Time limit of the training.

    Raises
    ------
    NotebookError
        ``notebook.configuration_exists``: the file is not from a notebook, or was changed.
        ``notebook.unknown_objects``, ``notebook.classes``: an answer is invalid.
        The data cannot be used.
    """
    stem = user_name(name.strip() or "cells", "name")
    target = _folder(output, "output") / f"{stem}.yaml"
    with protect([target.parent]):
        if any(foreign_files(target)):
            raise UserError(
                f"{target}: was not written by a notebook, or was changed later",
                "choose another name, or delete the file",
                "notebook.configuration_exists",
            )
        return _write_plan(parts, ndim, find, classes, target, minutes)


def _write_plan(
    parts: Sequence[Folders], ndim: int, find: str, classes: str, target: Path, minutes: float
) -> Plan:
    import pandas as pd

    prepare_process()
    from singula.autoconfig.answers import propose_answered
    from singula.pipeline.timing import measure_proposal

    proposal, notes = propose_answered(
        parts,
        ndim,
        channels=_channels(find),
        classes=_class_count(classes),
        output=target,
        minutes=minutes,
        measure=measure_proposal,
    )
    for note in notes:
        print(note)
    _, _, rest = proposal.yaml.partition("\n")
    write_text(target, f"{_FIRST_LINE}\n{rest}")
    rows = [row for row in proposal.reasons if not row[0].endswith("PATH")]
    with pd.option_context("display.max_colwidth", None, "display.max_rows", None):
        _show(pd.DataFrame(rows, columns=["key", "value", "reason"]))
    print(f"written: {target}")
    return Plan(target, target.parent, target.stem)


@_without_traceback
def train(plan: Plan, *, gpu: bool = True, changes: str = "") -> RunReport:
    """Train, predict the test images and score them.

    Parameters
    ----------
    plan : Plan
        Result of `prepare`.
    gpu : bool
        Use a GPU if available.
    changes : str
        Changed keys of the configuration as ``KEY=VALUE``, separated by ``;``.

    Raises
    ------
    NotebookError
        Any error of `singula run`.
    """
    prepare_process()
    from singula.pipeline.run import Job, run
    from singula.training.device import best_device

    overrides = tuple(part.strip() for part in changes.split(";") if part.strip())
    device = best_device() if gpu else "cpu"
    return run(Job(plan.config, plan.output, plan.name, 1, device, overrides))


@_without_traceback
def show_results(report: RunReport, *, images: int = 2) -> None:
    """Show scores, instances over images, and measurements of the first image.

    Parameters
    ----------
    report : RunReport
        Result of `train`.
    images : int
        Number of test images to show.

    Raises
    ------
    NotebookError
        ``notebook.no_test``: the run did not test any image.
    """
    import pandas as pd

    from singula.measure import measure
    from singula.runs.run import open_run

    tree, test = report.tree, report.test
    if test is None:
        hint = "set TEST.ENABLE to True and train again"
        raise UserError("this run did not test any image", hint, "notebook.no_test")
    if tree.metrics_csv.is_file():
        scores = pd.read_csv(tree.metrics_csv)
        summary = scores[scores["image"].isin(["mean over images", "pooled over objects"])]
        _title("Scores: mean over images, and pooled over objects")
        columns = ["image", "threshold", "precision", "recall", "f1", "panoptic_quality"]
        _show(summary[columns].round(3).reset_index(drop=True))
    _title("Image | objects | your labels, if available (volumes: the slice with most objects)")
    for name, path in list(test.results.overlays.items())[:images]:
        print(f"{name}: {counted(test.results.instances.get(name, 0), 'object')}")
        _picture(path.read_bytes())
    finished = open_run(tree.run)
    for stage in finished.stages[:1]:
        first = next(finished.label_images(stage)).read()
        _title(f"The first objects of {first.name}")
        _show(measure(first.labels).head(_MAX_ROWS).round(2))
    print(f"report: {tree.report_html}")
    print(f"all results: {tree.run}")


@_without_traceback
def predict(report: RunReport, images: str, output: str) -> None:
    """Predict the objects in new images.

    Parameters
    ----------
    report : RunReport
        Result of `train`.
    images : str
        Folder of images. If empty, nothing is predicted.
    output : str
        Folder for label images and tables. Files of an earlier call are replaced; files that were
        changed in the meantime are moved to ``previous`` in this folder.
    """
    if not images.strip():
        print("no folder of new images is given: nothing to predict")
        return
    from singula.inference import gather_images, load, plan_predictions, predict_files

    folder = _folder(output, "output")
    files = gather_images([_folder(images, "images")])
    model = load(report.tree.run)
    tasks = plan_predictions(model, files, folder, tables=True)
    with protect([folder]):  # replaces files of an earlier run of the cell
        predict_files(model, tasks, folder, augment=None, tables=True, resume=False)
    print(f"label images and tables: {folder}")


def _demo_data(ndim: int, folder: Path) -> tuple[Folders, ...]:
    from singula.dataset.facts import Folders
    from singula.synthetic.fluorescence import make_example_dataset

    root = folder / f"{ndim}d_data"
    if not root.exists():
        print(f"no folders are given: generating synthetic nuclei in {root}")
        make_example_dataset(root, ndim)
    names = ("train", "val", "test")
    return tuple(Folders(part, root / part / "x", root / part / "y") for part in names)


def kinds() -> dict[str, str | None]:
    """Return the channels by kind of objects; None if the data decide."""
    from singula.autoconfig.answers import OBJECTS

    return {LET_DATA_DECIDE: None, **{kind: channels for channels, (kind, _) in OBJECTS.items()}}


def _channels(find: str) -> str | None:
    """Return the channels for a kind of objects."""
    if find not in kinds():
        message = f"what_to_find: got {find!r}, expected one of {', '.join(kinds())}"
        raise UserError(message, "choose one of the kinds of objects", "notebook.unknown_objects")
    return kinds()[find]


def _class_count(classes: str) -> int | None:
    """Return the number of classes of objects, or None for that of the labels."""
    if classes.strip() == AS_LABELED:
        return None
    if not classes.strip().isdigit() or int(classes) < 1:
        message = f"classes: got {classes!r}, expected 1, 2, 3 … or {AS_LABELED!r}"
        raise UserError(message, "correct the number of classes", "notebook.classes")
    return int(classes)


def _folder(path: str, name: str) -> Path:
    return user_path(path.strip() or ".", name)


def _preview(part: Folders, ndim: int) -> None:
    """Show the first image next to its labels."""
    from singula.io.read import read_image, read_labels
    from singula.report.overlay import encode_png, pair_panels, side_by_side

    pair = part.pairs()[0]
    image, labels = read_image(pair.image, ndim).array, []
    if pair.label is not None:
        ids = read_labels(pair.label, ndim, arrays=pair.label_arrays).array[..., 0]
        labels = [without_unannotated(ids)]
    print(f"{pair.name}: image | labels" + (" (slice with most objects)" if ndim == 3 else ""))
    _picture(encode_png(side_by_side(pair_panels(image, *labels)), _MAX_SIDE))


def _display() -> Any:
    try:
        return import_module("IPython.display")
    except ImportError:
        raise UserError(
            "singula.notebook: IPython is not installed",
            install_command("notebooks"),
            "notebook.library_missing",
        ) from None


def _show(table: Any) -> None:
    _display().display(table)


def _picture(png: bytes) -> None:
    tools = _display()
    tools.display(tools.Image(data=png))


def _title(text: str) -> None:
    sys.stdout.flush()
    tools = _display()
    tools.display(tools.Markdown(f"**{text}**"))

"""What the forms of `notebooks/` do, in the order in which they stand there."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from singula.errors import UserError
from singula.io.write import write_text
from singula.io.written import foreign_files, protect
from singula.paths import user_name, user_path
from singula.runtime import prepare_process
from singula.words import counted, install_command

if TYPE_CHECKING:
    import numpy as np

    from singula.propose import Choice, Proposal
    from singula.survey import Folders
    from singula.workflow import RunReport

P = ParamSpec("P")
T = TypeVar("T")

FIND = {
    "let the data decide": "",
    "cells, nuclei or other objects, apart or touching": "BC",
    "crowded round objects": "BCD",
    "objects with a faint outline": "BCM",
    "objects hardly larger than a point": "BP",
    "objects of very different size": "BCDv2",
}
"""What to find → the channels that the network learns for it; nothing where data decide."""
AS_LABELLED = "as in the labels"
DEMO_IMAGES = {2: ((12, 2, 4), (256, 256), None), 3: ((4, 1, 2), (24, 96, 96), (2.0, 1.0, 1.0))}
_FIRST_LINE = "# Written by a notebook of Singula after a look at the data:"
_CHANNELS = "PROBLEM.INSTANCE_SEG.DATA_CHANNELS"
_WEIGHTS = "PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS"
_WIDEST = 900  # pixels of a picture in the notebook
_ROWS = 10


class Told(Exception):  # noqa: N818  (it is no error of the program)
    """Ends a cell with a message where Python would print a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def _telling(command: Callable[P, T]) -> Callable[P, T]:
    """Show mistakes of the user's as the command line does."""

    @functools.wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            raise Told(f"error: {error}") from None

    return told


@dataclass(frozen=True)
class Plan:
    """A configuration that was written, and where its run goes.

    Parameters
    ----------
    config : Path
    output : Path
        Parent of the job's folder.
    name : str
    """

    config: Path
    output: Path
    name: str


@_telling
def choose_data(
    ndim: int,
    train_images: str,
    train_labels: str,
    test_images: str = "",
    test_labels: str = "",
    *,
    demo: Path = Path("singula_demo"),
) -> tuple[Folders, ...]:
    """Find the images and show the first one with its labels.

    Parameters
    ----------
    ndim : {2, 3}
    train_images, train_labels, test_images, test_labels : str
        Folders. Nothing at all: synthetic nuclei are made. No test images: some of the training
        images are held out.
    demo : Path
        Where synthetic nuclei are made.

    Raises
    ------
    Told
        Images without labels, or labels without images.
    """
    from singula.survey import Folders

    given = [train_images, train_labels, test_images, test_labels]
    if not any(path.strip() for path in given):
        parts = _demo_data(ndim, demo)
    else:
        if not train_images.strip() or not train_labels.strip():
            raise UserError(
                "train_images and train_labels: one is empty",
                "give both folders, or leave all empty for synthetic images",
            )
        if test_labels.strip() and not test_images.strip():
            raise UserError("test_labels are given, but no test_images", "give both, or neither")
        parts = (
            Folders(
                "train",
                _folder(train_images, "train_images"),
                _folder(train_labels, "train_labels"),
            ),
        )
        if test_images.strip():
            labels = _folder(test_labels, "test_labels") if test_labels.strip() else None
            parts += (Folders("test", _folder(test_images, "test_images"), labels),)
    for found in parts:
        print(f"{found.name}: {counted(len(found.pairs(print)), 'image')} in {found.images}")
    _preview(parts[0], ndim)
    return parts


@_telling
def prepare(
    parts: Sequence[Folders],
    ndim: int,
    find: str,
    classes: str,
    output: str,
    name: str,
    minutes: float,
) -> Plan:
    """Write a configuration that suits the data and the answers, and show its reasons.

    Parameters
    ----------
    parts : sequence of Folders
        From `choose_data`.
    find : str
        One of `FIND`.
    classes : str
        A number of kinds of objects, or `AS_LABELLED`.
    output, name : str
        Parent of the results' folder, and its name. A configuration that an earlier call wrote
        there is replaced, unless it was changed since.
    minutes : float
        What the training may take.

    Raises
    ------
    Told
        A file of that name that no notebook wrote, or that was changed; data that cannot be used.
    """
    stem = user_name(name.strip() or "cells", "name")
    target = _folder(output, "output") / f"{stem}.yaml"
    with protect([target.parent], print):
        if any(foreign_files(target)):
            raise UserError(
                f"{target}: was not written by a notebook, or was changed since",
                "choose another name, or delete the file",
                "notebook.configuration_exists",
            )
        return _write_plan(parts, ndim, find, classes, target, minutes)


def _write_plan(
    parts: Sequence[Folders], ndim: int, find: str, classes: str, target: Path, minutes: float
) -> Plan:
    import pandas as pd

    prepare_process()
    from singula.propose import propose
    from singula.stages.timing import measure_proposal
    from singula.survey import survey_dataset

    survey = survey_dataset(parts[0].images.parent, folders=parts, ndim=ndim, max_files=24)
    stored = target.with_name(f"{target.stem}_channels")
    proposal = propose(survey, minutes=minutes, stored=stored, measure=measure_proposal)
    proposal = replace(proposal, choices=_answered(proposal, find, classes))
    _, _, rest = proposal.yaml.partition("\n")
    write_text(target, f"{_FIRST_LINE}\n{rest}")
    rows = [row for row in proposal.reasons if not row[0].endswith("PATH")]
    with pd.option_context("display.max_colwidth", None, "display.max_rows", None):
        _show(pd.DataFrame(rows, columns=["key", "value", "why"]))
    print(f"written: {target}")
    return Plan(target, target.parent, target.stem)


@_telling
def train(plan: Plan, *, gpu: bool = True, changes: str = "") -> RunReport:
    """Train, predict the test images and score them.

    Parameters
    ----------
    plan : Plan
        From `prepare`.
    gpu : bool
        Use a GPU if there is one.
    changes : str
        ``KEY=VALUE`` of the configuration, separated by ``;``.

    Raises
    ------
    Told
        Whatever `singula run` would refuse.
    """
    prepare_process()
    from singula.training.device import present_gpus
    from singula.workflow import Job, run

    overrides = tuple(part.strip() for part in changes.split(";") if part.strip())
    device = "0" if gpu and present_gpus() else "cpu"
    return run(Job(plan.config, plan.output, plan.name, 1, device, overrides), print)


@_telling
def show_results(report: RunReport, *, images: int = 2) -> None:
    """Show scores, instances over images, and measurements of the first image.

    Parameters
    ----------
    report : RunReport
        From `train`.
    images : int
        How many of the test images.
    """
    import pandas as pd

    from singula.io.read import read_labels
    from singula.measure import measure

    tree, test = report.tree, report.test
    if test is None:
        raise UserError("this run tested no images", "set TEST.ENABLE to True")
    if tree.metrics_csv.is_file():
        scores = pd.read_csv(tree.metrics_csv)
        whole = scores[scores["image"].isin(["mean over images", "pooled over objects"])]
        _title("Scores: images alike, and all objects together")
        wanted = ["image", "threshold", "precision", "recall", "f1", "panoptic_quality"]
        _show(whole[wanted].round(3).reset_index(drop=True))
    _title("Image | instances | truth where there is one (of volumes the fullest slice)")
    for name, path in list(test.finish.overlays.items())[:images]:
        print(f"{name}: {counted(test.finish.instances.get(name, 0), 'object')}")
        _picture(path.read_bytes())
    for first in list(test.finish.overlays)[:1]:
        stored = tree.per_image_instances / f"{first}.tif"
        classes = report.config.MODEL.N_CLASSES > 2
        ids = read_labels(stored, report.config.ndim, classes).array[..., 0]
        _title(f"The first objects of {first}")
        _show(measure(ids).head(_ROWS).round(2))
    print(f"everything on one page: {tree.report_html}")
    print(f"all results: {tree.run}")


@_telling
def predict(report: RunReport, images: str, output: str) -> None:
    """Find the objects of further images; nothing where no folder is given.

    Parameters
    ----------
    report : RunReport
        From `train`.
    images : str
        Folder of images.
    output : str
        Where label images and tables are written. Those of an earlier call are replaced; files that
        were changed since are moved to ``previous`` in this folder.
    """
    if not images.strip():
        print("no folder of new images is given")
        return
    from singula.loaded import gather_images, load, plan_predictions, predict_files

    folder = _folder(output, "output")
    files = gather_images([_folder(images, "images")])
    model = load(report.tree.run)
    tasks = plan_predictions(model, files, folder, tables=True)
    with protect([folder], print):  # the cell may be run again
        predict_files(model, tasks, folder, augment=None, tables=True, resume=False, notify=print)
    print(f"label images and tables: {folder}")


def _demo_data(ndim: int, folder: Path) -> tuple[Folders, ...]:
    import numpy as np

    from singula.demo import make_dataset
    from singula.survey import Folders

    root = folder / f"{ndim}d_data"
    (n_train, n_val, n_test), shape, spacing = DEMO_IMAGES[ndim]
    if not root.exists():
        print(f"no folders are given: synthetic nuclei are made in {root}")
        make_dataset(
            root,
            ndim,
            np.random.default_rng(7),
            n_train=n_train,
            n_val=n_val,
            n_test=n_test,
            shape=shape,
            spacing=spacing,
        )
    names = ("train", "val", "test")
    return tuple(Folders(part, root / part / "x", root / part / "y") for part in names)


def _answered(proposal: Proposal, find: str, classes: str) -> tuple[Choice, ...]:
    """Put what the user said in the place of what the data say."""
    from singula.propose import Choice

    if find not in FIND:
        raise UserError(f"what_to_find: {find!r} is not known", f"one of {', '.join(FIND)}")
    said: dict[str, object] = {_CHANNELS: FIND[find]} if FIND[find] else {}
    if classes.strip() != AS_LABELLED:
        if not classes.strip().isdigit() or int(classes) < 1:
            raise UserError(f"classes: found {classes!r}; allowed 1, 2, 3 … or {AS_LABELLED!r}")
        said["MODEL.N_CLASSES"] = max(2, int(classes) + 1)
    dropped = {_WEIGHTS} if said else set()
    choices = [choice for choice in proposal.choices if choice.key not in dropped]
    for key, value in said.items():
        new = Choice(key, value, "as you chose")
        places = [i for i, choice in enumerate(choices) if choice.key == key]
        if places:
            choices[places[0]] = new
            continue
        section = key.partition(".")[0]
        last = max(i for i, c in enumerate(choices) if c.key.startswith(f"{section}."))
        choices.insert(last + 1, new)
    return tuple(choices)


def _folder(path: str, name: str) -> Path:
    return user_path(path.strip() or ".", name)


def _preview(part: Folders, ndim: int) -> None:
    """Show the first image beside its labels."""
    import numpy as np

    from singula.io.read import read_image, read_labels
    from singula.report.overlay import middle_plane, overlay, to_gray

    pair = part.pairs()[0]
    image = read_image(pair.image, ndim).array
    panels: list[np.ndarray] = []
    if pair.label is not None:
        labels = read_labels(pair.label, ndim, arrays=pair.label_arrays).array[..., 0]
        if ndim == 3:
            index = middle_plane(labels)
            image, labels = image[index], labels[index]
        panels = [to_gray(image), overlay(image, labels)]
    else:
        panels = [to_gray(image if ndim == 2 else image[len(image) // 2])]
    print(f"{pair.name}: image | labels" + (" (the fullest slice)" if ndim == 3 else ""))
    _picture(_png(np.concatenate(panels, axis=1)))


def _png(pixels: np.ndarray) -> bytes:
    from io import BytesIO

    from PIL import Image as Picture

    file = BytesIO()
    picture = Picture.fromarray(pixels)
    picture.thumbnail((_WIDEST, _WIDEST))
    picture.save(file, "PNG")
    return file.getvalue()


def _display() -> Any:
    try:
        return import_module("IPython.display")
    except ImportError:
        raise UserError(
            "this is meant for a notebook, and IPython is not installed",
            install_command("notebooks"),
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

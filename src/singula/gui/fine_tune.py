"""Fine-tuning of a model with the corrections of a prediction or a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from singula.commands.fine_tune import corrected_pairs, held_out, training_pairs
from singula.errors import UserError
from singula.gui.control import Control
from singula.gui.correct import CorrectableImages
from singula.gui.processes import error_message
from singula.gui.segment import SegmentedImages
from singula.gui.segment_models import checked_model
from singula.gui.segment_process import read_prediction
from singula.inference.choose import choose_models
from singula.pipeline.run import Job
from singula.runs.corrections import FOLDER
from singula.util.format import counted
from singula.util.free_names import free_name
from singula.util.process import python_command

MINUTES = 10.0
"""Default time limit of the training."""


def describe_corrections(images: CorrectableImages) -> str:
    """Return the numbers of images for training and comparison as text; empty without any.

    Parameters
    ----------
    images : CorrectableImages
        Images of a prediction or a run.
    """
    try:
        pairs = corrected_pairs(images.labels_folder / FOLDER)
    except UserError:
        return ""
    test = len(held_out(pairs))
    text = counted(len(pairs), "corrected image")
    if not test:
        return f"{text}. Correct two images or more to compare the scores before and after."
    left = f"{test} of them {'is' if test == 1 else 'are'} not used for the training"
    return f"{text}; {left}, to compare scores before and after."


def model_of(images: CorrectableImages) -> str:
    """Return the model of a prediction or a run: a folder, or the name of a built-in model.

    Parameters
    ----------
    images : CorrectableImages
        Images of a prediction or a run, with corrections.

    Raises
    ------
    UserError
        ``corrections.none``; the model was chosen for each image, and there is none for it.
    """
    if not isinstance(images.opened, SegmentedImages):
        return str(images.folder)
    record = read_prediction(images.guard, images.folder)
    if record.model:
        return record.model
    files = [pair.image for pair in corrected_pairs(images.labels_folder / FOLDER)]
    choices, errors = choose_models(files)
    if not choices:
        raise next(iter(errors.values()))
    return choices[0].model


def start_fine_tuning(control: Control, images: CorrectableImages, minutes: float) -> Path:
    """Write a data set and a configuration, start the run, and return its folder.

    The configuration is that of `singula init corrected --from MODEL`.

    Parameters
    ----------
    control : Control
        Control of runs.
    images : CorrectableImages
        Images of a prediction or a run, with corrections.
    minutes : float
        Time limit of the training.

    Raises
    ------
    UserError
        ``corrections.none``; ``gui.unknown_model``; ``gui.outside``: the model or its training
        images are outside of the folders that the interface may open; ``gui.fine_tune``: the
        configuration was not written; the errors of `Control.start`.
    """
    guard, corrected = images.guard, images.labels_folder / FOLDER
    corrected_pairs(corrected)
    model = checked_model(guard, model_of(images))  # others may have written the record
    files = [path for pair in training_pairs(Path(model)) for path in (pair.image, pair.label)]
    guard.check_below([corrected, *filter(None, files)])
    suffixes = (".yaml", "_data", "_channels")
    name = free_name(guard.home, f"{images.folder.name}_corrected", suffixes)
    output = guard.check(f"{name}.yaml")
    arguments = ["init", str(corrected), f"--from={model}", f"--output={output}"]
    ended = subprocess.run(
        [*python_command(), "-m", "singula", *arguments, f"--minutes={minutes:g}"],
        cwd=guard.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ended.returncode:
        raise UserError(
            error_message(ended.stdout + ended.stderr) or "the configuration was not written",
            "change what the message names, and try again",
            "gui.fine_tune",
        )
    return control.start(Job(output, guard.home / "results"))

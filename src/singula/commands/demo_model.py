"""First part of `singula demo`: the instances of a built-in model, without training."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from singula.errors import UserError
from singula.inference import load, plan_predictions, predict_files
from singula.inference.choose import choose_models
from singula.io.read import read_labels
from singula.metrics import match, match_dataset
from singula.report.overlay import OVERLAY_SUFFIX
from singula.training.device import choose_for_model
from singula.util.format import counted
from singula.util.streams import print_line
from singula.zoo.models import built_in_models

FOLDER = "built_in"
_IOU = 0.5


def show_built_in_model(data: Path, output: Path, *, gpu: str | None = None) -> float | None:
    """Predict the test images of a demonstration with a built-in model, and print its score.

    Parameters
    ----------
    data : Path
        Data set with ``test/x`` and ``test/y``.
    output : Path
        Folder for label images, tables and pictures. Files in it are replaced.
    gpu : str, optional
        Device, as for `singula predict`.

    Returns
    -------
    float or None
        F1 score at IoU 0.5 over all objects; None if there is no built-in model for the images.

    Raises
    ------
    UserError
        ``demo.prediction_failed``: an image cannot be predicted, or its results cannot be written.
    """
    images = sorted((data / "test" / "x").glob("*.tif"))
    choices, errors = choose_models(images)
    for error in errors.values():
        if error.code != "zoo.no_model":
            raise error
    if not choices:
        return None
    (choice,) = choices
    began = perf_counter()
    title = built_in_models()[choice.model].card.title
    print_line(f"without training: built-in model {choice.model}, {title}")
    model = load(choice.model, device=choose_for_model(gpu).torch)
    tasks = plan_predictions(model, images, output)
    failed = predict_files(
        model, tasks, output, augment=None, tables=True, overlays=True, resume=False
    )
    for path, failure in failed.items():
        raise UserError(
            f"{path}: {failure.message}",
            "correct the error and repeat the command",
            "demo.prediction_failed",
        )
    seconds = perf_counter() - began
    ndim = model.ndim
    f1 = match_dataset(
        match(
            read_labels(data / "test" / "y" / path.name, ndim).array[..., 0],
            read_labels(output / path.name, ndim).array[..., 0],
            (_IOU,),
        )
        for path in images
    )[0].f1
    print_line(
        f"F1 at IoU {_IOU:g} on {counted(len(images), 'image')}: {f1:.3f}, after {seconds:.1f} s"
    )
    print_line(f"look at the outlines: {output / (images[0].stem + OVERLAY_SUFFIX)}")
    print_line("for your images: singula predict IMAGES -o OUT")
    return f1

"""Trained model, loaded from its checkpoint without a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from singula.data.preprocess import Reference
from singula.errors import UserError
from singula.inference.model import Model
from singula.pipeline.checkpoints import predictor_from, trained_config
from singula.pipeline.normalization import with_statistics
from singula.pipeline.object_size import TrainedObjects
from singula.pipeline.postprocess import post_settings
from singula.pipeline.readers import reader_for
from singula.pipeline.thresholds import apply_tuned, threshold_lines
from singula.runs.run import is_finished, not_a_run, open_tree
from singula.training.checkpoint import load_checkpoint
from singula.util.messages import captured_messages
from singula.util.paths import user_path
from singula.zoo.models import built_in_models

if TYPE_CHECKING:
    import torch


def find_model(path: Path | str) -> Path:
    """Return the checkpoint of a run or of a built-in model.

    A file or a run with the name of a built-in model takes precedence over the built-in model.

    Parameters
    ----------
    path : Path or str
        Folder of a run, a checkpoint file, or the name of a built-in model.

    Returns
    -------
    Path
        File of the checkpoint.

    Raises
    ------
    UserError
        `path` is not a path; ``runs.not_a_run``: it is neither a checkpoint nor a run;
        ``model.missing``: the run has no checkpoint.
    """
    path = user_path(path, "path")
    if path.is_file():
        return path
    tree = open_tree(path)
    candidates = [tree.checkpoint_best, tree.checkpoint_last]
    candidates += sorted(path.glob("checkpoints/*-checkpoint-best.pth"))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    built_in = built_in_models().get(str(path))
    if built_in is not None:
        return built_in.checkpoint
    if not is_finished(path):
        names = ", ".join(built_in_models())
        raise not_a_run(path, f"a .pth file, or a built-in model: {names}")
    raise UserError(
        f"--model: {path} has no checkpoint (expected {candidates[0]})",
        "give the .pth file with which the run predicted",
        "model.missing",
    )


def load(run_or_checkpoint: Path | str, *, device: str | torch.device = "cpu") -> Model:
    """Load a trained model: a run, a checkpoint or a built-in model.

    Parameters
    ----------
    run_or_checkpoint : Path or str
        Folder of a run, such as ``results/cells/results/cells_1``, a ``.pth`` file, or the name of
        a built-in model, such as ``nuclei``.
    device : str or torch.device
        Device for prediction.

    Returns
    -------
    Model
        Model for prediction.

    Raises
    ------
    TypeError, UserError
        An argument is wrong; there is no checkpoint, as for `find_model`; or it cannot be read.

    Examples
    --------
    >>> import singula
    >>> model = singula.load("results/cells/results/cells_1")
    >>> model.ndim, model.channels
    (2, 'BC')
    >>> labels = model.predict(image)
    >>> labels.shape == image.shape
    True
    """
    from singula.training.device import torch_device

    target = torch_device(device)
    path = user_path(run_or_checkpoint, "run_or_checkpoint")
    file = find_model(path)
    built_in = next((m for m in built_in_models().values() if m.checkpoint == file), None)
    with captured_messages() as notices:
        checkpoint = load_checkpoint(file, report=True)
        config = trained_config(checkpoint)
        config, tuned = apply_tuned(config, checkpoint.description, always=True)
        notices += tuned
        checkpoint = with_statistics(config, checkpoint)
    notices += threshold_lines(config)
    if built_in is not None:
        notices = [f"model {built_in.name}: {built_in.origin}", *notices]
    predictor, normalizer = predictor_from(config, checkpoint, target)
    stored = checkpoint.description.get("reference")
    reference = Reference.from_dict(stored) if stored else None
    reader = reader_for(config, "TEST", reference)
    post = post_settings(config)
    return Model(
        config,
        predictor,
        normalizer,
        post,
        reader,
        tuple(notices),
        checkpoint.path.absolute(),
        TrainedObjects.of(checkpoint.description),
    )

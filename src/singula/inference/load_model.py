"""Trained model, loaded from its checkpoint without a configuration file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from singula.data.preprocess import Reference
from singula.errors import UserError
from singula.inference.model import Model
from singula.pipeline.checkpoints import predictor_from, trained_config
from singula.pipeline.ensemble import Member, ensemble_config, ensemble_members
from singula.pipeline.normalization import with_statistics
from singula.pipeline.object_size import TrainedObjects, mean_objects
from singula.pipeline.postprocess import post_settings
from singula.pipeline.readers import reader_for
from singula.pipeline.thresholds import apply_tuned, threshold_lines
from singula.runs.run import is_finished, not_a_run, open_tree
from singula.training.checkpoint import load_checkpoint
from singula.util.arguments import items
from singula.util.messages import captured_messages
from singula.util.paths import user_path
from singula.zoo.models import built_in_models

if TYPE_CHECKING:
    import torch


def find_model(path: Path | str) -> Path:
    """Return the checkpoint of a run or of a built-in model, or a model package.

    A file or a run with the name of a built-in model takes precedence over the built-in model.

    Parameters
    ----------
    path : Path or str
        Folder of a run, a checkpoint, a model package, or the name of a built-in model.

    Returns
    -------
    Path
        File of the checkpoint or package.

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
        error = not_a_run(path, f"a .pth file, a package (.zip), or a built-in model: {names}")
        similar = None if path.exists() else similar_model(path)
        meant = f"; did you mean {similar}?" if similar else ""
        message = error.message
        if not path.exists():
            message = f"{path}: does not exist, expected a run, a file or a built-in model"
        raise UserError(f"{message}{meant}", error.hint, error.code)
    raise UserError(
        f"--model: {path} has no checkpoint (expected {candidates[0]})",
        "give the .pth file with which the run predicted",
        "model.missing",
    )


def similar_model(path: Path) -> str | None:
    """Return the built-in model, run or checkpoint with the most similar name; None without one.

    Parameters
    ----------
    path : Path
        Path that does not exist. Each of its folders is compared with the folders at its place.
    """
    if len(path.parts) == 1:
        names = get_close_matches(path.name, built_in_models(), 1)
        if names:
            return names[0]
    place = Path(path.anchor)
    for part in path.parts[len(place.parts) :]:
        if not (place / part).exists():
            try:
                names = [child.name for child in place.iterdir()]
            except OSError:
                return None
            part = next(iter(get_close_matches(part, names, 1)), part)
        place /= part
    is_model = place.suffix == ".pth" and place.is_file()
    is_run = is_finished(place) or (place / "checkpoints").is_dir()
    return str(place) if is_model or is_run else None


def load(
    run_or_checkpoint: Path | str | Sequence[Path | str],
    *,
    device: str | torch.device = "cpu",
) -> Model:
    """Load a trained model: a run, a checkpoint or a built-in model; or several as an ensemble.

    An ensemble returns the mean of the maps of its models. Each model normalizes and preprocesses
    the image by itself.

    Parameters
    ----------
    run_or_checkpoint : Path or str, or sequence of Path or str
        Folder of a run, such as ``results/cells/results/cells_1``, a ``.pth`` file, a model package
        (``.zip``), or the name of a built-in model, such as ``nuclei``; a sequence of them for an
        ensemble.
    device : str or torch.device
        Device for prediction.

    Returns
    -------
    Model
        Model for prediction.

    Raises
    ------
    TypeError, UserError
        An argument is wrong; there is no checkpoint, as for `find_model`; or it cannot be read;
        ``ensemble.mismatch``: the models of an ensemble differ in their channels, dimensions,
        classes, voxel size, or steps after the network.

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
    if not isinstance(run_or_checkpoint, Sequence) or isinstance(run_or_checkpoint, str | bytes):
        given: Sequence[Path] = [user_path(run_or_checkpoint, "run_or_checkpoint")]
    else:
        given = items(run_or_checkpoint, "run_or_checkpoint", user_path)
    if not given:
        raise UserError(
            "run_or_checkpoint: got an empty sequence, expected at least one model",
            "give the folder of a run or a checkpoint",
            "model.none",
        )
    with captured_messages() as notices:
        members = ensemble_members([_read_member(path, notices) for path in given])
    if len(members) == 1:
        published = _is_published(find_model(given[0]))
        notices += threshold_lines(members[0].config, published=published)
        return _model(members[0], target, notices)
    config, lines = ensemble_config(members)
    first, *others = (_model(member, target, ()) for member in members)
    notices.append(f"ensemble of {len(members)} models: the mean of their maps is used")
    return replace(
        first,
        config=config,
        notices=(*notices, *lines, *threshold_lines(config)),
        objects=mean_objects([model.objects for model in (first, *others)]),
        others=tuple(others),
    )


def _is_published(file: Path) -> bool:
    """Return True for the file of a built-in model or a package."""
    return file.suffix == ".zip" or file in {m.checkpoint for m in built_in_models().values()}


def _read_member(path: Path, notices: list[str]) -> Member:
    """Read a checkpoint, and add the origin of a built-in model to `notices`."""
    file = find_model(path)
    built_in = next((m for m in built_in_models().values() if m.checkpoint == file), None)
    if built_in is not None:
        notices.append(f"model {built_in.name}: {built_in.origin}")
    checkpoint = load_checkpoint(file, report=True)
    config = trained_config(checkpoint)
    config, _ = apply_tuned(config, checkpoint.description, always=True)
    return Member(config, with_statistics(config, checkpoint), str(path))


def _model(member: Member, device: torch.device, notices: Sequence[str]) -> Model:
    config, checkpoint = member.config, member.checkpoint
    predictor, normalizer = predictor_from(config, checkpoint, device)
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

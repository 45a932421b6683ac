"""Find the images and the weights that a run read, and verify that they did not change."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from singula.errors import UserError
from singula.io.digest import digest_again, file_sha256
from singula.io.list_images import list_images
from singula.pipeline.provenance import data_keys, first_model
from singula.runs.run import Run
from singula.util.format import counted
from singula.util.locations import location
from singula.util.paths import user_path
from singula.zoo.models import built_in_models, checkpoint_path

Moves = Mapping[Path, Path]
_MAX_LISTED = 10


def parse_moves(texts: Sequence[str]) -> dict[Path, Path]:
    """Return new folders by old folder, from ``OLD=NEW``.

    Parameters
    ----------
    texts : sequence of str
        Values of ``--data``.

    Raises
    ------
    UserError
        ``reproduce.data_option``: a text is not OLD=NEW; the codes of `user_path`.
    """
    moves = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not old or not equals or not new:
            raise UserError(
                f"--data: got {text!r}, expected OLD=NEW",
                "give the recorded folder and its present place, such as "
                "--data /old/cells=/new/cells",
                "reproduce.data_option",
            )
        moves[Path(old)] = user_path(new, "--data", "folder").absolute()
    return moves


def find_folders(run: Run, moves: Moves) -> dict[str, str]:
    """Return the folders of the data of a run, by configuration key.

    Parameters
    ----------
    run : Run
        Finished run.
    moves : mapping of Path to Path
        New folders by old folder.

    Raises
    ------
    UserError
        ``reproduce.data_missing``: a folder does not exist. ``reproduce.data_option``: an old
        folder does not contain data of the run.
    """
    values = run.config.dotted()
    keys = dict.fromkeys([*data_keys(run.config), *run.summary.data])
    folders, unused = {}, dict(moves)
    for key in keys:
        configured = Path(values[key])
        candidates = [*_moved(configured, run, moves, unused), *_bases(configured, run)]
        folder = next((path for path in candidates if path.is_dir()), None)
        if folder is None:
            raise UserError(
                f"{key}: got {configured}, expected the folder with the data of the run, which "
                "does not exist",
                f"give its present place with --data {configured}=NEW",
                "reproduce.data_missing",
            )
        folders[key] = str(folder.absolute())
    if unused:
        old = next(iter(unused))
        listed = ", ".join(dict.fromkeys(str(values[key]) for key in keys))
        raise UserError(
            f"--data: got {old}, expected a folder of the run: {listed}",
            "give one of these folders, or a folder that contains it",
            "reproduce.data_option",
        )
    return folders


def _moved(configured: Path, run: Run, moves: Moves, unused: dict[Path, Path]) -> Iterator[Path]:
    """Yield the places of a folder after the moves, and remove these from `unused`."""
    started = run.summary.job.started_in
    absolute = Path(os.path.normpath(Path(started, configured)))
    for old, new in moves.items():
        for path in (Path(os.path.normpath(configured)), absolute):
            base = Path(os.path.normpath(Path(started, old) if path == absolute else old))
            if base == path or base in path.parents:
                unused.pop(old, None)
                yield new / path.relative_to(base)


def _bases(configured: Path, run: Run) -> Iterator[Path]:
    """Yield the possible places of a path that may be relative."""
    started = run.summary.job.started_in
    parents = run.tree.run.absolute().parents
    for base in (*([Path(started)] if started else []), Path.cwd(), *parents):
        yield base / configured


def check_data(run: Run, folders: Mapping[str, str]) -> None:
    """Verify that the images and label images are those that the run read.

    Parameters
    ----------
    run : Run
        Finished run, with digests in ``run.json``.
    folders : mapping of str to str
        Result of `find_folders`.

    Raises
    ------
    UserError
        ``reproduce.data_changed``: files were changed, removed or added; the codes of
        `list_images`.
    """
    problems = [
        f"{key}: {name} {problem}"
        for key, digests in run.summary.data.items()
        for name, problem in _changes(location(folders[key]), key, digests)
    ]
    if problems:
        listed = "".join(f"\n  {line}" for line in problems[:_MAX_LISTED])
        more = len(problems) - _MAX_LISTED
        raise UserError(
            f"{counted(len(problems), 'file')} of the data changed since the run:{listed}"
            + (f"\n  … and {more} more" if more > 0 else ""),
            "restore the files of the run, or give a folder that contains them with "
            f"--data {folders[problems[0].partition(':')[0]]}=NEW",
            "reproduce.data_changed",
        )


def _changes(folder: Path, key: str, digests: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    present = {path.name: path for path in list_images(folder, key)}
    if len(present) == len(digests) == 1:  # an image that is a folder may have been renamed
        present = dict(zip(digests, present.values(), strict=True))
    for name, digest in digests.items():
        path = present.pop(name, None)
        if path is None:
            yield name, f"is missing in {folder}"
            continue
        try:
            if digest_again(path, digest) != digest:
                yield name, "has another content"
        except OSError as error:
            yield name, f"cannot be read ({error.strerror})"
    for name in present:
        yield name, f"was added to {folder}"


def find_model(run: Run) -> Path | None:
    """Return the checkpoint that the run read but did not train; None without one.

    Parameters
    ----------
    run : Run
        Finished run.

    Raises
    ------
    UserError
        ``reproduce.model_missing``, ``reproduce.model_changed``.
    """
    recorded = run.summary.first_model
    if recorded is None:
        first = first_model(run.config, run.tree)  # earlier versions did not record it
        return None if first is None else checkpoint_path(first["path"])
    path = checkpoint_path(recorded.path)
    # A training that started from the checkpoint of its own run has renamed it. The run folder may
    # have been moved together with its checkpoints.
    places = [path, path.with_name(f"{path.stem}.previous{path.suffix}")]
    places += [run.tree.checkpoints / place.name for place in places]
    present = [place for place in places if place.is_file()]
    # Earlier versions recorded the path of a built-in model, which another machine does not have.
    for place in (*present, *(model.checkpoint for model in built_in_models().values())):
        if file_sha256(place) == recorded.sha256:
            return place.absolute()
    is_built_in = not Path(recorded.path).is_absolute()
    version = run.summary.versions.get("singula", "of the run")
    install = f"install Singula {version}, which contains this model"
    if not present:
        raise UserError(
            f"{recorded.path}: the checkpoint that the run started from does not exist",
            install if is_built_in else "restore the file",
            "reproduce.model_missing",
        )
    raise UserError(
        f"{recorded.path}: the checkpoint that the run started from was changed",
        install
        if is_built_in
        else "restore the file; a training replaces it, and `singula tune` adds thresholds to it",
        "reproduce.model_changed",
    )

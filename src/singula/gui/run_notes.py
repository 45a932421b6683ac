"""Titles and notes that users give to runs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.io.record_files import read_record, write_record
from singula.io.records.results import RunNotes
from singula.util.messages import captured_messages

NOTES = "gui_notes.json"
MAX_TITLE, MAX_NOTE = 80, 2000  # characters
_MAX_BYTES = 1 << 16


def read_notes(folder: Path) -> RunNotes:
    """Return title and note of a run; empty if the file is missing or damaged.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    """
    with captured_messages(), suppress(UserError):
        return read_record(folder / NOTES, RunNotes, max_bytes=_MAX_BYTES, follow_links=False)
    return RunNotes()


def write_notes(
    guard: Guard,
    folder: Path,
    *,
    title: str | None = None,
    note: str | None = None,
    archived: bool | None = None,
) -> RunNotes:
    """Change title, note or archiving of a run, and return all of them.

    The folder keeps its name, so that configurations and commands that refer to it stay valid.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path
        Folder of the run.
    title, note : str, optional
        New text; None keeps the text.
    archived : bool, optional
        List the run with the archived runs; None keeps the choice.

    Raises
    ------
    UserError
        ``gui.long_text``: a text is too long; ``gui.outside``; ``gui.run_missing``.
    """
    folder = guard.check(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: does not exist", "reload the page", "gui.run_missing")
    title = None if title is None else " ".join(title.split())
    note = None if note is None else note.strip()
    for kind, text, limit in (("title", title, MAX_TITLE), ("note", note, MAX_NOTE)):
        if text is not None and len(text) > limit:
            raise UserError(
                f"{kind}: got {len(text)} characters, expected at most {limit}",
                "shorten the text",
                "gui.long_text",
            )
    new = {"title": title, "note": note, "archived": archived}
    notes = read_notes(folder).model_copy(
        update={name: value for name, value in new.items() if value is not None}
    )
    write_record(guard.check(folder / NOTES), notes)
    return notes

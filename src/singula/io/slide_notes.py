"""Slide of a label image, stored in the attributes of its Zarr."""

from __future__ import annotations

import json
from pathlib import Path

from singula.io.records.slides import SlideNote
from singula.io.zarr_groups import read_group, set_attributes

_ATTRIBUTE = "singula_slide"


def slide_of(path: Path) -> SlideNote | None:
    """Return the slide of a label image that `singula predict` wrote; None for other files.

    Parameters
    ----------
    path : Path
        Label image.
    """
    try:
        stored = read_group(path).get(_ATTRIBUTE) if path.suffix == ".zarr" else None
        return None if stored is None else SlideNote.model_validate_json(json.dumps(stored))
    except ValueError:  # not a Zarr with a valid note; the reader reports a damaged Zarr
        return None


def note_slide(path: Path, note: SlideNote) -> None:
    """Store the slide of a label image in its Zarr."""
    set_attributes(path, {_ATTRIBUTE: json.loads(note.to_json())})

"""Read the picture of the prediction during a training."""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from singula.errors import UserError
from singula.gui.wording import object_words
from singula.io.run_folder import ResultsTree
from singula.representations.channel_table import CHANNELS
from singula.util.paths import open_regular

_MAX_BYTES, _MAX_PANELS = 1 << 23, 8


@dataclass(frozen=True)
class TrainingPreview:
    """Picture of the prediction after an epoch.

    Parameters
    ----------
    address : str
        Picture as ``data:`` address.
    epoch : int
        Number of the epoch, from 1.
    titles : tuple of str
        Titles of the panels, from left to right.
    """

    address: str
    epoch: int
    titles: tuple[str, ...]


def read_preview(folder: Path) -> TrainingPreview | None:
    """Return the last picture of a training; None if there is none.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    """
    from PIL import Image

    with suppress(OSError, UserError, ValueError, KeyError, SyntaxError):
        path = ResultsTree.of_run(folder).preview
        with open_regular(path, max_bytes=_MAX_BYTES, follow_links=False) as file:
            data = file.read(_MAX_BYTES)
        with Image.open(BytesIO(data), formats=["PNG"]) as picture:
            text = {str(key): str(value) for key, value in picture.info.items()}
        titles = tuple(map(_title, text["titles"].split("\n")[:_MAX_PANELS]))
        address = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
        return TrainingPreview(address, int(text["epoch"]), titles)
    return None


def _title(name: str) -> str:
    """Return the title of a panel: the description of a channel, or the text itself."""
    channel = CHANNELS.get(name)
    return name if channel is None else f"{name}: {object_words(channel.describe)}"

"""Words of the pages: names of fields instead of options in messages, and explanations of terms."""

from __future__ import annotations

import re

TERMS = {
    "Detection score (F1)": (
        "From 0 to 1: 1 if every object of your labels was found, and no other. An object counts "
        "as found if it overlaps with your label at least by the given IoU: the shared pixels, "
        "divided by the pixels of either."
    ),
    "Panoptic quality": (
        "Detection score, multiplied by the mean overlap (IoU) of the objects that were found. It "
        "also measures the outlines."
    ),
}
"""Explanations of terms that a page cannot avoid."""
_FIELDS = {
    "--config": "Configuration",
    "--result_dir": "Folder for the results",
    "--name": "Name",
    "--run_id": "Run number",
    "--gpu": "GPU",
    "--iou": "IoU",
    "--metric": "Score to improve",
    "--output": "Folder for the results",
    "--model": "Model",
    "--channel": "Channel",
    "--objects": "Objects",
    "--fix": "Fix",
    "--from": "Model",
    "--minutes": "Training time (minutes)",
}
_PHRASES = (
    (re.compile(r"repeat the command with --resume"), "press Resume"),
    (re.compile(r"`singula run … --resume`"), "Resume on its page"),
    (re.compile(r"(?<![\w`-])--set ([A-Z_.]+)=(\S+)"), r"\1: \2 in the configuration"),
)
_OPTION = re.compile(r"(?<![\w-])--[a-z_]+\b")
_COMMAND = re.compile(r"(`[^`]*`)")  # a quoted command, which is unchanged


def object_words(text: str) -> str:
    """Return a description with the word of pages for instances.

    Parameters
    ----------
    text : str
        Description of a channel or a threshold.

    Examples
    --------
    >>> object_words("contour of the instances")
    'contour of the objects'
    """
    return re.sub(r"\binstance(s?)\b", r"object\1", text)


def page_text(message: str) -> str:
    """Return a message with the names of fields instead of options.

    Options that have no field, and options in a quoted command, are unchanged.

    Parameters
    ----------
    message : str
        Message or hint of an error.

    Examples
    --------
    >>> page_text("--iou: got 0, expected a number above 0")
    'IoU: got 0, expected a number above 0'
    >>> page_text("restart `singula gui` with --root FOLDER")
    'restart `singula gui` with --root FOLDER'
    """
    for pattern, text in _PHRASES:
        message = pattern.sub(text, message)
    parts = _COMMAND.split(message)
    parts[::2] = [_OPTION.sub(lambda m: _FIELDS.get(m[0], m[0]), part) for part in parts[::2]]
    return "".join(parts)

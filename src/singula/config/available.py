"""What the format offers and this version does not do yet.

To make a feature available, take its row out of the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from singula.config.schema import Config


@dataclass(frozen=True)
class Gap:
    """A key of which only some values work.

    Attributes
    ----------
    key : str
        Dotted name.
    works : tuple
        The values that work.
    phase : str
        "train" or "test" when the key matters in that phase only, else "".
    switch : str
        Dotted name of a key that must be true for this one to matter, or "".
    fatal : bool
        Whether any other value is an error; else it is said to have no effect.
    """

    key: str
    works: tuple[Any, ...] = (False,)
    phase: str = ""
    switch: str = ""
    fatal: bool = False


UNAVAILABLE: tuple[Gap, ...] = (
    Gap("MODEL.SOURCE", ("biapy", "singula"), fatal=True),
    Gap("MODEL.LAST_ACTIVATION", ("sigmoid", "SIGMOID", "linear", "LINEAR")),
)


def working_words(key: str) -> tuple[str, ...]:
    """List the only words that a key takes in this version; empty when all it knows work."""
    return next((gap.works for gap in UNAVAILABLE if gap.key == key and gap.fatal), ())


def gaps(config: Config, *, train: bool, test: bool, fatal: bool) -> Iterator[str]:
    """Say which wishes are not met: the fatal ones, or those that merely have no effect."""
    values = config.dotted()
    phases = {"", *(["train"] if train else []), *(["test"] if test else [])}
    for gap in UNAVAILABLE:
        value = values[gap.key]
        asked = gap.phase in phases and (not gap.switch or values[gap.switch])
        if gap.fatal != fatal or not asked or value in gap.works:
            continue
        if fatal:
            works = " or ".join(repr(word) for word in gap.works)
            yield f"{gap.key}: found {value!r}; allowed {works}, the others are not in this version"
        else:
            yield f"{gap.key}: {value!r} is not in this version yet, it has no effect"

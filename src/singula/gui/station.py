"""What all pages share."""

from __future__ import annotations

from dataclasses import dataclass, field

from singula.gui.control import Control
from singula.gui.guard import Guard
from singula.gui.pictures import Scenes


@dataclass
class Station:
    """The interface while it runs; it holds nothing that the files do not say.

    Parameters
    ----------
    guard : Guard
    """

    guard: Guard
    scenes: Scenes = field(default_factory=Scenes)
    control: Control = field(init=False)

    def __post_init__(self) -> None:
        """Make what depends on the guard."""
        self.control = Control(self.guard)

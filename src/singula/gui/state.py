"""State that all pages share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from singula.gui.control import Control
from singula.gui.data_check import CheckCache
from singula.gui.guard import Guard
from singula.gui.pictures import Scenes
from singula.gui.search import SEARCH
from singula.gui.segment_process import PREDICTION


@dataclass
class AppContext:
    """State of the interface that all pages share.

    Everything persistent is in files; `scenes` contains only open images, `checks` only the
    results of checks whose files have not changed.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    scenes : Scenes
        Images that pages display.
    slider_positions : dict
        Positions of the sliders of the page Tune, by the folder of the run.
    checks : CheckCache
        Results of the last checks of data sets.
    """

    guard: Guard
    scenes: Scenes = field(default_factory=Scenes)
    slider_positions: dict[Path, dict[str, float]] = field(default_factory=dict)
    checks: CheckCache = field(default_factory=CheckCache)
    control: Control = field(init=False)

    def __post_init__(self) -> None:
        """Create the control of runs."""
        self.control = Control(self.guard, (PREDICTION, SEARCH))

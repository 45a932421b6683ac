"""Entries of the wizard in the address of its page, which restore it when the page is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from singula.gui.wizard import AUTO, FIND

STEPS = {
    "images": "1. Images",
    "objects": "2. Objects",
    "data": "3. Data",
    "kinds": "4. Kinds of objects",
    "training": "5. Training",
}
"""Titles of the steps by name."""
CHECKED_STEPS = ("kinds", "training")
"""Steps that follow the check of the data."""
PARTS = {"train": "Training", "val": "Validation", "test": "Test"}
"""Titles of the parts of a data set by name."""
_IN_ADDRESS = (
    "step", "ndim", "find", "data", "classes", "output", "results", "minutes", "checked",
)  # fmt: skip
FOLDERS = tuple((part, kind) for part in PARTS for kind in ("images", "labels"))


@dataclass(frozen=True)
class WizardEntries:
    """Entries of the wizard.

    Parameters
    ----------
    step : str
        Current step, a key of `STEPS`.
    ndim : {0, 2, 3}
        Number of spatial dimensions; 0: automatic.
    find : str
        Kind of the objects, a key of `FIND`.
    data : str
        Folder of the data set.
    folders : dict of (str, str) to str
        Other folders by part and kind, see `FOLDERS`.
    classes : int
        Number of kinds of objects.
    output : str
        File of the settings; empty for the proposed name.
    results : str
        Folder for the results.
    minutes : float
        Training time.
    checked : bool
        The check of the data was started.
    """

    step: str = "images"
    ndim: int = 0
    find: str = AUTO
    data: str = ""
    folders: dict[tuple[str, str], str] = field(default_factory=dict)
    classes: int = 1
    output: str = ""
    results: str = "results"
    minutes: float = 30.0
    checked: bool = False

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> WizardEntries:
        """Return the entries in the query of an address; invalid values have their defaults.

        Parameters
        ----------
        query : mapping of str to str
            Values by name.
        """
        default, step, find = cls(), query.get("step", ""), query.get("find", "")
        folders = {(p, k): query.get(f"{p}_{k}", "") for p, k in FOLDERS}
        ndim = query.get("ndim", "")
        return cls(
            step=step if step in STEPS else default.step,
            ndim=int(ndim) if ndim in ("2", "3") else default.ndim,
            find=find if find in FIND else default.find,
            data=query.get("data", ""),
            folders={place: folder for place, folder in folders.items() if folder},
            classes=int(_number(query.get("classes", ""), default.classes, 254)),
            output=query.get("output", ""),
            results=query.get("results", default.results),
            minutes=_number(query.get("minutes", ""), default.minutes, 1e6),
            checked=query.get("checked") == "True",
        )

    @property
    def address(self) -> str:
        """Address of the page with these entries."""
        default = WizardEntries()
        values = {
            name: getattr(self, name)
            for name in _IN_ADDRESS
            if getattr(self, name) != getattr(default, name)
        }
        values |= {f"{p}_{k}": folder for (p, k), folder in self.folders.items() if folder}
        return f"/new?{urlencode({'start': 1, **values})}"


def _number(text: str, default: float, highest: float) -> float:
    """Return a number from 1 to `highest`, or the default."""
    try:
        value = float(text)
    except ValueError:
        return default
    return value if 1 <= value <= highest else default

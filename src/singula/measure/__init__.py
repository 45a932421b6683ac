"""Size and shape of instances, and removal of instances by their measurements.

`singula.measure` is this package and, in the public API, a function: the package is callable.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from singula.measure.morphology import HALO, Shapes, measure, measurements, shapes
from singula.measure.select import (
    CORRECT,
    REMOVED,
    Condition,
    conditions_from_lists,
    removed_ids,
    select,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = [
    "CORRECT",
    "HALO",
    "REMOVED",
    "Condition",
    "Shapes",
    "conditions_from_lists",
    "measure",
    "measurements",
    "removed_ids",
    "select",
    "shapes",
]


class _CallablePackage(ModuleType):
    def __call__(
        self, labels: np.ndarray, *, spacing: Sequence[float] | None = None
    ) -> pd.DataFrame:
        return measure(labels, spacing=spacing)


sys.modules[__name__].__class__ = _CallablePackage

"""Size, shape and intensities of instances, and removal of instances by their measurements.

`singula.measure` is this package and, in the public API, a function: the package is callable.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from singula.io.image import Spacing
from singula.measure.intensity import Intensities, intensities, intensity_columns
from singula.measure.moments import Moments, axis_ratio, second_moments
from singula.measure.morphology import HALO, Shapes, measure_instances, measurements, shapes
from singula.measure.select import (
    CORRECT,
    REMOVED,
    Condition,
    conditions_from_lists,
    removed_ids,
    select,
)
from singula.measure.table import additional_columns, measure

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = [
    "CORRECT",
    "HALO",
    "REMOVED",
    "Condition",
    "Intensities",
    "Moments",
    "Shapes",
    "additional_columns",
    "axis_ratio",
    "conditions_from_lists",
    "intensities",
    "intensity_columns",
    "measure",
    "measure_instances",
    "measurements",
    "removed_ids",
    "second_moments",
    "select",
    "shapes",
]


class _CallablePackage(ModuleType):
    def __call__(
        self,
        labels: np.ndarray,
        image: np.ndarray | None = None,
        *,
        spacing: Spacing | None = None,
        units: str | None = None,
    ) -> pd.DataFrame:
        return measure(labels, image, spacing=spacing, units=units)


sys.modules[__name__].__class__ = _CallablePackage

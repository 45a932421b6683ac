"""What is done to predictions before, and to instances after, they are decoded."""

from __future__ import annotations

from singula.postprocess.border import clear_border
from singula.postprocess.close_points import remove_close_points
from singula.postprocess.filters import median_yz, median_z
from singula.postprocess.labels import Survey, count_instances, remove, survey
from singula.postprocess.repair import repair_large
from singula.postprocess.voronoi import growth_area, voronoi

__all__ = [
    "Survey",
    "clear_border",
    "count_instances",
    "growth_area",
    "median_yz",
    "median_z",
    "remove",
    "remove_close_points",
    "repair_large",
    "survey",
    "voronoi",
]

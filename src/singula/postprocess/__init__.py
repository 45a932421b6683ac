"""Post-processing: filters of predicted maps, and corrections of decoded instances."""

from __future__ import annotations

from singula.postprocess.border import Ids, border_ids, clear_border
from singula.postprocess.close_points import close_ids, remove_close_points
from singula.postprocess.filters import median_halo, median_yz, median_z
from singula.postprocess.holes import Gaps, Holes, enclosed, fill_holes, find_background
from singula.postprocess.labels import (
    Extents,
    Survey,
    count_instances,
    extents,
    recode,
    remove,
    survey,
)
from singula.postprocess.parts import Block, Table
from singula.postprocess.repair import Contacts, Repair, contacts, plan_repair, repair_large
from singula.postprocess.voronoi import (
    Grown,
    growth_area,
    growth_foreground,
    growth_threshold,
    voronoi,
    voronoi_block,
)

__all__ = [
    "Block",
    "Contacts",
    "Extents",
    "Gaps",
    "Grown",
    "Holes",
    "Ids",
    "Repair",
    "Survey",
    "Table",
    "border_ids",
    "clear_border",
    "close_ids",
    "contacts",
    "count_instances",
    "enclosed",
    "extents",
    "fill_holes",
    "find_background",
    "growth_area",
    "growth_foreground",
    "growth_threshold",
    "median_halo",
    "median_yz",
    "median_z",
    "plan_repair",
    "recode",
    "remove",
    "remove_close_points",
    "repair_large",
    "survey",
    "voronoi",
    "voronoi_block",
]

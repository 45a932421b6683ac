"""Operations on label images, and corrections of decoded instances."""

from __future__ import annotations

from singula.labels.block_table import Block, Table
from singula.labels.border import Ids, border_ids, clear_border
from singula.labels.classes import with_class_channel
from singula.labels.close_points import close_ids, remove_close_points
from singula.labels.holes import Gaps, Holes, enclosed, fill_holes, find_background
from singula.labels.index import Extents, Survey, count_instances, extents, recode, remove, survey
from singula.labels.repair import Contacts, Repair, contacts, plan_repair, repair_large
from singula.labels.voronoi import (
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
    "plan_repair",
    "recode",
    "remove",
    "remove_close_points",
    "repair_large",
    "survey",
    "voronoi",
    "voronoi_block",
    "with_class_channel",
]

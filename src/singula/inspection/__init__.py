"""Validation of images and labels: findings, a page with pictures, and a corrected copy."""

from __future__ import annotations

from singula.inspection.findings import (
    HINT,
    KINDS,
    PROBLEM,
    Finding,
    InspectedPart,
    Inspection,
    Kind,
    Place,
)
from singula.inspection.fix import FixReport, check_target, write_fixed
from singula.inspection.inspect import inspect_dataset
from singula.inspection.page import check_page, write_page
from singula.inspection.settings import InspectSettings
from singula.inspection.text import describe

__all__ = [
    "HINT",
    "KINDS",
    "PROBLEM",
    "Finding",
    "FixReport",
    "InspectSettings",
    "InspectedPart",
    "Inspection",
    "Kind",
    "Place",
    "check_page",
    "check_target",
    "describe",
    "inspect_dataset",
    "write_fixed",
    "write_page",
]

"""Validation of images and labels: findings, a page with pictures, and a corrected copy."""

from __future__ import annotations

from singula.dataset.checks.findings import (
    HINT,
    KINDS,
    PROBLEM,
    Finding,
    InspectedPart,
    Inspection,
    Kind,
    Place,
)
from singula.dataset.checks.fix import FixReport, check_target, write_fixed
from singula.dataset.checks.inspect import inspect_dataset
from singula.dataset.checks.page import check_page, write_page
from singula.dataset.checks.settings import InspectSettings
from singula.dataset.checks.text import describe

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

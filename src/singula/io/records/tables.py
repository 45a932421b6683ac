"""Rows of CSV files."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from singula.io.records.base import Finite


class TableRow(BaseModel):
    """Row of a CSV file; cells without text are missing."""

    model_config = ConfigDict(frozen=True, extra="allow")


class EpochRow(TableRow):
    """Row of the training log."""

    __pydantic_extra__: dict[str, float]
    epoch: Annotated[float, Field(ge=0, le=2**53, multiple_of=1)]


class MetricsRow(TableRow):
    """Row of ``metrics.csv``: scores of an image, or of all, at an IoU threshold."""

    __pydantic_extra__: dict[str, float]
    view: str
    image: str
    threshold: Finite | None = None
    kind: Annotated[float, Field(ge=0, le=2**31, multiple_of=1)] | None = Field(None, alias="class")


class TrialRow(TableRow):
    """Row of ``trials.csv``: thresholds, and the scores of the images decoded with them."""

    __pydantic_extra__: dict[str, Any]
    pq: Finite
    f1: Finite
    precision: Finite
    recall: Finite
    chosen: Annotated[int, Field(ge=0, le=1)] = 0

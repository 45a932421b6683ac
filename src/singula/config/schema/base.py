"""Base class of all sections, and declaration of keys."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Frozen section of the YAML tree that refuses unknown keys."""

    # Validators are built at first use, which keeps the import fast.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


def key(
    default: Any,
    description: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
) -> Any:
    """Declare a key with its default, its description in one line and its range."""
    return Field(
        default,
        description=description,
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        min_length=min_length,
        max_length=max_length,
    )


def section(model: type[Section]) -> Any:
    """Declare a subsection whose keys have their defaults."""
    return Field(default_factory=model, description=(model.__doc__ or "").strip())

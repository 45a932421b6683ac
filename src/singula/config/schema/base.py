"""What all sections of the configuration have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen part of the YAML tree in which unknown keys are refused."""

    # Building the validators is put off to the first use, so that importing stays cheap.
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
    """Declare a key with its default, one line of description and the range of its values."""
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
    """Declare a subsection in which every key has its default."""
    return Field(default_factory=model, description=(model.__doc__ or "").strip())

"""Base class of the models, and types of fields of several models."""

from __future__ import annotations

import json
from math import inf
from typing import Annotated, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError

from singula.util.streams import escape_surrogates

T = TypeVar("T")
IGNORABLE = "ignored if invalid"
Ignorable = Annotated[T, IGNORABLE]
MAX_INT = 2**63 - 1
Count = Annotated[int, Field(ge=0, le=MAX_INT)]
Positive = Annotated[int, Field(ge=1, le=MAX_INT)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
PositiveNumber = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNaN = Annotated[float, Field(ge=-inf)]  # limits of values may be infinite
Digest = Annotated[str, Field(pattern="^[0-9a-f]{16,64}$")]


class StoredRecord(BaseModel):
    """JSON document, or line of a file with one document per line.

    Attributes
    ----------
    newest : int
        Latest version of the format that this version of Singula reads, and which it writes.
    format : int
        Version of the format; files without it have version 1.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="ignore",
        ser_json_inf_nan="constants",
        protected_namespaces=(),
    )
    newest: ClassVar[int] = 1
    format: Positive = 1

    def to_json(self, indent: int | None = None) -> str:
        """Return the document; bytes of file names that are not text are escaped."""
        try:
            return self.model_dump_json(indent=indent, by_alias=True)
        except PydanticSerializationError:
            return json.dumps(escape_surrogates(self.model_dump(by_alias=True)), indent=indent)


class Part(BaseModel):
    """Part of a document."""

    model_config = StoredRecord.model_config

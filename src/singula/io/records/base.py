"""Base of the models, and types of fields that several models share."""

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
LARGEST = 2**63 - 1
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Positive = Annotated[int, Field(ge=1, le=LARGEST)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNaN = Annotated[float, Field(ge=-inf)]  # limits of values may be infinite
Digest = Annotated[str, Field(pattern="^[0-9a-f]{16,64}$")]


class StoredRecord(BaseModel):
    """A JSON document, or a line of a file with one document per line.

    Attributes
    ----------
    newest : int
        Version of the format that this version of Singula writes; later ones are refused.
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
        """Return the document; bytes of file names that are not text become escapes."""
        try:
            return self.model_dump_json(indent=indent, by_alias=True)
        except PydanticSerializationError:
            return json.dumps(escape_surrogates(self.model_dump(by_alias=True)), indent=indent)


class Part(BaseModel):
    """A part of a document."""

    model_config = StoredRecord.model_config

"""Record of the files that Singula wrote: `singula.io.written`."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, InstanceOf, model_validator

Stamp = tuple[int, int, str]
"""Size, time of the last change in ns, and digest of the content of a small file."""


class WrittenFile(BaseModel):
    """Line of ``.singula_files.jsonl``, a list: path of a file, and its stamps.

    Parameters
    ----------
    path : str
        Path in the protected folder; bytes that are not text are surrogates, which JSON of
        pydantic does not support.
    stamps : tuple of Stamp
        Stamps of the file; the file was written by Singula if it has one of them.
    """

    model_config = ConfigDict(frozen=True)
    path: InstanceOf[str]
    stamps: tuple[Stamp, ...]

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, values: Any) -> Any:
        is_line = isinstance(values, list) and values
        return {"path": values[0], "stamps": values[1:]} if is_line else values

    @classmethod
    def from_line(cls, line: bytes) -> WrittenFile:
        """Parse a line; raises `ValueError` or `RecursionError` if it is damaged."""
        return cls.model_validate(json.loads(line))

    def to_line(self) -> bytes:
        """Return the line, with its end."""
        return json.dumps([self.path, *self.stamps]).encode("ascii") + b"\n"

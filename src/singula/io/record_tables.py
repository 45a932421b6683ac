"""Read and write the tables of `singula.io.records`, CSV files with one model for all rows."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from singula.errors import UserError
from singula.io.atomic import write_error
from singula.io.record_files import (
    MAX_BYTES,
    REMEDY,
    append_text,
    describe_invalid,
    read_bytes,
    report_lost,
)
from singula.io.records.tables import TableRow
from singula.io.replace import replace_path
from singula.io.write import write_csv
from singula.util.paths import read_text_file

_log = logging.getLogger(__name__)

W = TypeVar("W", bound=TableRow)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], kind: type[TableRow]) -> Path:
    """Write a CSV file whose rows conform to a model.

    Parameters
    ----------
    path : Path
        CSV file.
    rows : sequence of mapping
        Values by column.
    kind : type
        Model of a row.

    Raises
    ------
    UserError
        Full disk or forbidden folder.
    """
    for row in rows:
        kind.model_validate(row)
    return write_csv(path, rows)


def read_table(path: Path, kind: type[W], hint: str = REMEDY) -> list[W]:
    """Read a CSV file that was written as a whole.

    Raises
    ------
    UserError
        ``records.invalid_row``; ``paths.*`` if the file cannot be read.
    """
    text = read_text_file(path, MAX_BYTES)
    reader = csv.reader(StringIO(text, newline=""))
    rows = []
    try:
        columns = next(reader, [])
        for cells in reader:
            if cells:
                rows.append(_row(columns, cells, kind))
    except (ValidationError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: line {reader.line_num}: {_reason(error)}", hint, "records.invalid_row"
        ) from error
    return rows


def append_row(path: Path, row: TableRow, key: str) -> None:
    """Append a row to a CSV file, unless the file has a row with the same key.

    A file without a readable first line is renamed, and a new file is created.

    Parameters
    ----------
    path : Path
        CSV file.
    row : TableRow
        The row; all values are numbers.
    key : str
        Column whose values identify rows.

    Raises
    ------
    UserError
        Full disk or forbidden folder.
    """
    identity = getattr(row, key)
    columns = _columns(_lines(path)) if path.exists() else []
    if path.exists() and key not in columns:
        damaged = path.with_name(f"{path.stem}.damaged{path.suffix}")
        try:
            replace_path(path, damaged)
        except OSError as error:
            raise write_error(path, error) from error
        _log.warning(
            f"{path}: has no column {key}; renamed to {damaged.name}; a new table is created"
        )
        columns = []
    if columns and identity in {getattr(r, key) for r in _read_rows(path, type(row))[0]}:
        return
    values = {name: f"{value:.8g}" for name, value in row.model_dump().items()}
    values[key] = f"{identity:.17g}"
    text = StringIO(newline="")
    writer = csv.DictWriter(text, columns or list(values), extrasaction="ignore", restval="")
    if not columns:
        writer.writeheader()
    writer.writerow(values)
    append_text(path, text.getvalue())


def read_rows(path: Path, kind: type[W]) -> list[W]:
    """Read a CSV file to which rows are appended; invalid rows are lost.

    Parameters
    ----------
    path : Path
    kind : type
        Model of a row.

    Raises
    ------
    UserError
        ``paths.*`` if the file cannot be read.
    """
    rows, lost = _read_rows(path, kind)
    report_lost(path, lost)
    return rows


def _read_rows(path: Path, kind: type[W]) -> tuple[list[W], list[str]]:
    # A last line without an end is being written, or was when a process was killed.
    lines = _lines(path)[:-1]
    columns = _columns(lines)
    rows, lost = [], []
    for number, line in enumerate(lines[1:], 2):
        try:
            rows.append(_row(columns, _cells(line), kind) if line.strip() else None)
        except (ValidationError, ValueError, csv.Error) as error:
            lost.append(f"line {number}: {_reason(error)}")
    return [row for row in rows if row is not None], lost


def _lines(path: Path) -> list[str]:
    text = read_bytes(path).decode("utf-8", "replace")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _columns(lines: Sequence[str]) -> list[str]:
    try:
        return _cells(lines[0]) if lines else []
    except csv.Error:
        return []


def _cells(line: str) -> list[str]:
    return next(csv.reader([line], strict=True), [])


def _row(columns: Sequence[str], cells: Sequence[str], kind: type[W]) -> W:
    if len(cells) != len(columns):
        raise ValueError(f"got {len(cells)} cells, expected {len(columns)}")
    return kind.model_validate({n: cell for n, cell in zip(columns, cells, strict=True) if cell})


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return describe_invalid(error.errors(include_url=False)[0])
    return str(error)

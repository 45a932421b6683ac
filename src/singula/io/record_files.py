"""Reading and writing of the JSON files of `singula.io.records`, with reports of invalid parts."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError, from_json, to_json

from singula.errors import UserError
from singula.io.atomic import make_folder, write_error
from singula.io.records.base import IGNORABLE, StoredRecord
from singula.io.write import write_text
from singula.io.written import record as record_written
from singula.util.paths import open_regular

_log = logging.getLogger(__name__)
Location = tuple[str | int, ...]
R = TypeVar("R", bound=StoredRecord)
MAX_BYTES = 256 << 20
REMEDY = "restore the file from a copy, or delete it and repeat the command that wrote it"
_MAX_VALUE = 60  # characters of an invalid value in a message


def read_record(
    path: Path,
    kind: type[R],
    *,
    max_bytes: int = MAX_BYTES,
    follow_links: bool = True,
    hint: str = REMEDY,
) -> R:
    """Read a JSON document; log a warning for each part that is ignored because it is invalid.

    Parameters
    ----------
    path : Path
        File of the document.
    kind : type
        Model of the document.
    max_bytes : int
        Largest size of the file, in bytes.
    follow_links : bool
        As for `singula.util.paths.open_regular`.
    hint : str
        Remedy if the document cannot be used.

    Returns
    -------
    StoredRecord

    Raises
    ------
    UserError
        ``records.not_json``, ``records.missing_field``, ``records.invalid_field`` and
        ``records.newer_version``; ``paths.*`` if the file cannot be read.
    """
    data = read_bytes(path, max_bytes, follow_links=follow_links)
    return parse_record(data, kind, str(path), hint)


def parse_record(data: bytes | str, kind: type[R], source: str, hint: str = REMEDY) -> R:
    """Parse a JSON document; `source` is its name in messages. See `read_record`."""
    try:
        record = kind.model_validate_json(data)
    except ValidationError:
        try:
            plain = from_json(data)
        except ValueError as error:
            raise UserError(
                f"{source}: is not a valid JSON file ({error})", hint, "records.not_json"
            ) from error
        return _without_invalid_parts(plain, kind, source, hint)[0]
    _check_version(record.format, kind, source)
    return record


def check_values(
    values: Mapping[str, Any], kind: type[R], source: str, hint: str = REMEDY
) -> dict[str, Any]:
    """Validate a mapping of plain values.

    Returns
    -------
    dict
        The values without the invalid parts that are ignored.

    Raises
    ------
    UserError
        As for `read_record`.
    """
    try:
        plain = from_json(to_json(values, inf_nan_mode="constants"))
    except (PydanticSerializationError, ValueError) as error:
        raise UserError(
            f"{source}: has values of other types than text, numbers and lists ({error!s:.120})",
            hint,
            "records.invalid_field",
        ) from error
    _, ignored = _without_invalid_parts(plain, kind, source, hint)
    checked = dict(values)
    for path in ignored:
        checked = _removed(checked, path)
    return checked


def write_record(path: Path, record: StoredRecord) -> Path:
    """Write a JSON document.

    Raises
    ------
    StorageError
        ``storage.full``, ``storage.forbidden``.
    """
    return write_text(path, record.to_json(indent=2) + "\n")


def read_lines(path: Path, kind: type[R], hint: str = REMEDY) -> list[R]:
    """Read a file with a JSON document per line; skip invalid lines.

    Parameters
    ----------
    path : Path
        File; a missing file counts as empty.
    kind : type
        Model of a line.
    hint : str
        Remedy if the file cannot be used.

    Raises
    ------
    UserError
        ``records.newer_version``; ``paths.*`` if the file cannot be read.
    """
    if not path.exists():
        return []
    records, lost = [], []
    lines = read_bytes(path).split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = kind.model_validate_json(line)
        except ValidationError as error:
            _check_version(_format_of(line), kind, f"{path}, line {number}")
            if number < len(lines):
                lost.append(
                    f"line {number}: {describe_invalid(error.errors(include_url=False)[0])}"
                )
            continue
        _check_version(record.format, kind, f"{path}, line {number}")
        records.append(record)
    report_lost(path, lost)
    return records


def append_line(path: Path, record: StoredRecord) -> None:
    """Append a JSON document to a file of lines, and flush it to the disk.

    If the last line has no end, as a killed process leaves it, it is ended first.

    Raises
    ------
    UserError
        ``paths.not_a_file``, ``storage.full``, ``storage.forbidden``.
    """
    append_text(path, record.to_json() + "\n")


def append_text(path: Path, text: str) -> None:
    """Append whole lines to a text file; see `append_line`."""
    make_folder(path.parent)
    if path.exists() and not path.is_file():  # opening a pipe would wait for a reader
        open_regular(path).close()
    try:
        with path.open("a+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                text = text if file.read(1) == b"\n" else "\n" + text
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        record_written(path)
    except OSError as error:
        raise write_error(path, error) from error


def report_lost(path: Path, lost: Sequence[str]) -> None:
    """Report the lines of a file that are lost, each as ``line N: reason``."""
    if lost:
        more = f", and {len(lost) - 1} more" if lost[1:] else ""
        _log.warning(f"{path}: a damaged line is ignored: {lost[0]}{more}")


def _format_of(line: bytes) -> object:
    try:
        plain = from_json(line)
    except ValueError:
        return None
    return plain.get("format") if isinstance(plain, dict) else None


def read_bytes(path: Path, max_bytes: int = MAX_BYTES, *, follow_links: bool = True) -> bytes:
    """Read a regular file of limited size.

    Raises
    ------
    UserError
        ``paths.*``: the file cannot be read.
    """
    with open_regular(path, max_bytes=max_bytes, follow_links=follow_links) as file:
        try:
            return file.read(max_bytes)
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read ({error.strerror})", "check the disk", "paths.unreadable"
            ) from error


def _without_invalid_parts(
    plain: Any, kind: type[R], source: str, hint: str
) -> tuple[R, list[Location]]:
    """Validate values without their invalid parts, if these are ignorable."""
    if isinstance(plain, dict):
        _check_version(plain.get("format"), kind, source)
    ignored: list[Location] = []
    while True:
        try:
            record = kind.model_validate_json(to_json(plain, inf_nan_mode="constants"))
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False)
        else:
            return record, ignored
        paths = {ignorable_part(kind, detail["loc"]): detail for detail in reversed(details)}
        if None in paths:
            raise _invalid(source, paths[None], hint)
        path, detail = paths.popitem()
        if path is not None:
            _log.warning(f"{source}: {describe_invalid(detail)}; {_dotted(path)} is ignored")
            plain = _removed(plain, path)
            ignored.append(path)


def ignorable_part(kind: type[BaseModel], place: Location) -> Location | None:
    """Return the path of the innermost ignorable field that contains an invalid value."""
    ignorable, model = None, kind
    for number, step in enumerate(place):
        field = model.model_fields.get(str(step))
        if field is None:
            continue
        if IGNORABLE in field.metadata:
            ignorable = place[: number + 1]
        model = _model_in(field.annotation) or model
    return ignorable


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for part in get_args(annotation) if (m := _model_in(part))), None)


def _removed(values: dict[str, Any], path: Sequence[str | int]) -> dict[str, Any]:
    """Return a copy without the field at a path; other fields are shared."""
    first, *rest = path
    copy: Any = list(values) if isinstance(values, list) else dict(values)
    if rest:
        copy[first] = _removed(copy[first], rest)
    else:
        copy.pop(first, None)
    result: dict[str, Any] = copy
    return result


def _check_version(version: object, kind: type[StoredRecord], source: str) -> None:
    if type(version) is int and version > kind.newest:
        raise UserError(
            f"{source}: got format {_short(version)}, expected at most {kind.newest}",
            "update Singula, or use the version that wrote the file",
            "records.newer_version",
        )


def _invalid(source: str, detail: ErrorDetails, hint: str) -> UserError:
    missing = detail["type"] == "missing"
    code = "records.missing_field" if missing else "records.invalid_field"
    return UserError(f"{source}: {describe_invalid(detail)}", hint, code)


def describe_invalid(detail: ErrorDetails) -> str:
    """Describe an invalid value: field, given value, expected value."""
    place = _dotted(detail["loc"])
    prefix = f"{place}: " if place else ""
    if detail["type"] == "missing":
        return f"{prefix}is missing"
    text = detail["msg"].removeprefix("Input should be ")
    expected = f"expected {text}" if text != detail["msg"] else text
    return f"{prefix}got {_short(detail['input'])}, {expected}"


def _dotted(place: Location) -> str:
    return ".".join(str(step)[:_MAX_VALUE] for step in place)


def _short(value: object) -> str:
    """Return a value as short text."""
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a number with too many digits"
    text = repr(value[: 2 * _MAX_VALUE] if isinstance(value, str) else value)
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"

"""Text of counts, values and commands for messages."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUPED = r"\d[\d\u202f]*"
"""Regular expression of the text of `grouped`."""
_MAX_CHARACTERS = 80  # of a value in a message


def counted(count: int, word: str, plural: str | None = None) -> str:
    """Return a number with its noun in the right form.

    Parameters
    ----------
    count : int
        Number of things.
    word : str
        Noun in the singular; an adjective may precede it.
    plural : str, optional
        Plural of the noun, such as ``patches``; by default the singular with an "s".

    Examples
    --------
    >>> counted(1, "image"), counted(2, "image"), counted(0, "patch", "patches")
    ('1 image', '2 images', '0 patches')
    """
    return f"{grouped(count)} {word if count == 1 else plural or word + 's'}"


def grouped(count: int) -> str:
    """Return an integer with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u202f")


def ungrouped(text: str) -> int:
    """Return the integer of a text of `grouped`.

    Examples
    --------
    >>> ungrouped(grouped(1234567))
    1234567
    """
    return int(text.replace("\u202f", ""))


def shape_text(shape: Iterable[float]) -> str:
    """Return the sides of an image or a box, rounded to integers.

    Parameters
    ----------
    shape : iterable of float
        Lengths, such as (y, x) in pixels.

    Examples
    --------
    >>> shape_text((24, 256, 256))
    '24 × 256 × 256'
    """
    return " × ".join(f"{side:.0f}" for side in shape)


def show(value: object) -> str:
    r"""Return the `repr` of a value for a message, cut to 80 characters; "nothing" for None.

    Examples
    --------
    >>> show("cells\0"), show(None), len(show("x" * 1000))
    ("'cells\\x00'", 'nothing', 80)
    """
    try:
        text = "nothing" if value is None else repr(value)
    except ValueError:  # an integer with more digits than Python converts to text
        return f"a number of more than {grouped(sys.get_int_max_str_digits())} digits"
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"


def list_lines(lines: Sequence[str], max_lines: int = 8) -> str:
    """Return indented lines that follow the first line of a message; the last counts the others."""
    more = f"\n    … and {len(lines) - max_lines} more" if len(lines) > max_lines else ""
    return "".join(f"\n    {line}" for line in lines[:max_lines]) + more


def command(*arguments: object) -> str:
    """Return a Singula command, quoted for a shell.

    Parameters
    ----------
    *arguments : object
        Subcommand, options and paths.
    """
    return shlex.join(["singula", *map(str, arguments)])


def install_command(extra: str = "") -> str:
    """Return the command that adds an extra to this installation.

    For a checkout or a folder, the command names that folder, with its tested versions. For a
    wheel, an archive or a repository, it names that source; otherwise the package.

    Parameters
    ----------
    extra : str, optional
        Name of an extra in ``pyproject.toml``; without one, Singula with its required libraries.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    suffix = f"[{extra}]" if extra else ""
    try:
        installed: Distribution | None = distribution("singula")
    except PackageNotFoundError:
        installed = None
    source = _source(installed)
    folder = Path(__file__).resolve().parents[2]
    editable = _is_checkout(folder)
    if not editable and "dir_info" in source:
        folder = _local_path(source)
    if not _is_checkout(folder):
        return f"pip install {_quoted(_requirement(source, suffix))}"
    is_current = folder == Path.cwd().resolve()
    versions = folder / "constraints.txt"
    arguments = ["pip", "install"]
    if versions.is_file():
        arguments += ["-c", _quoted(versions.name if is_current else str(versions))]
    arguments += ["-e"] if editable else []
    return " ".join([*arguments, _quoted(f"{'.' if is_current else folder}{suffix}")])


def _source(installed: Distribution | None) -> dict[str, Any]:
    """Return the source of the installed package (PEP 610); empty for a package index."""
    import json

    text = installed.read_text("direct_url.json") if installed is not None else None
    try:
        source = json.loads(text or "{}")
    except ValueError:
        return {}
    return source if isinstance(source, dict) else {}


def _local_path(source: dict[str, Any]) -> Path:
    from urllib.parse import unquote, urlsplit

    path = unquote(urlsplit(str(source.get("url", ""))).path)
    if sys.platform == "win32":
        path = path.lstrip("/")
    return Path(path)


def _requirement(source: dict[str, Any], suffix: str) -> str:
    url, version_control = str(source.get("url", "")), source.get("vcs_info", {})
    if version_control:
        kind, commit = version_control.get("vcs", "git"), version_control.get("commit_id", "")
        return f"singula{suffix} @ {kind}+{url}{'@' if commit else ''}{commit}"
    if "archive_info" not in source:
        return f"singula{suffix}"
    if not url.startswith("file:"):
        return f"singula{suffix} @ {url}"
    path = _local_path(source)
    return f"{path}{suffix}" if path.is_file() else f"singula{suffix}"


def _is_checkout(folder: Path) -> bool:
    return (folder / "pyproject.toml").is_file() and (folder / "src" / "singula").is_dir()


def _quoted(word: str) -> str:
    return f'"{word}"' if sys.platform == "win32" and "[" in word else shlex.quote(word)

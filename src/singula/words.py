"""Numbers and commands as people read them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_SHOWN = 80  # characters of a value in a message


def counted(count: int, word: str, plural: str | None = None) -> str:
    """Return a number with its noun in the right form.

    Parameters
    ----------
    count : int
    word : str
        Noun in the singular; an adjective may precede it.
    plural : str, optional
        Its plural where that is not the singular with an "s", such as ``patches``.

    Examples
    --------
    >>> counted(1, "image"), counted(2, "image"), counted(0, "patch", "patches")
    ('1 image', '2 images', '0 patches')
    """
    return f"{grouped(count)} {word if count == 1 else plural or word + 's'}"


def grouped(count: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u202f")


def show(value: object) -> str:
    r"""Write a value for a message: as Python does, cut where it is long.

    Examples
    --------
    >>> show("cells\0"), show(None), len(show("x" * 1000))
    ("'cells\\x00'", 'nothing', 80)
    """
    try:
        text = "nothing" if value is None else repr(value)
    except ValueError:  # Python writes no longer integers
        return f"a number of more than {grouped(sys.get_int_max_str_digits())} digits"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def command(*words: object) -> str:
    """A command of Singula as a shell takes it, whatever is in the names of files."""
    return shlex.join(["singula", *map(str, words)])


def install_command(extra: str = "") -> str:
    """Return the command that installs an extra into the present installation.

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
    here = folder == Path.cwd().resolve()
    versions = folder / "constraints.txt"
    words = ["pip", "install"]
    if versions.is_file():
        words += ["-c", _quoted(versions.name if here else str(versions))]
    words += ["-e"] if editable else []
    return " ".join([*words, _quoted(f"{'.' if here else folder}{suffix}")])


def _source(installed: Distribution | None) -> dict[str, Any]:
    """Return the source of the installed package (PEP 610); empty for a package index."""
    import json

    text = installed.read_text("direct_url.json") if installed is not None else None
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


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

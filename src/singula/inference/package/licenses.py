"""Identifiers of licenses."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from singula.config.keys import nearest_choice
from singula.errors import UserError
from singula.util.format import show

_IDENTIFIER = re.compile("[A-Za-z0-9][A-Za-z0-9.+-]*")


def check_license(identifier: str) -> None:
    """Raise an error if a text is not the identifier of a license of SPDX.

    The list of SPDX comes with bioimageio.spec. Without this library, every text in the form of an
    identifier is accepted.

    Parameters
    ----------
    identifier : str
        Identifier, such as ``CC-BY-4.0``.

    Raises
    ------
    UserError
        ``package.license``.
    """
    allowed = spdx_identifiers()
    if identifier in allowed or (not allowed and _IDENTIFIER.fullmatch(identifier)):
        return
    near = nearest_choice(identifier, sorted(allowed))
    raise UserError(
        f"--license: got {show(identifier)}, expected an SPDX identifier, such as CC-BY-4.0",
        f"did you mean {near}?" if near else "choose a license of https://spdx.org/licenses",
        "package.license",
    )


@cache
def spdx_identifiers() -> frozenset[str]:
    """Return the identifiers of SPDX, or none if bioimageio.spec is not installed."""
    try:
        library = find_spec("bioimageio.spec")
    except ModuleNotFoundError:
        return frozenset()
    folders = library.submodule_search_locations if library is not None else None
    for path in (Path(folder) / "static" / "spdx_licenses.json" for folder in folders or ()):
        if path.is_file():
            licenses = json.loads(path.read_text(encoding="utf-8"))["licenses"]
            return frozenset(license["licenseId"] for license in licenses)
    return frozenset()

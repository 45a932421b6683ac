"""Groups of a Zarr folder and their attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from singula.io.formats import ngff
from singula.io.write import write_json


def make_groups(zarr: Any, path: Path, inside: str) -> None:
    """Create the parent groups of the image that do not exist."""
    parts = inside.split("/") if inside else []
    for depth in range(len(parts)):
        zarr.open_group(path.joinpath(*parts[:depth]), mode="a", zarr_format=3)


def list_labels(folder: Path, name: str) -> None:
    """Add the name of a label image to the list in its ``labels`` group."""
    listed = read_group(folder).get("ome", {}).get("labels", [])
    set_attributes(
        folder, {"ome": {"version": ngff.VERSION, "labels": [*dict.fromkeys([*listed, name])]}}
    )


def read_group(folder: Path) -> dict[str, Any]:
    """Return the attributes of a group.

    Raises
    ------
    ValueError
        The folder is not a Zarr.
    """
    try:
        metadata = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: is not a Zarr ({error})") from error
    attributes: dict[str, Any] = metadata.get("attributes", {})
    return attributes


def set_attributes(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Update attributes of a group; its file is replaced atomically."""
    merged = {**read_group(folder), **attributes}
    write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": merged})

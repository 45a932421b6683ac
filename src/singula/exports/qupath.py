"""Export to GeoJSON of QuPath: polygons in pixels, with class and measurements."""

from __future__ import annotations

import json
import math
import uuid
from pathlib import Path
from typing import Any

from singula.exports.outlines import Outline
from singula.exports.parts import trace_instances
from singula.exports.tables import instance_table
from singula.io.atomic import atomic_path
from singula.runs.instances import Instances
from singula.util.streams import printable

# Colors of Okabe and Ito, which color-blind readers can distinguish
_COLORS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
_NOT_MEASURED = ("label", "class")


def write_geojson(item: Instances, target: Path) -> None:
    """Write each instance as a detection, whose ``name`` is the id.

    Coordinates are in pixels; those of a slide are in pixels of its finest level. In a plane,
    detections have the measurements of `instance_table`. An instance of a volume is a detection in
    each slice, without measurements, since these describe the whole instance. The metadata value
    ``objects`` is `Instances.origin`.

    Parameters
    ----------
    item : Instances
        Label image.
    target : Path
        GeoJSON file to write.
    """
    values = _measurements(item) if item.ndim == 2 else {}
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type":"FeatureCollection","features":[')
        # One line per instance, for tools that compare lines
        separator = "\n"
        for z, outline in trace_instances(item):
            feature = _feature(item, outline, z, values)
            file.write(separator + json.dumps(feature, ensure_ascii=False, separators=(",", ":")))
            separator = ",\n"
        file.write("\n]}\n")


def _feature(
    item: Instances, outline: Outline, z: int | None, values: dict[int, dict[str, float]]
) -> dict[str, Any]:
    polygons = [
        [[*ring[:, ::-1].tolist(), ring[0, ::-1].tolist()] for ring in polygon]
        for polygon in outline.polygons
    ]
    geometry: dict[str, Any] = {"type": "Polygon", "coordinates": polygons[0]}
    if len(polygons) > 1:
        geometry = {"type": "MultiPolygon", "coordinates": polygons}
    if z is not None:
        geometry["plane"] = {"c": -1, "z": z, "t": 0}
    properties: dict[str, Any] = {"objectType": "detection", "name": str(outline.label)}
    kind = (item.classes or {}).get(outline.label, 0)
    if kind:
        color = _COLORS[(kind - 1) % len(_COLORS)]
        properties["classification"] = {"name": f"class {kind}", "color": color}
    if item.origin:
        properties["metadata"] = {"objects": item.origin}
    if outline.label in values:
        properties["measurements"] = values[outline.label]
    # The identifier is derived from the content, so that equal instances yield equal files.
    identifier = uuid.uuid5(uuid.NAMESPACE_OID, printable(f"{item.name}/{outline.label}/{z}"))
    return {
        "type": "Feature",
        "id": str(identifier),
        "geometry": geometry,
        "properties": properties,
    }


def _measurements(item: Instances) -> dict[int, dict[str, float]]:
    """Return the finite measurements of each id."""
    table = instance_table(item)
    names = [name for name in table.columns if name not in _NOT_MEASURED]
    rows = zip(table["label"], table[names].to_numpy(float), strict=True)
    return {
        int(label): {n: float(v) for n, v in zip(names, row, strict=True) if math.isfinite(v)}
        for label, row in rows
    }

"""Label images from the outlines in files for ImageJ and QuPath, read with other libraries."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import roifile
from matplotlib.path import Path as Outline


def inside(rings: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose center is within an odd number of rings (x, y)."""
    y, x = np.indices(shape)
    centers = np.stack([x.ravel() + 0.5, y.ravel() + 0.5], axis=-1)
    count = np.zeros(shape, int)
    for ring in rings:
        count += Outline(ring).contains_points(centers).reshape(shape)
    return count % 2 == 1


def from_rois(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    labels = np.zeros(shape, np.uint32)
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            roi = roifile.ImagejRoi.frombytes(archive.read(entry))
            assert f"{roi.name}.roi" == entry
            plane = labels if len(shape) == 2 else labels[roi.position - 1]
            rings = roi.coordinates(multi=True)
            mask = inside([np.asarray(ring) for ring in rings], plane.shape)
            assert not plane[mask].any()
            plane[mask] = int(roi.name.split("-")[0])
    return labels


def from_geojson(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    labels = np.zeros(shape, np.uint32)
    for feature in json.loads(path.read_text())["features"]:
        geometry = feature["geometry"]
        polygons = geometry["coordinates"]
        if geometry["type"] == "Polygon":
            polygons = [polygons]
        for polygon in polygons:
            assert all(ring[0] == ring[-1] for ring in polygon)
        rings = [np.array(ring) for polygon in polygons for ring in polygon]
        plane = labels if len(shape) == 2 else labels[geometry["plane"]["z"]]
        plane[inside(rings, plane.shape)] = int(feature["properties"]["name"])
    return labels

"""Predict a drawn whole slide, and compare memory, time, counts and positions with the truth.

    python benchmarks/slide.py WORK --model RUN [--side 40000] [--scale 0.6667]

The slide is drawn once: mostly glass with pieces of tissue, levels of 1, 4 and 16, JPEG tiles. The
command runs under GNU time, which measures its peak memory.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from singula.io.slide_notes import slide_of
from singula.synthetic.slide import SlideTruth, make_slide, slide_truth

PIECES, TISSUE, SEED = 12, 0.13, 0
NEAR = 6.0  # pixels of the finest level between a nucleus and its instance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--side", type=int, default=40_000)
    parser.add_argument("--scale", help="factor, if the model has no object size")
    arguments = parser.parse_args()
    shape = (arguments.side, arguments.side)
    slide = arguments.work / f"slide_{arguments.side}.svs"
    arguments.work.mkdir(parents=True, exist_ok=True)
    settings = {"pieces": PIECES, "tissue": TISSUE}
    if not slide.exists():
        start = time.process_time()
        make_slide(slide, shape, np.random.default_rng(SEED), **settings)
        print(f"drawn in {time.process_time() - start:.0f} CPU seconds: {slide}")
    out = arguments.work / "out"
    line = ["/usr/bin/time", "-v", sys.executable, "-m", "singula", "predict", str(slide)]
    line += ["--model", arguments.model, "-o", str(out), "--overwrite"]
    line += ["--scale", arguments.scale] if arguments.scale else []
    report = subprocess.run(line, stderr=subprocess.PIPE, text=True, check=True).stderr
    print(resources(report))
    truth = slide_truth(shape, np.random.default_rng(SEED), **settings)
    print(comparison(out / f"{slide.stem}.geojson", truth))
    note = slide_of(out / f"{slide.stem}.zarr")
    if note is not None and note.tissue is not None:
        print(f"tissue: {truth.tissue:.1%} drawn, {note.tissue:.1%} predicted")


def resources(report: str) -> str:
    """Return memory and time from the report of GNU time."""
    values = dict(re.findall(r"^\s*([^:\n]+?)(?: \([^)]*\))?: ([\d.]+)$", report, re.MULTILINE))
    memory = float(values["Maximum resident set size"]) * 1024 / 1e9
    seconds = float(values["User time"]) + float(values["System time"])
    return f"memory {memory:.2f} GB, {seconds:.0f} CPU seconds"


def comparison(geojson: Path, truth: SlideTruth) -> str:
    """Return counts and positions of the instances, compared with the drawn nuclei."""
    centers, areas = [], []
    with geojson.open(encoding="utf-8") as file:
        for feature in json.load(file)["features"]:
            shape = feature["geometry"]
            parts = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
            center, area = centroid(np.array(parts[0][0]))
            centers.append(center)
            areas.append(area)
    places = np.array(centers).reshape(-1, 2)
    distance, nearest = cKDTree(places).query(truth.centers)
    near = distance < NEAR
    shift = np.abs((places[nearest] - truth.centers)[near].mean(axis=0)).max()
    ratio = np.array(areas)[nearest][near] / (np.pi * truth.radii[near].prod(axis=1))
    return (
        f"{len(places)} instances, {len(truth.centers)} drawn nuclei: {near.mean():.2%} found, "
        f"{1 - len(np.unique(nearest[near])) / len(places):.2%} of the instances are others; "
        f"mean shift {shift:.2f} pixels, median distance {np.median(distance[near]):.2f} pixels, "
        f"median area {np.median(ratio):.2f} of the drawn area"
    )


def centroid(ring: np.ndarray) -> tuple[tuple[float, float], float]:
    """Return the centroid (y, x) and the area of a closed ring (x, y)."""
    (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
    cross = x0 * y1 - x1 * y0
    total = cross.sum()
    return (
        float(((y0 + y1) * cross).sum() / (3 * total)),
        float(((x0 + x1) * cross).sum() / (3 * total)),
    ), abs(float(total)) / 2


if __name__ == "__main__":
    main()

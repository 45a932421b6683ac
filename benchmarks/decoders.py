"""Compare decoders with the original implementations, on the same soft maps.

    python benchmarks/decoders.py
    pip install --no-deps --target out/embedseg EmbedSeg==0.2.5 seaborn
    python benchmarks/decoders.py --embedseg out/embedseg
    python benchmarks/decoders.py --candidates

Draws nuclei and cells, encodes their labels, adds blur and noise to the maps, and decodes the maps
with Singula and with

- StarDist: the non-maximum suppression and rendering of `predict_instances`, with a candidate at
  each pixel or at each second one (the usual `grid`);
- EmbedSeg: the class `Cluster` or `Cluster_3d`, with maps converted to its units (CPU);
- `bioimage_cpp.segmentation.mutex_watershed`: neighbors attract with the affinity, and all offsets
  repel with 1 minus the affinity.

Thresholds are the same, and instances of fewer than 10 pixels are removed. The programs take turns,
on one thread; the table has medians of CPU seconds, their ratio, and F1 at an IoU of 0.5 between
the results and against the labels. `--candidates` prints how many candidates of polygons are
compared, and how long their suppression takes, from exact channels `F+R`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from mutex_blocks import soft_maps
from scipy.ndimage import gaussian_filter

import singula
from singula.representations.base import Maps
from singula.representations.channel_table import CHANNELS
from singula.representations.decoders.polygons import (
    find_candidates,
    suppress_overlaps,
    thin_candidates,
)
from singula.representations.families import UNIT_RADIUS
from singula.representations.table import complete_channels
from singula.synthetic.fluorescence import Appearance, make_image
from singula.synthetic.packed_cells import make_cells, make_tissue
from singula.synthetic.rods import make_rods
from singula.util.process import prepare_process

Program = Callable[[Maps], np.ndarray]
NOISE = {"R": 0.3, "Db": 0.02, "E": 0.05}
OFFSET_NOISE = 0.5
PROBABILITY, OVERLAP = 0.5, 0.4
SEEDINESS, CLUSTER = 0.9, 0.5
MIN_SIZE = 10  # pixels of an instance
MAX_SECONDS = 100.0  # CPU time of a case after which no further round starts


@dataclass(frozen=True)
class Case:
    """Labels, their channels, and the programs that decode them.

    Parameters
    ----------
    title : str
    channels : str
        Channels, joined by ``+``.
    labels : ndarray of int
    originals : dict of str to callable
        Functions of the maps that return labels.
    keys : dict
        Thresholds for `singula.decode`.
    spacing : tuple of float, optional
        Voxel size.
    """

    title: str
    channels: str
    labels: np.ndarray
    originals: dict[str, Program]
    keys: dict[str, float]
    spacing: tuple[float, ...] | None = None

    def maps(self) -> dict[str, np.ndarray]:
        """Return soft maps of the labels."""
        name = complete_channels(self.channels, self.labels.ndim, {})
        exact = singula.encode(self.labels, name, spacing=self.spacing)
        binary = {code: v for code, v in exact.items() if code[0] in "AF"}
        others = {code: v for code, v in exact.items() if code not in binary}
        return {**soft_maps(binary, 0), **noisy(others)}

    def decode(self, maps: Maps) -> np.ndarray:
        """Return the instances of Singula."""
        keys = {"TH_TYPE": "manual", "REMOVE_SMALL_OBJ": MIN_SIZE, **self.keys}
        name = complete_channels(self.channels, self.labels.ndim, {})
        return singula.decode(maps, name, thresholds=keys, spacing=self.spacing)


def noisy(exact: Maps) -> dict[str, np.ndarray]:
    """Return blurred maps with noise."""
    rng = np.random.default_rng(0)
    maps = {}
    for code, values in exact.items():
        sigma = NOISE["R" if code[0] == "R" else "E" if code[0] == "E" else code]
        if code[0] == "E" and CHANNELS[code].plane < values.ndim:
            sigma = OFFSET_NOISE
        noise = rng.normal(0, sigma, values.shape)
        maps[code] = (gaussian_filter(values, 0.6) + noise).astype(np.float32)
    return maps


def stardist(maps: Maps, *, grid: int, spacing: tuple[float, ...] | None = None) -> np.ndarray:
    """Return the instances of StarDist from the maps at each `grid`-th pixel."""
    from stardist import geometry, nms
    from stardist.rays3d import Rays_GoldenSpiral

    shape = maps["Db"].shape
    at = (slice(None, None, grid),) * len(shape)
    probability = maps["Db"][at]
    distances = np.stack([v[at] for code, v in maps.items() if code[0] == "R"], -1).clip(1e-3)
    options = {
        "grid": (grid,) * len(shape),
        "b": 0,
        "nms_thresh": OVERLAP,
        "prob_thresh": PROBABILITY,
    }
    if len(shape) == 2:
        points, scores, lengths = nms.non_maximum_suppression(distances, probability, **options)
        labels: np.ndarray = geometry.polygons_to_label(lengths, points, shape, prob=scores)
        return labels
    rays = Rays_GoldenSpiral(distances.shape[-1], anisotropy=spacing)
    points, scores, lengths = nms.non_maximum_suppression_3d(
        distances, probability, rays, **options
    )
    labels = geometry.polyhedron_to_label(lengths, points, rays, shape, prob=scores, verbose=False)
    return labels


def embedseg(maps: Maps) -> np.ndarray:
    """Return the instances of EmbedSeg; the maps of Singula are converted outside of the timing."""
    from utils.utils import Cluster, Cluster_3d  # the modules of the package

    stacked = torch.from_numpy(maps["prediction"])
    shape = tuple(stacked.shape[1:])
    side = max(shape) + 1
    grid = (side,) * len(shape)
    make = Cluster if len(shape) == 2 else Cluster_3d
    cluster = make(*grid, *(1.0,) * len(shape), "cpu")
    labels: np.ndarray = cluster.cluster(
        stacked,
        n_sigma=len(shape),
        seed_thresh=SEEDINESS,
        fg_thresh=CLUSTER,
        min_object_size=0,
    ).numpy()
    return labels


def embedseg_prediction(maps: Maps) -> np.ndarray:
    """Return the output of a network of EmbedSeg with the same embeddings.

    Offsets go through a hyperbolic tangent, bandwidths are logarithms of the inverse square that
    is 0.5 at the border of a cluster, divided by 10, and seediness goes through a sigmoid. Lengths
    are in sides of the image, x first.
    """
    *vectors, seediness = maps.values()
    ndim = seediness.ndim
    side = max(seediness.shape)
    offsets = [np.arctanh(plane / side) for plane in vectors[:ndim]][::-1]
    radii = [UNIT_RADIUS * np.exp(plane) / side for plane in vectors[ndim:]][::-1]
    bandwidths = [np.log(np.log(2) / radius**2) / 10 for radius in radii]
    seeds = seediness.clip(1e-6, 1 - 1e-6)
    logits = np.log(seeds / (1 - seeds))
    return np.stack([*offsets, *bandwidths, logits]).astype(np.float32)


def plain_mutex(maps: Maps) -> np.ndarray:
    """Return the instances of the package without Singula."""
    from bioimage_cpp.segmentation import mutex_watershed

    planes = {code: values for code, values in maps.items() if code[0] == "A"}
    offsets = [CHANNELS[code].offset for code in planes]
    near = [row for row, offset in enumerate(offsets) if sum(map(abs, offset)) == 1]
    stacked = np.stack(list(planes.values()))
    mask = maps["F"] > 0.5 if "F" in maps else None
    labels = mutex_watershed(
        np.concatenate([stacked[near], 1 - stacked]),
        [offsets[row] for row in near] + offsets,
        len(near),
        mask=mask,
    )
    labels[np.bincount(labels.ravel())[labels] < MIN_SIZE] = 0
    return labels.astype(np.int64)


def cases(has_embedseg: bool) -> list[Case]:
    """Return all cases."""
    rng = np.random.default_rng(3)
    touching = Appearance(coverage=0.45, clustered=0.9)
    small = Appearance(radius=(6, 9), coverage=0.3)
    nuclei = make_image((512, 512), rng, appearance=touching).labels
    volume = make_image((20, 48, 48), rng, spacing=(2, 1, 1), appearance=small).labels
    large = make_image((32, 128, 128), rng, spacing=(2, 1, 1), appearance=touching).labels
    cells = make_cells((512, 512), rng).labels
    tissue = make_tissue((28, 64, 64), rng).labels
    rays = {"TH_PROBABILITY": PROBABILITY, "TH_NMS": OVERLAP}
    seeds = {"TH_SEEDINESS": SEEDINESS, "TH_CLUSTER": CLUSTER}
    thick = (2.0, 1.0, 1.0)
    grids = {f"StarDist, grid {n}": partial(stardist, grid=n) for n in (1, 2)}
    grids_3d = {name: partial(each, spacing=thick) for name, each in grids.items()}
    mutex: dict[str, Program] = {"bioimage_cpp": plain_mutex}
    result = [
        Case("polygons, nuclei 512²", "Db+R", nuclei, dict(grids), rays),
        Case("polygons, cells 512²", "Db+R", cells, dict(grids), rays),
        Case("polyhedra, nuclei 20×48²", "Db+R", volume, dict(grids_3d), rays, thick),
        Case("mutex watershed, cells 512²", "F+A", cells, mutex, {"TH_FOREGROUND": 0.5}),
        Case("mutex watershed, tissue 28×64²", "A", tissue, mutex, {}),
    ]
    if has_embedseg:
        clusters: dict[str, Program] = {"EmbedSeg": embedseg}
        result += [
            Case("embeddings, nuclei 512²", "E", nuclei, clusters, seeds),
            Case("embeddings, nuclei 32×128²", "E", large, clusters, seeds),
        ]
    return result


def measure(case: Case, rounds: int) -> None:
    """Print a row for each program."""
    maps = case.maps()
    inputs: dict[str, Maps] = dict.fromkeys(case.originals, maps)
    if "EmbedSeg" in inputs:
        inputs["EmbedSeg"] = {"prediction": embedseg_prediction(maps)}
    programs: Mapping[str, Program] = {"Singula": case.decode, **case.originals}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    results: dict[str, np.ndarray] = {"Singula": case.decode(maps)}  # compiles
    begin = time.process_time()
    for _ in range(rounds):
        for name, program in programs.items():
            started = time.process_time()
            results[name] = program(inputs.get(name, maps))
            seconds[name].append(time.process_time() - started)
        if time.process_time() - begin > MAX_SECONDS:
            break

    def f1(one: np.ndarray, other: np.ndarray) -> float:
        return float(singula.match(one, other, 0.5).f1)

    decoded, used = results["Singula"], median(seconds["Singula"])
    for name in case.originals:
        original = median(seconds[name])
        scores = [f1(results[name], decoded), f1(case.labels, decoded)]
        scores.append(f1(case.labels, results[name]))
        cells = " | ".join(f"{score:.3f}" for score in scores)
        times = f"{used:.3f} | {original:.3f} | {original / used:.2f}"
        print(f"| {case.title} | {name} | {times} | {cells} | {len(seconds[name])} |", flush=True)


def count_candidates() -> None:
    """Print a row for each drawn set: candidates of polygons, all and reduced, and seconds."""
    print("| image | candidates, all | candidates, reduced | of all, s | of reduced, s |")
    print("|---|---|---|---|---|")
    for name, draw in (("cells", make_cells), ("rods", make_rods), ("tissue", make_tissue)):
        shape = (28, 64, 64) if name == "tissue" else (192, 192)
        labels = draw(shape, np.random.default_rng(0)).labels
        maps = singula.encode(labels, complete_channels("F+R", len(shape), {}))
        foreground, *rays = (values.astype(np.float32) for values in maps.values())
        every = find_candidates(foreground, rays, PROBABILITY, prefer_central=True)
        reduced = thin_candidates(every, shape)
        suppress_overlaps(reduced.select(np.arange(len(reduced)) < 9), shape, OVERLAP)  # compiles
        seconds = []
        for candidates in (reduced, every) if len(shape) == 2 else (reduced,):
            started = time.process_time()
            suppress_overlaps(candidates, shape, OVERLAP)
            seconds.append(f"{time.process_time() - started:.3f}")
        of_all = "".join(seconds[1:])
        print(f"| `{name}` | {len(every):,} | {len(reduced):,} | {of_all} | {seconds[0]} |")


def main() -> None:
    """Print the table."""
    prepare_process()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--embedseg", type=Path, help="folder with the package EmbedSeg")
    parser.add_argument("--only", default="", help="part of the title of the cases")
    parser.add_argument("--candidates", action="store_true", help="count candidates of polygons")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.candidates:
        count_candidates()
        return
    if options.embedseg:
        sys.path.append(str(options.embedseg.resolve()))
    print(
        "| decoder and image | original | Singula, s | original, s | original / Singula "
        "| F1 between | F1 Singula | F1 original | rounds |\n|---|---|---|---|---|---|---|---|---|"
    )
    for case in cases(options.embedseg is not None):
        if options.only in case.title:
            measure(case, options.rounds)


if __name__ == "__main__":
    main()

"""Stages around the network, peers and data for `stages.py` and `growth.py`."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from singula.labels import remove, repair_large, voronoi
from singula.measure import Condition, measure_instances, removed_ids, select
from singula.metrics import color_associations, match
from singula.metrics.associations import fp_columns, gt_columns
from singula.representations.channels import encode
from singula.representations.decoders import decode

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "bench"
THRESHOLDS = (0.3, 0.5, 0.75)


@dataclass(frozen=True, eq=False)
class Case:
    """Input of all stages, from a label image; its maps are the blurred channels."""

    name: str
    labels: np.ndarray
    maps: dict[str, np.ndarray]
    found: np.ndarray
    matched: list[Any]
    large: int

    @property
    def connectivity(self) -> int:
        """Return the connectivity of `cc3d` in which pixels that share a face are connected."""
        return 2 * self.labels.ndim


def make_case(name: str, labels: np.ndarray) -> Case:
    """Return a label image with maps as of a good network."""
    from scipy.ndimage import gaussian_filter

    maps = {
        "B": gaussian_filter((labels > 0).astype(np.float32), 1),
        "C": gaussian_filter(encode(labels, ("C",))["C"].astype(np.float32), 0.7),
    }
    found = decode(maps, "BC").labels
    sizes = np.bincount(labels.ravel())[1:]
    large = int(np.percentile(sizes[sizes > 0], 95)) if sizes.any() else 1
    return Case(name, labels, maps, found, match(labels, found, THRESHOLDS), large)


def draw_cells(shape: Sequence[int], count: int, seed: int = 0) -> np.ndarray:
    """Draw about `count` disks or balls on a jittered grid, many of which touch; ids from 1."""
    rng = np.random.default_rng(seed)
    pitch = (np.prod(shape) / count) ** (1 / len(shape))
    grid = tuple(max(1, round(size / pitch)) for size in shape)
    number = int(np.prod(grid))
    center = rng.uniform(-0.12, 0.12, (len(shape), number)).astype(np.float32)
    reach = rng.uniform(0.3, 0.55, number).astype(np.float32) ** 2
    axes = [np.arange(size) * cells / size for size, cells in zip(shape, grid, strict=True)]
    cell = [axis.astype(np.int64) for axis in axes]
    offset = [(axis - at - 0.5).astype(np.float32) for axis, at in zip(axes, cell, strict=True)]
    labels = np.zeros(shape, np.uint16 if number < 1 << 16 else np.uint32)
    for first, plane in enumerate(labels):  # one row, or one slice, at a time
        rest = [np.array(cell[0][first]), *np.ix_(*cell[1:])]
        own = np.ravel_multi_index(np.broadcast_arrays(*rest), grid)
        steps = [offset[0][first], *np.ix_(*offset[1:])]
        far = sum((step - center[axis][own]) ** 2 for axis, step in enumerate(steps))
        plane[...] = np.where(far < reach[own], own + 1, 0)
    return labels


@dataclass(frozen=True)
class Stage:
    """A stage, and the peer with which its time is compared.

    Parameters
    ----------
    name : str
    run, peer : callable
        Functions of a `Case`.
    peer_name : str
    limits : tuple of float
        Largest acceptable ratio of the times, for images and for volumes.
    program : str, optional
        Name of BiaPy's function in `biapy_stages_worker.py`.
    goals : tuple of float, optional
        Largest acceptable fraction of BiaPy's time, for images and for volumes.
    """

    name: str
    run: Callable[[Case], object]
    peer_name: str
    peer: Callable[[Case], object]
    limits: tuple[float, float]
    program: str | None = None
    goals: tuple[float, float] | None = None


def _match_with_tables(case: Case) -> object:
    found = match(case.labels, case.found, THRESHOLDS)
    return [(gt_columns(each), fp_columns(each)) for each in found]


def _color(case: Case) -> object:
    return color_associations(case.labels, case.found, case.matched[1])


def _remove_by_properties(case: Case) -> object:
    judged = select(measure_instances(case.labels), [[Condition("npixels", "lt", case.large / 2)]])
    return remove(case.labels, removed_ids(judged))


def _voronoi(case: Case) -> object:
    return voronoi(case.labels, np.ones(case.labels.shape, bool))


def _repair(case: Case) -> object:
    return repair_large(case.labels, case.large)


def _edt(case: Case) -> object:
    import edt

    return edt.edt(case.labels, parallel=1)


def _scikit_watershed(case: Case) -> object:
    from scipy.ndimage import label
    from skimage.segmentation import watershed

    body, contour = case.maps["B"], case.maps["C"]
    seeds, _ = label((body > 0.5) & (contour < 0.1))
    return watershed(-body, seeds, mask=body > 0.3)


def _stardist_matching(case: Case) -> object:
    from stardist.matching import matching

    return matching(case.labels, case.found, thresh=THRESHOLDS)


def _scikit_properties(case: Case) -> object:
    from skimage.measure import marching_cubes, mesh_surface_area, regionprops, regionprops_table

    if case.labels.ndim == 2:
        names = ("label", "centroid", "area", "bbox", "perimeter")
        return regionprops_table(case.labels, properties=names)
    rows = []
    for region in regionprops(case.labels):
        vertices, faces, _, _ = marching_cubes(np.pad(region.image, 1).astype(np.float32), 0.5)
        surface = mesh_surface_area(vertices, faces)
        rows.append((region.centroid, region.area, region.bbox, surface))
    return rows


def _three_look_ups(case: Case) -> object:
    table = np.zeros(1 + max(int(case.labels.max()), int(case.found.max())), np.uint8)
    return [np.take(table, case.labels), np.take(table, case.found), np.take(table, case.found)]


def _scikit_remove(case: Case) -> object:
    from skimage.measure import regionprops_table

    table = regionprops_table(case.labels, properties=("label", "area"))
    gone = table["label"][table["area"] < case.large / 2]
    return np.where(np.isin(case.labels, gone), 0, case.labels)


def _nearest_indices(case: Case) -> object:
    from scipy.ndimage import distance_transform_edt

    at = distance_transform_edt(case.labels == 0, return_distances=False, return_indices=True)
    return case.labels[tuple(at)]


def _boundaries_and_gaps(case: Case) -> object:
    import cc3d
    from skimage.segmentation import find_boundaries

    gaps = cc3d.connected_components(case.labels == 0, connectivity=case.connectivity)
    return find_boundaries(case.labels), gaps


_EDT = "one `edt.edt` of the labels"
STAGES = (
    Stage(
        "labels → B, C, D",
        lambda c: encode(c.labels, "BCD"),
        _EDT,
        _edt,
        (2.5, 2.5),
        "encode",
        (1 / 100, 1 / 100),
    ),
    Stage("labels → B, C, Dv2", lambda c: encode(c.labels, "BCDv2"), _EDT, _edt, (2.5, 2.5)),
    Stage(
        "B, C → instances",
        lambda c: decode(c.maps, "BC"),
        "`scipy.ndimage.label`, scikit-image `watershed`",
        _scikit_watershed,
        (0.35, 0.22),
        "decode",
        (1 / 5, 1 / 5),
    ),
    Stage(
        "matching at 0.3, 0.5, 0.75 with tables",
        _match_with_tables,
        "StarDist `matching`, no tables",
        _stardist_matching,
        (0.03, 0.15),
        "match",
        (1 / 80, 1 / 80),
    ),
    Stage(
        "all measurements",
        lambda c: measure_instances(c.labels),
        "scikit-image `regionprops`; 3D: `marching_cubes` of each",
        _scikit_properties,
        (0.2, 0.1),
        "measure",
        (1 / 5, 1 / 15),
    ),
    Stage(
        "colored association image",
        _color,
        "three `numpy.take`",
        _three_look_ups,
        (1.0, 1.0),
        "color",
    ),
    Stage(
        "remove by properties",
        _remove_by_properties,
        "scikit-image `regionprops` area, `numpy.isin`",
        _scikit_remove,
        (1.0, 1.0),
        "remove",
    ),
    Stage(
        "Voronoi over the whole image",
        _voronoi,
        "`scipy.ndimage.distance_transform_edt` with indices",
        _nearest_indices,
        (0.5, 0.5),
        "voronoi",
    ),
    Stage(
        "repair of large instances",
        _repair,
        "scikit-image `find_boundaries`, `cc3d` of the background",
        _boundaries_and_gaps,
        (2.5, 2.5),
        "repair",
    ),
)


def cpu_seconds(run: Callable[[Case], object], case: Case) -> float:
    """Return the CPU time of one call."""
    began = time.process_time()
    run(case)
    return time.process_time() - began


def peak_mib(run: Callable[[Case], object], case: Case) -> float | None:
    """Return the resident memory of one call beyond its input, with the result; Linux only."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free would be taken without being seen
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
        before = _status("VmRSS")
        kept = run(case)
        peak = _status("VmHWM")
    except (OSError, AttributeError):
        return None
    del kept
    return max(0.0, peak - before)


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(key + ":"))


def bench_cases(quick: bool) -> list[Callable[[], Case]]:
    """Yield the two images of the table; tiny ones if `quick`."""
    if quick:
        return [
            partial(_synthetic, "96×96", (96, 96), 20),
            partial(_synthetic, "12×40×40", (12, 40, 40), 20),
        ]
    return [
        partial(_stored, "4096²", "mosaic_4096_label.tif", (4096, 4096), 5700),
        partial(_stored, "96×384×384", "volume_96x384x384_label.tif", (96, 384, 384), 3000),
    ]


def _synthetic(name: str, shape: tuple[int, ...], count: int) -> Case:
    labels = draw_cells(shape, count)
    return make_case(f"{name}, {len(np.unique(labels)) - 1:,} drawn instances", labels)


def _stored(name: str, file: str, shape: tuple[int, ...], count: int) -> Case:
    from tifffile import imread

    if not (DATA / file).is_file():
        return _synthetic(name, shape, count)
    labels = imread(DATA / file)
    return make_case(f"{name}, {len(np.unique(labels)) - 1:,} instances", labels)

"""Draw the figures of the documentation: `python docs/make/pictures.py`.

"Predictions" here are the channels of the true labels, blurred and with noise, so that no training
is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from singula.report.overlay import label_colors, overlay, to_gray
from singula.representations.channels import CHANNELS, encode
from singula.representations.channels.rays import ray_directions
from singula.representations.decoders import DecodeSettings, decode
from singula.representations.decoders.embedding import embed_pixels, find_clusters
from singula.representations.decoders.offsets import (
    cast_votes,
    find_centers,
    join_centers,
    offsets_in_pixels,
)
from singula.representations.decoders.polygons import (
    draw_polygons,
    find_candidates,
    suppress_overlaps,
)
from singula.synthetic.datasets import DRAWINGS
from singula.synthetic.fluorescence import make_image
from singula.synthetic.packed_cells import make_cells

HERE = Path(__file__).parents[1]
CROP = (slice(60, 156), slice(60, 156))
SEED = 3
BINARY = {"cmap": "gray", "vmin": 0, "vmax": 1}
STEPS = {
    "BC": {"TH_BINARY_MASK": 0.5, "TH_CONTOUR": 0.35, "TH_FOREGROUND": 0.3},
    "BP": {"TH_POINTS": 0.4, "TH_FOREGROUND": 0.3},
    "BCD": {
        "TH_BINARY_MASK": 0.5,
        "TH_CONTOUR": 0.35,
        "TH_DISTANCE": 2.0,
        "TH_FOREGROUND": 0.3,
    },
    "BCDv2": {"TH_BINARY_MASK": 0.5, "TH_CONTOUR": 0.35, "TH_DISTANCE": 0.7},
}


def main(folder: Path = HERE) -> list[Path]:
    """Draw all figures and return their paths."""
    mpl.use("Agg")
    drawn = make_image((220, 220), np.random.default_rng(SEED))
    image, labels = drawn.image, drawn.labels.astype(np.int32)
    return [
        channels(folder / "channels.png", image, labels),
        listed_channels(folder / "listed_channels.png", image, labels),
        affinities(folder / "affinities.png"),
        polygons(folder / "polygons.png", labels),
        embeddings(folder / "embeddings.png", labels),
        flows(folder / "flows.png"),
        offsets(folder / "offsets.png", labels),
        drawn_sets(folder / "drawn_sets.png"),
        contours(folder / "contours.png", labels),
        decoding(folder / "decoding.png", labels),
        thresholds(folder / "thresholds.png", image, labels),
    ]


def painted(labels: np.ndarray) -> np.ndarray:
    """Return a color for each id, black for background."""
    ids, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape) + (0 if ids[0] == 0 else 1)
    return label_colors(int(dense.max()))[dense]


def predicted(labels: np.ndarray, code: str) -> dict[str, np.ndarray]:
    """Return soft channels similar to those of a network: blurred, with blurred noise."""
    rng = np.random.default_rng(SEED)
    maps = {}
    for name, values in encode(labels, code).items():
        noise = gaussian_filter(rng.normal(size=values.shape), 1.5)
        spread = 1.0 if name == "D" else 0.25
        rough = gaussian_filter(values.astype(np.float32), 1.0) + spread * noise
        if name == "P":
            rough = 1.3 * rough
        maps[name] = np.clip(rough, 0, None if name == "D" else 1).astype(np.float32)
    return maps


def grid(rows: int, columns: int, *, side: float = 1.55) -> tuple[plt.Figure, np.ndarray]:
    """Return a figure and its panels without axes."""
    figure, panels = plt.subplots(
        rows, columns, figsize=(side * columns, (side + 0.26) * rows), squeeze=False
    )
    for panel in panels.flat:
        panel.set_axis_off()
    return figure, panels


def show(panel: plt.Axes, values: np.ndarray, title: str, **how: object) -> None:
    """Show an image with a title in a panel."""
    panel.imshow(values[CROP], interpolation="nearest", **how)
    panel.set_title(title, fontsize=8, pad=3)


def save(figure: plt.Figure, path: Path) -> Path:
    """Write the figure as a PNG with few colors, and return its path."""
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def channels(path: Path, image: np.ndarray, labels: np.ndarray) -> Path:
    """Draw an image, its labels and the six channels."""
    maps = {**encode(labels, "BCM"), **encode(labels, "BCD")}
    maps |= {"P": encode(labels, "BP")["P"], "Dv2": encode(labels, "Dv2")["Dv2"]}
    figure, panels = grid(2, 4, side=1.9)
    show(panels.flat[0], to_gray(image[..., None]), "image")
    show(panels.flat[1], painted(labels), "labels")
    titles = {
        "B": "B  interior",
        "C": "C  contour",
        "M": "M  interior and contour",
        "P": "P  center",
        "D": "D  distance to the contour",
        "Dv2": "Dv2  distance on both sides",
    }
    for panel, (name, title) in zip(list(panels.flat)[2:], titles.items(), strict=True):
        how = BINARY if name in "BCMP" else {"cmap": "magma"}
        show(panel, maps[name], title, **how)
    return save(figure, path)


LISTED = {
    "F": BINARY,
    "Bg": BINARY,
    "T": BINARY,
    "Db": {"cmap": "viridis"},
    "Dc": {"cmap": "viridis"},
    "Ds": {"cmap": "coolwarm", "vmin": -1, "vmax": 1},
    "H": {"cmap": "coolwarm", "vmin": -1, "vmax": 1},
    "V": {"cmap": "coolwarm", "vmin": -1, "vmax": 1},
    "Gh": {"cmap": "coolwarm", "vmin": -1, "vmax": 1},
    "Gv": {"cmap": "coolwarm", "vmin": -1, "vmax": 1},
    "Dn": {"cmap": "viridis"},
}


def listed_channels(path: Path, image: np.ndarray, labels: np.ndarray) -> Path:
    """Draw the labels and the channels that are only used in lists."""
    maps = encode(labels, tuple(LISTED), options={"Ds": {"alpha": 8, "beta": 8}})
    figure, panels = grid(2, 6, side=1.7)
    show(panels.flat[0], painted(labels), "labels")
    for panel, (code, how) in zip(panels.flat[1:], LISTED.items(), strict=True):
        listed = CHANNELS[code].list_code
        show(panel, maps[code], listed if listed == code else f"{listed} (map {code})", **how)
    return save(figure, path)


def affinities(path: Path) -> Path:
    """Draw a tissue, predicted affinities at some offsets, and the instances of all."""
    tissue = make_cells((220, 220), np.random.default_rng(SEED))
    labels = tissue.labels.astype(np.int32)
    maps = predicted(labels, "F+A")
    figure, panels = grid(1, 5, side=1.9)
    show(panels.flat[0], painted(labels), "labels")
    for panel, (offset, code) in zip(
        panels.flat[1:4], [(CHANNELS[code].offset, code) for code in maps][1::3], strict=False
    ):
        show(panel, maps[code], f"A, offset {offset}", **BINARY)
    show(panels.flat[4], painted(decode(maps, "F+A").labels), "instances")
    return save(figure, path)


def polygons(path: Path, labels: np.ndarray) -> Path:
    """Draw two rays, some candidates, the polygons that remain, and the instances."""
    rng = np.random.default_rng(SEED)
    maps = {
        code: gaussian_filter(values.astype(np.float32), 0.8)
        + rng.normal(0, 0.02 if code == "Db" else 0.3, values.shape)
        for code, values in encode(labels, "Db+R32").items()
    }
    rays = [maps[f"R32.{number}"] for number in range(32)]
    candidates = find_candidates(maps["Db"], rays, 0.5)
    remaining = suppress_overlaps(candidates, labels.shape, 0.4)
    whole = tuple(slice(0, size) for size in labels.shape)
    figure, panels = grid(1, 5, side=1.9)
    right, down, many, few, last = panels.flat
    show(right, maps["R32.0"], "R32.0  to the right", cmap="viridis")
    show(down, maps["R32.8"], "R32.8  down", cmap="viridis")
    some = candidates.select(slice(None, None, 29))
    for panel, chosen, title in ((many, some, "some candidates"), (few, remaining, "remaining")):
        show(panel, maps["Db"], f"Db, {title}", cmap="gray")
        for point, distances in zip(chosen.points, chosen.distances, strict=True):
            corners = point + distances[:, None] * ray_directions(32, 2)
            y, x = (corners - [part.start for part in CROP]).T
            panel.fill(x, y, fill=False, edgecolor="orange", linewidth=0.7)
        panel.set_xlim(-0.5, CROP[1].stop - CROP[1].start - 0.5)
        panel.set_ylim(CROP[0].stop - CROP[0].start - 0.5, -0.5)
    show(last, painted(draw_polygons(remaining, whole)), "instances")
    return save(figure, path)


def embeddings(path: Path, labels: np.ndarray) -> Path:
    """Draw the maps of an embedding, where it moves the pixels, the clusters, and the instances."""
    rng = np.random.default_rng(SEED)
    maps = {code: values.astype(np.float32) for code, values in encode(labels, "E2").items()}
    for code, values in maps.items():
        is_offset = CHANNELS[code].component > 0
        noise = gaussian_filter(rng.normal(size=values.shape), 1.0)
        maps[code] = values + np.float32(3.0 if is_offset else 0.1) * noise.astype(np.float32)
    figure, panels = grid(1, 6, side=1.75)
    shown = ("E2.0", "E2.1", "E2.2", "E2.4")
    for panel, code in zip(panels.flat, shown, strict=False):
        how = {"cmap": "RdBu", "vmin": -9, "vmax": 9} if CHANNELS[code].component else {}
        title = f"{code}  {CHANNELS[code].title.removeprefix('E ')}"
        show(panel, np.where(labels > 0, maps[code], np.nan), title, **how)
    moved_panel, last = panels.flat[4:]
    pixels = np.argwhere(labels > 0)[::3]
    at = tuple(pixels.T)
    y, x = (pixels[:, axis] + maps[f"E2.{axis}"][at] - CROP[axis].start for axis in range(2))
    colors = painted(labels)
    moved_panel.imshow((0.3 * colors[CROP]).astype(np.uint8), interpolation="nearest")
    moved_panel.scatter(x, y, s=0.6, c=colors[at] / 255, linewidths=0)
    limits = DecodeSettings().thresholds
    whole = tuple(slice(0, size) for size in labels.shape)
    codes = [f"E2.{number}" for number in range(5)]
    embedded = embed_pixels(
        [maps[code] for code in codes[:2]], [maps[code] for code in codes[2:4]], maps[codes[4]],
        limits["TH_CLUSTER"], whole, labels.shape,
    )  # fmt: skip
    clusters = find_clusters(embedded, labels.shape, limits["TH_SEEDINESS"], None)
    for center, radius in zip(clusters.centers, clusters.radii, strict=True):
        middle = [c - part.start for c, part in zip(center, CROP, strict=True)][::-1]
        ring = Ellipse(middle, *(2 * radius[::-1]), fill=False, edgecolor="white", linewidth=0.6)
        moved_panel.add_patch(ring)
    moved_panel.set_xlim(-0.5, CROP[1].stop - CROP[1].start - 0.5)
    moved_panel.set_ylim(CROP[0].stop - CROP[0].start - 0.5, -0.5)
    moved_panel.set_title("moved pixels, clusters", fontsize=8, pad=3)
    show(last, painted(decode(maps, "E2").labels), "instances")
    return save(figure, path)


def flows(path: Path) -> Path:
    """Draw predicted flows, the paths of some pixels, and the instances; and `Gz`."""
    labels = DRAWINGS["rods"].draw((220, 220), np.random.default_rng(SEED)).labels
    rng = np.random.default_rng(SEED)
    maps = {
        code: gaussian_filter(values.astype(np.float32), 0.5)
        + gaussian_filter(rng.normal(0, 0.3, values.shape), 1)
        for code, values in encode(labels, "F+Gh+Gv").items()
    }
    vectors = np.stack([maps["Gv"], maps["Gh"]]) * (maps["F"] > 0.5)
    figure, panels = grid(1, 6, side=1.75)
    show(panels.flat[0], painted(labels), "labels")
    for panel, code in zip(panels.flat[1:3], ("Gh", "Gv"), strict=True):
        show(panel, maps[code], code, cmap="coolwarm", vmin=-1, vmax=1)
    show(panels.flat[3], maps["F"], "F, paths of some pixels", **BINARY)
    corner = np.array([side.start for side in CROP])
    size = CROP[0].stop - CROP[0].start
    at = np.argwhere(maps["F"] > 0.5)[::17].T.astype(float)
    steps = [at]
    for _ in range(60):
        moved = [map_coordinates(each, steps[-1], order=1, mode="nearest") for each in vectors]
        steps.append(np.clip(steps[-1] + moved, 0, 219))
    for y, x in np.stack(steps, axis=-1).transpose(1, 0, 2) - corner[:, None]:
        panels.flat[3].plot(x, y, color="orange", linewidth=0.4)
    panels.flat[3].set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    show(panels.flat[4], painted(decode(maps, "F+Gh+Gv").labels), "instances")
    show_depth(panels.flat[5], "F+Gh+Gv+Gz", "Gz")
    return save(figure, path)


def offsets(path: Path, labels: np.ndarray) -> Path:
    """Draw predicted offsets in pixels, the votes, the centers and the instances; and `Z`."""
    rng = np.random.default_rng(SEED)
    plain = {code: {"norm": False} for code in ("H", "V")}
    maps = {
        code: values + gaussian_filter(rng.normal(0, 0.2 if code == "F" else 3.0, labels.shape), 1)
        for code, values in encode(labels, "F+H+V", options=plain).items()
    }
    foreground = maps["F"] > 0.5
    pixels = offsets_in_pixels([maps["V"], maps["H"]])
    votes = cast_votes(pixels, foreground)
    counts = np.zeros(labels.size)
    counts[votes.places] = votes.counts
    limits = DecodeSettings().thresholds
    centers = find_centers(votes, labels.shape, limits["TH_CENTER_RADIUS"], limits["TH_VOTES"])
    figure, panels = grid(1, 6, side=1.75)
    show(panels.flat[0], painted(labels), "labels")
    how = {"cmap": "coolwarm", "vmin": -12, "vmax": 12}
    for panel, code in zip(panels.flat[1:3], plain, strict=True):
        show(panel, maps[code] * foreground, f"{code}, norm: False", **how)
    show(panels.flat[3], np.sqrt(counts).reshape(labels.shape), "votes, centers", cmap="magma")
    y, x = (centers.positions - [side.start for side in CROP]).T
    panels.flat[3].plot(x, y, "o", fillstyle="none", color="cyan", markersize=7)
    size = CROP[0].stop - CROP[0].start
    panels.flat[3].set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    instances = join_centers(pixels, foreground, centers)
    show(panels.flat[4], painted(instances), "instances")
    show_depth(panels.flat[5], "F+H+V+Z", "Z")
    return save(figure, path)


def show_depth(panel: Axes, channels: str, code: str) -> None:
    """Show a section along z and x of a channel of drawn tissue."""
    tissue = DRAWINGS["tissue"].draw((28, 64, 64), np.random.default_rng(SEED)).labels
    maps = encode(tissue.astype(np.int32), channels, spacing=(2, 1, 1))
    panel.imshow(maps[code][:, 32], aspect=2, cmap="coolwarm", interpolation="nearest")
    panel.set_title(f"{code}, section along z and x", fontsize=8, pad=3)


def drawn_sets(path: Path) -> Path:
    """Draw an image of each drawn data set next to its instances; of a volume, a slice."""
    figure, panels = grid(1, 2 * len(DRAWINGS), side=1.6)
    for (image_panel, labels_panel), (name, drawing) in zip(
        panels.reshape(-1, 2), DRAWINGS.items(), strict=True
    ):
        drawn = drawing.draw(drawing.shape, np.random.default_rng(SEED))
        first = drawn.labels.ndim - 2
        plane = tuple(size // 2 for size in drawing.shape[:first])
        image_panel.imshow(drawn.image[plane][:128, :128], cmap="gray")
        image_panel.set_title(name, fontsize=8, pad=3)
        labels_panel.imshow(painted(drawn.labels[plane][:128, :128]), interpolation="nearest")
        labels_panel.set_title("labels", fontsize=8, pad=3)
    return save(figure, path)


def contours(path: Path, labels: np.ndarray) -> Path:
    """Draw the contour of each mode in white over the labels."""
    figure, panels = grid(1, 4, side=1.9)
    for panel, mode in zip(panels.flat, ("thick", "inner", "outer", "dense"), strict=True):
        ring = encode(labels, "BC", contour_mode=mode)["C"].astype(bool)
        picture = (0.45 * painted(labels)).astype(np.uint8)
        picture[ring] = 255
        show(panel, picture, f"DATA_CONTOUR_MODE: {mode}")
    return save(figure, path)


def decoding(path: Path, labels: np.ndarray) -> Path:
    """Draw each step from maps to instances, with one row per kind of configuration."""
    figure, panels = grid(len(STEPS), 7)
    for row, (code, keys) in zip(panels, STEPS.items(), strict=True):
        maps = predicted(labels, code)
        settings = DecodeSettings.from_keys(
            {
                **keys,
                "TH_TYPE": "manual",
                "REMOVE_SMALL_OBJ": 30,
                "GROW_INTO_CONTOUR": code in ("BC", "BCD", "BP"),
            }
        )
        done = decode(maps, code, settings=settings, keep_parts=True)
        assert done.parts is not None
        for panel, (name, values) in zip(row[:3], maps.items(), strict=False):
            how = BINARY if name in "BCP" else {"cmap": "magma"}
            show(panel, values, f"{code}: {name}", **how)
        show(row[3], painted(done.parts.seeds), "seeds")
        show(row[4], done.parts.foreground, "growth mask", **BINARY)
        show(row[5], done.parts.surface, "flooded surface", cmap="viridis")
        show(row[6], painted(done.labels), "instances")
    return save(figure, path)


def thresholds(path: Path, image: np.ndarray, labels: np.ndarray) -> Path:
    """Draw the effect of two thresholds of BC."""
    maps = predicted(labels, "BC")
    figure, panels = grid(2, 4, side=1.9)
    rows = (
        ("TH_CONTOUR", (0.05, 0.2, 0.4, 0.8)),
        ("TH_FOREGROUND", (0.1, 0.3, 0.6, 0.9)),
    )
    for row, (key, values) in zip(panels, rows, strict=True):
        for panel, value in zip(row, values, strict=True):
            keys = {"TH_BINARY_MASK": 0.5, "TH_CONTOUR": 0.35, "TH_FOREGROUND": 0.3, key: value}
            done = decode(maps, "BC", settings=DecodeSettings.from_keys(keys))
            n_objects = len(np.unique(done.labels[CROP])) - 1
            drawn = overlay(image[..., None], done.labels, fill=0.35)
            show(panel, drawn, f"{key}: {value}  ({n_objects})")
    return save(figure, path)


if __name__ == "__main__":
    for picture in main(*map(Path, sys.argv[1:])):
        print(picture)

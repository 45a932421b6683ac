"""Draw the figures of `docs/internals/`: `python docs/make/kernels.py`."""

from __future__ import annotations

import heapq
import sys
from itertools import count
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(Path(__file__).parent))
from pictures import painted, save

from singula.labels import voronoi
from singula.measure.morphology import _perimeter_shares
from singula.prediction import plan_tiles
from singula.report.overlay import label_colors
from singula.representations.decoders.components import inside, label_seeds
from singula.representations.decoders.flood import flood_in_place
from singula.synthetic.fluorescence import make_image
from singula.util.boxes import grown

HERE = Path(__file__).parents[1] / "internals"
SEED = 3


def main(folder: Path = HERE) -> list[Path]:
    """Draw all figures and return their paths."""
    mpl.use("Agg")
    return [
        draw_flood(folder / "flood.png"),
        draw_voronoi(folder / "voronoi.png"),
        draw_blocks(folder / "blockwise.png"),
        draw_outlines(folder / "outlines.png"),
        draw_tiles(folder / "tiles.png"),
    ]


def _panels(columns: int, titles: list[str], side: float = 2.3) -> tuple[plt.Figure, np.ndarray]:
    figure, panels = plt.subplots(1, columns, figsize=(side * columns, side + 0.3), squeeze=False)
    for panel, title in zip(panels[0], titles, strict=True):
        panel.set_axis_off()
        panel.set_title(title, fontsize=8, pad=3)
    return figure, panels[0]


def _example() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a soft map, its mask and its seeds, shape (64, 64)."""
    labels = make_image((220, 220), np.random.default_rng(SEED)).labels[70:134, 70:134]
    rng = np.random.default_rng(SEED)
    noise = gaussian_filter(rng.normal(size=labels.shape), 2.0)
    edges = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        edges |= labels != np.roll(labels, 1, axis)
    soft = gaussian_filter(((labels > 0) & ~edges).astype(np.float32), 1.5) + 0.3 * noise
    surface = np.clip(soft, 0, 1).astype(np.float32)
    return surface, surface > 0.3, surface > 0.8


def _flood(surface: np.ndarray, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    labels, _ = label_seeds(seeds)
    flood_in_place(surface, labels, mask, downhill=True)
    return np.maximum(inside(labels), 0)


def _order(surface: np.ndarray, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Return the turn of each pixel in a flood with one queue for the whole image."""
    turn = np.full(surface.shape, np.nan)
    ticket = count()
    heap = [(-surface[at], next(ticket), at) for at in map(tuple, np.argwhere(seeds & mask))]
    heapq.heapify(heap)
    queued = seeds & mask
    for number in count():
        if not heap:
            return turn
        height, _, (y, x) = heapq.heappop(heap)
        turn[y, x] = number
        for at in ((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)):
            within = 0 <= at[0] < mask.shape[0] and 0 <= at[1] < mask.shape[1]
            if within and mask[at] and not queued[at]:
                queued[at] = True
                heapq.heappush(heap, (max(height, -surface[at]), next(ticket), at))
    return turn


def draw_flood(path: Path) -> Path:
    """Draw a map, its seeds, the order of flooding and the instances."""
    surface, mask, seeds = _example()
    titles = ["surface B", "seeds in the growth mask", "order of the flood", "instances"]
    figure, panels = _panels(4, titles)
    panels[0].imshow(surface, cmap="gray", vmin=0, vmax=1)
    panels[1].imshow(mask + 2 * seeds, cmap="gray")
    panels[2].imshow(_order(surface, mask, seeds), cmap="viridis")
    panels[3].imshow(painted(_flood(surface, mask, seeds)))
    return save(figure, path)


def draw_voronoi(path: Path) -> Path:
    """Draw the lower envelope along a line, and instances before and after they grow."""
    figure, axes = plt.subplots(1, 3, figsize=(8.6, 2.6), width_ratios=(1.6, 1, 1))
    positions = np.linspace(0, 20, 400)
    parabolas = [(3, 4.0, "tab:blue"), (9, 16.0, "tab:orange"), (15, 1.0, "tab:green")]
    values = np.array([base + (positions - at) ** 2 for at, base, _ in parabolas])
    for (at, base, color), line in zip(parabolas, values, strict=True):
        axes[0].plot(positions, line, color=color, lw=0.8, ls="--")
        axes[0].plot([at], [base], "o", color=color, ms=4)
        lowest = np.where(line <= values.min(0), line, np.nan)
        axes[0].plot(positions, lowest, color=color, lw=2.2)
    axes[0].set(ylim=(0, 45), xlabel="position along the line", ylabel="squared distance")
    axes[0].set_title("lower envelope of parabolas", fontsize=8)
    axes[0].tick_params(labelsize=7)
    surface, _, seeds = _example()
    labels = _flood(surface, seeds, seeds)
    area = gaussian_filter(surface, 1.0) > 0.2
    for panel, values, title in (
        (axes[1], labels, "instances and area"),
        (axes[2], voronoi(labels, area), "grown to the nearest instance"),
    ):
        picture = painted(values)
        picture[(values == 0) & area] = 70
        panel.imshow(picture)
        panel.set_axis_off()
        panel.set_title(title, fontsize=8)
    return save(figure, path)


def draw_blocks(path: Path) -> Path:
    """Draw the flood of a block with a halo and the unknown marker, for two halos."""
    surface, mask, seeds = _example()
    numbered = inside(label_seeds(seeds)[0]).copy()
    whole = _flood(surface, mask, seeds)
    core = (slice(34, 54), slice(8, 36))
    halos = (2, 8)
    titles = ["whole image", *(f"block, halo of {h} pixels" for h in halos)]
    figure, panels = _panels(3, titles, side=2.7)
    panels[0].imshow(label_colors(int(numbered.max()))[whole])
    panels[0].add_patch(_frame(core, "white"))
    unknown, palette = int(numbered.max()) + 1, label_colors(int(numbered.max()))
    for panel, halo in zip(panels[1:], halos, strict=True):
        box = grown(core, (halo, halo), surface.shape)
        labels = np.zeros([n + 2 for n in numbered[box].shape], np.int32)
        image = inside(labels)
        image[...] = numbered[box]
        for face in ((0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1)):
            layer = image[face]
            layer[(layer == 0) & mask[box][face]] = unknown
        flood_in_place(np.ascontiguousarray(surface[box]), labels, mask[box], downhill=True)
        picture = (0.25 * palette[whole]).astype(np.uint8)
        flooded = np.maximum(image, 0)
        colored = palette[np.where(flooded == unknown, 0, flooded)]
        colored[flooded == unknown] = (255, 255, 255)
        picture[box] = colored
        panel.imshow(picture)
        panel.add_patch(_frame(box, "gray"))
        panel.add_patch(_frame(core, "white"))
    return save(figure, path)


def _frame(box: tuple[slice, slice], color: str) -> Rectangle:
    rows, columns = box
    size = (columns.stop - columns.start, rows.stop - rows.start)
    corner = (columns.start - 0.5, rows.start - 0.5)
    return Rectangle(corner, *size, fill=False, edgecolor=color, lw=1.4)


def draw_outlines(path: Path) -> Path:
    """Draw the contribution of each border pixel to the perimeter of its instance."""
    labels = np.zeros((12, 16), int)
    labels[2:10, 2:8] = 1
    labels[2, 2:4] = labels[3, 2] = 0
    labels[3:9, 8:13] = 2
    labels[8, 12] = labels[3, 12] = labels[4, 13] = 2
    padded = np.pad(labels, 1)
    center = padded[1:-1, 1:-1]
    shifted = [
        padded[1 + y : 13 + y, 1 + x : 17 + x] for y, x in ((0, 1), (1, 0), (0, -1), (-1, 0))
    ]
    border = (center > 0) & np.any([center != other for other in shifted], axis=0)
    rim = np.pad(border, 1)
    shares, table = np.full(labels.shape, np.nan), _perimeter_shares()
    for y, x in np.argwhere(border):
        near = [
            (abs(a) + abs(b))
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            if (a or b)
            and rim[y + 1 + a, x + 1 + b]
            and padded[y + 1 + a, x + 1 + b] == labels[y, x]
        ]
        shares[y, x] = table[near.count(1), near.count(2)]
    figure, panels = _panels(2, ["two instances", "contribution of each border pixel"], side=3.2)
    panels[0].imshow(painted(labels))
    panels[1].imshow(shares, cmap="viridis", vmin=0, vmax=1.5)
    for y, x in np.argwhere(border):
        panels[1].text(x, y, f"{shares[y, x]:.2g}", ha="center", va="center", fontsize=5, color="w")
    return save(figure, path)


def draw_tiles(path: Path) -> Path:
    """Draw the tiles of an image with their halos and the parts that are used."""
    shape, margin, reach, multiple = (900, 1300), (32, 32), (92, 92), (16, 16)
    plan = plan_tiles(shape, margin, reach, multiple, (256, 256), 300_000)
    if plan is None:
        raise RuntimeError("the example has no tiles")
    figure, panel = plt.subplots(figsize=(6.4, 4.4))
    panel.set(xlim=(-60, 1400), ylim=(1000, -60), aspect="equal")
    panel.set_axis_off()
    panel.add_patch(Rectangle((0, 0), shape[1], shape[0], fill=False, ec="black", lw=1.6))
    colors = plt.get_cmap("tab10")
    for number, tile in enumerate(plan.tiles(shape)):
        rows, columns = tile.outer
        size = (columns.stop - columns.start, rows.stop - rows.start)
        used = Rectangle((columns.start, rows.start), *size, fc=colors(number % 10), alpha=0.35)
        panel.add_patch(used)
        if number in (0, 4):
            begin = (tile.start[1], tile.start[0])
            frame = {"fill": False, "ec": colors(number % 10), "lw": 1.8, "ls": "--"}
            panel.add_patch(Rectangle(begin, plan.patch[1], plan.patch[0], **frame))
    panel.set_title("image (black), used parts (colors) and two whole tiles (dashed)", fontsize=8)
    return save(figure, path)


if __name__ == "__main__":
    for picture in main():
        print(picture)

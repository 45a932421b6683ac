"""Compare the mutex watershed in blocks with that of the whole image.

`python benchmarks/mutex_blocks.py` draws cells and tissue, adds noise to their affinities, decodes
them, and prints F1 of the instances against the ground truth, and of those in blocks against those
of the whole image.
"""

from __future__ import annotations

import time

import numpy as np
from scipy.ndimage import gaussian_filter

import singula
from singula.blocks.grid import Grid
from singula.representations.base import DecodePlan, Maps
from singula.representations.decoders import DecodeSettings
from singula.representations.mutex import MutexWatershed
from singula.representations.table import complete_channels, find_decoder
from singula.representations.thresholds import THRESHOLDS
from singula.synthetic.packed_cells import make_cells, make_tissue
from singula.util.boxes import Box

CASES = [
    ("cells, 2D, F+A", "F+A", make_cells, (256, 256), [(128, 128), (64, 64)]),
    ("tissue, 3D, A", "A", make_tissue, (28, 96, 96), [(28, 48, 48), (14, 32, 32)]),
]
N_IMAGES = 2
MIN_SIZE = 10


def main() -> None:
    """Print a row for each image and each size of the blocks."""
    print("| data | blocks | image | whole, truth | blocks, truth | blocks, whole | at IoU 0.9 |")
    print("|---|---|---|---|---|---|---|")
    for title, channels, draw, shape, blocks in CASES:
        name = complete_channels(channels, len(shape), {})
        for seed in range(N_IMAGES):
            cells = draw(shape, np.random.default_rng(seed)).labels
            maps = soft_maps(singula.encode(cells, name), seed)
            keys = {"TH_TYPE": "manual", "REMOVE_SMALL_OBJ": MIN_SIZE}
            start = time.process_time()
            whole = singula.decode(maps, name, thresholds=keys)
            seconds = time.process_time() - start
            for block in blocks:
                labels = in_blocks(maps, name, block)
                scores = [
                    singula.match(one, other, threshold).f1
                    for one, other, threshold in (
                        (cells, whole, 0.5),
                        (cells, labels, 0.5),
                        (whole, labels, 0.5),
                        (whole, labels, 0.9),
                    )
                ]
                cells_of_row = " | ".join(f"{score:.3f}" for score in scores)
                print(f"| {title} | {block} | {seed} | {cells_of_row} |", flush=True)
            print(f"whole image: {1e6 * seconds / cells.size:.2f} µs per pixel")


def soft_maps(exact: Maps, seed: int) -> dict[str, np.ndarray]:
    """Return blurred maps with correlated noise, as probabilities of a trained network."""
    rng = np.random.default_rng(seed)
    maps = {}
    for code, values in exact.items():
        noise = gaussian_filter(rng.normal(size=values.shape), 1)
        inside = (values >= 0).astype(float)
        mean = gaussian_filter(values * inside, 0.5) / gaussian_filter(inside, 0.5).clip(1e-9)
        logits = 6 * mean - 3 + noise / noise.std()
        maps[code] = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return maps


def in_blocks(maps: Maps, name: str, block: tuple[int, ...]) -> np.ndarray:
    """Return the instances of an image that is decoded in blocks."""
    decoder = find_decoder(name)
    assert isinstance(decoder, MutexWatershed)
    shape = next(iter(maps.values())).shape
    plan = DecodePlan(decoder, {n: row.default for n, row in THRESHOLDS.items()}, DecodeSettings())

    def read_maps(box: Box) -> Maps:
        return {code: values[box] for code, values in maps.items()}

    grid = Grid(shape, block)
    boxes = [grid.box(number) for number in range(len(grid))]
    parts = [decoder.collect(plan, box, shape, read_maps) for box in boxes]
    objects = decoder.merge(plan, parts, shape)
    labels = np.zeros(shape, np.int32)
    for box in boxes:
        labels[box] = decoder.paint(plan, objects, box, shape, read_maps)
    labels[np.bincount(labels.ravel())[labels] < MIN_SIZE] = 0
    return labels


if __name__ == "__main__":
    main()

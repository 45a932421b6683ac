"""Measure the memory per pixel of each decoder, for the table in docs/check.md.

    python benchmarks/decoder_memory.py

Draws cells (900², and tissue of 28×96×96 voxels with `--volumes`), encodes their labels, and
decodes the maps in a new process for each row. Bytes per pixel are the highest resident memory
(Linux) in addition to that before, which includes the maps as float32:

- whole image: decoding in memory;
- box: a box of blocks of the same size; for the watershed, its seeds and its flood, and for the
  other decoders the collected candidates, or the painted instances if they need more;
- merge: the candidates of all blocks, per pixel of the whole image.

`declared` is the number that `singula check` uses for both, `covered` the fraction of pixels with
instances.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import singula
from singula.representations.base import DecodePlan, Decoder, Maps
from singula.representations.decoders import DecodeSettings, decode
from singula.representations.decoders.blockwise import flood_part, seed_part
from singula.representations.objects import ObjectDecoder, Objects
from singula.representations.table import complete_channels, find_decoder
from singula.representations.thresholds import THRESHOLDS
from singula.synthetic.packed_cells import make_cells, make_tissue
from singula.util.boxes import Box, boxes
from singula.util.process import prepare_process, release_memory

OFFSETS: dict[str, dict[str, Any]] = {code: {"norm": False} for code in "HVZ"}
PLANAR = (
    "BC", "F+R8", "F+R32", "Db+R32", "F+A[-1,0;0,-1]", "F+A", "A", "F+H+V", "F+Gh+Gv", "E",
)  # fmt: skip
SOLID = ("BC", "F+R96", "Db+R96", "A", "F+H+V+Z", "F+Gh+Gv+Gz", "E")
SHAPES = {2: (900, 900), 3: (28, 96, 96)}


def highest(work: Callable[[], object]) -> float:
    """Return the bytes of resident memory that a function needs in addition."""
    release_memory()
    Path("/proc/self/clear_refs").write_text("5")  # start a new maximum
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(key: str) -> float:
    """Return a number of bytes of the status of this process."""
    text = Path("/proc/self/status").read_text()
    match = re.search(rf"{key}:\s+(\d+) kB", text)
    if match is None:
        raise RuntimeError(f"no {key}")
    return float(match[1]) * 1024


def measure(channels: str, ndim: int) -> tuple[dict[str, float], float]:
    """Return the bytes per pixel of each step, and the fraction of pixels with instances."""
    prepare_process()
    shape, draw = SHAPES[ndim], make_cells if ndim == 2 else make_tissue
    decoder = decoder_of(channels, ndim)
    options = {code: values for code, values in OFFSETS.items() if code in decoder.channels}
    results, covered = {}, 0.0
    for size in (tuple(side // 3 for side in shape), shape):  # the small image compiles and imports
        labels = draw(size, np.random.default_rng(0)).labels
        covered = float((labels > 0).mean())
        exact = singula.encode(labels, decoder.name, options=options)
        maps = {code: values.astype(np.float32) for code, values in exact.items()}
        del exact, labels
        results = {name: step() / np.prod(size) for name, step in steps(decoder, maps).items()}
    return results, covered


def decoder_of(channels: str, ndim: int) -> Decoder:
    """Return the decoder of a list of channels."""
    name = complete_channels(channels, ndim, {})
    return find_decoder(name, method="offsets" if "+H+" in name else "auto")


def steps(decoder: Decoder, maps: Maps) -> dict[str, Callable[[], float]]:
    """Return functions that measure the bytes of a whole image, a box, and the merge."""
    shape = next(iter(maps.values())).shape
    whole = tuple(slice(0, side) for side in shape)
    limits = {key: row.default for key, row in THRESHOLDS.items()}
    plan = DecodePlan(decoder, limits, DecodeSettings())

    def read_maps(part: Box) -> Maps:
        return {code: values[part] for code, values in maps.items()}

    def flood() -> None:
        seeds = seed_part(plan, whole, shape, read_maps).labels.astype(np.uint32)
        halo, pixels = (1,) * len(shape), int(np.prod(shape))
        flood_part(
            plan, whole, shape, read_maps, lambda box: seeds[box], halo=halo, max_pixels=pixels
        )

    result = {"whole image": lambda: highest(lambda: decode(maps, decoder))}
    if not isinstance(decoder, ObjectDecoder):
        return {**result, "box": lambda: highest(flood), "merge": lambda: 0.0}
    collector: ObjectDecoder = decoder

    def box() -> float:
        collected = highest(lambda: collector.collect(plan, whole, shape, read_maps))
        objects = collector.merge(plan, parts(), shape)
        painted = highest(lambda: collector.paint(plan, objects, whole, shape, read_maps))
        return max(collected, painted)

    def parts() -> Iterator[Objects]:
        for part in boxes(shape, tuple(-(-side // 2) for side in shape)):
            yield collector.collect(plan, part, shape, read_maps)

    def merge() -> float:
        stored = list(parts())
        copies = ({key: v.copy() for key, v in part.items()} for part in stored)
        return highest(lambda: collector.merge(plan, copies, shape))

    return {**result, "box": box, "merge": merge}


def main() -> None:
    """Print a row for each list of channels."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volumes", action="store_true", help="measure volumes")
    parser.add_argument("--channels", nargs="+", help="lists of channels")
    options = parser.parse_args()
    ndim = 3 if options.volumes else 2
    print("| channels | covered | whole image | declared | box | declared | merge |")
    print("|---|---|---|---|---|---|---|")
    for channels in options.channels or (SOLID if options.volumes else PLANAR):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            measured, covered = pool.submit(measure, channels, ndim).result()
        decoder = decoder_of(channels, ndim)
        whole, box = (decoder.bytes_per_pixel(in_blocks=flag) for flag in (False, True))
        print(
            f"| `{channels}` | {covered:.0%} | {measured['whole image']:.0f} | {whole} "
            f"| {measured['box']:.0f} | {box} | {measured['merge']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Count the requests to the files of a volume by phase, as an object store would bill them.

    OMP_NUM_THREADS=1 python benchmarks/store_requests.py

A model at a quarter of the size: 192³ voxels of drawn cells in blocks of 64³ with chunks of 16³, as
many along each side as in blocks of 256³ with chunks of 64³. A small network is trained, one
process processes the volume, and every request to a Zarr store is counted. Prints a Markdown table
of requests and bytes per block, by phase, without the records, which are files of the job folder.
Cells are not scaled down, so that the halo of the flood is wide for the block.
"""

from __future__ import annotations

import collections
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from singula.commands.demo import DEMOS, demo_yaml
from singula.pipeline.blocks import image as chunk_image
from singula.pipeline.run import Job, run
from singula.synthetic.fluorescence import make_dataset, make_image

SIDE, BLOCK, CHUNK = 192, 64, 16
KINDS = ("read", "written", "asked whether there")
counts: dict[tuple[str, str], list[int]] = collections.defaultdict(lambda: [0, 0])
phase, lock = ["other"], threading.Lock()


def note(kind: str, size: int) -> None:
    """Count a request."""
    with lock:
        entry = counts[phase[0], kind]
        entry[0] += 1
        entry[1] += size


def watch() -> None:
    """Count the requests of zarr to its store by phase."""
    get, put, exists = LocalStore.get, LocalStore.set, LocalStore.exists
    run_phase = chunk_image.BlockImage.run_phase

    async def counted_get(self: Any, *words: Any, **names: Any) -> Any:
        found = await get(self, *words, **names)
        note("read" if found is not None else "asked whether there", len(found) if found else 0)
        return found

    async def counted_set(self: Any, key: str, value: Any, *words: Any, **names: Any) -> Any:
        note("written", len(value))
        return await put(self, key, value, *words, **names)

    async def counted_exists(self: Any, key: str) -> bool:
        note("asked whether there", 0)
        return await exists(self, key)

    def known_phase(self: Any, name: str, *words: Any, **names: Any) -> None:
        phase[0] = name.split("-level")[0] + (" (pyramid)" if "-level" in name else "")
        run_phase(self, name, *words, **names)
        phase[0] = "other"

    LocalStore.get, LocalStore.set, LocalStore.exists = counted_get, counted_set, counted_exists
    chunk_image.BlockImage.run_phase = known_phase


def prepare(root: Path) -> Path:
    """Write training data, the volume as sharded Zarr, and the configuration."""
    rng = np.random.default_rng(0)
    settings = replace(DEMOS[3], features=(8, 16, 32))
    make_dataset(root / "data", 3, rng, n_train=10, n_val=2, n_test=1, shape=(32, 96, 96))
    volume = make_image((SIDE,) * 3, rng)
    for name, values in (("x", volume.image), ("y", volume.labels)):
        (root / name).mkdir()
        stored = zarr.create_array(
            root / name / "volume.zarr", shape=values.shape, dtype=values.dtype,
            chunks=(CHUNK,) * 3, shards=(BLOCK,) * 3,
        )  # fmt: skip
        stored[...] = values
    path = root / "job.yaml"
    path.write_text(demo_yaml(root / "data", 3, settings))
    return path


def main() -> None:
    """Count, and print the table."""
    chunk_image._CHUNK[3] = CHUNK
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        config = prepare(root)
        watch()
        changes = (
            f"DATA.TEST.PATH={root / 'x'}",
            f"DATA.TEST.GT_PATH={root / 'y'}",
            "TEST.BY_CHUNKS.ENABLE=True",
            f"TEST.BY_CHUNKS.BLOCK_SHAPE=({BLOCK}, {BLOCK}, {BLOCK})",
            "TEST.MATCHING_STATS_THS_COLORED_IMG=[]",
        )
        run(Job(config, root / "out", "job", overrides=changes))
        blocks = (SIDE // BLOCK) ** 3
        print(f"\n| phase | {' | '.join(f'{kind}, per block' for kind in KINDS)} | bytes read, "
              "written per voxel |")  # fmt: skip
        print("|---" * 5 + "|")
        for found in dict.fromkeys(key for key, _ in counts):
            each = [counts[found, kind] for kind in KINDS]
            numbers = " | ".join(f"{count / blocks:.1f}" for count, _ in each)
            sizes = ", ".join(f"{size / SIDE**3:.2f}" for _, size in each[:2])
            print(f"| {found} | {numbers} | {sizes} |")


if __name__ == "__main__":
    main()

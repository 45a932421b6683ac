"""Measure a run in blocks on a large volume: minutes, peak memory and voxels per second.

    python benchmarks/volume.py --voxels 1e8 [--empty 0.5] [--memory 4GB] [--dask local:2] …

Writes a sharded OME-Zarr of uint16 block by block: tiles of drawn cells
(`singula.synthetic.fluorescence`), rotated and mirrored at random, with additional noise, in an
ellipsoid. Voxels outside of it, about `--empty` of all, are 0, as in images with a masked
background. Then trains a small 3D U-Net on such tiles unless `--model` is given, and runs `singula
run` in blocks in a separate process. Its memory is read from /proc twice a second (Linux): the
proportional set size (PSS) of the process and all its children, which counts shared memory once.

Without Dask, it also prints the CPU nanoseconds per voxel by phase: of empty blocks (no voxel of
the ellipsoid within `MARGIN` voxels), and of blocks with at least half of their voxels in it.

With `--folder`, all files are kept there, and an existing volume or network is reused. `--go-on`
continues an interrupted run: finished blocks are skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from math import pi
from pathlib import Path

import numpy as np
import yaml

TILE, SHARD, CHUNK = 128, 256, 64
TILES = 8
# Of the drawn values: what is left of a camera with 12 bits, and what noise is added
SCALE, NOISE = 8, 4
MARGIN = 64


@dataclass(frozen=True)
class Tiles:
    """Tiles of drawn cells (128, 128, 128), and noise that is shifted at random."""

    images: list[np.ndarray]
    labels: list[np.ndarray]
    noise: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Tiles:
        """Draw the tiles, which takes some seconds each."""
        from singula.synthetic.fluorescence import make_image

        made = [make_image((TILE,) * 3, rng) for _ in range(TILES)]
        noise = (
            rng.normal(0, NOISE, (SHARD + TILE,) * 3).astype(np.float32).round().astype(np.int16)
        )
        return cls(
            [(m.image // SCALE).astype(np.int16) for m in made], [m.labels for m in made], noise
        )

    def one(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return a tile and its labels, rotated and mirrored."""
        number = int(rng.integers(TILES))
        axes = tuple(int(a) for a in rng.permutation(3))
        flips = tuple(slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in range(3))
        image, labels = (part[number].transpose(axes)[flips] for part in (self.images, self.labels))
        return image, labels

    def noisy(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image with additional noise."""
        starts = rng.integers(0, TILE, 3)
        box = tuple(slice(s, s + n) for s, n in zip(starts, image.shape, strict=True))
        return np.maximum(image + self.noise[box], 0).astype(np.uint16)


def half_axis(side: int, empty: float) -> float:
    """Return the radius of the ellipsoid in voxels; if nothing is empty, it contains the cube."""
    # An ellipsoid that fills more than its box would be cut off: then the box is full.
    return side / 2 * (6 * (1 - empty) / pi) ** (1 / 3) if empty else side


def write_volume(path: Path, side: int, empty: float, tiles: Tiles) -> int:
    """Write a cube, and return the number of voxels in the ellipsoid."""
    import zarr

    from singula.io.formats import ngff

    shape = (side,) * 3
    levels = ngff.plan_levels(shape, (1.0, 1.0, 1.0))[:1]
    entry = ngff.multiscale("volume", 3, levels, (1.0, 1.0, 1.0), "µm", channels=False, method="")
    ome = {"ome": {"version": ngff.VERSION, "multiscales": [entry]}}
    group = zarr.open_group(path, mode="w", zarr_format=3, attributes=ome)
    array = group.create_array(
        "0", shape=shape, dtype=np.uint16, chunks=(CHUNK,) * 3, shards=(SHARD,) * 3, fill_value=0
    )
    half, inside = half_axis(side, empty), 0
    for z in range(0, side, SHARD):
        for y in range(0, side, SHARD):
            for x in range(0, side, SHARD):
                rng = np.random.default_rng((z, y, x))
                sides = [min(SHARD, side - start) for start in (z, y, x)]
                axes = [
                    ((np.arange(start, start + n) + 0.5 - side / 2) / half) ** 2
                    for start, n in zip((z, y, x), sides, strict=True)
                ]
                if sum(axis.min() for axis in axes) >= 1:
                    continue
                block = np.empty(sides, np.int16)
                for corner in np.ndindex(2, 2, 2):
                    place = tuple(slice(c * TILE, (c + 1) * TILE) for c in corner)
                    part = block[place]
                    part[...] = tiles.one(rng)[0][tuple(slice(0, n) for n in part.shape)]
                values = tiles.noisy(block, rng)
                if sum(axis.max() for axis in axes) > 1:
                    tissue = axes[0][:, None, None] + axes[1][:, None] + axes[2] < 1
                    values *= tissue
                    inside += int(np.count_nonzero(tissue))
                else:
                    inside += values.size
                array[z : z + SHARD, y : y + SHARD, x : x + SHARD] = values
    return inside


def write_training(folder: Path, tiles: Tiles) -> None:
    """Write some tiles with labels."""
    from singula.io.write import write_tiff

    rng = np.random.default_rng(1)
    for part, count in (("train", 6), ("val", 2)):
        for number in range(count):
            image, labels = tiles.one(rng)
            name = f"tile_{number}.tif"
            write_tiff(folder / part / "x" / name, tiles.noisy(image, rng), "ZYX")
            write_tiff(folder / part / "y" / name, np.ascontiguousarray(labels), "ZYX")


def configuration(folder: Path, volume: Path, options: argparse.Namespace) -> Path:
    """Return the configuration of the run."""
    data = folder / "data"
    tree = {
        "SYSTEM": {"MAX_MEMORY": options.memory},
        "PROBLEM": {
            "TYPE": "INSTANCE_SEG",
            "NDIM": "3D",
            "INSTANCE_SEG": {
                "DATA_CHANNELS": "BC",
                "GROW_INTO_CONTOUR": True,
                "DATA_REMOVE_SMALL_OBJ_BEFORE": 50,
            },
        },
        "DATA": {
            "PATCH_SIZE": "(64, 64, 64, 1)",
            "NORMALIZATION": {"TYPE": "div"},
            "TRAIN": {"PATH": str(data / "train/x"), "GT_PATH": str(data / "train/y")},
            "VAL": {
                "FROM_TRAIN": False,
                "PATH": str(data / "val/x"),
                "GT_PATH": str(data / "val/y"),
            },
            "TEST": {"PATH": str(volume.parent), "LOAD_GT": False},
        },
        "AUGMENTOR": {"ENABLE": True, "VFLIP": True, "HFLIP": True, "ZFLIP": True},
        "MODEL": {"ARCHITECTURE": "unet", "FEATURE_MAPS": list(options.features)},
        "TRAIN": {
            "ENABLE": True,
            "OPTIMIZER": "ADAMW",
            "LR": 0.003,
            "BATCH_SIZE": 2,
            "EPOCHS": options.epochs,
        },
        "TEST": {"ENABLE": True, "BY_CHUNKS": {"ENABLE": True}},
    }
    path = folder / f"{options.name}.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def tree_of(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def memory_of(pid: int) -> tuple[float, float]:
    """Return the proportional set size of a process in MB, and its part that is not in files."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0, 0.0
    found = {line.split(":")[0]: line.split()[1] for line in text.splitlines()[1:]}
    return int(found["Pss"]) * 1024 / 1e6, int(found["Pss_Anon"]) * 1024 / 1e6


@dataclass
class Watched:
    """Time and memory of a command."""

    seconds: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0
    anonymous: float = 0.0


def watch(command: list[str], log: Path) -> Watched:
    """Run a command; exit with its last output if it fails."""
    result, began = Watched(), time.time()
    with log.open("w", encoding="utf-8") as lines:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        stream = process.stdout
        if stream is None:
            raise RuntimeError("no output to read")
        os.set_blocking(stream.fileno(), False)
        while True:
            ended = os.wait4(process.pid, os.WNOHANG)
            if ended[0]:
                break
            parts = [memory_of(one) for one in tree_of(process.pid)]
            total, anonymous = (sum(column) for column in zip(*parts, strict=True))
            result.memory = max(result.memory, total)
            result.anonymous = max(result.anonymous, anonymous)
            while line := stream.readline():
                lines.write(f"{time.time() - began:8.1f} s {total:6.0f} MB  {line.decode()}")
                lines.flush()
            time.sleep(0.5)
        # None where a process that outlives the run for a moment still holds the other end
        lines.write((stream.read() or b"").decode())
    result.seconds = time.time() - began
    result.cpu = ended[2].ru_utime + ended[2].ru_stime
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    if process.returncode:
        sys.exit("\n".join(log.read_text(encoding="utf-8").splitlines()[-30:]))
    return result


def singula(config: Path, folder: Path, name: str, gpu: str | None, *changes: str) -> list[str]:
    """Return the command of a run."""
    command = [sys.executable, "-m", "singula.cli", "run", "--config", str(config)]
    command += ["--result_dir", str(folder), "--name", name]
    command += ["--gpu", gpu] if gpu else []
    return [*command, *(word for change in changes for word in ("--set", change))]


def print_blocks(times: Path, plan: Path, half: float) -> None:
    """Print the CPU time per voxel of empty blocks and of blocks in tissue, by phase."""
    spec = json.loads(plan.read_text())
    shape, block = spec["shape"], spec["block"]
    spent: dict[str, dict[bool, list[float]]] = {}
    for phase, number, seconds in json.loads(times.read_text()):
        name, _, level = phase.partition("-level")
        sides = [b * 2 ** int(level or 0) for b in block]
        counts = [-(-size // side) for size, side in zip(shape, sides, strict=True)]
        starts = [p * s for p, s in zip(np.unravel_index(number, counts), sides, strict=True)]
        box = [(a, min(a + s, n)) for a, s, n in zip(starts, sides, shape, strict=True)]
        tissue, near = (share(box, shape[0] / 2, half + margin) for margin in (0, MARGIN))
        if near > 0 and tissue < 0.5:
            continue
        row = spent.setdefault(f"{name}, coarser" if level else name, {})
        both = row.setdefault(near > 0, [0.0, 0])
        both[0] += seconds
        # Coarser levels are counted per voxel of the finest one.
        both[1] += 0 if int(level or 1) > 1 else int(np.prod([b - a for a, b in box]))
    print("| phase | empty, ns per voxel | tissue, ns per voxel |\n|---|---|---|")
    totals = [0.0, 0.0]
    for name, row in spent.items():
        found = [row.get(kind, [0.0, 0]) for kind in (False, True)]
        values = [1e9 * seconds / voxels if voxels else 0 for seconds, voxels in found]
        totals = [a + b for a, b in zip(totals, values, strict=True)]
        print(f"| {name} | {values[0]:.1f} | {values[1]:.0f} |")
    print(f"| all | {totals[0]:.1f} | {totals[1]:.0f} |", flush=True)


def share(box: list[tuple[int, int]], center: float, half: float) -> float:
    """Return the fraction of sampled points of a box that are in the ellipsoid."""
    axes = [((np.linspace(a, b, 17) - center) / half) ** 2 for a, b in box]
    return float((axes[0][:, None, None] + axes[1][:, None] + axes[2] < 1).mean())


def on_disk(folder: Path) -> float:
    """Return the size of all files in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def train(folder: Path, config: Path, gpu: str | None) -> Path:
    """Return the checkpoint of a small network, which is trained if it does not exist."""
    found = folder / "network" / "checkpoints" / "network_1-checkpoint-best.pth"
    if not found.is_file():
        spent = watch(
            singula(config, folder, "network", gpu, "TEST.ENABLE=False"), folder / "train.log"
        )
        print(f"trained for {spent.seconds:.0f} s", flush=True)
    return found


def main() -> None:
    """Write, train and run; print a row of a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voxels", type=float, default=1e7)
    parser.add_argument("--empty", type=float, default=0.0, help="Share outside of the ellipsoid.")
    parser.add_argument("--memory", default="4GB", help="SYSTEM.MAX_MEMORY")
    parser.add_argument("--features", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--model", type=Path, help="A checkpoint; by default one is trained.")
    parser.add_argument("--dask", help="As for singula run.")
    parser.add_argument("--gpu", help="As for singula run, for training and blocks.")
    parser.add_argument("--name", default="blocks")
    parser.add_argument("--change", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--go-on", action="store_true")
    parser.add_argument("--folder", type=Path, help="Where everything is kept.")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    side = round(options.voxels ** (1 / 3))
    volume = folder / f"volume_{side}_{options.empty:g}" / "x" / "volume.zarr"
    note = volume.parent.parent / "volume.json"
    if not (folder / "data").is_dir() or not note.is_file():
        tiles = Tiles.draw(np.random.default_rng(0))
        write_training(folder / "data", tiles)
    if not note.is_file():
        began = time.time()
        inside = write_volume(volume, side, options.empty, tiles)
        note.write_text(json.dumps({"inside": inside}))
        words = f"{side}³ voxels, {inside / side**3:.0%} of them in tissue"
        megabytes = on_disk(volume)
        print(f"{words}: {megabytes:.0f} MB, {time.time() - began:.0f} s", flush=True)
    config = configuration(folder, volume, options)
    model = options.model or train(folder, config, options.gpu)
    changes = ["TRAIN.ENABLE=False", f"PATHS.CHECKPOINT_FILE={model.absolute()}", *options.change]
    command, times = singula(config, folder, options.name, options.gpu, *changes), None
    if options.dask:
        command += ["--dask", options.dask]
    else:
        times = folder / "times.json"
        command[1:3] = [str(Path(__file__).with_name("timed_blocks.py")), str(times)]
    if not options.go_on:
        shutil.rmtree(folder / options.name, ignore_errors=True)
    spent = watch(command, folder / f"{options.name}.log")
    report(folder / options.name, side, json.loads(note.read_text())["inside"], spent)
    if times is not None:
        plan = next((folder / options.name / "results").glob("*/chunks/volume/plan.json"))
        print_blocks(times, plan, half_axis(side, options.empty))
    if options.folder is None:
        shutil.rmtree(folder)


def report(run: Path, side: int, inside: int, spent: Watched) -> None:
    """Print the row."""
    results = next((run / "results").iterdir())
    summary = json.loads((results / "run.json").read_text())
    stages = ", ".join(f"{name} {taken:.0f} s" for name, taken in summary["seconds"].items())
    instances = sum(summary["test"]["instances"].values())
    print(
        "| voxels | in tissue | minutes | CPU minutes | peak, MB | anonymous, MB | voxels/s | "
        "ns CPU per voxel in tissue | instances | on disk, MB |\n" + "|---" * 10 + "|"
    )
    print(
        f"| {side**3:.3g} | {inside / side**3:.0%} | {spent.seconds / 60:.1f} | "
        f"{spent.cpu / 60:.1f} | {spent.memory:.0f} | {spent.anonymous:.0f} | "
        f"{side**3 / spent.seconds:,.0f} | {spent.cpu / inside * 1e9:.0f} | {instances:,} | "
        f"{on_disk(results):.0f} |"
    )
    print(stages, flush=True)


if __name__ == "__main__":
    main()

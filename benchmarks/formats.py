"""Measure memory and speed of images that stay on disk, and of preparing labels for training.

    python benchmarks/formats.py [--side 384] [--slices 300]

Each line is measured in a separate process; memory is the growth of its peak (VmHWM, Linux).
Reading: a 16-bit volume of SLICES × 1000 × 1000, in chunks of 30 × 256 × 256 if the format has
chunks, read in boxes of this size. The files were just written, so they are in the cache of the
system. Labels: a cube of SIDE³ with 32-bit ids in a Zarr, which is read, encoded, stored and
checked.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("a.zarr", "a.h5", "a.n5", "deflated.tif", "plain.tif", "a.npy")
CHUNKS = (30, 256, 256)


def peak_memory() -> int:
    """Return the peak memory of this process in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def reset_peak_memory() -> int:
    """Reset the peak memory to the current memory, and return it."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def write_volume(path: Path, slices: int) -> None:
    """Write a volume of 10-bit random numbers, each repeated in a 2 × 2 square."""
    rng = np.random.default_rng(0)
    slab = rng.integers(0, 1024, (30, 500, 500)).astype(np.uint16).repeat(2, 1).repeat(2, 2)
    shape = (slices, 1000, 1000)
    starts = range(0, slices, 30)
    if path.suffix == ".zarr":
        import zarr

        array = zarr.create_array(path, shape=shape, dtype="uint16", chunks=CHUNKS)
        for z in starts:
            array[z : z + 30] = slab
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            options: dict[str, Any] = {"chunks": CHUNKS, "compression": "gzip"}
            stored = file.create_dataset("raw", shape, "uint16", compression_opts=1, **options)
            for z in starts:
                stored[z : z + 30] = slab
    elif path.suffix == ".n5":
        import tensorstore

        metadata = {
            "compression": {"type": "zstd"},
            "dataType": "uint16",
            "dimensions": shape[::-1],
            "blockSize": CHUNKS[::-1],
        }
        kvstore = {"driver": "file", "path": str(path)}
        spec = {"driver": "n5", "kvstore": kvstore, "metadata": metadata, "create": True}
        store = tensorstore.open(spec).result()
        for z in starts:
            store[:, :, z : z + 30].write(slab.T).result()
    elif path.suffix == ".npy":
        mapped = np.lib.format.open_memmap(path, "w+", np.uint16, shape)
        for z in starts:
            mapped[z : z + 30] = slab
        mapped.flush()
    else:
        import tifffile

        planes = (plane for _ in starts for plane in slab)
        compression = "zlib" if path.stem == "deflated" else None
        tifffile.imwrite(
            path,
            planes,
            shape=shape,
            dtype="uint16",
            compression=compression,
            metadata={"axes": "ZYX"},
        )


def read_boxes(path: Path) -> None:
    """Read a volume in boxes; print MB of memory and MB per second."""
    from singula.io.lazy import boxes, open_image

    lazy = open_image(path, 3, 1)
    lazy.read((slice(0, 5), slice(0, 50), slice(0, 50)))
    before, start, size = reset_peak_memory(), time.perf_counter(), 0
    for box in boxes(lazy.spatial_shape, CHUNKS):
        size += lazy.read(box).nbytes
    seconds = time.perf_counter() - start
    print(f"{(peak_memory() - before) / 1e6:.0f} {size / 1e6 / seconds:.0f}")


def prepare_labels(folder: Path, side: int, codes: str) -> None:
    """Prepare a label volume for training; print bytes per voxel after each step."""
    import zarr

    from singula.data.channel_store import ChannelStore
    from singula.io.read import read_labels
    from singula.labels.components import count_components
    from singula.labels.index import index_labels
    from singula.representations.channels import EncodeSettings

    path = folder / "labels.zarr"
    z, y, x = np.ogrid[:side, :side, :side]
    ids = ((z // 16 * 99 + y // 16) * 99 + x // 16 + 1).astype(np.uint32)
    ids[(z % 16 < 3) | (y % 16 < 3) | (x % 16 < 3)] = 0
    zarr.create_array(path, data=ids, chunks=(64, 64, 64))
    small = ids[:32, :32, :32].copy()
    del ids
    settings = EncodeSettings(tuple(codes))

    def store(name: str, array: np.ndarray) -> None:
        channels = ChannelStore(folder / f"{name}x", folder / f"{name}y", settings)
        channels.ensure(name, path, lambda: array, path)

    def check(array: np.ndarray) -> None:
        index, ids = index_labels(array)
        count_components(index, len(ids))

    store("small", small)  # compile the kernels before the measurement
    check(small)
    before, peaks = reset_peak_memory(), []
    labels = read_labels(path, 3).array[..., 0]
    peaks.append(peak_memory())
    store("large", labels)
    peaks.append(peak_memory())
    check(labels)
    peaks.append(peak_memory())
    print(*(f"{(peak - before) / side**3:.0f}" for peak in peaks))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        task, path, *more = options.one
        if task == "read":
            read_boxes(Path(path))
        else:
            prepare_labels(Path(path), options.side, more[0])
        return

    def measure(*job: object) -> list[str]:
        command = [sys.executable, __file__, "--side", str(options.side), "--one", *map(str, job)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    print("| read in boxes | memory, MB | MB/s |\n|---|---|---|")
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            write_volume(Path(folder) / name, options.slices // 30 * 30)
            memory, speed = measure("read", Path(folder) / name)
            print(f"| {name} | {memory} | {speed} |", flush=True)
    print("\n| labels, bytes per voxel | read | and stored | and checked |\n|---|---|---|---|")
    for codes in ("BC", "BCD"):
        with tempfile.TemporaryDirectory() as folder:
            steps = measure("label", folder, codes)
            print(f"| {codes} | {' | '.join(steps)} |", flush=True)


if __name__ == "__main__":
    main()

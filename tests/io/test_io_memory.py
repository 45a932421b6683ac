"""Images larger than memory are read, written and processed with little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from selection import fast_first

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is told in other units")

SHAPE = (150, 1000, 1000)  # 300 MB of uint16
MOST = 100  # MB
MOST_WORKING = 220  # with buffers, and what the allocator keeps for each thread of zarr

# The peak of a process of its own, before and after what it does with the whole.
MEASURE = """
import sys
from pathlib import Path
import numpy as np
from singula.io.lazy import boxes, open_image
from singula.io.block_array import BlockArray, write_hdf5_from, write_tiff_from
import h5py, tifffile, zarr

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

def begin():
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held now
    return peak()

path, what = Path(sys.argv[1]), sys.argv[2]
lazy = open_image(path, 3, 1)
lazy.read((slice(0, 5), slice(0, 300), slice(0, 300)))
before, total = begin(), 0
if what == "read":
    for box in boxes(lazy.spatial_shape, (30, 250, 250)):
        total += int(lazy.read(box).sum(dtype=np.int64))
elif what == "statistics":
    from singula.data.statistics import Statistics
    from singula.io.lazy_array import LazyArray
    before = begin()
    gathered = Statistics((1, 99))
    gathered.add(LazyArray.of(lazy))
elif what == "tiff":
    write_tiff_from(path.with_name("out.tif"), lazy)
elif what == "raw tiff":
    write_tiff_from(path.with_name("out.tif"), lazy, compress=False)
elif what == "hdf5":
    write_hdf5_from(path.with_name("out.h5"), lazy)
elif what == "zarr":
    blocks = BlockArray.create(path.with_name("out.zarr"), lazy.spatial_shape, lazy.dtype, ndim=3,
        kind="labels", chunks=(16, 128, 128), shards=(32, 256, 256))
    for box in blocks.blocks():
        blocks.write(box, lazy.read(box)[..., 0])
    for level in range(1, len(blocks.levels)):
        for box in blocks.blocks(level):
            blocks.build_level(level, box)
    blocks.finish()
print(peak() - before, total)
"""


def measure(path: Path, what: str) -> tuple[float, int]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), what], capture_output=True, text=True, check=True
    )
    growth, total = done.stdout.split()
    return float(growth), int(total)


def slices() -> tuple[np.ndarray, int]:
    """Return a slice, equal for all positions, and the sum over all slices."""
    one = (np.arange(SHAPE[1] * SHAPE[2], dtype=np.uint32) % 1021).astype(np.uint16)
    one = one.reshape(SHAPE[1:])
    return one, int(one.sum(dtype=np.int64)) * SHAPE[0]


def write(path: Path) -> int:
    one, total = slices()
    several = np.broadcast_to(one, (30, *SHAPE[1:]))
    if path.name == "a.zarr":
        import zarr

        array = zarr.create_array(path, shape=SHAPE, dtype="uint16", chunks=(30, 256, 256))
        for z in range(0, SHAPE[0], 30):
            array[z : z + 30] = several
    elif path.name == "a.h5":
        import h5py

        with h5py.File(path, "w") as file:
            stored = file.create_dataset(
                "raw", SHAPE, "uint16", chunks=(30, 256, 256), compression="lzf"
            )
            for z in range(0, SHAPE[0], 30):
                stored[z : z + 30] = several
    elif path.name == "a.n5":
        import tensorstore

        store = tensorstore.open(
            {
                "driver": "n5",
                "kvstore": {"driver": "file", "path": str(path)},
                "metadata": {
                    "compression": {"type": "zstd"},
                    "dataType": "uint16",
                    "dimensions": SHAPE[::-1],
                    "blockSize": (256, 256, 30),
                },
                "create": True,
            }
        ).result()
        for z in range(0, SHAPE[0], 30):
            store[:, :, z : z + 30].write(several.T).result()
    elif path.suffix == ".npy":
        mapped = np.lib.format.open_memmap(path, "w+", np.uint16, SHAPE)
        mapped[:] = one
        mapped.flush()
    else:
        import tifffile

        tifffile.imwrite(
            path, (one for _ in range(SHAPE[0])), shape=SHAPE, dtype="uint16",
            compression="zstd" if path.stem == "a" else None, metadata={"axes": "ZYX"},
        )  # fmt: skip
    return total


@pytest.mark.parametrize("name", fast_first(["a.zarr", "a.h5", "a.n5", "a.tif", "b.tif", "a.npy"]))
def test_reading_in_boxes_needs_little_memory(tmp_path: Path, name: str) -> None:
    total = write(tmp_path / name)
    growth, found = measure(tmp_path / name, "read")
    assert found == total
    assert growth < MOST


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("volume") / "a.zarr"
    write(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("what", ["statistics", "hdf5", "zarr"])
def test_processing_a_volume_needs_little_memory(volume: Path, what: str) -> None:
    growth, _ = measure(volume, what)
    assert growth < MOST_WORKING


@pytest.mark.slow
@pytest.mark.parametrize("what", ["tiff", "raw tiff"])
def test_writing_a_tiff_keeps_a_few_slices_in_memory(
    volume: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks have 30 slices, so that 60 MB are in memory, read from chunks of 4 MB."""
    growth, _ = measure(volume, what)
    assert growth < MOST_WORKING
    from singula.io.read import read_header

    assert read_header(volume.with_name("out.tif")).shape == SHAPE

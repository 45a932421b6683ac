"""Patches of volumes on disk equal those of volumes in memory."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from selection import fast_first

from singula.data.augment import AugmentSettings
from singula.data.augment.noise import GaussianNoise
from singula.data.dataset import PatchDataset, PatchSettings
from singula.data.normalize import Normalizer
from singula.data.random_patches import foreground_rows
from singula.data.samples import Sample, SampleCache, memory_of
from singula.data.statistics import Statistics
from singula.io import lazy_array
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image, open_labels
from singula.io.lazy_array import LazyArray, iter_blocks
from singula.representations.channels import EncodeSettings, encode

RNG = np.random.default_rng(0)
SHAPES = {2: (70, 83), 3: (18, 50, 61)}


def made(folder: Path, ndim: int, dtype: str = "uint16") -> tuple[Sample, Sample]:
    """Return a sample in memory, and the same sample in a Zarr."""
    shape = SHAPES[ndim]
    image = (RNG.random((*shape, 2)) * 4000).astype(dtype)
    coarse = RNG.integers(0, 4, [-(-n // 7) for n in shape]).astype(np.uint8)
    ids = np.kron(coarse, np.ones((7,) * ndim, np.uint8))[tuple(slice(n) for n in shape)]
    targets = encode(ids, "BD")
    chunks = (5, 16, 20)[-ndim:]
    root = zarr.open_group(folder / "a.zarr", mode="w")
    root.create_array("raw", data=np.moveaxis(image, -1, 0), chunks=(1, *chunks))
    root.create_array("labels", data=ids, chunks=chunks)
    stacked = np.stack(list(targets.values()), axis=-1)
    root.create_array("targets", data=stacked, chunks=(*chunks, 2))
    place = ArrayPlace("raw", "CZYX" if ndim == 3 else "CYX")
    maps = LazyArray.of(
        open_image(folder / "a.zarr", ndim, 2, arrays=ArrayPlace("targets", "ZYXC"[-ndim - 1 :]))
    )
    lazy = Sample(
        "a",
        LazyArray.of(open_image(folder / "a.zarr", ndim, 2, arrays=place)),
        LazyArray.of(open_labels(folder / "a.zarr", ndim, arrays=ArrayPlace("labels"))),
        {code: maps[..., place] for place, code in enumerate("BD")},
    )
    return Sample("a", image, ids[..., None], targets), lazy


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_array, "_BLOCK_SIZE", 5000)


@pytest.mark.parametrize("ndim", [2, 3])
def test_it_is_indexed_like_an_array(tmp_path: Path, ndim: int) -> None:
    held, lazy = made(tmp_path, ndim)
    image, array = lazy.image, held.image
    assert isinstance(image, LazyArray)
    assert (image.shape, image.ndim, image.size, len(image)) == (
        array.shape, array.ndim, array.size, len(array),
    )  # fmt: skip
    assert image.dtype == array.dtype
    box = tuple(slice(3, 11) for _ in range(ndim))
    for index in (
        box, (*box, 1), (..., 1, slice(None)), 4, (-1,) * ndim, (slice(2, 4), ...),
        (..., slice(5, 9), slice(0, 1)), (slice(-3, None),), (*box[:-1], 7, 0),
    ):  # fmt: skip
        found = image[index]
        assert isinstance(found, np.ndarray) or np.isscalar(found)
        np.testing.assert_array_equal(found, array[index])
    one = image[..., 1]
    assert isinstance(one, LazyArray)
    np.testing.assert_array_equal(one, array[..., 1])
    np.testing.assert_array_equal(one[box], array[box][..., 1])
    cut = image.crop(box).crop((slice(2, 5),))
    assert isinstance(cut, LazyArray)
    np.testing.assert_array_equal(cut, array[box][2:5])
    np.testing.assert_array_equal(cut[..., 0][1], array[box][3][..., 0])
    with pytest.raises(IndexError):
        image[(0,) * (ndim + 2)]
    with pytest.raises(IndexError):
        image[0, image.shape[1]]
    with pytest.raises(IndexError, match="without steps"):
        image[::2]


@pytest.mark.parametrize("ndim", [2, 3])
def test_parts_compose_the_whole(tmp_path: Path, ndim: int) -> None:
    held, lazy = made(tmp_path, ndim)
    found = np.zeros_like(held.image)
    count = np.zeros(held.shape, int)
    largest = 0
    for box, part in iter_blocks(lazy.image):
        found[box] = part
        count[box] += 1
        largest = max(largest, part.size)
    np.testing.assert_array_equal(found, held.image)
    assert (count == 1).all()
    assert largest <= 5000
    np.testing.assert_array_equal(
        foreground_rows(lazy.labels[..., 0]), foreground_rows(held.labels[..., 0])
    )


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("dtype", fast_first(["uint16", "float32", "uint8", "int32"], 2))
@pytest.mark.parametrize("samples", [2_000_000, 500])
def test_statistics_equal_those_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ndim: int, dtype: str, samples: int
) -> None:
    monkeypatch.setattr("singula.data.statistics._SAMPLES", samples)
    held, lazy = made(tmp_path, ndim, dtype)
    found = []
    for image in (held.image, lazy.image):
        gathered = Statistics((1, 99))
        gathered.add(image)
        found.append(gathered.summary())
    assert found[0] == found[1]
    for kind in ("div", "scale_range", "custom"):
        one, two = (Normalizer(kind).scaling(s.image) for s in (held, lazy))
        np.testing.assert_array_equal(one.scale, two.scale)
        np.testing.assert_array_equal(one.shift, two.shift)


FREE = AugmentSettings(
    probability=0.9, rotation=(-180, 180), zoom=(0.7, 1.4), shift=(-0.2, 0.2), hflip=True,
    elastic_alpha=(5, 9), misalignment=3, changes=(GaussianNoise(),),
)  # fmt: skip


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("mode", fast_first(["reflect", None, "constant", "wrap"]))
@pytest.mark.parametrize("random", [False, True])
def test_patches_equal_those_of_arrays_in_memory(
    tmp_path: Path, ndim: int, mode: str | None, random: bool
) -> None:
    from dataclasses import replace

    held, lazy = made(tmp_path, ndim)
    augment = None if mode is None else replace(FREE, mode=mode)
    patches = PatchSettings(
        (8, 24, 32)[-ndim:], (0.25,) * ndim, (2,) * ndim, random=random,
        weights=(0.9, 0.1) if random else None, min_foreground=0.05, replicate=4 if random else 1,
    )  # fmt: skip
    axis = ndim - 1
    sets = [
        PatchDataset(
            [sample, sample.slab(axis, 9, 55)], patches, Normalizer("scale_range", clip=(1, 99)),
            EncodeSettings(("B", "D")), augment,
        )
        for sample in (held, pickle.loads(pickle.dumps(lazy)))
    ]  # fmt: skip
    assert len(sets[0]) == len(sets[1]) > 0
    for index in range(0, len(sets[0]), 2 if random else 7):
        one, two = sets[0][(1, index)], sets[1][(1, index)]
        assert one.keys() == two.keys()
        for name in one:
            assert torch.equal(one[name], two[name]), name


def test_lazy_arrays_count_as_no_memory_in_a_cache(tmp_path: Path) -> None:
    held, lazy = made(tmp_path, 3)
    assert memory_of(held) > 0
    assert memory_of(lazy) == 0
    cache = SampleCache(10)
    cache.get("a", lambda: lazy)
    assert cache.bytes == 0

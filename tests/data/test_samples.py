"""Samples on disk give the same patches as in memory, with constant memory."""

import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from singula.data.augment import AugmentSettings
from singula.data.augment.noise import GaussianNoise
from singula.data.dataset import PatchDataset, PatchSettings
from singula.data.normalize import Normalizer
from singula.data.samples import Sample, SampleCache, StoredSample, is_mapped, memory_of
from singula.representations.channels import EncodeSettings, encode

SHAPE = (64, 80)
FREE = AugmentSettings(
    probability=0.8, rotation=(-180, 180), hflip=True, changes=(GaussianNoise(),)
)


class Made:
    """Reader of a sample of noise that counts its calls."""

    def __init__(self, number: int, shape: tuple[int, int] = SHAPE) -> None:
        self.number, self.shape, self.reads = number, shape, 0

    def __call__(self, with_targets: bool) -> Sample:
        self.reads += 1
        rng = np.random.default_rng(self.number)
        image = rng.integers(0, 4000, (*self.shape, 1)).astype(np.uint16)
        labels = np.kron(
            rng.integers(0, 3, (self.shape[0] // 8, self.shape[1] // 8)), np.ones((8, 8))
        )
        labels = labels.astype(np.uint8)[..., None]
        targets = encode(labels[..., 0], "BC") if with_targets else None
        return Sample(f"s{self.number}", image, labels, targets)


def dataset(samples: list[object], augment: AugmentSettings | None, kind: str) -> PatchDataset:
    normalizer = Normalizer(kind, clip=(1, 99))
    patches = PatchSettings((32, 32), (0.25, 0.0), (0, 0))
    return PatchDataset(
        samples,  # type: ignore[arg-type]
        patches, normalizer, EncodeSettings(("B", "C")), augment,
    )  # fmt: skip


@pytest.mark.parametrize("augment", [None, FREE])
@pytest.mark.parametrize("kind", ["div", "scale_range"])
@pytest.mark.parametrize("limit", [0, 2**30])
def test_stored_samples_give_the_same_patches_as_samples_in_memory(
    augment: AugmentSettings | None, kind: str, limit: int
) -> None:
    cache = SampleCache(limit)
    stored = [StoredSample(f"s{n}", SHAPE, Made(n), cache) for n in range(3)]
    held = [Made(n)(True) for n in range(3)]
    # The same parts of the same images.
    one = dataset([*held, held[0].slab(1, 10, 50)], augment, kind)
    two = dataset([*stored, stored[0].slab(1, 10, 50)], augment, kind)
    assert len(one) == len(two) > 0
    for index in range(len(one)):
        first, second = one[(2, index)], two[(2, index)]
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name])


def peak(count: int) -> int:
    """Return the peak memory of creating a data set and drawing from it, in bytes."""
    cache = SampleCache(2_000_000)
    shape = (512, 512)
    samples = [StoredSample(f"s{n}", shape, Made(n, shape), cache) for n in range(count)]
    tracemalloc.start()
    items = dataset([s.without_targets() for s in samples], FREE, "scale_range")
    for index in range(0, len(items), len(items) // (2 * count)):
        _ = items[(0, index)]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    peak(2)  # what is imported on the way
    few, many = peak(4), peak(16)
    assert many < few + 512 * 512 * 3  # not one sample more, though there are twelve


def test_a_cache_contains_samples_that_fit_and_always_the_newest() -> None:
    size = memory_of(Made(0)(False))
    made = [Made(n) for n in range(3)]
    cache = SampleCache(2 * size)
    for number in (0, 1, 0, 2, 0, 1):
        cache.get(number, lambda n=number: made[n](False))  # type: ignore[misc]
        assert cache.bytes <= 2 * size
    assert [m.reads for m in made] == [1, 2, 1]
    small = SampleCache(10)
    small.get(0, lambda: made[0](False))
    assert small.bytes == size
    assert pickle.loads(pickle.dumps(small)).bytes == 0


def test_mapped_arrays_count_as_no_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((50, 60, 1), np.uint8))
    mapped = np.asarray(np.load(tmp_path / "a.npy", mmap_mode="r"))[3:, ::2]
    assert is_mapped(mapped)
    labels = np.zeros((47, 30, 1), np.uint8)
    assert memory_of(Sample("a", mapped, labels)) == labels.nbytes


@pytest.mark.parametrize("replicate", [1, 3])
def test_replicated_patches_have_different_augmentation(replicate: int) -> None:
    make: Callable[[bool], Sample] = Made(0)
    items = PatchDataset(
        [make(False)],
        PatchSettings((32, 32), (0.0, 0.0), (0, 0), replicate=replicate),
        Normalizer("div"), EncodeSettings(("B",)), FREE,
    )  # fmt: skip
    once = len(items.places)
    assert len(items) == replicate * once
    images = [items[(0, i)]["image"] for i in range(0, len(items), once)]
    for number, image in enumerate(images[1:]):
        assert not torch.equal(image, images[number])


def test_each_sample_is_read_once_to_create_a_data_set() -> None:
    made = [Made(n) for n in range(4)]
    cache = SampleCache(0)
    PatchDataset(
        [StoredSample(f"s{n}", SHAPE, m, cache) for n, m in enumerate(made)],
        PatchSettings((32, 32), (0.0, 0.0), (0, 0), True, (0.9, 0.1), min_foreground=0.1),
        Normalizer("scale_range"), EncodeSettings(("B",)),
    )  # fmt: skip
    assert [m.reads for m in made] == [1] * 4

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.data.augment import AugmentSettings
from singula.data.augment.noise import GaussianNoise
from singula.data.augment.regions import CutMix
from singula.data.dataset import EpochSampler, PatchDataset, PatchSettings, Sample
from singula.data.normalize import Normalizer
from singula.representations.channels import EncodeSettings, encode

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (40, 50, 1)).astype(np.uint8)
LABELS = np.zeros((40, 50, 1), np.uint16)
LABELS[4:20, 5:22, 0] = 3
LABELS[20:33, 8:30, 0] = 9


def encoder(labels: np.ndarray) -> dict[str, np.ndarray]:
    return encode(labels, "BC")


def dataset(**changes: object) -> PatchDataset:
    arguments: dict[str, object] = {
        "samples": [Sample("a", IMAGE, LABELS)],
        "patches": PatchSettings((16, 16), (0.0, 0.0), (0, 0)),
        "normalizer": Normalizer("div"),
        "encoding": EncodeSettings(("B", "C")),
        **changes,
    }
    return PatchDataset(**arguments)  # type: ignore[arg-type]


FREE = AugmentSettings(
    probability=0.8, rotation=(-180, 180), rot90=True, changes=(GaussianNoise(0.0, 0.05),)
)


def test_an_item_is_the_normalized_patch_with_its_targets() -> None:
    items = dataset()
    item = items[0]
    assert item["image"].shape == (1, 16, 16)
    np.testing.assert_allclose(item["image"][0], IMAGE[:16, :16, 0] / 255, rtol=1e-6)
    expected = {n: m[:16, :16] for n, m in encode(LABELS[..., 0], "BC").items()}
    np.testing.assert_array_equal(item["target"], np.stack([expected["B"], expected["C"]]))
    np.testing.assert_array_equal(item["foreground"][0], LABELS[:16, :16, 0] > 0)
    assert "classes" not in item
    assert len(items) == 3 * 4


def test_augmentation_follows_from_seed_epoch_and_index_alone() -> None:
    first, again = dataset(augment=FREE, seed=5), dataset(augment=FREE, seed=5)
    _ = first[(0, 3)], first[(7, 1)]  # what was drawn before does not matter
    torch.testing.assert_close(first[(2, 4)]["image"], again[(2, 4)]["image"], rtol=0, atol=0)
    assert not torch.equal(first[(2, 4)]["image"], first[(3, 4)]["image"])
    other = dataset(augment=FREE, seed=6)
    assert not torch.equal(first[(2, 4)]["image"], other[(2, 4)]["image"])


def test_targets_are_encoded_from_the_changed_labels() -> None:
    for epoch in range(4):
        _, labels, targets = dataset(augment=FREE).draw(epoch, 0)
        inside = (slice(1, -1), slice(1, -1))  # beyond the patch there are more labels
        expected = encode(np.ascontiguousarray(labels[..., 0]), "BC")
        np.testing.assert_array_equal(targets["C"][inside], expected["C"][inside])


def test_stored_targets_are_cropped_if_labels_do_not_change() -> None:
    stored = {name: m.copy() for name, m in encoder(LABELS[..., 0]).items()}
    items = dataset(samples=[Sample("a", IMAGE, LABELS, targets=stored)])
    whole = np.zeros((2, 40, 50), np.float32)
    for (_, start), item in zip(items.places, (items[i] for i in range(len(items))), strict=True):
        whole[:, start[0] : start[0] + 16, start[1] : start[1] + 16] = item["target"]
    np.testing.assert_array_equal(whole, np.stack([stored["B"], stored["C"]]))


def test_random_patches_lie_inside_and_move_from_epoch_to_epoch() -> None:
    column = np.broadcast_to(np.arange(50, dtype=np.uint8), (40, 50))[..., None]
    items = dataset(
        samples=[Sample("a", column, LABELS)],
        patches=PatchSettings((16, 16), (0.0, 0.0), (0, 0), random=True),
    )
    assert len(items) == 1
    starts = [round(float(items[(e, 0)]["image"][0, 0, 0]) * 255) for e in range(40)]
    assert min(starts) >= 0
    assert max(starts) <= 50 - 16
    assert len(set(starts)) > 10


def test_small_images_are_mirrored_to_a_patch() -> None:
    small = Sample("s", IMAGE[:10, :12], LABELS[:10, :12])
    for chosen in (False, True):
        items = dataset(
            samples=[small], patches=PatchSettings((16, 16), (0.0, 0.0), (0, 0), random=chosen)
        )
        assert items[0]["image"].shape == (1, 16, 16)


def test_classes_come_from_the_second_channel() -> None:
    both = np.concatenate([LABELS, (LABELS > 0) * np.uint16(2)], axis=-1)
    item = dataset(samples=[Sample("a", IMAGE, both)], augment=FREE)[(1, 0)]
    classes = item["classes"]
    assert classes.dtype == torch.int64
    np.testing.assert_array_equal(classes > 0, item["foreground"][0])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 4), st.booleans())
def test_processes_share_an_epoch_without_gap(size: int, world: int, shuffle: bool) -> None:
    parts = []
    for rank in range(world):
        sampler = EpochSampler(size, shuffle=shuffle, seed=1, rank=rank, world=world)
        sampler.set_epoch(3)
        parts.append(list(sampler))
    assert len({len(p) for p in parts}) == 1
    assert {i for part in parts for _, i in part} == set(range(size))
    assert {e for part in parts for e, _ in part} == {3}


@given(st.integers(1, 40), st.integers(1, 5), st.booleans())
def test_processes_count_every_validation_patch_once(size: int, world: int, shuffle: bool) -> None:
    drawn = [
        index
        for rank in range(world)
        for _, index in EpochSampler(size, shuffle=shuffle, vary=False, rank=rank, world=world)
    ]
    assert sorted(i for i in drawn if i >= 0) == list(range(size))
    assert len(drawn) % world == 0
    data = dataset()
    first, again = data[0, 0], data[0, -1]
    assert bool(first["counts"])
    assert not bool(again["counts"])
    assert torch.equal(first["image"], again["image"])


def test_order_follows_from_seed_and_epoch() -> None:
    def order(epoch: int, **changes: object) -> list[tuple[int, int]]:
        sampler = EpochSampler(50, **{"shuffle": True, "seed": 1, **changes})  # type: ignore[arg-type]
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(2) == order(2)
    assert [i for _, i in order(2)] != [i for _, i in order(3)]
    assert order(0, vary=False) == order(9, vary=False)


@pytest.mark.parametrize("depth", [3])
def test_volumes(depth: int) -> None:
    image = RNG.integers(0, 255, (6, 30, 30, 2)).astype(np.uint16)
    labels = np.zeros((6, 30, 30, 1), np.uint8)
    labels[1:5, 5:20, 5:20] = 1
    items = dataset(
        samples=[Sample("v", image, labels)],
        patches=PatchSettings((depth, 16, 16), (0.0,) * 3, (0,) * 3),
        augment=FREE,
    )
    assert items[(1, 0)]["image"].shape == (2, depth, 16, 16)
    assert items[(1, 0)]["target"].shape == (2, depth, 16, 16)


def test_cutmix_draws_the_other_patch_from_the_same_seed() -> None:
    mixed = AugmentSettings(probability=1.0, changes=(CutMix((0.5, 0.5)),))
    bright = Sample("b", np.full((16, 16, 1), 255, np.uint8), np.ones((16, 16, 1), np.uint16))
    dark = Sample("d", np.zeros((16, 16, 1), np.uint8), np.ones((16, 16, 1), np.uint16))
    items = dataset(samples=[bright, dark], augment=mixed)
    for index, inside in ((0, 0.0), (1, 1.0)):
        image, labels, targets = items.draw(3, index)
        box = image[..., 0] == inside
        assert box.sum() == 64
        np.testing.assert_array_equal(labels[..., 0] == 2, box)
        np.testing.assert_array_equal(targets["C"], encode(labels[..., 0], "BC")["C"])
        np.testing.assert_array_equal(image, dataset(**vars_of(items)).draw(3, index)[0])
    alone = dataset(samples=[bright], augment=mixed).draw(0, 0)
    assert (alone[0] == 1).all()


def vars_of(items: PatchDataset) -> dict[str, object]:
    return {"samples": items.samples, "augment": items.augment}


def test_other_samples_use_the_same_normalization() -> None:
    items = dataset(normalizer=Normalizer("scale_range"))
    brighter = Sample("a", np.maximum(IMAGE, 254), LABELS)
    other = items.with_samples([brighter], None)
    assert items.augment is other.augment is None
    assert other.draw(0, 0)[0].min() > 0.99
    assert items.draw(0, 0)[0].min() < 0.5

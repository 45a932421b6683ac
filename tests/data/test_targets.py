"""Targets of a patch equal those of the whole (augmented) image."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage

from singula.data.augment import AugmentSettings, Geometry, draw_geometry, sample_pair
from singula.data.augment.copies import separate_copies
from singula.data.augment.geometry import turn
from singula.data.augment.regions import CutMix, Cutout
from singula.data.dataset import PatchDataset, PatchSettings, Sample
from singula.data.normalize import Normalizer
from singula.data.window import margin_of, window_in_image
from singula.representations.channels import EncodeSettings, encode_with, measure_extent

EVERY = ("B", "C", "M", "P", "D", "Dv2")
SPACINGS = {2: None, 3: (2.5, 1.0, 0.5)}
PATCH = {2: (32, 32), 3: (12, 32, 32)}
STILL = Geometry(np.eye(2), np.zeros(2))
FLIPS = AugmentSettings(1.0, rot90=True, vflip=True, hflip=True, zflip=True)
NEVER = AugmentSettings(0.0, rotation=(5, 90), zoom=(2, 3), elastic_alpha=(90, 99), rot90=True)


def cells(ndim: int, seed: int = 0) -> np.ndarray:
    """Return touching cells with gaps and slivers, shape (…, 1)."""
    rng = np.random.default_rng(seed)
    shape = (90, 101) if ndim == 2 else (18, 56, 60)
    seeds = np.zeros(shape, int)
    for number in range(1, 26):
        seeds[tuple(rng.integers(0, n) for n in shape)] = number
    far, near = ndimage.distance_transform_edt(seeds == 0, (2.5, 1, 1)[-ndim:], return_indices=True)
    labels = np.where(far < 11, seeds[tuple(near)], 0).astype(np.uint16)
    labels[..., 30:32] = 0
    labels[..., 40, 3:30] = 60_000  # thin and long, with an id far above the others
    return labels[..., None]


def numbered(labels: np.ndarray) -> np.ndarray:
    """Return an image whose values are the indices of its pixels."""
    return np.arange(labels[..., 0].size, dtype=np.float32).reshape(labels.shape)


def encoding(ndim: int, mode: str = "thick") -> EncodeSettings:
    return EncodeSettings(EVERY, mode, SPACINGS[ndim])


def dataset(
    labels: np.ndarray, augment: AugmentSettings | None, mode: str = "thick", **more: object
) -> PatchDataset:
    ndim = labels.ndim - 1
    patches = PatchSettings(PATCH[ndim], (0.3,) * ndim, (0,) * ndim)
    # Nothing is changed by `custom` with these numbers.
    same = Normalizer("custom", False, None, {"mean": (0.0,), "std": (1.0,)})
    arguments: dict[str, object] = {"patches": patches, **more}
    return PatchDataset(
        [Sample("a", numbered(labels), labels)],
        normalizer=same, encoding=encoding(ndim, mode), augment=augment, **arguments,  # type: ignore[arg-type]
    )  # fmt: skip


def whole(labels: np.ndarray, mode: str = "thick") -> dict[str, np.ndarray]:
    return encode_with(encoding(labels.ndim - 1, mode), labels[..., 0])


def check(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], where: object) -> None:
    for name in EVERY:
        difference = np.abs(found[name].astype(float) - expected[name])
        assert difference.max() <= (1e-5 if name == "Dv2" else 0), (name, where)


@pytest.mark.parametrize("mode", ["thick", "inner", "outer", "dense"])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("augment", [None, FLIPS])
def test_flipped_and_rotated_patches_have_the_targets_of_the_whole_image(
    ndim: int, augment: AugmentSettings | None, mode: str
) -> None:
    labels = cells(ndim)
    expected, items = whole(labels, mode), dataset(labels, augment, mode)
    for index in range(len(items)):
        image, ids, targets = items.draw(1, index)
        came_from = image[..., 0].astype(int)
        check(targets, {n: m.ravel()[came_from] for n, m in expected.items()}, index)
        np.testing.assert_array_equal(ids[..., 0], labels.ravel()[came_from])


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("small", [False, True])
def test_changes_that_are_not_drawn_have_no_effect(ndim: int, padding: int, small: bool) -> None:
    labels = cells(ndim)
    if small:  # mirrored to a patch
        labels = labels[..., 10:31, 40:60, :]
    patches = PatchSettings(PATCH[ndim], (0.2,) * ndim, (padding,) * ndim)
    never = dataset(labels, NEVER, patches=patches)
    plain = dataset(labels, None, patches=patches)
    stored = plain.with_samples(
        [Sample("a", numbered(labels), labels, targets=whole(labels))], None
    )
    for index in range(len(plain)):
        drawn = [items.draw(2, index) for items in (stored, plain, never)]
        for image, ids, targets in drawn[1:]:
            np.testing.assert_array_equal(image, drawn[0][0])
            np.testing.assert_array_equal(ids, drawn[0][1])
            check(targets, drawn[0][2], index)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("degrees", [30.0, 135.0])
def test_resampled_patches_have_the_targets_of_the_whole_resampled_image(
    ndim: int, degrees: float
) -> None:
    labels, shape = cells(ndim), (*PATCH[ndim][:-2], 48, 48)
    turned = AugmentSettings(1.0, rotation=(degrees, degrees), zoom=(1.2, 1.2), mode="constant")
    items = dataset(labels, turned, patches=PatchSettings(shape, (0.3,) * ndim, (0,) * ndim))
    geometry = Geometry(turn(np.deg2rad(degrees)) / 1.2, np.zeros(2))
    for index, (_, start) in enumerate(items.places):
        sides = [(s, n - s - p) for s, n, p in zip(start, labels.shape, shape, strict=False)]
        sides[-2:] = [(70, 70)] * 2
        _, ids = sample_pair(labels, labels, start, shape, geometry, mode="constant", sides=sides)
        expected = whole(ids)
        inside = tuple(slice(b, b + n) for (b, _), n in zip(sides, shape, strict=True))
        _, patch, targets = items.draw(0, index)
        np.testing.assert_array_equal(patch, ids[inside])
        cut = {name: target[inside] for name, target in expected.items()}
        # The background's largest distance is that of the image, not that of this window.
        seen = patch[..., 0] > 0
        for maps in (targets, cut):
            maps["Dv2"] = np.where(seen, maps["Dv2"], 0)
        check(targets, cut, index)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("mode", ["reflect", "constant", "wrap"])
def test_a_window_around_a_patch_does_not_change_its_targets(ndim: int, mode: str) -> None:
    free = AugmentSettings(
        0.7, rotation=(0, 90), shear=(5, 15), elastic_alpha=(40, 60), misalignment=4
    )
    labels, shape = cells(ndim), PATCH[ndim]
    image, start = numbered(labels), (3, 20, 25)[-ndim:]
    sides = [(3, 2), (7, 7), (5, 5)][-ndim:]
    inside = tuple(slice(b, b + n) for (b, _), n in zip(sides, shape, strict=True))
    for seed in range(8):
        rng = np.random.default_rng(seed)
        geometry = draw_geometry(free, shape, rng, lambda g: [after for _, after in sides])
        wide = sample_pair(image, labels, start, shape, geometry, mode=mode, sides=sides)
        if geometry.displacement is not None:
            own = geometry.displacement[(slice(None), *inside[-2:])]
            geometry = replace(geometry, displacement=own)
        expected = sample_pair(image, labels, start, shape, geometry, mode=mode)
        np.testing.assert_array_equal(wide[0], expected[0])
        np.testing.assert_array_equal(wide[1][inside], expected[1])


def test_an_instance_cut_by_the_patch_has_no_additional_point() -> None:
    labels = np.zeros((64, 64, 1), np.uint8)
    labels[10:20, 20:40] = 1  # its point is at column 29
    labels[40:50, 28:60] = 2  # at column 43
    patches = PatchSettings((32, 32), (0.0, 0.0), (0, 0))
    points = [dataset(labels, FLIPS, patches=patches).draw(0, i)[2]["P"] for i in range(4)]
    own = [encode_with(EncodeSettings(("P",)), labels[y : y + 32, x : x + 32, 0])["P"].sum()
           for y in (0, 32) for x in (0, 32)]  # fmt: skip
    assert all(count > 0 for count in own)
    disk = encode_with(EncodeSettings(("P",)), np.ones((31, 31), np.uint8))["P"].sum()
    found = [int(p.sum()) for p in points]
    assert found[0] + found[1] == disk
    assert found[2:] == [0, disk]


class TestChangedLabels:
    def test_targets_of_a_cutout_are_encoded_with_their_surroundings(self) -> None:
        cut = Cutout((2, 3), (0.2, 0.4), labels_too=True)
        for augment in (AugmentSettings(1.0, changes=(cut,)), FLIPS):
            self.compare(AugmentSettings(**{**vars(augment), "changes": (cut,)}))

    def test_targets_of_a_cutmix_are_encoded_with_their_surroundings(self) -> None:
        self.compare(AugmentSettings(1.0, changes=(CutMix((0.3, 0.5)),)))

    def compare(self, augment: AugmentSettings) -> None:
        """Put the changed patch back into the image, and encode the image."""
        labels = cells(2).astype(np.uint32)
        items = dataset(labels, augment)
        for index, (_, start) in enumerate(items.places):
            place = tuple(slice(s, s + n) for s, n in zip(start, PATCH[2], strict=True))
            _, ids, targets = items.draw(0, index)
            mirror = items._transform(
                *items._place(index, np.random.default_rng([0, 0, index])),
                augment,
                np.random.default_rng([0, 0, index]),
            ).mirror
            changed = labels.copy()
            new = mirror.undo(ids).astype(np.uint32)
            assert (new != changed[place]).any()
            foreign = ~np.isin(new, changed[place])
            changed[place] = np.where(foreign, new + 100_000, new)
            expected = whole(changed)
            inside = {name: mirror.apply(target[place]) for name, target in expected.items()}
            for maps in (targets, inside):  # what is cut out changes the largest distance
                maps["Dv2"] = np.where(ids[..., 0] > 0, maps["Dv2"], 0)
            check(targets, inside, index)


class TestExtent:
    @hypothesis_settings(deadline=None, max_examples=40)
    @given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.sampled_from(["thick", "outer"]))
    def test_no_distance_is_larger(self, seed: int, ndim: int, mode: str) -> None:
        rng = np.random.default_rng(seed)
        shape = tuple(rng.integers(1, 13, ndim))
        labels = np.kron(rng.integers(0, 4, shape), np.ones([3] * ndim, int)).astype(np.uint8)
        settings = EncodeSettings(("D",), mode, SPACINGS[ndim])
        extent = measure_extent(labels, settings)
        largest = encode_with(settings, labels)["D"].max()
        spacing = np.array(SPACINGS[ndim] or (1,) * ndim)
        assert (np.array(extent.ball) * spacing >= largest - 1e-4).all()

    def test_values_computed_by_hand(self) -> None:
        labels = np.zeros((30, 40), np.uint32)
        labels[5:12, 6:20] = 2**32 - 1
        labels[20:23, 0:9] = 7
        spacing = (1.0, 0.5)
        box = measure_extent(labels, EncodeSettings(("B", "P"), spacing=spacing))
        assert (box.box, box.ball) == ((6, 13), (0, 0))
        radius = measure_extent(labels, EncodeSettings(("D",), spacing=spacing))
        assert (radius.box, radius.ball) == ((0, 0), (3.75, 7.5))  # half of 15 columns
        assert measure_extent(labels, EncodeSettings(("B", "C", "M"))).is_local
        both = measure_extent(labels, EncodeSettings(("Dv2",)))
        assert both.furthest == {"image": pytest.approx(np.hypot(29 - 11, 39 - 20))}
        nothing = measure_extent(labels * 0, EncodeSettings(EVERY))
        assert nothing.is_local
        assert set(nothing.furthest.values()) == {0}

    def test_margins_follow_the_mapping_and_are_at_most_a_patch(self) -> None:
        labels = np.zeros((60, 60), np.uint8)
        labels[10:15, 10:31] = 1
        extent = measure_extent(labels, EncodeSettings(("P",)))
        assert margin_of(extent, STILL, (50, 50)) == (4 + 3, 20 + 3)
        quarter = Geometry(turn(np.pi / 2), np.zeros(2))
        assert margin_of(extent, quarter, (50, 50)) == (23, 7)
        double = Geometry(np.eye(2) / 2, np.zeros(2))
        assert margin_of(extent, double, (50, 50)) == (8 + 3, 40 + 3)
        assert margin_of(extent, double, (16, 16)) == (11, 16)

    def test_a_window_contains_the_pixels_mirrored_into_the_patch(self) -> None:
        assert window_in_image((50, 50), (-8, 38), (16, 16), (2, 2)) == (
            slice(0, 11),
            slice(38 - 2, 50),
        )
        assert window_in_image((50,), (45,), (20,), (1,)) == (slice(49 * 2 - 64 - 1, 50),)


def test_the_largest_distance_of_the_background_can_be_given() -> None:
    labels = np.zeros((3, 20), np.uint8)
    labels[:, 0] = 1
    settings = EncodeSettings(("Dv2",), "inner")
    row = encode_with(settings, labels, {"image": 38.0})["Dv2"][1]
    np.testing.assert_allclose(row, 1 - np.arange(20) / 38, rtol=1e-6)
    short = encode_with(settings, labels, {"image": 10.0})["Dv2"][1]
    np.testing.assert_allclose(short, np.maximum(1 - np.arange(20) / 10, 0), atol=1e-6)
    own = encode_with(settings, labels)["Dv2"]
    for none in (None, {}, {"image": 0.0}):
        np.testing.assert_array_equal(encode_with(settings, labels, none)["Dv2"], own)


DISKS = ((12, 13), (14, 40), (38, 20), (45, 47))


def disks() -> np.ndarray:
    """Return four disks, two of them close to an edge of the image, shape (60, 60, 1)."""
    y, x = np.mgrid[:60, :60]
    labels = np.zeros((60, 60, 1), np.uint8)
    for number, (row, column) in enumerate(DISKS, start=252):
        labels[(y - row) ** 2 + (x - column) ** 2 <= 64] = number
    return labels


@pytest.mark.parametrize(
    ("mode", "size"),
    [("reflect", 60), ("reflect", 100), ("symmetric", 60), ("symmetric", 100), ("wrap", 60)],
)
def test_each_mirrored_copy_of_an_instance_has_its_center(mode: str, size: int) -> None:
    """Labels, offsets and flows of a shrunken patch that extends far beyond the image."""
    labels = disks()
    pixels = {code: {"norm": False} for code in "HV"}
    settings = EncodeSettings(("F", "H", "V", "Gh", "Gv"), options=pixels)
    shrunk = AugmentSettings(1.0, rotation=(20, 20), zoom=(0.5, 0.5), mode=mode)
    items = PatchDataset(
        [Sample("a", numbered(labels), labels)], PatchSettings((size, size), (0, 0), (0, 0)),
        Normalizer("custom", False, None, {"mean": (0.0,), "std": (1.0,)}), settings, shrunk,
    )  # fmt: skip
    _, ids, targets = items.draw(0, 0)
    parts, count = ndimage.label(ids[..., 0], np.ones((3, 3)))
    assert count > 3 * len(DISKS)
    edge = np.ones(parts.shape, bool)
    edge[1:-1, 1:-1] = False
    inner = set(range(1, count + 1)) - set(parts[edge].tolist())
    assert len(inner) > len(DISKS)
    for part in inner:
        place = parts == part
        assert len(np.unique(ids[..., 0][place])) == 1
        assert place.sum() == (ids[..., 0] == ids[..., 0][place][0]).sum()
        for code, coordinate in zip("VH", np.nonzero(place), strict=True):
            from_center = np.abs(targets[code][place])
            np.testing.assert_allclose(
                from_center, np.abs(coordinate - np.median(coordinate)), atol=1.01
            )
        strength = np.hypot(targets["Gh"][place], targets["Gv"][place])
        assert (strength > 0.5).mean() > 0.8


def test_vectors_of_a_small_image_are_mirrored_with_it() -> None:
    """The targets of an image that is padded to a patch are those of the padded image."""
    labels = disks()[2:24, 2:25]
    settings = EncodeSettings(("H", "V", "Gh", "Gv"))
    items = PatchDataset(
        [Sample("a", numbered(labels), labels)], PatchSettings((62, 62), (0, 0), (0, 0)),
        Normalizer("custom", False, None, {"mean": (0.0,), "std": (1.0,)}), settings,
    )  # fmt: skip
    _, ids, targets = items.draw(0, 0)
    separate = ndimage.label(ids[..., 0] > 0)[0]
    expected = encode_with(settings, separate)
    assert separate.max() == 9
    for code in settings.channels:
        np.testing.assert_allclose(targets[code], expected[code], atol=1e-5)


def test_only_parts_outside_of_the_image_get_new_ids() -> None:
    ids = np.array([[0, 7, 0, 7, 0, 255, 0], [0, 7, 0, 0, 0, 255, -1]], np.int16)
    outside = np.zeros(ids.shape, bool)
    outside[:, 2:] = True
    np.testing.assert_array_equal(
        separate_copies(ids, outside), [[0, 7, 0, 256, 0, 257, 0], [0, 7, 0, 0, 0, 257, -1]]
    )
    assert separate_copies(ids.clip(0).astype(np.uint8), outside).dtype == np.int64
    assert separate_copies(ids, ~outside) is not ids  # the first part of 7 is outside
    assert separate_copies(ids, np.zeros_like(outside)) is ids


def test_ids_that_float64_cannot_represent_do_not_change() -> None:
    ids = np.array([[5, 0, 2**53 + 1]], np.uint64)
    outside = np.array([[True, False, False]])
    separated = separate_copies(ids, outside)
    assert separated.tolist() == [[2**53 + 2, 0, 2**53 + 1]]
    assert separated.dtype == np.uint64

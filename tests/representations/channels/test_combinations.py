"""Channels of BiaPy 3.5 and later: definitions by brute force, and transformations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass, gaussian_filter, label
from skimage.draw import disk
from skimage.morphology import skeletonize

from singula.data.augment.geometry import Mirror
from singula.data.vectors import mirror_maps
from singula.data.window import window_in_image
from singula.errors import UserError
from singula.representations.channels import (
    CHANNELS,
    EncodeSettings,
    encode,
    encode_with,
    measure_extent,
)
from singula.representations.decoders import decode
from singula.representations.table import complete_channels, split_channels

NEW = ("F", "Bg", "T", "Db", "Dc", "Ds", "H", "V", "Gh", "Gv", "Dn")


def blobs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return connected instances, many of which touch."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=shape), 1.5)
    ids = label(field > 0.03)[0]
    halves = np.where(np.arange(shape[-1]) % 9 < 5, 2 * ids, 2 * ids + 1) * (ids > 0)
    result = np.zeros(shape, np.uint16)
    for number in np.unique(halves[halves > 0]):
        parts, count = label(halves == number)
        result[parts > 0] = parts[parts > 0] + int(result.max())
        assert count
    return result


def distances(points: np.ndarray, others: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the distance of each point to the nearest of others, by comparing all pairs."""
    pairs = (points[:, None] - others[None]) * spacing
    return np.sqrt((pairs**2).sum(-1)).min(1)


def test_signed_distances_are_divided_inside_and_outside() -> None:
    labels = np.zeros((3, 11), np.uint8)
    labels[:, 4:7] = 1
    options = {"Ds": {"norm": False, "alpha": 2.0, "beta": 4.0}}
    signed = encode(labels, ["Ds"], options=options)["Ds"][1]
    np.testing.assert_allclose(signed[2:9], [-0.5, -0.25, 0.5, 1, 0.5, -0.25, -0.5])


@pytest.mark.parametrize(("name", "ndim"), [("F+H", 2), ("F+H+V+Z", 2), ("F+H+V", 3)])
def test_configurations_with_other_axes_than_the_image_are_errors(name: str, ndim: int) -> None:
    labels = blobs((6, 12, 12)[-ndim:], 0)
    maps = encode(labels, name.split("+")) if ndim == 3 or "Z" not in name else {}
    if not maps:
        maps = {code: np.zeros(labels.shape, np.float32) for code in name.split("+")}
    for work in (lambda: encode(labels, name), lambda: decode(maps, name)):
        with pytest.raises(UserError) as error:
            work()
        assert error.value.code == "decode.missing_channel"


CASES = [((18, 24), (1.0, 1.0), 0), ((18, 24), (2.0, 0.5), 1), ((5, 12, 14), (3.0, 1.0, 1.0), 2)]


@pytest.mark.parametrize(("shape", "spacing", "seed"), CASES)
def test_distances_equal_those_of_all_pairs_of_pixels(shape, spacing, seed) -> None:
    labels, sizes = blobs(shape, seed), np.array(spacing)
    plain = {code: {"norm": False} for code in ("Db", "Dc", "Ds", "H", "V", "Dn")}
    plain["Dn"] = {"norm": False, "decline_power": 1.0}
    maps = encode_with(EncodeSettings(NEW, spacing=spacing, options=plain), labels)
    scaled = encode_with(EncodeSettings(NEW, spacing=spacing), labels)
    everywhere = np.argwhere(labels >= 0)
    to_others = np.full(shape, np.nan)
    for number in np.unique(labels[labels > 0]):
        inside = labels == number
        points = np.argwhere(inside)
        border = distances(points, np.argwhere(~inside), sizes)
        np.testing.assert_allclose(maps["Db"][inside], border, rtol=1e-5)
        np.testing.assert_allclose(scaled["Db"][inside], border / border.max(), rtol=1e-5)
        np.testing.assert_allclose(maps["Ds"][inside], border, rtol=1e-5)
        center = np.array(center_of_mass(inside))
        away = (points - center) * sizes
        np.testing.assert_allclose(maps["Dc"][inside], np.linalg.norm(away, axis=1), atol=1e-4)
        for code, axis in (("H", -1), ("V", -2)):
            np.testing.assert_allclose(maps[code][inside], away[:, axis], atol=1e-4)
            along = scaled[code][inside]
            assert np.abs(along).max() <= 1 + 1e-6
            assert (np.sign(along) == np.sign(np.round(away[:, axis], 6))).all()
            if away[:, axis].max() > 1e-6:
                assert along.max() == pytest.approx(1)
                assert along.min() == pytest.approx(-1)
        to_others[inside] = distances(points, np.argwhere((labels > 0) & ~inside), sizes)
    foreground = labels > 0
    largest = to_others[foreground].max()
    np.testing.assert_allclose(maps["Dn"][foreground], (largest - to_others)[foreground], atol=1e-4)
    outside = distances(everywhere, np.argwhere(foreground), sizes).reshape(shape)
    np.testing.assert_allclose(maps["Ds"][~foreground], -outside[~foreground], rtol=1e-5)
    np.testing.assert_allclose(scaled["Ds"], np.tanh(maps["Ds"]), rtol=1e-5)
    for code in ("Db", "Dc", "H", "V", "Dn"):
        assert (maps[code][~foreground] == 0).all()


@pytest.mark.parametrize("thickness", [2, 4])
@pytest.mark.parametrize("shape", [(20, 26), (6, 12, 14)])
def test_touching_zones_contain_pixels_near_another_instance(shape, thickness) -> None:
    labels, reach = blobs(shape, 3), thickness // 2
    zones = encode(labels, "F+T", options={"T": {"thickness": thickness}})["T"]
    for pixel in np.argwhere(labels > 0):
        around = labels[tuple(slice(max(0, p - reach), p + reach + 1) for p in pixel)]
        near = bool(((around > 0) & (around != labels[tuple(pixel)])).any())
        assert bool(zones[tuple(pixel)]) == near
    assert not zones[labels == 0].any()


@pytest.mark.parametrize("radius", [1, 2])
def test_erosion_and_dilation_of_foreground_and_background(radius: int) -> None:
    labels = blobs((24, 30), 4)
    ones = np.ones(2)
    near_other, near_instance = np.zeros(labels.shape, bool), np.zeros(labels.shape, bool)
    for number in np.unique(labels[labels > 0]):
        inside = labels == number
        near = distances(np.argwhere(inside), np.argwhere(~inside), ones) <= radius
        near_other[inside] = near
    background = np.argwhere(labels == 0)
    near_instance[labels == 0] = distances(background, np.argwhere(labels > 0), ones) <= radius

    def channel(code: str, name: str) -> np.ndarray:
        return encode(labels, (code,), options={code: {name: radius}})[code] > 0

    foreground = labels > 0
    np.testing.assert_array_equal(channel("F", "erosion"), foreground & ~near_other)
    np.testing.assert_array_equal(channel("F", "dilation"), foreground | near_instance)
    np.testing.assert_array_equal(channel("Bg", "erosion"), ~foreground & ~near_instance)
    np.testing.assert_array_equal(channel("Bg", "dilation"), ~foreground | near_other)


def test_skeletons_are_centers() -> None:
    labels = np.zeros((30, 60), np.uint8)
    labels[5:14, 4:50] = 1
    labels[14:23, 8:54] = 2
    options = {"P": {"type": "skeleton", "dilation": 0}, "Dc": {"type": "skeleton", "norm": False}}
    maps = encode(labels, "F+P+Dc", options=options)
    expected = np.zeros(labels.shape, bool)
    for number in (1, 2):
        expected |= skeletonize(labels == number, method="lee") > 0
    np.testing.assert_array_equal(maps["P"] > 0, expected)
    assert (maps["Dc"][expected] == 0).all()
    assert maps["Dc"][9, 20] == pytest.approx(distances(
        np.array([[9, 20]]), np.argwhere(expected & (labels == 1)), np.ones(2))[0])  # fmt: skip


def test_points_of_a_list_have_the_radius_of_their_option() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[4:17, 4:17] = 1
    assert encode(labels, "F+P")["P"].sum() == 5
    assert encode(labels, "F+P", options={"P": {"dilation": 2}})["P"].sum() == 13
    assert encode(labels, "BP")["P"].sum() == 29


@pytest.mark.parametrize("shape", [(12, 15), (4, 9, 10)])
def test_images_without_and_full_of_instances(shape: tuple[int, ...]) -> None:
    codes = NEW if len(shape) == 2 else (*NEW, "Z", "Gz")
    empty, full = np.zeros(shape, np.uint8), np.ones(shape, np.uint8)
    for labels in (empty, full):
        maps = encode_with(EncodeSettings(codes), labels)
        for values in maps.values():
            assert np.isfinite(values).all()
    assert all(not (encode(empty, codes)[code]).any() for code in codes if code not in ("Bg", "Ds"))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    flips=st.sets(st.sampled_from([0, 1, 2])),
    turns=st.integers(0, 3),
    volume=st.booleans(),
)
def test_mirrored_channels_are_those_of_mirrored_labels(seed, flips, turns, volume) -> None:
    shape = (4, 13, 16) if volume else (13, 16)
    labels, ndim = blobs(shape, seed), len(shape)
    codes = tuple(code for code in CHANNELS if volume or not CHANNELS[code].needs_volume)
    mirror = Mirror(ndim, tuple(sorted(axis for axis in flips if axis < ndim)), turns)
    moved = mirror_maps(mirror, encode(labels, codes))
    expected = encode(np.ascontiguousarray(mirror.apply(labels)), codes)
    for code in codes:
        if code != "P":  # of several pixels nearest to the centroid, the first is the center
            np.testing.assert_allclose(moved[code], expected[code], atol=1e-5, err_msg=code)


@pytest.mark.parametrize("code", [*NEW, "T"])
def test_the_extent_suffices_for_windows(code: str) -> None:
    options: Mapping = {"F": {"erosion": 3}, "Bg": {"dilation": 2}, "T": {"thickness": 8}}
    chosen = {code: options[code]} if code in options else {}
    for seed in range(8):
        labels, encoding = blobs((40, 44), seed), EncodeSettings((code,), options=chosen)
        extent = measure_extent(labels, encoding)
        margin = np.ceil(extent.margin(np.eye(2))).astype(int)
        whole = encode_with(encoding, labels, extent.furthest)[code]
        window = tuple(slice(max(0, 15 - m), 25 + m) for m in margin)
        part = encode_with(encoding, labels[window], extent.furthest)[code]
        begin = tuple(15 - w.start for w in window)
        cut = tuple(slice(b, b + 10) for b in begin)
        np.testing.assert_allclose(part[cut], whole[15:25, 15:25], atol=1e-6)


def test_windows_use_the_largest_distance_of_the_image() -> None:
    """Without the option `norm`, `Dn` is scaled by a distance that is outside of the window."""
    labels = np.zeros((24, 60), np.uint8)
    labels[4:8, 4:8], labels[4:8, 11:15] = 1, 2
    labels[4:8, 52:56] = 3  # its neighbor is 37 pixels away
    encoding = EncodeSettings(("Dn",), options={"Dn": {"norm": False, "decline_power": 1.0}})
    window = (slice(0, 16), slice(0, 22))
    whole = encode_with(encoding, labels)["Dn"][window]
    furthest = measure_extent(labels, encoding).furthest
    assert furthest == {"neighbors": pytest.approx(55 - 14)}
    part = encode_with(encoding, labels[window], furthest)["Dn"]
    np.testing.assert_allclose(part, whole, atol=1e-5)
    assert whole[5, 7] == pytest.approx(41 - 4)
    assert np.abs(encode_with(encoding, labels[window])["Dn"] - whole).max() > 30
    # The same with labels of which some pixels are not annotated
    sparse = labels.astype(np.int16)
    sparse[20:] = -1
    furthest = measure_extent(sparse, encoding).furthest
    whole = encode_with(encoding, sparse)["Dn"][window]
    part = encode_with(encoding, sparse[window], furthest)["Dn"]
    assert np.isfinite(whole[labels[window] > 0]).any()
    np.testing.assert_allclose(part, whole, atol=1e-5)


def in_window(
    encoding: EncodeSettings, labels: np.ndarray, starts: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a channel of a patch from its window, and from the whole image."""
    (code,) = encoding.channels
    extent = measure_extent(labels, encoding)
    window = window_in_image(
        labels.shape, starts, shape, np.ceil(extent.margin(np.eye(labels.ndim))).astype(int)
    )
    part = encode_with(encoding, labels[window], extent.furthest)[code]
    whole = encode_with(encoding, labels, extent.furthest)[code]
    cut = tuple(
        slice(s - w.start, s - w.start + n) for s, w, n in zip(starts, window, shape, strict=True)
    )
    return part[cut], whole[tuple(slice(s, s + n) for s, n in zip(starts, shape, strict=True))]


@pytest.mark.parametrize(("code", "name"), [("F", "erosion"), ("Bg", "dilation")])
def test_the_image_edge_is_not_a_border_in_windows_inside_of_an_instance(code, name) -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[:, :40] = 1
    part, whole = in_window(EncodeSettings((code,), options={code: {name: 2}}), labels, (0, 0),
                            (16, 16))  # fmt: skip
    np.testing.assert_array_equal(part, whole)


def test_windows_contain_the_neighbors_of_all_pixels_of_an_instance() -> None:
    labels = np.zeros((4, 140), np.uint8)
    labels[:, 16:20], labels[:, 40:80], labels[:, 100:104] = 1, 2, 3
    part, whole = in_window(EncodeSettings(("Dn",)), labels, (0, 72), (4, 8))
    np.testing.assert_array_equal(part, whole)


def test_windows_contain_the_cube_of_contact_zones_in_anisotropic_volumes() -> None:
    labels = np.ones((30, 8, 8), np.uint8)
    labels[15:] = 2
    encoding = EncodeSettings(("T",), spacing=(5, 1, 1), options={"T": {"thickness": 20}})
    part, whole = in_window(encoding, labels, (2, 0, 0), (4, 8, 8))
    np.testing.assert_array_equal(part, whole)
    assert whole[-1].any()


@settings(max_examples=30, deadline=None)
@given(size=st.floats(0.01, 100), radius=st.integers(1, 6), name=st.sampled_from(["F", "Bg"]))
def test_radii_of_options_are_in_pixels_for_every_voxel_size(size, radius, name) -> None:
    labels, option = blobs((24, 30), 4), "erosion" if name == "F" else "dilation"
    chosen = {name: {option: radius}}
    np.testing.assert_array_equal(
        encode(labels, (name,), options=chosen)[name],
        encode(labels, (name,), options=chosen, spacing=size)[name],
    )


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"Q": {}}, "channels.option"),
        ({"C": {"mode": "thick"}}, "channels.option"),
        ({"Db": {"norm": 1}}, "channels.option"),
        ({"P": {"type": "median"}}, "channels.option"),
        ({"T": {"thickness": -1}}, "channels.option"),
        ({"T": {"thickness": 0}}, "channels.option"),
        ({"T": {"thickness": 1.5}}, "channels.option"),
        ({"Ds": {"alpha": 0}}, "channels.option"),
        ({"F": {"erosion": np.inf}}, "channels.option"),
        ({"F": {"erosion": np.nan}}, "channels.option"),
        ({"Db": True}, "channels.option"),
        ("Db", "channels.option"),
    ],
)
def test_wrong_options_are_refused(options: object, code: str) -> None:
    with pytest.raises(UserError) as error:
        encode(np.ones((4, 4), int), "F+Db", options=options)  # type: ignore[arg-type]
    assert error.value.code == code


@pytest.mark.parametrize("channels", ["F+H+V+Z", "F+A", "F+R", "E"])
def test_annotated_slices_have_no_channels_that_depend_on_z(channels: str) -> None:
    labels = np.full((5, 16, 16), -1)
    labels[2] = 0
    labels[2, 3:9, 3:9] = 1
    codes = split_channels(complete_channels(channels, 3, {}))
    for refused in (
        lambda: measure_extent(labels, EncodeSettings(codes)),
        lambda: encode(labels, channels),
    ):
        with pytest.raises(UserError) as error:
            refused()
        assert error.value.code == "channels.no_z"
    measure_extent(labels, EncodeSettings(("F", "C", "Db")))
    assert (encode(labels, "F+A[-1,0;0,-1]")["F"][2] == labels[2]).all()
    assert encode(labels[2], channels.removesuffix("+Z"))  # a single slice as an image


def test_codes_and_axes_that_do_not_exist_are_refused() -> None:
    labels = np.zeros((10, 10), np.uint8)
    labels[disk((5, 5), 3)] = 1
    cases: list[tuple[str | list[str], str]] = [
        ("F+Q", "channels.unknown"),
        ("F+F", "channels.unknown"),
        ("F+H+V+Z", "decode.missing_channel"),
        (["Z"], "channels.no_z"),
        (["Gz"], "channels.no_z"),
    ]
    for channels, code in cases:
        with pytest.raises(UserError) as error:
            encode(labels, channels)
        assert error.value.code == code


@pytest.mark.parametrize(
    ("listed", "ndim"),
    [("F+Gh", 2), ("F+V", 2), ("F+Z", 2), ("F+H+V+Z", 2), ("C+Gh+Gz", 2), ("F+Gh", 3), ("F+Z", 3)],
)
def test_the_remedy_for_missing_axes_completes_the_channels(listed: str, ndim: int) -> None:
    labels = np.zeros((10,) * ndim, np.uint8)
    labels[(slice(3, 7),) * ndim] = 1
    with pytest.raises(UserError) as error:
        encode(labels, listed)
    codes = listed.split("+")
    for change in error.value.hint.split(", "):
        action, code = change.split()
        codes = [*codes, code] if action == "add" else [old for old in codes if old != code]
    assert set(encode(labels, "+".join(codes))) == set(codes)


def test_the_remedy_for_several_kinds_of_vectors_names_them() -> None:
    with pytest.raises(UserError) as error:
        encode(np.zeros((10, 10), np.uint8), "F+H+V+Gh+Gv")
    assert error.value.hint == "remove H and V, or remove Gh and Gv"

"""Every channel compared with its definition, computed pixel by pixel."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from skimage.segmentation import find_boundaries

from singula.errors import UserError
from singula.representations.channels import (
    CHANNELS,
    CONTOUR_MODES,
    encode,
    parse_channels,
)
from singula.representations.channels.contour import find_contour
from singula.representations.table import DECODERS

HUGE = 2**32 - 1
IDS = np.array([0, 1, 2, 7, HUGE - 5, HUGE], np.uint32)
quick = settings(deadline=None, max_examples=30)


@st.composite
def label_images(draw, dims=(2, 3)):
    """Draw small images of blocks, so that instances have an interior, touch and are cut."""
    ndim = draw(st.sampled_from(dims))
    top = 9 if ndim == 2 else 5
    coarse = draw(
        hnp.arrays(
            np.intp,
            hnp.array_shapes(min_dims=ndim, max_dims=ndim, max_side=top),
            elements=st.sampled_from([0, 0, 1, 2, 3, 4, 5]),
        )
    )
    repeats = draw(st.tuples(*[st.integers(1, 3)] * ndim))
    for axis, count in enumerate(repeats):
        coarse = coarse.repeat(count, axis)
    return IDS[coarse]


def spacing_of(labels, choice):
    return {None: None, "iso": (1.0,) * labels.ndim, "aniso": (3.0, 1.0, 0.7)[-labels.ndim :]}[
        choice
    ]


spacings = st.sampled_from([None, "iso", "aniso"])
modes = st.sampled_from(CONTOUR_MODES)


def own_contours(labels, contour):
    """Return for each id the contour pixels in it, or in the background across a face."""
    owned = {}
    for label in np.unique(labels[labels > 0]):
        region = labels == label
        grown = region.copy()
        for axis in range(labels.ndim):
            for shift in (-1, 1):
                moved = np.roll(region, shift, axis)
                edge = [slice(None)] * labels.ndim
                edge[axis] = 0 if shift == 1 else -1
                moved[tuple(edge)] = False
                grown |= moved
        owned[label] = contour & (region | (grown & (labels == 0)))
    return owned


def nearest(points, targets, spacing):
    gaps = (points[:, None, :] - targets[None, :, :]) * np.asarray(spacing)
    return np.sqrt((gaps**2).sum(axis=-1)).min(axis=1)


def brute_distance(labels, contour, spacing):
    distance = np.zeros(labels.shape)
    for label, own in own_contours(labels, contour).items():
        inside = (labels == label) & ~contour
        if inside.any() and own.any():
            distance[inside] = nearest(np.argwhere(inside), np.argwhere(own), spacing)
        elif inside.any():  # fills the image: as if the contour ran just outside it
            assert inside.all()
            frame = np.argwhere(~np.pad(inside, 1)) - 1
            distance[inside] = nearest(np.argwhere(inside), frame, spacing)
    return distance


@given(
    labels=label_images(),
    mode=st.sampled_from(["thick", "inner", "outer"]),
    dtype=st.sampled_from([np.uint32, np.int64, np.uint64]),
)
@quick
def test_contour_equals_skimage(labels, mode, dtype):
    # Its 'outer' is wrong for 64 bits, where the largest number is no exact float.
    expected = find_boundaries(labels, mode=mode, connectivity=1)
    assert_array_equal(find_contour(labels.astype(dtype), mode), expected)


@given(
    labels=hnp.arrays(
        np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.integers(0, 3)
    ),
    mode=st.sampled_from(["thick", "inner", "outer"]),
)
@quick
def test_contour_of_pixel_noise_equals_skimage(labels, mode):
    assert_array_equal(find_contour(labels, mode), find_boundaries(labels, mode=mode))


@given(labels=label_images())
@quick
def test_dense_contour_reaches_one_pixel_further_into_instances(labels):
    thick = find_contour(labels, "thick")
    dense = find_contour(labels, "dense")
    expected = thick.copy()
    for pixel in np.argwhere(~thick & (labels > 0)):
        for axis, step in itertools.product(range(labels.ndim), (-1, 1)):
            other = pixel.copy()
            other[axis] += step
            if 0 <= other[axis] < labels.shape[axis] and thick[tuple(other)]:
                expected[tuple(pixel)] = True
    assert_array_equal(dense, expected)


@given(labels=label_images(), mode=modes)
@quick
def test_binary_channels(labels, mode):
    maps = encode(labels, ("B", "C", "M"), contour_mode=mode)
    contour = find_contour(labels, mode)
    assert_array_equal(maps["C"], contour)
    assert_array_equal(maps["M"], labels > 0)
    assert_array_equal(maps["B"], (labels > 0) & ~contour)
    assert_array_equal(maps["M"], maps["B"] | (maps["C"] & (labels > 0)))


@given(labels=label_images(), mode=modes, choice=spacings)
@settings(deadline=None, max_examples=60)
def test_distance_to_own_contour(labels, mode, choice):
    spacing = spacing_of(labels, choice)
    found = encode(labels, ["D"], contour_mode=mode, spacing=spacing)["D"]
    expected = brute_distance(labels, find_contour(labels, mode), spacing or (1,) * labels.ndim)
    assert_allclose(found, expected, rtol=1e-5)


@given(labels=label_images(), mode=modes, choice=spacings)
@settings(deadline=None, max_examples=60)
def test_nearness(labels, mode, choice):
    spacing = spacing_of(labels, choice)
    found = encode(labels, "Dv2", contour_mode=mode, spacing=spacing)["Dv2"]
    contour = find_contour(labels, mode)
    sizes = spacing or (1,) * labels.ndim
    expected = np.where(contour, 1.0, 0.0)
    distance = brute_distance(labels, contour, sizes)
    outside = (labels == 0) & ~contour
    if contour.any() and outside.any():
        distance[outside] = nearest(np.argwhere(outside), np.argwhere(contour), sizes)
    for label in np.unique(labels):
        region = (labels == label) & ~contour
        if region.any() and labels.any():
            expected[region] = 1 - distance[region] / distance[region].max()
    assert_allclose(found, expected, atol=1e-6)
    assert 0 <= found.min() <= found.max() <= 1


def brute_points(labels, spacing, radius):
    """Compute the center by exact fractions, and the ball by its definition."""
    steps = [Fraction(step) for step in spacing]
    unit = min(spacing[-2:])
    points = np.zeros(labels.shape, bool)
    for label in np.unique(labels[labels > 0]):
        pixels = np.argwhere(labels == label)
        centroid = [Fraction(int(axis.sum()), len(pixels)) for axis in pixels.T]
        center = min(
            pixels.tolist(),
            key=lambda p, c=centroid: (
                sum(((a - b) * s) ** 2 for a, b, s in zip(p, c, steps, strict=True)),
                p,
            ),
        )
        reach = np.sqrt((((pixels - center) * np.array(spacing) / unit) ** 2).sum(axis=1))
        points[tuple(pixels[reach <= radius + 1e-6].T)] = True
    return points


@given(
    labels=label_images(),
    spacing=st.sampled_from([(1, 1, 1), (5, 1, 1), (2, 1, 1), (0.5, 1, 1), (2, 2, 3)]),
    radius=st.sampled_from([0, 1, 2, 3]),
)
@settings(deadline=None, max_examples=60)
def test_points(labels, spacing, radius):
    spacing = spacing[-labels.ndim :]
    found = encode(labels, ["P"], spacing=spacing, point_radius=radius)["P"]
    assert_array_equal(found, brute_points(labels, spacing, radius))


def test_point_is_a_disk_at_the_center():
    labels = np.zeros((15, 15), np.uint16)
    labels[1:14, 1:14] = 9
    rows, columns = np.mgrid[:15, :15]
    disk = (rows - 7) ** 2 + (columns - 7) ** 2 <= 9
    assert_array_equal(encode(labels, "BP")["P"], disk)


def test_point_is_inside_its_instance_even_if_the_centroid_is_not():
    labels = np.zeros((30, 30), np.uint16)
    labels[2:28, 2:28] = 1
    labels[5:25, 5:28] = 2  # instance 1 is a C around instance 2
    points = encode(labels, "BP", point_radius=0)["P"]
    assert sorted(labels[points == 1].tolist()) == [1, 2]


def test_nearest_pixel_to_the_centroid_is_nearest_in_space():
    labels = np.zeros((9, 9), np.uint16)
    labels[1, 1:8] = labels[7, 1:8] = labels[1:8, 1] = labels[1:8, 7] = 1  # a ring
    for spacing, nearest in [((5, 1), [4, 1]), ((1, 5), [1, 4])]:
        points = encode(labels, "BP", spacing=spacing, point_radius=0)["P"]
        assert np.argwhere(points).tolist() == [nearest]


def test_point_in_anisotropic_data_stays_in_its_slice():
    labels = np.ones((5, 11, 11), np.uint16)
    points = encode(labels, "BP", spacing=(5, 1, 1))["P"]
    assert points.sum(axis=(1, 2)).tolist() == [0, 0, 29, 0, 0]


def test_point_radius_counts_in_plane_pixels():
    labels = np.ones((9, 9, 9), np.uint16)
    points = encode(labels, "BP", spacing=(0.5, 2, 2), point_radius=1)["P"]
    assert points[:, 4, 4].tolist() == [1] * 9
    assert points[4].sum() == 5


def test_distance_by_hand():
    labels = np.zeros((9, 12), np.uint32)
    labels[1:8, 1:7] = HUGE
    labels[1:8, 7:12] = 4  # touches the other and the border
    d = encode(labels, "BD")["D"]
    assert d[4].tolist() == [0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 3, 3]
    physical = encode(labels, "BD", spacing=(10, 0.5))["D"]
    assert physical[4].tolist() == [0, 0, 0.5, 1, 1, 0.5, 0, 0, 0.5, 1, 1.5, 2]


def test_nearness_by_hand():
    labels = np.zeros((1, 14), np.uint16)
    labels[0, :9] = 3
    labels[0, 9] = 4  # no interior
    found = encode(labels, "Dv2")["Dv2"][0]
    expected = [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1, 1, 1, 2 / 3, 1 / 3, 0]
    assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("channels", DECODERS)
@pytest.mark.parametrize("shape", [(7, 8), (3, 7, 8)])
def test_empty_image_is_empty_in_every_channel(channels, shape):
    for channel in encode(np.zeros(shape, np.uint16), channels).values():
        assert_array_equal(channel, np.zeros(shape))


def test_instance_that_fills_the_image_has_finite_distances():
    maps = encode(np.full((5, 7), 3, np.uint16), ("B", "C", "D", "Dv2"))
    assert maps["B"].all()
    assert not maps["C"].any()
    assert maps["D"][2].tolist() == [1, 2, 3, 3, 3, 2, 1]
    assert maps["Dv2"].min() == 0
    assert maps["Dv2"].max() == pytest.approx(2 / 3)


@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 5)])
def test_one_pixel_instance(shape):
    labels = np.zeros(shape, np.uint32)
    center = (2,) * labels.ndim
    labels[center] = HUGE
    maps = encode(labels, ("B", "C", "M", "P", "D", "Dv2"))
    values = {code: channel[center] for code, channel in maps.items()}
    assert values == {"B": 0, "C": 1, "M": 1, "P": 1, "D": 0, "Dv2": 1}


@pytest.mark.parametrize("channels", DECODERS)
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i4", ">u4", "i8", "u8"])
def test_every_integer_type_gives_the_same_and_is_not_changed(channels, dtype):
    plain = np.zeros((4, 12, 13), np.uint16)
    plain[1:, 2:8, 3:7] = 5
    plain[:3, 2:8, 7:13] = 200
    labels = plain.astype(dtype)[:, ::-1][:, ::-1]  # views are welcome
    before = labels.copy()
    labels.flags.writeable = False
    maps = encode(labels, channels, spacing=(2, 1, 1))
    assert_array_equal(labels, before)
    assert tuple(maps) == parse_channels(channels)
    for code, channel in encode(plain, channels, spacing=(2, 1, 1)).items():
        assert maps[code].dtype == (np.float32 if CHANNELS[code].kind == "distance" else np.uint8)
        assert_array_equal(maps[code], channel)


def test_fortran_order_is_supported():
    labels = np.zeros((6, 20, 30), np.uint16)
    labels[2:5, 3:14, 5:25] = 1
    fortran = encode(np.asfortranarray(labels), "BCD", spacing=(4, 1, 2))
    for code, channel in encode(labels, "BCD", spacing=(4, 1, 2)).items():
        assert_array_equal(fortran[code], channel)


def test_parse_channels():
    parsed = {name: parse_channels(name) for name in DECODERS}
    assert parsed == {
        "BC": ("B", "C"),
        "BP": ("B", "P"),
        "BD": ("B", "D"),
        "BCM": ("B", "C", "M"),
        "BCD": ("B", "C", "D"),
        "BCDv2": ("B", "C", "Dv2"),
        "BDv2": ("B", "Dv2"),
        "Dv2": ("Dv2",),
    }


def test_losses_and_activations_follow_the_kind():
    table = {code: (c.kind, c.loss, c.activation) for code, c in CHANNELS.items()}
    binary, distance = ("binary", "bce", "sigmoid"), ("distance", "l1", "linear")
    kinds = dict.fromkeys("BCMPFT", binary) | {"Bg": binary, "Ds": ("distance", "l1", "tanh")}
    distances = dict.fromkeys(["D", "Dv2", "Db", "Dc", "H", "V", "Z", "Dn"], distance)
    flows = dict.fromkeys(["Gh", "Gv", "Gz"], ("flow", "mse", "fifth"))
    assert table == kinds | distances | flows


GOOD = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("labels", "arguments", "words"),
    [
        (GOOD, {"channels": "BX"}, "BX.*BCDv2"),
        (GOOD, {"channels": ("B", "X")}, "X.*Dv2"),
        (GOOD, {"channels": ("B", "B")}, "once"),
        (GOOD, {"channels": ()}, "each once"),
        (GOOD, {"contour_mode": "subpixel"}, "subpixel.*thick.*shape"),
        (GOOD, {"contour_mode": "thin"}, "thin.*thick"),
        (GOOD, {"spacing": (1, 1, 1)}, "\\(1, 1, 1\\).*2 positive"),
        (GOOD, {"spacing": (1, 0)}, "positive"),
        (GOOD, {"spacing": (1, float("nan"))}, "positive"),
        (GOOD, {"point_radius": -1}, "radius: got -1"),
        (GOOD.astype(float), {}, "float64"),
        (GOOD - np.int16(3), {}, "-3"),
        (GOOD[0], {}, r"\(4,\)"),
        (GOOD[:0], {}, r"\(0, 4\)"),
    ],
)
def test_mistakes_are_named(labels, arguments, words):
    with pytest.raises(UserError, match=f"(?s){words}"):
        encode(labels, **arguments)


@pytest.mark.parametrize(("shape", "maps"), [((6, 7), 33), ((3, 6, 7), 97)])
def test_families_in_sequences_and_text_fit_the_axes(shape, maps):
    labels = np.ones(shape, np.uint8)
    sequence, text = encode(labels, ("Db", "R")), encode(labels, "Db+R")
    assert list(sequence) == list(text)
    assert len(text) == maps
    assert all(np.array_equal(sequence[code], text[code]) for code in text)

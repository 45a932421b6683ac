"""Channels of labels that are annotated in part equal those of the complete labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label

from singula.errors import UserError
from singula.representations.channels import (
    CHANNELS,
    CONTOUR_MODES,
    EncodeSettings,
    encode,
    encode_with,
    measure_extent,
)
from singula.representations.channels.sparse import has_target
from singula.util.annotated_slices import is_planar

CODES = tuple(code for code in CHANNELS if not CHANNELS[code].needs_volume)


def blobs(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return connected instances, some of which touch."""
    field = gaussian_filter(rng.normal(size=shape), 1.5)
    ids = label(field > 0.05)[0]
    halves = np.where(np.arange(shape[-1]) % 9 < 5, 2 * ids, 2 * ids + 1) * (ids > 0)
    connected = np.zeros(shape, np.int32)
    for number in np.unique(halves[halves > 0]):
        parts, count = label(halves == number)
        connected[parts > 0] = parts[parts > 0] + connected.max()
        assert count
    return connected


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    mode=st.sampled_from(CONTOUR_MODES),
    shape=st.sampled_from([(30, 34), (10, 22, 24)]),
    spacing=st.sampled_from([1.0, 2.5]),
)
def test_targets_equal_those_of_the_complete_labels(seed, mode, shape, spacing) -> None:
    rng = np.random.default_rng(seed)
    full = blobs(shape, rng)
    sparse = full.copy()
    sparse[gaussian_filter(rng.normal(size=shape), 4) > 0.02] = -1
    sizes = (spacing, *(1.0,) * (len(shape) - 1))
    encoding = EncodeSettings(CODES, mode, sizes)
    # The largest distance of the background is that of the annotated part: pass that of the image.
    furthest = measure_extent(full, encoding).furthest
    expected = encode_with(encoding, full, furthest)
    maps = encode_with(encoding, sparse, furthest, planar=False)
    for code, target in maps.items():
        known = has_target(code, target)
        assert not known[sparse < 0].any()
        np.testing.assert_allclose(target[known], expected[code][known], atol=1e-6)
    assert (maps["M"] >= 0).sum() == (sparse >= 0).sum()


def test_single_slices_are_encoded_as_images() -> None:
    full = blobs((12, 30, 32), np.random.default_rng(3))
    sparse = np.full_like(full, -1)
    sparse[[2, 7, 8]] = full[[2, 7, 8]]
    encoding = EncodeSettings(("B", "C", "D", "P"), spacing=(3.0, 1.0, 1.0))
    flat = EncodeSettings(encoding.channels, spacing=(1.0, 1.0))
    assert is_planar(sparse)
    maps = encode_with(encoding, sparse)
    for z in (2, 7, 8):
        for code, expected in encode_with(flat, full[z]).items():
            np.testing.assert_array_equal(maps[code][z], expected)
    for code, target in maps.items():
        assert not has_target(code, np.delete(target, [2, 7, 8], axis=0)).any()


def test_a_subvolume_is_not_planar() -> None:
    sparse = np.full((20, 16, 16), -1)
    sparse[4:14] = 0
    assert not is_planar(sparse)
    assert not is_planar(sparse[0])
    assert not is_planar(np.zeros((20, 16, 16), int))


def test_points_with_erosion_have_targets_in_the_background_and_far_from_unknown_pixels() -> None:
    full = np.zeros((20, 30), np.int16)
    full[4:13, 3:12] = 1
    full[4:13, 20:29] = 2
    sparse = full.copy()
    sparse[:, 25:] = -1  # cuts instance 2
    encoding = EncodeSettings(("P",), options={"P": {"dilation": 3, "erosion": 2}})
    expected, (target,) = encode_with(encoding, full)["P"], encode_with(encoding, sparse).values()
    known = has_target("P", target)
    np.testing.assert_array_equal(known, (sparse >= 0) & (full != 2))
    np.testing.assert_array_equal(target[known], expected[known])
    assert expected[full == 1].any()
    # Next to an instance that is cut, the erosion depends on its point.
    full[4:13, 12:20] = 3
    sparse = np.where(sparse < 0, sparse, full)
    sparse[4:13, 18:20] = -1
    target = encode_with(encoding, sparse)["P"]
    known = has_target("P", target)
    assert known[4:13, 3:10].all()
    assert not known[4:13, 10:18].any()


@pytest.mark.parametrize("code", ["D", "Dv2", "P"])
def test_the_extent_suffices_for_windows(code: str) -> None:
    """Targets in a window with the margin of the extent equal those of the whole image."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        sparse = blobs((40, 44), rng)
        sparse[gaussian_filter(rng.normal(size=(40, 44)), 5) > 0.02] = -1
        encoding = EncodeSettings((code,))
        extent = measure_extent(sparse, encoding)
        margin = np.ceil(extent.margin(np.eye(2))).astype(int)
        whole = encode_with(encoding, sparse, extent.furthest, extent.planar)[code]
        window = tuple(slice(max(0, 15 - m), 25 + m) for m in margin)
        part = encode_with(encoding, sparse[window], extent.furthest, extent.planar)[code]
        begin = tuple(15 - w.start for w in window)
        cut = tuple(slice(b, b + 10) for b in begin)
        np.testing.assert_array_equal(part[cut], whole[15:25, 15:25])


def test_minus_one_without_a_background_is_an_error() -> None:
    with pytest.raises(UserError) as error:
        encode(np.array([[-1, 1, 1], [-1, 1, 1]]))
    assert error.value.code == "arguments.negative_id"
    assert encode(np.array([[-1, 0, 1], [-1, 1, 1]]), "BC")["B"].dtype == np.int8

"""Pictures of large images are downsampled, with all objects in place."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from singula.report.overlay import (
    downsample_image,
    downsample_labels,
    enlarge,
    label_colors,
    overlay,
    overlays,
    shared_ids,
    to_gray,
    write_overlay,
)
from singula.representations.channels import find_contour


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 20))
def test_planes_are_averaged_over_squares(height: int, width: int, longest: int) -> None:
    plane = np.random.default_rng(0).integers(0, 99, (height, width, 2)).astype(np.uint8)
    small = downsample_image(plane, longest)
    step = -(-max(height, width) // longest)
    if step == 1 or min(height, width) < step:
        assert small is plane
        return
    assert small.shape == (height // step, width // step, 2)
    assert max(small.shape[:2]) <= longest
    for y, x in np.ndindex(small.shape[:2]):
        square = plane[y * step : (y + 1) * step, x * step : (x + 1) * step]
        np.testing.assert_allclose(small[y, x], square.mean(axis=(0, 1)), rtol=1e-6)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 20))
def test_labels_are_downsampled_to_the_same_shape(height: int, width: int, longest: int) -> None:
    labels = np.arange(height * width).reshape(height, width)
    small = downsample_labels(labels, longest)
    assert small.shape == downsample_image(labels[..., None], longest).shape[:2]
    step = -(-max(height, width) // longest)
    if small is not labels:
        rows, columns = np.divmod(small, width)
        np.testing.assert_array_equal(rows // step, np.indices(small.shape)[0])
        np.testing.assert_array_equal(columns // step, np.indices(small.shape)[1])


@given(st.integers(1, 500), st.integers(1, 500))
def test_small_planes_are_enlarged_by_a_whole_number(height: int, width: int) -> None:
    plane = np.arange(height * width).reshape(height, width)
    large = enlarge(plane)
    factor = large.shape[0] // height
    assert large.shape == (factor * height, factor * width)
    assert max(large.shape) >= 400
    assert factor == 1 or max(height, width) * (factor - 1) < 400
    np.testing.assert_array_equal(large[::factor, ::factor], plane)
    np.testing.assert_array_equal(large[factor - 1 :: factor, factor - 1 :: factor], plane)


def test_a_picture_of_a_long_image_is_short(tmp_path):
    from PIL import Image

    labels = np.zeros((64, 5000), np.uint16)
    labels[10:50, 2000:4000] = 5
    image = np.full((64, 5000, 1), 9, np.uint8)
    with Image.open(write_overlay(tmp_path / "a.png", image, labels, labels)) as picture:
        width, height = picture.size
        assert width == 3 * 1666 + 2 * 6
        everything = np.asarray(picture.convert("RGB")).astype(int)
    head, pixels = everything[: height - 21], everything[height - 21 :]
    for panel in range(3):  # each has a title, black on white
        title = head[:, 1672 * panel : 1672 * panel + 1666]
        assert title.min() < 60
        assert np.median(title) == 255
    inside = pixels[5:15, 1672 + 2000 // 3 + 2 : 1672 + 4000 // 3 - 2]
    outside = pixels[5:15, 1672 : 1672 + 2000 // 3 - 2]
    assert np.ptp(inside, axis=-1).min() > 20  # a color
    assert np.ptp(outside, axis=-1).max() == 0  # gray


def test_matching_objects_have_one_color() -> None:
    truth = np.zeros((20, 60), np.int32)
    truth[2:10, 2:10], truth[2:10, 20:28], truth[12:18, 40:50] = 7, 3, 9
    pred = np.zeros_like(truth)
    pred[2:10, 3:10], pred[3:10, 20:28], pred[2:8, 50:58] = 1, 2, 3
    one, two = shared_ids(pred, truth)
    assert one[5, 5] == two[5, 5] != one[5, 24] == two[5, 24]
    assert two[14, 45] not in one  # missed
    assert sorted(set(np.unique(one)) | set(np.unique(two))) == [0, 1, 2, 3, 4]
    for ids, labels in ((one, pred), (two, truth)):
        np.testing.assert_array_equal(ids > 0, labels > 0)
    gray = np.zeros((20, 60, 3), np.uint8)
    left, right = overlays(gray, pred, truth)
    np.testing.assert_array_equal(left[6, 6], right[6, 6])
    assert left[6, 6].tolist() != left[6, 24].tolist()


@given(
    st.sampled_from([np.uint8, np.int64, np.uint64]),
    st.sampled_from([1, 3, 10**9]),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.integers(0, 2**16),
)
def test_instances_have_the_colors_of_their_ranks(dtype, step, channels, fill, seed) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, (9, 11)) * rng.integers(0, 2, (9, 11))
    labels = (labels * (step if dtype != np.uint8 else 1)).astype(dtype)
    plane = rng.integers(0, 99, (9, 11, channels)).astype(np.uint8)
    ranks = np.searchsorted(np.union1d(labels, [0]), labels)
    paint = label_colors(int(ranks.max()))[ranks].astype(np.float32)
    gray = to_gray(plane).astype(np.float32)
    mixed = np.where((ranks > 0)[..., None], (1 - fill) * gray + fill * paint, gray)
    expected = np.where(find_contour(ranks, "inner")[..., None], paint, mixed).astype(np.uint8)
    np.testing.assert_array_equal(overlay(plane, labels, fill=fill), expected)

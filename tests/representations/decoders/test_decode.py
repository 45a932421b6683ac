from __future__ import annotations

import ctypes
import dataclasses
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.segmentation import watershed

from singula.errors import UserError
from singula.metrics import match
from singula.representations.channels import encode
from singula.representations.decoders import DECODERS, DecodeSettings, decode, decode_labels
from singula.representations.decoders.decode import check_finite

MANUAL = DecodeSettings(th_type="manual")
SETTINGS = {
    "BCDv2": DecodeSettings(thresholds={"TH_DISTANCE": 0.9}),
    "BDv2": DecodeSettings(thresholds={"TH_DISTANCE": 0.9}),
    "Dv2": DecodeSettings(thresholds={"TH_DISTANCE": 0.6}),
}


def blob_maps(shape=(40, 60)) -> dict[str, np.ndarray]:
    """Return maps of two bright squares, each with a contour."""
    b = np.zeros(shape, np.float32)
    c = np.zeros(shape, np.float32)
    for x in (10, 35):
        c[..., 9:26, x - 1 : x + 16] = 0.9
        c[..., 10:25, x : x + 15] = 0
        b[..., 10:25, x : x + 15] = 0.9
    return {"B": b, "C": c}


def test_a_configuration_is_named_by_its_channels():
    for name, decoder in DECODERS.items():
        assert name == "".join(decoder.channels)


@pytest.mark.parametrize("whole", [False, True], ids=["inside_b", "into_contour"])
@pytest.mark.parametrize("channels", list(DECODERS))
def test_soft_channels_give_the_instances(channels, whole, scene, soften):
    labels, spacing = scene
    maps = soften(encode(labels, channels, spacing=spacing), spacing)
    settings = SETTINGS.get(channels, DecodeSettings())
    decoded = decode(
        maps,
        channels,
        settings=dataclasses.replace(settings, grow_into_contour=whole),
        spacing=spacing,
    )
    found = decoded.labels
    if channels == "Dv2":  # its background basins are the user's to remove
        assert any("background" in note for note in decoded.notes)
        for i in range(1, int(found.max()) + 1):
            if np.mean(labels[found == i] == 0) > 0.5:
                found = np.where(found == i, 0, found)
    assert len(np.unique(labels)) > 15
    (score,) = match(labels, found, [0.5])
    assert score.f1 == 1, (score.tp, score.fp, score.fn)


@pytest.mark.parametrize("contour_mode", ["thick", "inner", "outer", "dense"])
@pytest.mark.parametrize("channels", ["BC", "BP"])
def test_growing_into_the_contour_restores_whole_objects(channels, contour_mode, scene):
    labels, spacing = scene
    maps = encode(labels, channels, spacing=spacing, contour_mode=contour_mode)
    settings = dataclasses.replace(MANUAL, contour_mode=contour_mode)
    (inside,) = match(labels, decode(maps, channels, settings=settings).labels, [0.3])
    settings = dataclasses.replace(settings, grow_into_contour=True)
    (whole,) = match(labels, decode(maps, channels, settings=settings).labels, [0.3])
    assert whole.mean_matched_score > (
        0.88 if (channels, contour_mode) == ("BP", "outer") else 0.94
    )
    assert whole.mean_matched_score >= inside.mean_matched_score
    assert whole.tp == whole.n_true


@pytest.mark.parametrize("grow_into_contour", [False, True])
def test_bcm_grows_inside_b_or_into_m(scene, soften, grow_into_contour):
    labels, spacing = scene
    maps = soften(encode(labels, "BCM", spacing=spacing), spacing)
    chosen = DecodeSettings(remove_small=0, grow_into_contour=grow_into_contour)
    decoded = decode(maps, "BCM", settings=chosen, keep_parts=True)
    otsu = threshold_otsu(maps["M" if grow_into_contour else "B"], nbins=1024)
    limit = decoded.thresholds["TH_FOREGROUND"]
    assert limit == pytest.approx(otsu if grow_into_contour else otsu / 2, abs=2e-3)
    foreground = maps["M" if grow_into_contour else "B"] > limit
    np.testing.assert_array_equal(decoded.parts.foreground, foreground)
    seeds = maps["B"] > decoded.thresholds["TH_BINARY_MASK"]
    seeds &= maps["C"] < decoded.thresholds["TH_CONTOUR"]
    expected = watershed(-maps["B"], label(seeds, connectivity=1), mask=foreground)
    (score,) = match(expected, decoded.labels, [0.5])
    assert score.f1 == 1
    assert score.mean_true_score > 0.98
    covered = np.mean((decoded.labels > 0)[labels > 0])
    assert covered > 0.95 if grow_into_contour else covered < 0.95


@pytest.mark.parametrize("channels", ["BC", "BCM", "BP", "BD", "BCD"])
def test_decoders_equal_the_formulas_of_the_format(channels, scene, soften):
    labels, spacing = scene
    m = soften(encode(labels, channels, spacing=spacing), spacing)
    unclean = dataclasses.replace(MANUAL, remove_small=0)
    decoded = decode(m, channels, settings=unclean, keep_parts=True)
    seeds = np.ones(labels.shape, bool)
    foreground = np.ones(labels.shape, bool)
    if "P" in m:
        seeds &= m["P"] > 0.5
    else:
        seeds &= m["B"] > 0.5
    if "C" in m:
        seeds &= m["C"] < 0.1
    if "D" in m:
        seeds &= m["D"] > 1.0
        foreground &= m["D"] > 0.0
    foreground &= m["B"] > 0.3
    np.testing.assert_array_equal(decoded.parts.seeds > 0, seeds)
    np.testing.assert_array_equal(decoded.parts.foreground, foreground)
    markers = label(seeds, connectivity=1)
    expected = watershed(-m["B"], markers, mask=foreground)
    assert np.mean((decoded.labels > 0) == (expected > 0)) >= 0.9999
    assert decoded.labels.max() == len(np.unique(expected)) - 1
    (score,) = match(expected, decoded.labels, [0.5])
    assert score.mean_true_score > 0.98


@pytest.mark.parametrize("channels", ["BCDv2", "BDv2"])
def test_the_background_seed_is_removed(channels, scene, soften):
    labels, spacing = scene
    maps = soften(encode(labels, channels, spacing=spacing), spacing)
    decoded = decode(maps, channels, settings=SETTINGS[channels], keep_parts=True)
    background = ~decoded.parts.foreground
    assert background.any()
    assert not background[decoded.parts.seeds > 0].any()
    assert not decoded.labels[background].any()
    assert np.mean(labels[background] > 0) < (0.02 if channels == "BCDv2" else 0.5)


def test_labels_are_consecutive_and_small(scene, soften):
    labels, spacing = scene
    maps = soften(encode(labels, "BC", spacing=spacing), spacing)
    decoded = decode(maps, "BC")
    ids = np.unique(decoded.labels)
    np.testing.assert_array_equal(ids, np.arange(len(ids)))
    assert decoded.labels.dtype == np.uint8
    assert np.bincount(decoded.labels.ravel()).min() >= 10


def test_small_seeds_or_small_instances_are_removed():
    maps = blob_maps()
    maps["B"][10:14, 10:14] = 1  # a small seed that grows into the whole left square
    maps["B"][10:25, 10:25] -= 0.5 * (maps["B"][10:25, 10:25] < 1)
    maps["B"][2:4, 2:4] = 0.9  # a small object
    after = decode(maps, settings=dataclasses.replace(MANUAL, remove_small=20), keep_parts=True)
    assert after.labels.max() == 2
    assert after.parts.seeds.max() == 3
    before = decode(maps, settings=dataclasses.replace(MANUAL, remove_small=20, remove_before=True))
    assert before.labels.max() == 1
    assert not before.labels[:, :30].any()
    everything = decode(maps, settings=dataclasses.replace(MANUAL, remove_small=0))
    assert everything.labels.max() == 3


def count_seeds(maps, **settings):
    parts = decode(maps, settings=dataclasses.replace(MANUAL, **settings), keep_parts=True).parts
    return parts.seeds.max()


def test_seed_morphology_joins_and_separates_seeds():
    maps = blob_maps()
    maps["B"][17, 24:36] = 0.9  # a thin bridge
    maps["C"][17, 24:36] = 0
    assert count_seeds(maps) == 1
    assert count_seeds(maps, seed_morph=(("erode", 2),)) == 2
    assert count_seeds(maps, seed_morph=(("erode", 2), ("dilate", 9))) == 1


def test_erosion_and_dilation_clean_the_foreground():
    maps = blob_maps()
    maps["B"][17, 24:33] = 0.4  # a hair of foreground
    plain = decode(maps, settings=MANUAL)
    cleaned = decode(maps, settings=dataclasses.replace(MANUAL, fore_erosion=2, fore_dilation=2))
    assert plain.labels[17, 29] > 0
    assert cleaned.labels[17, 29] == 0
    assert cleaned.labels.max() == 2


def test_slices_are_flooded_separately_with_ids_of_the_volume():
    maps = {name: np.stack([values] * 4) for name, values in blob_maps().items()}
    maps["C"][2] = np.maximum(maps["C"][2], 0.5 * (maps["B"][2] > 0))  # no seed in slice 2
    volume = decode(maps, settings=MANUAL)
    slices = decode(maps, settings=dataclasses.replace(MANUAL, by_2d_slices=True))
    assert volume.labels[2].any()
    assert not slices.labels[2].any()
    for z in (0, 1, 3):
        np.testing.assert_array_equal(slices.labels[z], volume.labels[z])


@pytest.mark.parametrize("channels", list(DECODERS))
@pytest.mark.parametrize("shape", [(20, 22), (4, 10, 9), (0, 5)])
def test_empty_maps_give_no_instance(channels, shape):
    maps = {c: np.full(shape, 1.0 if c == "Dv2" else 0.0, np.float32) for c in "BCMPD"}
    maps["Dv2"] = np.ones(shape, np.float32)
    decoded = decode(maps, channels)
    assert decoded.labels.shape == shape
    assert not decoded.labels.any()
    assert decoded.labels.dtype == np.uint8


@pytest.mark.parametrize("channels", ["BC", "BCD", "BCM", "BP", "BCDv2", "Dv2"])
def test_one_object_can_fill_the_image(channels):
    maps = {c: np.ones((12, 13), np.float32) for c in "BMP"}
    maps |= {"C": np.zeros((12, 13), np.float32), "D": np.full((12, 13), 9, np.float32)}
    maps["Dv2"] = np.zeros((12, 13), np.float32)
    np.testing.assert_array_equal(decode(maps, channels).labels, 1)


def test_noise_of_an_empty_image_gives_no_instance():
    rng = np.random.default_rng(0)
    maps = {c: rng.uniform(0, 0.06, (80, 80)).astype(np.float32) for c in "BC"}
    decoded = decode(maps)
    assert decoded.labels.max() == 0
    assert len(decoded.notes) == 2


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_and_strided_maps_give_the_same(dtype):
    maps = blob_maps()
    stacked = np.stack([maps["B"], maps["C"]], -1).astype(dtype)
    strided = {"B": stacked[..., 0], "C": stacked[..., 1], "unused": np.zeros(3)}
    before = stacked.copy()
    np.testing.assert_array_equal(decode(strided).labels, decode(maps).labels)
    np.testing.assert_array_equal(stacked, before)


@pytest.mark.parametrize(
    ("maps", "channels", "message"),
    [
        (blob_maps(), "BCX", "BCX.*BCDv2"),
        (blob_maps(), "BCD", "got B, C.*D is missing"),
        ({"B": np.zeros((3, 4)), "C": np.zeros((4, 3))}, "BC", "expected one shape"),
        ({"B": np.zeros(4), "C": np.zeros(4)}, "BC", r"\(y, x\)"),
        ({"B": np.zeros((3, 3)), "C": np.full((3, 3), np.nan)}, "BC", "map C contains NaN"),
    ],
)
def test_mistakes_are_named(maps, channels, message):
    with pytest.raises(UserError, match=message):
        decode(maps, channels, settings=MANUAL)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0)])
def test_a_spacing_needs_one_number_per_axis(spacing):
    with pytest.raises(UserError, match="spacing"):
        decode(blob_maps(), spacing=spacing)


def test_a_distance_threshold_without_effect_is_reported():
    maps = {"Dv2": np.linspace(0, 0.99, 400, dtype=np.float32).reshape(20, 20)}
    assert any("TH_DISTANCE" in note for note in decode(maps, "Dv2").notes)
    chosen = DecodeSettings(thresholds={"TH_DISTANCE": 0.7})
    assert not any("TH_DISTANCE" in note for note in decode(maps, "Dv2", settings=chosen).notes)


def test_decode_labels_is_decode():
    maps = blob_maps()
    np.testing.assert_array_equal(decode_labels(maps), decode(maps).labels)
    keys = {"TH_BINARY_MASK": 0.5, "REMOVE_SMALL_OBJ": 500}
    assert decode_labels(maps, "BC", thresholds=keys).max() == 0
    with pytest.raises(UserError, match="otsu"):
        decode_labels(maps, thresholds="otsu")
    with pytest.warns(UserWarning, match="TH_CONTOUR has no effect"):
        decode_labels(maps, thresholds={"TH_TYPE": "auto", "TH_CONTOUR": 0.2})


def test_none_and_lists_are_accepted_as_in_numpy():
    maps = blob_maps()
    expected = decode(maps).labels
    np.testing.assert_array_equal(decode_labels(maps, thresholds=None), expected)
    lists = {name: values.tolist() for name, values in maps.items()}
    np.testing.assert_array_equal(decode_labels(lists), expected)
    with pytest.raises(TypeError, match=r"channels.*\['B', 'C'\]"):
        decode_labels(maps, ["B", "C"])


def test_intermediate_results_are_kept_on_request():
    maps = blob_maps()
    assert decode(maps).parts is None
    parts = decode(maps, keep_parts=True).parts
    assert parts.surface is maps["B"]
    assert parts.seeds.dtype == np.uint32
    assert parts.foreground[parts.seeds > 0].all()


def squares(pitch: int) -> dict[str, np.ndarray]:
    tile = np.zeros((pitch, pitch), np.float32)
    tile[:-1, :-1] = 1
    body = np.tile(tile, (3000 // pitch, 3000 // pitch))
    return {"B": body, "C": np.zeros_like(body)}


def noise(sigma: float) -> dict[str, np.ndarray]:
    fields = np.random.default_rng(0).random((2, 3000, 3000), np.float32)
    fields = np.stack([gaussian_filter(field, sigma) for field in fields])
    return dict(zip("BC", (fields - fields.min()) / np.ptp(fields), strict=True))


def most_resident(work) -> float:
    """Return the peak memory of a call beyond the memory before it, in bytes."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free would be taken without being seen
        Path("/proc/self/clear_refs").write_text("5")  # the highest value begins anew
    except (OSError, AttributeError):
        pytest.skip("the highest memory since a moment is known on Linux with glibc only")
    before = memory("VmRSS")
    work()
    return memory("VmHWM") - before


def memory(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * float(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def bytes_per_pixel(make, size: float, dtype) -> float:
    """Return bytes per pixel of decoding beyond the maps, in a new process."""
    maps = {name: values.astype(dtype) for name, values in make(size).items()}
    settings = dataclasses.replace(DecodeSettings(), remove_small=0)
    found = decode(maps, settings=settings).labels  # compiles, too
    assert found.max() > 10_000
    del found
    return most_resident(lambda: decode(maps, settings=settings)) / maps["B"].size


@pytest.fixture(scope="module")
def process():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize(
    ("make", "size", "dtype", "most"),
    [
        # Labels of 4 bytes and two masks; resident memory also has what the system hands out ahead.
        (squares, 20, np.float16, 8.5),
        (squares, 4, np.float16, 8.5),
        (squares, 4, np.float32, 8.5),
        (noise, 0, np.float16, 9.5),  # and pixels that wait, 4 bytes each
        (noise, 0.7, np.float16, 9.5),
        (noise, 2, np.float32, 9.5),
    ],
    ids=["squares of 19", "squares of 3", "float32", "noise", "soft noise", "smooth noise"],
)
def test_memory_is_a_few_bytes_per_pixel(process, make, size, dtype, most):
    assert 4 < process.submit(bytes_per_pixel, make, size, dtype).result() < most


def test_border_objects_have_a_smaller_minimum_size() -> None:
    # 5x5 squares: one complete (id by its place), one cut to 5x3 by the border, one cut to 5x1.
    inside = np.zeros((24, 24), np.float32)
    inside[10:15, 10:15] = 1
    inside[2:7, 0:3] = 1
    inside[18:23, 23:24] = 1
    maps = {"B": inside, "C": np.zeros_like(inside)}

    def sizes(**keys: int) -> list[int]:
        labels = decode(maps, settings=dataclasses.replace(MANUAL, **keys)).labels
        return sorted(np.bincount(labels.ravel())[1:].tolist())

    assert sizes(remove_small=20) == [25]
    assert sizes(remove_small=20, remove_small_at_border=10) == [15, 25]
    assert sizes(remove_small=20, remove_small_at_border=0) == [5, 15, 25]
    assert sizes(remove_small=26, remove_small_at_border=0) == [5, 15]
    # Border objects are never judged more strictly than the others.
    assert sizes(remove_small=10, remove_small_at_border=100) == [15, 25]
    before = {"remove_before": True, "remove_small": 20}
    assert sizes(**before) == [25]
    assert sizes(**before, remove_small_at_border=10) == [15, 25]


def test_faces_along_z_are_part_of_the_border() -> None:
    inside = np.zeros((6, 16, 16), np.float32)
    inside[0, 4:8, 4:8] = 1
    inside[3, 10:14, 10:14] = 1
    maps = {"B": inside, "C": np.zeros_like(inside)}
    settings = dataclasses.replace(MANUAL, remove_small=17, remove_small_at_border=5)
    labels = decode(maps, settings=settings).labels
    assert labels.max() == 1
    assert labels[0, 5, 5] == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("place", [(0, 0), (299, 699), (187, 350)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_value_that_is_not_finite_is_found_in_every_chunk(dtype, place, value):
    values = np.zeros((300, 700), dtype)
    check_finite("B", values)
    values[place] = value
    with pytest.raises(UserError) as caught:
        check_finite("B", values)
    assert caught.value.code == "prediction.overflow"


@pytest.mark.parametrize("channels", ["Db+R", "E", "F+H+V", "F+Gh+Gv", "A", "BC"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300, 1e30])
def test_infinite_maps_are_refused_and_huge_ones_decoded(channels: str, value: float) -> None:
    labels = np.kron(np.arange(1, 5, dtype=np.uint16).reshape(2, 2), np.ones((9, 9), np.uint16))
    maps = {code: values.astype(np.float64) for code, values in encode(labels, channels).items()}
    for values in maps.values():
        values[3:6, 3:6] = value
    if abs(value) < 1e38:  # finite in float32
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert decode(maps, channels).labels.shape == labels.shape
        return
    with pytest.raises(UserError) as caught:
        decode(maps, channels)
    assert caught.value.code == "prediction.overflow"

"""Whole slides: levels, resampling, voxel size, tissue, damaged files."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest

from singula.errors import UserError
from singula.io.formats.slide import (
    find_tissue,
    level_for,
    mean_weights,
    opaque,
    read_slide,
    scaled_shape,
    tissue_of,
)
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image, open_labels
from singula.io.read import read_header, read_image
from singula.synthetic.slide import SlideTruth, make_slide

needs_openslide = pytest.mark.usefixtures("openslide")
SHAPE = (1008, 1104)


@pytest.fixture(scope="session")
def openslide():
    return pytest.importorskip("openslide", reason="the extra slides is not installed")


@pytest.fixture(scope="module")
def drawn(openslide, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SlideTruth]:
    path = tmp_path_factory.mktemp("slide") / "drawn.svs"
    return path, make_slide(path, SHAPE, np.random.default_rng(1), pieces=1, tissue=0.2)


# Factors of the levels, factor of the image, expected level
@pytest.mark.parametrize(
    ("downsamples", "downsample", "level"),
    [
        ((1, 4, 16), 1, 0),
        ((1, 4, 16), 0.5, 0),  # magnified
        ((1, 4, 16), 3.9, 0),
        ((1, 4, 16), 3.97, 1),  # 1% coarser than the image
        ((1, 4, 16), 4, 1),
        ((1, 4, 16), 15, 1),
        ((1, 4.0003, 16.01), 16, 2),
        ((1, 2, 4, 8), 5, 2),
        ((1,), 30, 0),
    ],
)
def test_choice_of_the_level(downsamples, downsample, level) -> None:
    assert level_for(downsamples, downsample) == level


@pytest.mark.parametrize("step", [0.4, 1.0, 1.5, 2.0, 3.25, 7.9])
def test_weights_are_the_shares_of_the_covered_interval(step: float) -> None:
    size = 60
    count = round(size / step)
    exact = size / count
    first, weights = mean_weights(range(count), exact, 0.0, size)
    dense = np.zeros((count, size))
    dense[:, first : first + weights.shape[1]] = weights.toarray()
    np.testing.assert_allclose(dense.sum(1), 1, atol=1e-6)
    if exact <= 1 or exact == 2:  # the mean of a ramp is its value at the center
        ramp, center = dense @ (np.arange(size) + 0.5), (np.arange(count) + 0.5) * exact
        np.testing.assert_allclose(ramp[2:-2], center[2:-2], rtol=1e-5)
    if exact >= 1:  # brute force: ten thousand samples per interval
        samples = (np.arange(20000) + 0.5) / 20000
        for row in (0, 1, count // 2, count - 1):
            places = ((row + samples) * exact).astype(int)
            expected = np.bincount(places, minlength=size) / len(places)
            np.testing.assert_allclose(dense[row], expected, atol=1e-3)


def test_unscanned_pixels_have_the_background_color() -> None:
    region = np.zeros((1, 3, 4), np.uint8)
    region[0, :, 3] = 0, 255, 51
    region[0, :, :3] = 100
    result = opaque(region, {"openslide.background-color": "FF0000"})
    np.testing.assert_array_equal(result[0], [[255, 0, 0], [100] * 3, [224, 20, 20]])


@needs_openslide
@pytest.mark.parametrize("downsample", [0.8, 1.0, 1.5, 4.0, 6.3])
def test_boxes_equal_the_image(drawn, downsample: float) -> None:
    path, _ = drawn
    place = ArrayPlace(downsample=downsample)
    image = read_image(path, 2, 3, arrays=place)
    lazy = open_image(path, 2, 3, arrays=place)
    assert lazy.shape == image.array.shape == (*scaled_shape(SHAPE, downsample), 3)
    assert lazy.dtype == np.uint8
    height, width = lazy.spatial_shape
    for box in (
        (slice(0, 1), slice(0, 1)),
        (slice(height // 3, height // 2), slice(width // 7, width)),
        (slice(height - 3, height), slice(width - 5, width)),
    ):
        np.testing.assert_array_equal(lazy.read(box), image.array[box])
    exact = [0.25 * whole / count for whole, count in zip(SHAPE, lazy.spatial_shape, strict=True)]
    assert lazy.spacing == pytest.approx(exact)
    assert lazy.unit == "µm"


@needs_openslide
def test_resampling_keeps_positions(drawn) -> None:
    """The drawn nuclei have the same centers at each resolution."""
    path, truth = drawn
    for downsample in (1.0, 1.7, 4.0):
        image = read_image(path, 2, 3, arrays=ArrayPlace(downsample=downsample)).array
        steps = np.array(SHAPE) / image.shape[:2]
        shifts = []
        for center, radius in zip(truth.centers, truth.radii, strict=True):
            low = ((center - 22) / steps).astype(int)
            high = ((center + 22) / steps).astype(int) + 1
            dark = 230.0 - image[low[0] : high[0], low[1] : high[1], 0]
            places = (np.moveaxis(np.indices(dark.shape), 0, -1) + low + 0.5) * steps
            dark[(dark < 70) | ((((places - center) / (radius + 4)) ** 2).sum(-1) > 1)] = 0
            found = (places * dark[..., None]).sum((0, 1)) / dark.sum()
            shifts.append(found - center)
        assert np.abs(np.mean(shifts, 0)).max() < 0.2  # pixels of the finest level


@needs_openslide
def test_glass_is_replaced_and_no_nucleus_lost(drawn) -> None:
    path, truth = drawn
    place = ArrayPlace(downsample=1.5, tissue_only=True)
    whole = read_image(path, 2, 3, arrays=replace_glass(place, False)).array
    masked = open_image(path, 2, 3, arrays=place)
    read = masked.read((slice(None), slice(None)))
    tissue = find_tissue(path, 1.5)
    changed = (read != whole).any(-1)
    assert truth.tissue < tissue.share < truth.tissue + 0.12
    assert (read[changed] == tissue.glass).all()
    assert np.abs(whole[changed].astype(int) - tissue.glass).max() < 15  # it was glass
    steps = np.array(SHAPE) / whole.shape[:2]
    for center, radius in zip(truth.centers, truth.radii, strict=True):
        low = ((center - radius - 6) / steps).astype(int)
        high = ((center + radius + 6) / steps).astype(int) + 1
        assert not changed[low[0] : high[0], low[1] : high[1]].any()
    box = (slice(300, 420), slice(100, 333))
    np.testing.assert_array_equal(masked.read(box), read[box])


def replace_glass(place: ArrayPlace, tissue_only: bool) -> ArrayPlace:
    return ArrayPlace(downsample=place.downsample, tissue_only=tissue_only)


# Color of the drawn tissue or None, color of the glass, expected share of the tissue
@pytest.mark.parametrize(
    ("stain", "glass", "share"),
    [
        ((90, 60, 140), (243, 241, 244), (0.1, 0.25)),  # hematoxylin
        ((226, 172, 202), (243, 241, 244), (0.1, 0.25)),  # eosin
        ((222, 214, 222), (243, 241, 244), (0.1, 0.25)),  # pale
        ((200, 200, 205), (212, 214, 215), (0.1, 0.25)),  # a dim lamp
        (None, (243, 241, 244), (1.0, 1.0)),  # only glass: nothing is left out
        ((20, 20, 30), (30, 30, 40), (1.0, 1.0)),  # fluorescence: there is no glass
    ],
)
def test_tissue_of_a_thumbnail(stain, glass, share) -> None:
    rng = np.random.default_rng(3)
    thumbnail = rng.normal(glass, 1.5, (200, 200, 3))
    if stain is not None:
        thumbnail[50:120, 40:100] = rng.normal(stain, 2, (70, 60, 3))
    thumbnail[180, 180] = 20  # dust
    tissue = tissue_of(thumbnail.clip(0, 255).astype(np.uint8))
    assert share[0] <= tissue.share <= share[1]
    assert tissue.mask[47:123, 37:103].all()


@needs_openslide
def test_a_file_without_a_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    make_slide(path, (304, 304), np.random.default_rng(1), pieces=1, pixel_size=None)
    header = read_header(path)
    assert header.spacing is None
    assert header.unit is None
    assert read_slide(path).pixel_size is None
    assert header.shape == (304, 304, 3)


@needs_openslide
def test_damaged_files_are_refused(drawn, tmp_path: Path) -> None:
    path, _ = drawn
    content = path.read_bytes()
    bad = tmp_path / "bad.svs"
    for changed in (
        content[:5000],  # the directories are at the end
        content[: len(content) // 2],
        content[:1000] + bytes(200_000) + content[201_000:],  # zeros instead of tiles
        content[200_000:],
    ):
        bad.write_bytes(changed)
        with pytest.raises(UserError) as caught:
            read_image(bad, 2, 3)
        assert caught.value.code in ("io.unreadable", "io.cut_off")


@needs_openslide
def test_a_slide_is_not_a_label_image(drawn) -> None:
    with pytest.raises(UserError) as caught:
        open_labels(drawn[0], 2)
    assert caught.value.code == "labels.lossy_format"


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: object, **options: object) -> object:
        if name.startswith("openslide"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(
        "singula.io.formats.containers.import_module",
        lambda name: missing(name),
    )
    (tmp_path / "a.svs").write_bytes(b"II*\0")
    with pytest.raises(UserError) as caught:
        read_header(tmp_path / "a.svs")
    assert caught.value.code == "io.library_missing"
    assert "slides" in (caught.value.hint or "")


@pytest.mark.parametrize("shape", [(1000, 1024), (1024, 1000), (0, 16)])
def test_the_sides_of_a_drawn_slide_are_multiples_of_16(tmp_path: Path, shape) -> None:
    with pytest.raises(UserError) as caught:
        make_slide(tmp_path / "a.svs", shape, np.random.default_rng(1))
    assert caught.value.code == "synthetic.slide_shape"
    assert not list(tmp_path.iterdir())

"""Differences between slices, for volumes with known shifts and brightness."""

import numpy as np
import pytest
from scipy import ndimage

from singula.dataset.facts.images import survey_image
from singula.dataset.facts.slices import shift_between, survey_slices
from singula.dataset.scan import Scan
from singula.synthetic.fluorescence import make_image
from singula.synthetic.serial_sections import make_em_volume


def texture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(shape)
    return 100 + 30 * ndimage.gaussian_filter(noise, 2, mode="wrap") / 0.14


def stack(offsets: list[tuple[int, int]], gains: list[float] | None = None) -> np.ndarray:
    """Return slices of one texture with given positions and brightness, and noise."""
    rng = np.random.default_rng(1)
    plane = texture((128, 160))
    gains = [0.0] * len(offsets) if gains is None else gains
    slices = [
        np.roll(plane, offset, (0, 1)) + gain + rng.normal(0, 5, plane.shape)
        for offset, gain in zip(offsets, gains, strict=True)
    ]
    return np.stack(slices)[..., None]


@pytest.mark.parametrize("offset", [(0, 0), (3, 0), (0, -4), (5, 7), (-11, 2)])
def test_the_shift_between_two_slices_is_found(offset: tuple[int, int]) -> None:
    volume = stack([(0, 0), offset])[..., 0]
    assert shift_between(volume[0], volume[1]) == offset


def test_a_change_of_brightness_is_not_a_shift() -> None:
    volume = stack([(0, 0), (2, -3)], [0.0, 80.0])[..., 0]
    assert shift_between(volume[0], 0.5 * volume[1]) == (2, -3)


def test_aligned_slices_of_equal_brightness_do_not_differ() -> None:
    change, shift, lost = survey_slices(stack([(0, 0)] * 8))
    assert change < 0.03
    assert shift == 0
    assert lost == 0


def test_jitter_brightness_and_lost_slices_are_measured_separately() -> None:
    jitter = survey_slices(stack([(0, 0), (3, 4)] * 5))
    assert jitter[1] == pytest.approx(5)
    assert jitter[0] < 0.03
    deviation = float(stack([(0, 0)]).std())
    uneven = survey_slices(stack([(0, 0)] * 10, [0.0, deviation] * 5))
    assert uneven[0] == pytest.approx(1, rel=0.1)
    assert uneven[1] == 0
    black = stack([(0, 0)] * 11)
    black[4] = 0
    assert survey_slices(black)[2] == pytest.approx(2 / 10)


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 64, 64), (9, 5, 64)])
def test_thin_and_narrow_volumes_have_no_shift(shape: tuple[int, ...]) -> None:
    assert survey_slices(texture(shape)[..., None])[1] == 0


def test_slices_of_a_constant_volume_do_not_differ() -> None:
    assert survey_slices(np.full((6, 32, 32, 1), 7, np.uint8)) == (0, 0, 0)


def test_sections_and_optical_slices_are_distinguished(tmp_path) -> None:
    from singula.io.write import write_tiff

    sections = make_em_volume((8, 96, 96), np.random.default_rng(0)).image
    optical = make_image((16, 96, 96), np.random.default_rng(0), spacing=(2, 1, 1)).image
    facts = []
    for name, volume in (("sections", sections), ("optical", optical)):
        write_tiff(tmp_path / f"{name}.tif", volume, "ZYX")
        facts.append(survey_image(Scan.of_image(tmp_path / f"{name}.tif", 3)))
    assert facts[0].slice_change > 0.15 > 0.06 > facts[1].slice_change
    assert facts[0].slice_shift >= 2 > 1 > facts[1].slice_shift
    # Reading crops of a large volume gives the same facts.
    some = survey_image(Scan.of_image(tmp_path / "sections.tif", 3), 5000)
    assert some.slice_shift == facts[0].slice_shift

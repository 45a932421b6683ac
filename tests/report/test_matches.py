"""Colors and patterns of matched, missed and false objects."""

from itertools import combinations

import numpy as np
import pytest

from singula.metrics import color_associations, match
from singula.report.matches import (
    FALSE,
    MATCH_KINDS,
    MATCHED,
    MISSED,
    match_bits,
    match_codes,
    match_palette,
    swatch_style,
)

# Red-green color blindness (deuteranopia, protanopia) in linear RGB:
# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, 2009, severity 1.
VISION = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
}  # fmt: skip


def lab(color: np.ndarray, vision: str) -> np.ndarray:
    from skimage.color import rgb2lab

    rgb = np.asarray(color, float) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    rgb = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return rgb2lab(rgb)


@pytest.mark.parametrize("vision", VISION)
def test_the_main_kinds_differ_for_color_blind_people(vision: str) -> None:
    main = [kind for kind in MATCH_KINDS if kind.bits in (MISSED, MATCHED, FALSE)]
    assert len(main) == 3
    for one, two in combinations(main, 2):
        assert np.linalg.norm(lab(one.color, vision) - lab(two.color, vision)) > 30
    for one, two in combinations(MATCH_KINDS, 2):  # and the patterns differ, if colors do not
        assert one.pattern != two.pattern
        assert swatch_style(one) != swatch_style(two)


def test_every_combination_that_occurs_is_in_the_legend() -> None:
    rng = np.random.default_rng(0)
    occurring = set()
    for _ in range(30):
        truth = np.repeat(np.repeat(rng.integers(0, 4, (6, 6)), 5, 0), 5, 1)
        pred = np.roll(np.repeat(np.repeat(rng.integers(0, 4, (6, 6)), 5, 0), 5, 1), 2, 1)
        pred = np.where(rng.random() < 0.5, truth, pred)
        pairs = match(truth, pred, (0.3,))[0]
        occurring |= set(np.unique(match_bits(color_associations(truth, pred, pairs))).tolist())
    assert occurring - {0} <= {kind.bits for kind in MATCH_KINDS}


@pytest.mark.parametrize("kind", MATCH_KINDS, ids=lambda kind: kind.pattern)
def test_patterns_are_stripes_of_a_darker_color(kind) -> None:
    bits = np.full((16, 24), kind.bits, np.uint8)
    codes = match_codes(bits)
    dark = np.isin(codes, kind.bits + 8)
    assert dark.any() == (kind.pattern != "plain")
    assert dark.mean() < 0.5
    np.testing.assert_array_equal(codes[~dark], kind.bits)
    whole = match_codes(np.full((40, 40), kind.bits, np.uint8))
    np.testing.assert_array_equal(whole[8 : 8 + 16, 5 : 5 + 24], match_codes(bits, (8, 5)))
    assert match_palette()[kind.bits].tolist() == list(kind.color)

"""Thresholds as keyword arguments of `singula.decode`."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import singula
from singula.errors import UserError
from singula.representations.decoders.settings import KEYWORDS
from singula.representations.table import DECODERS
from singula.representations.thresholds import THRESHOLDS


def soft_maps(channels: str) -> dict[str, np.ndarray]:
    """Return maps with intermediate values."""
    labels = np.zeros((40, 60), int)
    labels[3:20, 3:20], labels[3:20, 20:40], labels[22:38, 10:50] = 1, 2, 3
    noise = np.random.default_rng(0)
    maps = singula.encode(labels, channels)
    return {
        name: (values * 0.8 + noise.random(values.shape) * 0.3).astype(np.float32)
        for name, values in maps.items()
    }


@pytest.mark.parametrize("channels", list(DECODERS))
@pytest.mark.parametrize("keyword", list(KEYWORDS))
def test_a_keyword_is_the_key_of_its_threshold(channels: str, keyword: str) -> None:
    maps, name = soft_maps(channels), KEYWORDS[keyword].name
    for value in (0.2, 0.7):
        expected = singula.decode(maps, channels, thresholds={name: value})
        found = singula.decode(maps, channels, **{keyword: value})
        np.testing.assert_array_equal(found, expected)
    mixed = singula.decode(maps, channels, thresholds={"REMOVE_SMALL_OBJ": 40}, **{keyword: 0.2})
    expected = singula.decode(maps, channels, thresholds={"REMOVE_SMALL_OBJ": 40, name: 0.2})
    np.testing.assert_array_equal(mixed, expected)


def test_every_threshold_has_a_keyword_in_signature_and_description() -> None:
    assert [threshold.name for threshold in KEYWORDS.values()] == list(THRESHOLDS)
    assert set(KEYWORDS) <= set(inspect.signature(singula.decode).parameters)
    text = inspect.getdoc(singula.decode) or ""
    assert all(keyword in text and KEYWORDS[keyword].name in text for keyword in KEYWORDS)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"contor_threshold": 0.5}, "decode.unknown_keyword", "contour_threshold"),
        ({"zzz": 0.5}, "decode.unknown_keyword", "arguments"),
        ({"contour_threshold": 1.5}, "arguments.number", ""),
        ({"distance_threshold": -1.0}, "arguments.number", ""),
    ],
)
def test_wrong_keywords_are_refused(arguments, code: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        singula.decode(soft_maps("BC"), "BC", **arguments)
    assert error.value.code == code
    assert words in (error.value.hint or "")


@pytest.mark.parametrize("key", ["TH_CONTOUR", "DATA_MW_TH_CONTOUR", "th_contour"])
def test_a_threshold_is_given_once(key: str) -> None:
    with pytest.raises(UserError) as error:
        singula.decode(soft_maps("BC"), "BC", thresholds={key: 0.2}, contour_threshold=0.2)
    assert error.value.code == "decode.given_twice"

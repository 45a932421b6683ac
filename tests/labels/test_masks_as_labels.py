"""A boolean mask is a label image of one instance, in every function and in files."""

from pathlib import Path

import numpy as np
import pytest

import singula
from singula.io.read import read_labels
from singula.labels.index import count_instances

MASK = np.zeros((12, 14), bool)
MASK[2:6, 3:9] = MASK[8:11, 1:5] = True
IDS = MASK.astype(np.uint8)


def same(one: object, two: object) -> None:
    assert isinstance(one, dict)
    assert isinstance(two, dict)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize("channels", ["BC", "BCD", "BP"])
def test_encode(channels: str) -> None:
    same(singula.encode(MASK, channels), singula.encode(IDS, channels))


def test_measure_match_and_count() -> None:
    same(dict(singula.measure(MASK)), dict(singula.measure(IDS)))
    assert singula.match(MASK, IDS, 0.5) == singula.match(IDS, IDS, 0.5)
    assert count_instances(MASK) == 1


def test_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", MASK)
    labels = read_labels(tmp_path / "a.npy", 2).array[..., 0]
    np.testing.assert_array_equal(labels, IDS)
    same(singula.encode(labels, "BC"), singula.encode(MASK, "BC"))

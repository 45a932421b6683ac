"""Connected components, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from singula.labels.components import (
    component_sizes,
    connected_components,
    count_components,
    label_of_components,
)
from singula.labels.index import index_labels


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("shape", [(20, 23), (7, 11, 12)])
def test_components_of_a_mask(shape: tuple[int, ...], corners: bool) -> None:
    mask = np.random.default_rng(0).random(shape) > 0.6
    structure = ndimage.generate_binary_structure(mask.ndim, mask.ndim if corners else 1)
    expected, count = ndimage.label(mask, structure)
    mask.flags.writeable = False
    components, found = connected_components(mask, corners=corners)
    assert found == count
    assert len(np.unique(np.stack([components, expected]).reshape(2, -1), axis=1).T) == count + 1
    assert sorted(component_sizes(mask, corners=corners)) == sorted(
        np.bincount(expected.ravel())[1:]
    )


def test_components_of_labels() -> None:
    labels = np.zeros((12, 12), np.uint32)
    labels[1:3, 1:3] = labels[3, 3] = 5  # touches at a corner
    labels[6, 6] = labels[9, 9] = 2**31
    labels[0, 11] = labels[11, 0] = 9
    index, ids = index_labels(labels)
    assert ids[count_components(index, len(ids)) > 1].tolist() == [9, 2**31]
    components, count = connected_components(labels)
    owner = label_of_components(components, count, labels)
    np.testing.assert_array_equal(owner[components], labels)


def test_images_without_pixels_or_objects() -> None:
    assert count_components(np.zeros((3, 4, 5), np.uint8), 3).tolist() == [0, 0, 0]
    assert count_components(np.zeros((0, 5), np.uint8), 2).tolist() == [0, 0]
    assert component_sizes(np.zeros((4, 0), bool)).tolist() == []

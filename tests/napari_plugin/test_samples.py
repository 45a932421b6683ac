"""Sample data: each image has labels of its shape."""

from __future__ import annotations

import pytest

from singula.napari_plugin import samples


@pytest.mark.parametrize("draw", ["nuclei", "nuclei_3d", "nuclei_over_time", "touching_cells"])
def test_labels_have_the_shape_of_the_image(draw: str) -> None:
    (image, _, kind), (labels, options, other) = getattr(samples, draw)()
    assert (kind, other) == ("image", "labels")
    assert image.shape == labels.shape
    assert labels.max() > 3
    assert not options["visible"]

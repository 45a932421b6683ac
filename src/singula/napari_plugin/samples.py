"""Sample data for napari: drawn images with the labels of their objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from singula.napari_plugin.layers import IMAGE, LABELS, LayerData

_SEED = 7
_SIDE, _FRAMES, _DRIFT = 256, 6, 12  # pixels of an image, frames, and pixels between two frames


def nuclei() -> list[LayerData]:
    """Draw fluorescent nuclei, (y, x)."""
    from singula.synthetic.fluorescence import make_image

    drawn = make_image((_SIDE, _SIDE), np.random.default_rng(_SEED))
    return _layers("nuclei", drawn.image, drawn.labels)


def nuclei_3d() -> list[LayerData]:
    """Draw a volume of fluorescent nuclei, (z, y, x), whose slices are 2 pixels apart."""
    from singula.synthetic.fluorescence import make_image

    spacing = (2.0, 1.0, 1.0)
    drawn = make_image((24, 96, 96), np.random.default_rng(_SEED), spacing=spacing)
    return _layers("nuclei 3D", drawn.image, drawn.labels, scale=spacing)


def nuclei_over_time() -> list[LayerData]:
    """Draw nuclei under a stage that drifts, (t, y, x)."""
    from singula.synthetic.fluorescence import make_image

    width = _SIDE + (_FRAMES - 1) * _DRIFT
    drawn = make_image((_SIDE, width), np.random.default_rng(_SEED))
    starts = range(0, _FRAMES * _DRIFT, _DRIFT)
    image, labels = (
        np.stack([array[:, start : start + _SIDE] for start in starts])
        for array in (drawn.image, drawn.labels)
    )
    return _layers("nuclei over time", image, labels, axis_labels=("t", "y", "x"))


def touching_cells() -> list[LayerData]:
    """Draw convex cells that touch each other, (y, x)."""
    from singula.synthetic.packed_cells import make_cells

    drawn = make_cells((192, 192), np.random.default_rng(_SEED))
    return _layers("touching cells", drawn.image, drawn.labels)


def _layers(name: str, image: Any, labels: Any, **options: Any) -> list[LayerData]:
    return [
        (image, {"name": name, **options}, IMAGE),
        (
            labels.astype(np.int32),
            {"name": f"{name}: drawn labels", "visible": False, **options},
            LABELS,
        ),
    ]

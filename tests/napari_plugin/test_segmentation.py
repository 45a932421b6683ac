"""Segmentation along leading axes, choice of a model, and export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import singula
from singula.errors import UserError
from singula.metrics import match
from singula.napari_plugin import samples
from singula.napari_plugin.segmentation import (
    Segmentation,
    export_labels,
    frames_of,
    model_ndim,
    suggest_model,
)


@pytest.mark.parametrize(
    ("shape", "rgb", "axes", "model"),
    [
        ((64, 64), False, ("y", "x"), "nuclei"),
        ((64, 64), True, ("y", "x"), "nuclei_he"),
        ((9, 64, 64), False, ("-3", "-2", "-1"), "nuclei_3d"),
        ((9, 64, 64), False, ("t", "y", "x"), "nuclei"),
        ((2, 9, 64, 64), False, ("t", "z", "y", "x"), "nuclei_3d"),
    ],
)
def test_the_model_follows_axes_and_colors(
    shape: tuple[int, ...], rgb: bool, axes: tuple[str, ...], model: str
) -> None:
    assert suggest_model(shape, rgb=rgb, axis_labels=axes) == model


@pytest.mark.parametrize("name", ["nuclei", "nuclei_he", "nuclei_3d"])
def test_the_dimensions_of_a_model_are_known_without_loading_it(name: str) -> None:
    assert model_ndim(name) == singula.load(name).ndim


def test_images_over_time_are_segmented_as_single_images(tmp_path: Path) -> None:
    (image, _, _), (truth, _, _) = samples.nuclei_over_time()
    image, truth = image[:2, :128, :128], truth[:2, :128, :128]
    model = singula.load("nuclei")
    segmentation = Segmentation(model, "nuclei", image)
    assert list(segmentation.run()) == [(0,), (1,)]
    for frame in (0, 1):
        np.testing.assert_array_equal(segmentation.labels[frame], model.predict(image[frame]))
        assert match(truth[frame], segmentation.labels[frame], thresholds=[0.5])[0].f1 > 0.8
    assert set(segmentation.all_maps()) == set(model.predict_maps(image[0]))
    files = export_labels(segmentation.labels, 2, "tiff", tmp_path, "cells", None)
    assert [file.name for file in files] == ["cells_000.tif", "cells_001.tif"]
    np.testing.assert_array_equal(tifffile.imread(files[1]), segmentation.labels[1])


def test_other_thresholds_change_the_objects_and_the_displayed_image_is_first() -> None:
    image = np.stack([samples.nuclei()[0][0][:96, :96]] * 2)
    segmentation = Segmentation(singula.load("nuclei"), "nuclei", image)
    assert list(segmentation.run()) == [(0,), (1,)]
    counts = [segmentation.count(frame) for frame in segmentation.frames]
    assert list(segmentation.decode_all({"TH_CONTOUR": 0.0}, (1,))) == [(1,), (0,)]
    assert not segmentation.labels.any()
    list(segmentation.decode_all({}, (0,)))
    assert [segmentation.count(frame) for frame in segmentation.frames] == counts
    keys = {slider.key for slider in segmentation.sliders((0,))}
    assert "DATA_MW_TH_CONTOUR" in keys
    assert all(slider.low <= slider.value <= slider.high for slider in segmentation.sliders((0,)))


def test_an_image_with_too_few_axes_is_refused() -> None:
    with pytest.raises(UserError) as raised:
        frames_of((64, 64), 3)
    assert raised.value.code == "napari.too_few_axes"

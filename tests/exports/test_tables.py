"""Tables of measurements with units in the names of their columns."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter, label

from singula.exports import parts
from singula.exports.tables import convert_table, instance_table
from singula.io.lazy import open_image, open_labels
from singula.io.lazy_array import LazyArray
from singula.io.write import write_tiff
from singula.measure import additional_columns, measure_instances
from singula.runs.instances import Instances


def example(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of two channels and a label image with gaps between the ids."""
    rng = np.random.default_rng(3)
    noise = gaussian_filter(rng.normal(size=shape), 2)
    labels = 2 * label(noise > np.quantile(noise, 0.7))[0].astype(np.uint16)
    return rng.integers(0, 900, (*shape, 2)).astype(np.uint16), labels


@pytest.mark.parametrize("shape", [(70, 90), (22, 40, 50)])
@pytest.mark.parametrize("unit", ["nm", "µm", None, "pixels wide"])
def test_a_converted_table_equals_the_measurement(shape, unit) -> None:
    image, labels = example(shape)
    sizes: tuple[float, ...] | None = (300.0, 120.0, 120.0)[-len(shape) :]
    if unit is None:
        sizes = None
    item = Instances("a", labels, None, sizes, unit, image=image)
    measured = measure_instances(labels, spacing=sizes)
    measured = measured.assign(**additional_columns(labels, image, spacing=sizes))
    found = convert_table(measured, sizes, unit)
    pd.testing.assert_frame_equal(found, instance_table(item), rtol=1e-9)
    assert "intensity_mean_ch2" in found
    classes = measured.assign(**{"class": 1 + measured["label"] % 3})
    assert convert_table(classes, sizes, unit)["class"].equals(classes["class"])


@pytest.mark.parametrize("shape", [(70, 90), (22, 40, 50)])
def test_a_label_image_in_parts_has_the_table_of_the_whole(
    shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_SIDE", 32)
    monkeypatch.setattr(parts, "_DEPTH_SIDE", 16)
    image, labels = example(shape)
    axes, sizes = "ZYX"[-len(shape) :], (0.5, 0.2, 0.2)[-len(shape) :]
    write_tiff(tmp_path / "x.tif", image, axes + "C", None, None)
    write_tiff(tmp_path / "y.tif", labels, axes, sizes, "µm")
    whole = instance_table(Instances("a", labels, None, sizes, "µm", image=image))
    lazy = Instances(
        "a",
        LazyArray.of(open_labels(tmp_path / "y.tif", len(shape)))[..., 0],
        None,
        sizes,
        "µm",
        image=LazyArray.of(open_image(tmp_path / "x.tif", len(shape), 2)),  # type: ignore[arg-type]
    )
    found = instance_table(lazy)
    assert len(found) > 5
    pd.testing.assert_frame_equal(found, whole, rtol=1e-9, check_dtype=False)

"""Labels saved as colors become ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_data import ExampleData, bytes_of, labels
from skimage.color import label2rgb
from skimage.segmentation import relabel_sequential
from skimage.transform import rescale

from singula.dataset.checks import inspect_dataset, write_fixed
from singula.dataset.checks.colored import number_colors
from singula.io.read import read_labels


def painted(ids: np.ndarray, background: int = 0, dtype: type = np.uint8) -> np.ndarray:
    """Return a color for each id; colors of consecutive ids differ in one channel only."""
    top = np.iinfo(dtype).max
    table = np.array([[top - i, (i * 7) % 251 + 1, (i % 3) * 100] for i in range(ids.max() + 1)])
    table[0] = background
    return table[ids].astype(dtype)


def same_objects(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(one)) == len(np.unique(other)) and (0, 0) in pairs.T


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("background", [0, 250])
def test_each_color_has_a_number(ndim: int, dtype: type, background: int) -> None:
    ids = labels(ndim)
    numbers = number_colors(painted(ids, background, dtype))
    assert numbers is not None
    assert same_objects(numbers, ids)
    assert numbers.max() == ids.max()


@pytest.mark.parametrize("kind", ["noise", "smooth edges", "shades"])
def test_a_picture_without_flat_colors_is_not_recognized(kind: str) -> None:
    ids = labels(2)
    picture = painted(ids)
    if kind == "noise":
        picture = np.random.default_rng(0).integers(0, 255, picture.shape, dtype=np.uint8)
    elif kind == "smooth edges":
        large = rescale(picture, 1.37, order=1, channel_axis=-1, preserve_range=True)
        picture = large.round().astype(np.uint8)
    else:
        lines = np.arange(len(ids), dtype=np.uint8)[:, None, None]
        columns = np.arange(ids.shape[1], dtype=np.uint8)[None, :, None]
        picture = np.where(ids[..., None] > 0, picture // 2 + lines + columns, 0).astype(np.uint8)
    assert number_colors(picture) is None


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_corrected_copy_contains_ids(tmp_path: Path, ndim: int) -> None:
    data = ExampleData(tmp_path / "data", ndim)
    names = [path.name for path in (data.folder / "train" / "y").iterdir()]
    clean = {name: data.ids("train", name) for name in names}
    for name, ids in clean.items():
        data.put("train", "y", name, painted(ids), "ZYXS"[-ndim - 1 :])
    before = bytes_of(data.folder)
    found = inspect_dataset(data.folder)
    assert [(one.kind, one.severity, one.fixable) for one in found.findings] == [
        ("label_type", "problem", True)
    ] * len(names)
    assert "16 colors" in found.findings[0].text
    report = write_fixed(found, tmp_path / "fixed")
    assert bytes_of(data.folder) == before
    assert report.left_out == {}
    for name, ids in clean.items():
        fixed = read_labels(tmp_path / "fixed" / "train" / "y" / name, ndim).array[..., 0]
        assert same_objects(fixed, ids)
    assert not inspect_dataset(tmp_path / "fixed").findings


def test_objects_of_the_same_color_are_separated(tmp_path: Path) -> None:
    data = ExampleData(tmp_path / "data")
    name = next((data.folder / "train" / "y").iterdir()).name
    ids = data.ids("train", name)
    few = label2rgb(ids, colors=["red", "lime", "blue", "cyan"], bg_label=0)
    data.put("train", "y", name, (few * 255).astype(np.uint8), "YXS")
    write_fixed(inspect_dataset(data.folder), tmp_path / "fixed")
    fixed = read_labels(tmp_path / "fixed" / "train" / "y" / name, 2).array[..., 0]
    assert same_objects(fixed, relabel_sequential(ids)[0])

"""OME-Zarr written in boxes, read by Singula and by other libraries."""

from __future__ import annotations

import pickle
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr_models.v05 import Image, ImageLabel, Labels
from selection import fast_first

from singula.errors import StorageError
from singula.io.block_array import BlockArray, mean, nearest
from singula.io.formats import ngff
from singula.io.formats.ngff import plan_levels
from singula.io.lazy import open_image, open_labels
from singula.io.read import read_image, read_labels

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 90_000, (40, 300, 270)).astype(np.uint32)
MAPS = RNG.random((40, 300, 270, 2)).astype(np.float32)


def fill(blocks: BlockArray, array: np.ndarray) -> None:
    for box in blocks.blocks():
        blocks.write(box, array[box])
    for level in range(1, len(blocks.levels)):
        for box in blocks.blocks(level):
            blocks.build_level(level, box)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("shards", fast_first([False, True]))
def test_an_image_is_read_back_by_singula_and_other_libraries(
    tmp_path: Path, ndim: int, shards: bool
) -> None:
    array = MAPS if ndim == 3 else MAPS[0]
    spacing = (2.0, 0.5, 0.25)[-ndim:]
    blocks = BlockArray.create(
        tmp_path / "a.zarr",
        array.shape,
        array.dtype,
        ndim=ndim,
        names=("B", "C"),
        spacing=spacing,
        unit="µm",
        chunks=(16, 32, 32)[-ndim:],
        shards=(16, 64, 128)[-ndim:] if shards else None,
    )
    fill(pickle.loads(pickle.dumps(blocks)), array)
    BlockArray.open(tmp_path / "a.zarr").finish()
    found = read_image(tmp_path / "a.zarr", ndim, 2)
    np.testing.assert_array_equal(found.array, array)
    assert (found.spacing, found.unit, found.name) == (spacing, "µm", "a")
    image = Image.from_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))
    entry = image.attributes.ome.multiscales[0]
    assert [axis.name for axis in entry.axes] == ["c", *"zyx"[-ndim:]]
    assert {axis.unit for axis in entry.axes[1:]} == {"micrometer"}
    assert entry.datasets[0].coordinateTransformations[0].scale == [1, *spacing]
    stored = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert stored["0"].shards == ((2, 16, 64, 128)[:1] + (16, 64, 128)[-ndim:] if shards else None)
    whole = array
    for level, plan in enumerate(blocks.levels[1:], 1):
        whole = mean(whole, plan.halved)
        np.testing.assert_array_equal(np.moveaxis(stored[str(level)][...], 0, -1), whole)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("inside", ["", "labels/instances"])
def test_labels_are_read_back_by_singula_and_other_libraries(
    tmp_path: Path, ndim: int, inside: str
) -> None:
    ids = IDS if ndim == 3 else IDS[0]
    blocks = BlockArray.create(
        tmp_path / "a.ome.zarr",
        ids.shape,
        ids.dtype,
        ndim=ndim,
        kind="labels",
        unit="nm",
        spacing=(1.5,) * ndim,
        chunks=(16, 64, 64)[-ndim:],
        inside=inside,
    )
    fill(blocks, ids)
    blocks.finish(properties=[{"label-value": 3, "npixels": 7}])
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    found = ImageLabel.from_zarr(group[inside] if inside else group).attributes.ome
    assert found.image_label.properties[0].label_value == 3
    assert {axis.unit for axis in found.multiscales[0].axes} == {"nanometer"}
    if inside:
        assert Labels.from_zarr(group["labels"]).attributes.ome.labels == ["instances"]
    read = read_labels(tmp_path / "a.ome.zarr", ndim)
    np.testing.assert_array_equal(read.array[..., 0], ids)
    assert (read.spacing, read.unit, read.name) == ((1.5,) * ndim, "nm", "a")
    np.testing.assert_array_equal(
        (group[inside] if inside else group)["1"][...],
        ids[tuple(slice(None, None, 2) for _ in range(ndim))],
    )


@pytest.mark.parametrize("ndim", [2, 3])
def test_labels_with_classes_are_read_back_as_two_channels(tmp_path: Path, ndim: int) -> None:
    ids = IDS if ndim == 3 else IDS[0]
    both = np.stack([ids, ids % 3], axis=-1)
    path, whole = tmp_path / "a.zarr", (slice(None),) * ndim
    blocks = BlockArray.create(
        path, both.shape, both.dtype, ndim=ndim, names=("instances", "class"), kind="labels",
        chunks=(16, 64, 64)[-ndim:],
    )  # fmt: skip
    fill(blocks, both)
    blocks.finish()
    group = zarr.open_group(path, mode="r")
    # Viewers take the ids of a label image from an array without channels.
    assert Image.from_zarr(group).attributes.ome.multiscales[0].axes[0].type == "channel"
    assert "image-label" not in group.attrs["ome"]
    np.testing.assert_array_equal(read_labels(path, ndim, True).array, both)
    np.testing.assert_array_equal(open_labels(path, ndim, True).read(whole), both)
    np.testing.assert_array_equal(blocks.read_ids(whole), ids)
    # Coarser levels are made of pixels that there are, not of means.
    coarse = both[tuple(slice(None, None, 2) for _ in range(ndim))]
    np.testing.assert_array_equal(np.moveaxis(group["1"][...], 0, -1), coarse)


def test_labels_of_an_image_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    image = BlockArray.create(path, MAPS.shape, MAPS.dtype, ndim=3)
    fill(image, MAPS)
    image.finish()
    for name in ("first", "second"):
        ids = BlockArray.create(
            path, IDS.shape, IDS.dtype, ndim=3, kind="labels", inside=f"labels/{name}"
        )
        fill(ids, IDS)
        ids.finish()
        if name == "first":
            np.testing.assert_array_equal(
                open_labels(path, 3).read((slice(0, 5),) * 3)[..., 0], IDS[:5, :5, :5]
            )
    np.testing.assert_array_equal(open_image(path, 3).read((slice(0, 5),) * 3), MAPS[:5, :5, :5])
    assert Labels.from_zarr(zarr.open_group(path / "labels", mode="r")).attributes.ome.labels == [
        "first",
        "second",
    ]


def _write(job: tuple[BlockArray, Any, np.ndarray]) -> None:
    blocks, box, part = job
    blocks.write(box, part)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_write_at_the_same_time(tmp_path: Path, method: str) -> None:
    blocks = BlockArray.create(
        tmp_path / "a.zarr", IDS.shape, IDS.dtype, ndim=3, kind="labels",
        chunks=(8, 64, 64), shards=(16, 128, 128),
    )  # fmt: skip
    with ProcessPoolExecutor(2, get_context(method)) as pool:
        list(pool.map(_write, [(blocks, box, IDS[box]) for box in blocks.blocks()]))
    np.testing.assert_array_equal(blocks.read((slice(None),) * 3), IDS)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_levels_written_in_boxes_equal_those_of_the_whole(data: st.DataObject) -> None:
    ndim = data.draw(st.sampled_from([2, 3]))
    shape = [data.draw(st.integers(1, 20)) for _ in range(ndim)]
    chunks = [data.draw(st.integers(1, 9)) for _ in range(ndim)]
    kind = data.draw(st.sampled_from(["image", "labels"]))
    channels = [data.draw(st.integers(1, 3))] if kind == "image" else []
    spacing = [data.draw(st.sampled_from([0.5, 1.0, 4.0])) for _ in range(ndim)]
    shards = None
    if data.draw(st.booleans()):
        shards = [c * data.draw(st.integers(1, 4)) for c in chunks]
    array = RNG.integers(0, 900, shape + channels).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngff, "_MIN_PLANE", 6)
        blocks = BlockArray.create(
            Path(folder) / "a.zarr", array.shape, array.dtype, ndim=ndim, kind=kind,
            spacing=spacing, chunks=chunks, shards=shards,
        )  # fmt: skip
        fill(blocks, array)
        blocks.finish()
        for number, level in enumerate(blocks.levels):
            if number:
                array = (mean if kind == "image" else nearest)(array, level.halved)
            assert array.shape[:ndim] == level.shape
            np.testing.assert_array_equal(blocks.read((slice(None),) * ndim, number), array)
            covered = np.zeros(level.shape, int)
            for box in blocks.blocks(number):
                covered[box] += 1
            assert (covered == 1).all()


def test_unaligned_boxes_and_wrong_shapes_are_refused(tmp_path: Path) -> None:
    blocks = BlockArray.create(
        tmp_path / "a.zarr", (100, 90), np.uint16, ndim=2, kind="labels",
        chunks=(16, 16), shards=(32, 32),
    )  # fmt: skip
    part = np.ones((32, 90), np.uint16)
    blocks.write((slice(64, 96), slice(None)), part)
    blocks.write((slice(96, 100), slice(64, 90)), part[:4, :26])
    for box in ((slice(16, 48), slice(None)), (slice(0, 48), slice(None))):
        with pytest.raises(ValueError, match="not aligned"):
            blocks.write(box, part)
    with pytest.raises(ValueError, match="has shape"):
        blocks.write((slice(0, 32), slice(0, 64)), part)
    with pytest.raises(ValueError, match="written, not built"):
        blocks.build_level(0, (slice(0, 32), slice(0, 64)))


def test_an_unfinished_image_has_no_metadata(tmp_path: Path) -> None:
    blocks = BlockArray.create(tmp_path / "a.zarr", (600, 90), np.uint16, ndim=2, kind="labels")
    assert "ome" not in zarr.open_group(tmp_path / "a.zarr", mode="r").attrs
    blocks.finish()
    assert "ome" in zarr.open_group(tmp_path / "a.zarr", mode="r").attrs


def test_an_existing_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").write_text("a file")
    with pytest.raises(StorageError, match=r"a\.zarr"):
        BlockArray.create(tmp_path / "a.zarr" / "b.zarr", (60, 90), np.uint16, ndim=2)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    data=st.data(),
)
def test_coarser_pixels_are_means(shape: list[int], data: st.DataObject) -> None:
    halved = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    array = RNG.integers(0, 60_000, shape).astype(np.uint16)
    found = mean(array, halved)
    steps = [2 if half else 1 for half in halved]
    for place in np.ndindex(found.shape):
        box = tuple(slice(p * s, (p + 1) * s) for p, s in zip(place, steps, strict=True))
        assert abs(float(found[place]) - array[box].mean()) <= 0.5
    np.testing.assert_array_equal(
        nearest(array, halved), array[tuple(slice(None, None, s) for s in steps)]
    )


def test_thick_slices_are_not_downsampled_at_first() -> None:
    steps = [level.steps for level in plan_levels((5, 1100, 700), (2.0, 0.5, 0.5))]
    assert steps == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("shards", [False, True])
def test_copied_boxes_equal_written_ones(tmp_path: Path, ndim: int, shards: bool) -> None:
    """Boxes without files, copied boxes and levels of copied boxes, with a border."""
    side = 8
    shape = (3 * side,) * (ndim - 1) + (2 * side + 3, 2)
    image = BlockArray.create(
        tmp_path / "image.zarr",
        shape,
        np.float32,
        ndim=ndim,
        chunks=(4,) * ndim,
        shards=(side,) * ndim if shards else None,
    )
    boxes = [tuple(slice(side * i, side * (i + 1)) for i in index)
             for index in np.ndindex(*(3,) * (ndim - 1), 2)]  # fmt: skip
    pixels = np.random.default_rng(0).random((*(side,) * ndim, 2)).astype(np.float32)
    image.write(boxes[0], pixels)
    image.write(boxes[1], np.zeros_like(pixels))
    image.copy(boxes[0], boxes[2])
    image.copy(boxes[1], boxes[0 + len(boxes) - 1])
    np.testing.assert_array_equal(image.read(boxes[2]), pixels)
    assert not image.is_blank(boxes[0])
    assert image.is_blank(boxes[1])
    assert image.is_blank(boxes[-1])
    image.copy(boxes[-1], boxes[2])  # an earlier file is removed
    assert image.is_blank(boxes[2])
    assert not image.read(boxes[2]).any()


def test_a_level_is_copied_if_the_finer_files_are_equal(tmp_path: Path, monkeypatch) -> None:
    shape, side = (512, 1100), 64
    image = BlockArray.create(
        tmp_path / "image.zarr", shape, np.uint16, ndim=2, chunks=(32, 32), shards=(side, side)
    )
    pixels = np.zeros(shape, np.uint16)
    tile = np.random.default_rng(0).integers(0, 99, (128, 128))
    pixels[:256, :1024] = np.tile(tile, (2, 8))
    coarser, computed = BlockArray._coarser, []
    monkeypatch.setattr(
        BlockArray, "_coarser", lambda *args: computed.append(args[2]) or coarser(*args)
    )
    fill(image, pixels)
    for level in range(1, len(image.levels)):
        whole = (slice(None),) * 2
        expected = mean(image.read(whole, level - 1), image.levels[level].halved)
        np.testing.assert_array_equal(image.read(whole, level), expected)
    assert computed.count(1) == 1

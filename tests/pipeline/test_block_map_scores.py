"""Scores of maps from blocks equal those of the whole image."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("zarr")

from singula.blocks import JobFolder
from singula.blocks.runner import OneProcess
from singula.config import config_from_dict
from singula.io.write import write_tiff
from singula.pipeline import from_config
from singula.pipeline.blocks import map_scores as module
from singula.pipeline.blocks.image import BlockImage
from singula.pipeline.blocks.job_spec import JobSpec
from singula.pipeline.score import map_scores
from singula.representations.channels import encode_with


def cells(shape, count, seed):
    """Return touching cells, some of which cross the border of the image."""
    rng = np.random.default_rng(seed)
    if count == 0:
        return np.zeros(shape, np.uint16)
    points = rng.uniform(0, shape, (count, len(shape)))
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    away = np.linalg.norm(grid[..., None, :] - points, axis=-1)
    radius = rng.uniform(3, 9)
    return np.where(away.min(-1) < radius, away.argmin(-1) + 1, 0).astype(np.uint16)


def blocks_and_whole(folder, labels, channels, block, spacing, mode, options=()):
    """Return the scores of random maps in blocks, and of the whole image."""
    shape, ndim = labels.shape, labels.ndim
    config = config_from_dict(
        {
            "PROBLEM": {
                "NDIM": f"{ndim}D",
                "INSTANCE_SEG": {
                    "DATA_CHANNELS": channels,
                    "DATA_CONTOUR_MODE": mode,
                    "DATA_CHANNELS_EXTRA_OPTS": options,
                },
            },
            "DATA": {
                "PATCH_SIZE": str((16,) * ndim + (1,)),
                "TEST": {"PATH": "x", "GT_PATH": "y", "LOAD_GT": True, "RESOLUTION": spacing},
            },
            "MODEL": {"FEATURE_MAPS": [4, 8]},
            "TRAIN": {"ENABLE": False},
            "TEST": {"ENABLE": True, "BY_CHUNKS": {"ENABLE": True}},
        }
    )
    write_tiff(folder / "labels.tif", labels, "ZYX"[-ndim:])
    job = JobFolder(folder / "job")
    spec = JobSpec(
        name="image", config=config.to_yaml(), image="", label=str(folder / "labels.tif"),
        mask="", checkpoint="", image_place=None, label_place=None, maps=str(folder / "maps.zarr"),
        instances="", processed="", shape=shape, block=block, spacing=None, unit=None,
        most=10**9, network=10**9, halo=(0,) * ndim, maps_key="", key="",
    )  # fmt: skip
    spec.save(job)
    image = BlockImage(
        job, spec, OneProcess(), lambda *_: 0.0, lambda _: nullcontext(lambda *_: None)
    )
    image._create_maps()
    rng = np.random.default_rng(0)
    maps = {name: rng.random(shape).astype(np.float32) for name in image.context.names}
    for number in range(len(image.grid)):
        box = image.grid.box(number)
        image.context.write_maps(box, {name: values[box] for name, values in maps.items()})
    found = module.map_scores(image)
    maps = image.context.read_maps(tuple(slice(0, size) for size in shape))
    true = encode_with(from_config.encode_settings(config, "TEST"), labels)
    return found, map_scores(true, maps, labels > 0)


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("channels", ["BC", "BP", "BCD", "BDv2", "BCDv2"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_scores_of_blocks_equal_those_of_the_image(tmp_path, monkeypatch, channels, ndim):
    monkeypatch.setattr(module, "_SIDE", {2: 11, 3: 7})
    shape, spacing = ((45, 52), (0.7, 0.7)) if ndim == 2 else ((17, 23, 26), (2.0, 0.5, 0.5))
    labels = cells(shape, 9, 1)
    labels[labels == labels.max()] = 4000  # gaps between the ids
    found, expected = blocks_and_whole(
        tmp_path, labels, channels, (16, 13) if ndim == 2 else (6, 9, 26), spacing, "thick"
    )
    assert_equal(found, expected)
    assert not list((tmp_path / "job").glob("distance-1.zarr"))


@pytest.mark.parametrize(
    ("channels", "options", "skipped"),
    [
        ("F+T", ["F.erosion=6", "T.thickness=14"], set()),
        ("F+B+P", ["B.dilation=5", "P.dilation=2"], set()),
        ("F+P", [], set()),
        ("F+P", ["P.type=skeleton"], {"iou_P"}),
    ],
)
def test_scores_of_channels_with_options(tmp_path, channels, options, skipped):
    found, expected = blocks_and_whole(
        tmp_path, cells((45, 52), 7, 1), channels, (16, 13), (0.7, 0.7), "thick", options
    )
    assert_equal(found, {name: value for name, value in expected.items() if name not in skipped})


@pytest.mark.parametrize("channels", ["BP", "BCD", "BCDv2"])
@pytest.mark.parametrize("kind", ["empty", "full", "corner"])
def test_scores_of_images_without_contours_or_with_one_object(
    tmp_path, monkeypatch, channels, kind
):
    monkeypatch.setattr(module, "_SIDE", {2: 11, 3: 7})
    labels = np.full((40, 33), kind == "full", np.uint16)
    if kind == "corner":
        labels[:6, -9:] = 3
    assert_equal(*blocks_and_whole(tmp_path, labels, channels, (16, 16), (1, 1), "thick"))


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    ndim=st.sampled_from([2, 3]),
    channels=st.sampled_from(["BP", "BCD", "BCDv2"]),
    count=st.integers(0, 12),
    seed=st.integers(0, 2**16),
    mode=st.sampled_from(["thick", "inner", "outer", "dense"]),
    thick=st.sampled_from([1, 2.5]),
    data=st.data(),
)
def test_scores_of_random_images(tmp_path_factory, ndim, channels, count, seed, mode, thick, data):
    shape = tuple(data.draw(st.integers(3, 40 if ndim == 2 else 18)) for _ in range(ndim))
    block = tuple(data.draw(st.integers(2, size)) for size in shape)
    side = data.draw(st.integers(2, 12))
    spacing = (1, 1) if ndim == 2 else (thick, 1, 1)
    before, module._SIDE = module._SIDE, {ndim: side}
    try:
        assert_equal(
            *blocks_and_whole(
                tmp_path_factory.mktemp("job"), cells(shape, count, seed), channels, block,
                spacing, mode,
            )
        )  # fmt: skip
    finally:
        module._SIDE = before

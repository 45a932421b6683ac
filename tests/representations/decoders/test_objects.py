"""Decoders that collect objects: any division of an image gives the same instances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from singula.representations.base import DecodePlan
from singula.representations.channels import encode
from singula.representations.decoders import DecodeSettings, decode
from singula.representations.objects import ObjectDecoder
from singula.representations.table import SPECIAL, find_decoder
from singula.util.boxes import boxes

OFFSETS = {code: {"norm": False} for code in "HVZ"}
CASES = [
    ("Db+R16", "polygons", (90, 80), None, (23, 31)),
    ("F+R8", "polygons", (64, 64), None, (64, 7)),
    ("Db+R12", "polygons", (9, 26, 24), (2.0, 1.0, 1.0), (4, 13, 9)),
    ("F+H+V", "offsets", (90, 80), None, (23, 31)),
    ("F+H+V+Z", "offsets", (9, 26, 24), (2.0, 1.0, 1.0), (4, 13, 9)),
    ("F+Gh+Gv", "flows", (90, 80), None, (23, 31)),
    ("F+Gh+Gv+Gz", "flows", (9, 26, 24), (2.0, 1.0, 1.0), (4, 13, 9)),
    ("E2", "embedding", (90, 80), None, (23, 31)),
    ("E3", "embedding", (9, 26, 24), (2.0, 1.0, 1.0), (4, 13, 9)),
]


def cells(shape: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """Return balls around random points, which touch each other and the border."""
    centers = np.random.default_rng(5).uniform(0, shape, (12, len(shape)))
    grid = np.moveaxis(np.indices(shape), 0, -1)
    distance = np.stack([np.linalg.norm((grid - c) * spacing, axis=-1) for c in centers])
    return np.where(distance.min(axis=0) < 4 + min(shape) / 10, distance.argmin(axis=0) + 1, 0)


@pytest.mark.parametrize(("channels", "method", "shape", "spacing", "block"), CASES)
def test_parts_give_the_instances_of_the_whole_image(
    channels, method, shape, spacing, block
) -> None:
    if method == "polygons":
        pytest.importorskip("stardist")
    labels = cells(shape, spacing or (1.0,) * len(shape))
    options = {code: values for code, values in OFFSETS.items() if code in channels}
    encoded = encode(labels, channels, spacing=spacing, options=options)
    rng = np.random.default_rng(0)
    maps = {
        name: gaussian_filter(values.astype(np.float32), 0.6)
        + rng.normal(0, 0.05, shape).astype(np.float32)
        for name, values in encoded.items()
    }
    settings = DecodeSettings(remove_small=0)
    decoder = find_decoder(channels, method=method)
    expected = decode(maps, decoder, settings=settings, spacing=spacing)
    assert isinstance(decoder, ObjectDecoder)
    plan = DecodePlan(decoder, expected.thresholds, settings, spacing)

    def read_maps(box):
        return {name: values[box] for name, values in maps.items()}

    tiles = list(boxes(shape, block))
    rng.shuffle(tiles)
    parts = [decoder.collect(plan, box, shape, read_maps) for box in tiles]
    objects = decoder.merge(plan, parts, shape)
    assert tuple(objects) == decoder.columns
    ids = np.zeros(shape, np.int32)
    for box in tiles:
        ids[box] = decoder.paint(plan, objects, box, shape, read_maps)
    remaining, numbers = np.unique(ids, return_inverse=True)
    assert len(remaining) > 2
    assert remaining[0] == 0
    np.testing.assert_array_equal(numbers.reshape(shape), expected.labels)


def test_every_decoder_that_collects_objects_is_a_case() -> None:
    collecting = {
        name
        for name, row in SPECIAL.items()
        if issubclass(row, ObjectDecoder) and row.block_note is None
    }
    assert collecting <= {method for _, method, *_ in CASES}

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
from singula.synthetic.fluorescence import make_image
from singula.util.boxes import boxes

CASES = [
    ("Db+R16", (90, 80), None, (23, 31)),
    ("F+R8", (64, 64), None, (64, 7)),
    ("Db+R12", (9, 26, 24), (2.0, 1.0, 1.0), (4, 13, 9)),
]


@pytest.mark.parametrize(("channels", "shape", "spacing", "block"), CASES)
def test_parts_give_the_instances_of_the_whole_image(channels, shape, spacing, block) -> None:
    pytest.importorskip("stardist")
    labels = make_image(shape, np.random.default_rng(5)).labels
    rng = np.random.default_rng(0)
    maps = {
        name: gaussian_filter(values.astype(np.float32), 0.6)
        + rng.normal(0, 0.05, shape).astype(np.float32)
        for name, values in encode(labels, channels, spacing=spacing).items()
    }
    settings = DecodeSettings(remove_small=0)
    expected = decode(maps, channels, settings=settings, spacing=spacing)
    decoder = find_decoder(channels)
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
    tested = {find_decoder(channels).method_name for channels, *_ in CASES}
    assert collecting <= tested

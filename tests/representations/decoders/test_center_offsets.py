"""The decoder of center offsets: choice, soft maps, volumes, blocks, and its errors."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import singula
from singula.config import config_from_dict
from singula.config.load import ConfigError
from singula.config.validate import check_config
from singula.errors import UserError
from singula.representations.base import DecodePlan
from singula.representations.decoders import DecodeSettings, decode
from singula.representations.offsets import CenterOffsets
from singula.representations.table import choose_method, find_decoder
from singula.synthetic.fluorescence import Appearance, make_image

PIXELS = {code: {"norm": False} for code in "HVZ"}
SEG = "PROBLEM.INSTANCE_SEG"


def nuclei(ndim: int, spacing: tuple[float, ...] | None = None) -> np.ndarray:
    shape = (120, 130) if ndim == 2 else (20, 56, 60)
    look = Appearance(radius=(6, 9), coverage=0.4, clustered=0.9)
    return make_image(shape, np.random.default_rng(5), spacing=spacing, appearance=look).labels


def soft(labels: np.ndarray, name: str, spacing: tuple[float, ...] | None) -> dict:
    rng = np.random.default_rng(1)
    maps = singula.encode(labels, name, spacing=spacing, options=PIXELS)
    blurred = {code: gaussian_filter(v.astype(np.float32), 0.7) for code, v in maps.items()}
    noise = {"H": 0.8, "V": 0.8, "Z": 0.8}
    return {
        code: (values + rng.normal(0, noise.get(code, 0.02), values.shape)).astype(np.float32)
        for code, values in blurred.items()
    }


@pytest.mark.parametrize(
    ("ndim", "name", "spacing"),
    [
        (2, "F+H+V", None),
        (2, "B+C+V+H", (2.0, 1.0)),
        (2, "Db+H+V", None),
        (3, "F+H+V+Z", (2.0, 1.0, 1.0)),
        (3, "Z+V+H+M", None),
    ],
)
def test_soft_maps_become_the_instances(ndim: int, name: str, spacing) -> None:
    labels = nuclei(ndim, spacing)
    maps = soft(labels, name, spacing)
    decoded = singula.decode(maps, name, method="offsets", spacing=spacing)
    (match,) = singula.match(labels, decoded, (0.5,))
    assert match.f1 >= 0.95, match


def test_offsets_in_pixels_select_the_method() -> None:
    codes = find_decoder("F+H+V").channels
    assert choose_method(codes) == choose_method(codes, {"H": {"norm": False}}) == "watershed"
    assert choose_method(codes, PIXELS) == "offsets"
    assert choose_method(("H", "V"), PIXELS) == "watershed"
    for name in ("H+V", "F+H", "F+C"):
        with pytest.raises(UserError) as error:
            find_decoder(name, method="offsets")
        assert error.value.code == "decode.missing_channel"


def test_small_instances_are_removed_and_ids_are_consecutive() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[2:5, 2:5], labels[10:24, 10:24], labels[26:38, 24:38] = 1, 2, 3
    maps = singula.encode(labels, "F+H+V", options=PIXELS)
    settings = DecodeSettings(remove_small=10)
    decoded = decode(maps, find_decoder("F+H+V", method="offsets"), settings=settings)
    np.testing.assert_array_equal(decoded.labels, np.maximum(labels, 1) - 1)
    empty = {code: np.zeros_like(values) for code, values in maps.items()}
    assert not singula.decode(empty, "F+H+V", method="offsets").any()


@pytest.mark.parametrize("seed", range(3))
def test_blocks_give_the_instances_of_the_image(seed: int) -> None:
    spacing, name = (2.0, 1.0, 1.0), "F+H+V+Z"
    labels = nuclei(3, spacing)
    maps, decoder = soft(labels, name, spacing), find_decoder(name, method="offsets")
    assert isinstance(decoder, CenterOffsets)
    settings = DecodeSettings(th_type="manual", remove_small=0)
    whole = decode(maps, decoder, settings=settings, spacing=spacing)
    plan = DecodePlan(decoder, whole.thresholds, settings, spacing)
    rng = np.random.default_rng(seed)
    cuts = [sorted({0, *rng.integers(1, size, 2).tolist(), size}) for size in labels.shape]
    cores = list(product(*([slice(a, b) for a, b in pairwise(cut)] for cut in cuts)))

    def read_maps(box):
        return {code: values[box] for code, values in maps.items()}

    parts = [decoder.collect(plan, core, labels.shape, read_maps) for core in cores]
    rng.shuffle(parts)
    objects = decoder.merge(plan, parts, labels.shape)
    assert set(objects) == set(decoder.columns)
    result = np.zeros(labels.shape, np.int32)
    for core in cores:
        result[core] = decoder.paint(plan, objects, core, labels.shape, read_maps)
    used, numbers = np.unique(result, return_inverse=True)
    assert used[0] == 0
    np.testing.assert_array_equal(numbers.reshape(result.shape), whole.labels)


def test_a_configuration_with_normalized_offsets_is_refused() -> None:
    keys = {
        f"{SEG}.DATA_CHANNELS": ["F", "H", "V"],
        f"{SEG}.DATA_CHANNEL_WEIGHTS": [1, 1, 1],
        "TEST.ENABLE": True,
    }
    with pytest.raises(ConfigError) as error:
        config_from_dict({**keys, f"{SEG}.DECODER": "offsets"})
    assert "H.norm=False, V.norm=False" in str(error.value)
    options = {f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": ["H.norm=False", "V.norm=False"]}
    config = config_from_dict({**keys, **options})
    assert config.decoding_method == "offsets"
    assert not check_config(config, train=False, test=True)
    watershed = config_from_dict({**keys, **options, f"{SEG}.DECODER": "watershed"})
    assert watershed.decoding_method == "watershed"


def test_the_center_can_lie_outside_of_an_instance() -> None:
    grid = np.indices((60, 60)) - 30
    away = np.hypot(*grid)
    labels = ((away > 14) & (away < 20)).astype(np.uint8)
    labels[away < 8] = 2
    labels[:, :30] *= away[:, :30] > 8  # half of the inner disk: another centroid
    maps = singula.encode(labels, "F+H+V", options=PIXELS)
    decoded = singula.decode(maps, "F+H+V", method="offsets", center_radius_threshold=2)
    (match,) = singula.match(labels, decoded, (0.9,))
    assert match.f1 == 1

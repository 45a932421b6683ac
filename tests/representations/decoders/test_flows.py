"""The decoder of flows: suitable shapes, its thresholds, blocks with distant sinks, and errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import singula
from singula.config import config_from_dict
from singula.errors import UserError
from singula.representations.base import DecodePlan
from singula.representations.decoders import DecodeSettings, decode
from singula.representations.decoders.flows import count_arrivals, find_sinks, follow_flows
from singula.representations.table import choose_method, find_decoder
from singula.synthetic.datasets import DRAWINGS
from singula.synthetic.fluorescence import Appearance, make_image

SEG = "PROBLEM.INSTANCE_SEG"


def crescents() -> np.ndarray:
    """Return crescents in a grid."""
    y, x = np.indices((160, 160))
    outer = (y % 40 - 20) ** 2 + (x % 40 - 18) ** 2 < 16**2
    inner = (y % 40 - 20) ** 2 + (x % 40 - 25) ** 2 < 13**2
    return np.where(outer & ~inner, 1 + y // 40 * 4 + x // 40, 0)


def volume() -> np.ndarray:
    look = Appearance(radius=(5, 8), coverage=0.4, clustered=0.9)
    rng = np.random.default_rng(5)
    return make_image((16, 48, 52), rng, spacing=(2, 1, 1), appearance=look).labels


def drawn(name: str) -> np.ndarray:
    return DRAWINGS[name].draw((160, 160), np.random.default_rng(4)).labels


def soft(labels: np.ndarray, spacing: tuple[float, ...] | None = None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    name = "F+Gh+Gv" if labels.ndim == 2 else "F+Gh+Gv+Gz"
    return {
        code: (
            gaussian_filter(values.astype(np.float32), 0.7)
            + rng.normal(0, 0.02 if code == "F" else 0.2, values.shape)
        ).astype(np.float32)
        for code, values in singula.encode(labels, name, spacing=spacing).items()
    }


@pytest.mark.parametrize(
    ("labels", "spacing"),
    [
        (drawn("cells"), None),
        (drawn("rods"), None),
        (crescents(), None),
        (volume(), (2.0, 1.0, 1.0)),
    ],
)
def test_soft_maps_become_the_instances(labels: np.ndarray, spacing) -> None:
    name = "F+Gh+Gv" if labels.ndim == 2 else "F+Gh+Gv+Gz"
    decoded = singula.decode(soft(labels, spacing), name, spacing=spacing)
    (match,) = singula.match(labels, decoded, (0.5,))
    assert match.f1 >= 0.95, match


def test_flows_select_the_method() -> None:
    assert choose_method(("F", "Gv", "Gh")) == "flows"
    assert choose_method(("Gv", "Gh")) == choose_method(("F", "Gh")) == "watershed"
    for name in ("Gh+Gv", "F+Gh", "F+C"):
        with pytest.raises(UserError) as error:
            find_decoder(name, method="flows")
        assert error.value.code == "decode.missing_channel"
    for name in ("F+Gh+Gv+Gz", "F+Gh", "F+H+V+Gh+Gv"):
        with pytest.raises(UserError) as error:
            config_from_dict({f"{SEG}.DATA_CHANNELS": name.split("+")})
        assert error.value.code in (
            "config.combination",
            "decode.missing_channel",
            "config.invalid",
        )


def test_an_object_with_other_flows_is_removed() -> None:
    labels = np.zeros((30, 60), np.uint8)
    labels[5:25, 5:25], labels[5:25, 30:56] = 1, 2
    maps = singula.encode(labels, "F+Gh+Gv")
    # Pixels of the second object move to its left edge, as if it continued there.
    maps["Gh"] = np.where(labels == 2, np.float32(-0.7), maps["Gh"])
    maps["Gv"] = np.where(labels == 2, maps["Gv"] * np.float32(0.7), maps["Gv"])
    assert singula.decode(maps, "F+Gh+Gv", flow_error_threshold=0).max() == 2
    decoded = singula.decode(maps, "F+Gh+Gv")
    np.testing.assert_array_equal(decoded, labels == 1)


def test_an_object_that_continues_outside_of_the_image_remains() -> None:
    labels = np.zeros((30, 60), np.uint8)
    labels[5:25, 4:24], labels[3:27, 30:54] = 1, 2
    part = np.s_[:, :40]  # cuts the second object: its flows point out of the part
    maps = {name: values[part] for name, values in singula.encode(labels, "F+Gh+Gv").items()}
    decoded = singula.decode(maps, "F+Gh+Gv")
    np.testing.assert_array_equal(decoded > 0, labels[part] > 0)
    # One slice of a volume has no border along z.
    volume = {name: values[None] for name, values in maps.items()}
    volume["Gz"] = np.zeros_like(volume["F"])
    volume["Gh"] = np.where(labels[None, :, :40] == 1, np.float32(-0.7), volume["Gh"])
    in_slice = singula.decode(volume, "F+Gh+Gv+Gz")
    np.testing.assert_array_equal(in_slice[0] > 0, labels[part] == 2)


def test_too_few_steps_leave_pixels_behind() -> None:
    labels = np.ones((7, 60), np.uint8)
    maps = singula.encode(labels, "F+Gh+Gv")
    assert np.array_equal(singula.decode(maps, "F+Gh+Gv"), labels)
    few = singula.decode(maps, "F+Gh+Gv", flow_steps_threshold=10, flow_error_threshold=0)
    assert 0 < np.count_nonzero(few) < labels.size


def test_blocks_follow_pixels_over_a_long_way() -> None:
    labels = np.ones((9, 300), np.uint8)
    maps = singula.encode(labels, "F+Gh+Gv")
    decoder, settings = find_decoder("F+Gh+Gv"), DecodeSettings(th_type="manual")
    plan = DecodePlan(decoder, decode(maps, decoder, settings=settings).thresholds, settings)
    boxes = [(slice(0, 9), slice(start, start + 30)) for start in range(0, 300, 30)]

    def read_maps(box):
        return {name: values[box] for name, values in maps.items()}

    parts = [decoder.collect(plan, box, labels.shape, read_maps) for box in boxes]
    objects = decoder.merge(plan, parts, labels.shape)
    assert len(objects["points"]) == 1
    painted = [decoder.paint(plan, objects, box, labels.shape, read_maps) for box in boxes]
    np.testing.assert_array_equal(np.concatenate(painted, axis=1), labels)


def test_of_two_near_sinks_the_larger_one_is_used() -> None:
    flows, foreground = np.zeros((2, 20, 20), np.float32), np.ones((20, 20), bool)
    flows[1, :, :9], flows[1, :, 11:] = 1, -1
    flows[0, :10], flows[0, 10:] = 1, -1
    whole = (slice(0, 20), slice(0, 20))
    ends = follow_flows(
        lambda box: (flows[(slice(None), *box)], foreground[box]), whole, (20, 20), 60
    )
    sinks = find_sinks([count_arrivals(ends, whole, (20, 20))], (20, 20))
    assert len(sinks.points) == 1
    empty = find_sinks([], (20, 20))
    assert len(empty.points) == len(empty.places) == 0


def test_an_image_without_objects() -> None:
    maps = {code: np.zeros((12, 13), np.float32) for code in ("F", "Gh", "Gv")}
    assert not singula.decode(maps, "F+Gh+Gv").any()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_flows_are_refused(value: float) -> None:
    labels = crescents()
    maps = soft(labels)
    row, column = np.argwhere(labels)[0]
    maps["Gh"][row, column] = value
    with pytest.raises(UserError) as raised:
        singula.decode(maps, "F+Gh+Gv")
    assert raised.value.code == "prediction.overflow"

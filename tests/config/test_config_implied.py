"""Switches implied by other keys, and keys that need a switch."""

from __future__ import annotations

from typing import Any

import pytest

from singula.config.load import config_and_notices, examine_values, read_values
from singula.errors import UserError

SEG = "PROBLEM.INSTANCE_SEG"
MEASURE = "TEST.POST_PROCESSING.MEASURE_PROPERTIES"
REMOVE = f"{MEASURE}.REMOVE_BY_PROPERTIES"
EXAMPLE = {
    f"{REMOVE}.PROPS": [["npixels", "circularity"]],
    f"{REMOVE}.VALUES": [[100, 0.7]],
    f"{REMOVE}.SIGN": [["lt", "le"]],
}
OLD, NEW, ORDER = (
    f"{SEG}.DATA_REMOVE_SMALL_OBJ",
    f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE",
    f"{SEG}.DATA_REMOVE_BEFORE_MW",
)


def load(keys: dict[str, object], *overrides: str) -> tuple[dict[str, Any], list[str]]:
    tree = {"TEST.ENABLE": True, "DATA.TEST.LOAD_GT": True, **keys}
    config, notices = config_and_notices(tree, overrides)
    return config.dotted(), list(notices)


def test_the_example_of_the_format_removes_by_properties() -> None:
    found, said = load(EXAMPLE)
    assert found[f"{REMOVE}.ENABLE"] is True
    assert any("PROPS, VALUES, SIGN enable " in line for line in said)


def test_removal_is_implied_on_the_command_line_and_in_the_form() -> None:
    found, _ = load({}, *(f"{key}={value}" for key, value in EXAMPLE.items()))
    assert found[f"{REMOVE}.ENABLE"] is True
    config, errors, notices = examine_values({"TEST.ENABLE": True, **EXAMPLE})
    assert not errors
    assert config.dotted()[f"{REMOVE}.ENABLE"] is True
    assert any("enable " in line for line in notices)


@pytest.mark.parametrize("switch", [f"{REMOVE}.ENABLE", f"{MEASURE}.ENABLE"])
@pytest.mark.parametrize("value", [False, "False"])
def test_an_explicit_false_wins(switch: str, value: object) -> None:
    found, said = load({**EXAMPLE, switch: value})
    assert found[f"{REMOVE}.ENABLE"] is False
    assert any(f"{switch}: False, so" in line for line in said)
    found, _ = load(EXAMPLE, f"{switch}=False")
    assert found[f"{REMOVE}.ENABLE"] is False


def test_an_explicit_true_and_empty_lists_need_no_notice() -> None:
    found, said = load({**EXAMPLE, f"{REMOVE}.ENABLE": True})
    assert (found[f"{REMOVE}.ENABLE"], said) == (True, [])
    empty: dict[str, object] = {f"{REMOVE}.{name}": [] for name in ("PROPS", "VALUES", "SIGN")}
    found, said = load(empty)
    assert (found[f"{REMOVE}.ENABLE"], said) == (False, [])


@pytest.mark.parametrize("props", [{}, {f"{REMOVE}.PROPS": []}])
def test_a_comparison_alone_removes_nothing(props: dict[str, object]) -> None:
    """Files of later versions contain it without properties and limits."""
    found, said = load({f"{REMOVE}.SIGN": [["lt"]], **props})
    assert found[f"{REMOVE}.ENABLE"] is False
    assert any("so SIGN has no effect" in line for line in said)


def test_a_list_alone_is_reported() -> None:
    with pytest.raises(UserError, match="VALUES: got"):
        load({f"{REMOVE}.PROPS": [["npixels"]]})
    for name in ("VALUES",):
        alone = {f"{REMOVE}.{name}": EXAMPLE[f"{REMOVE}.{name}"]}
        with pytest.raises(UserError, match=r"1 problem in the configuration:\n.*PROPS: got"):
            load(alone)
        found, said = load({**alone, f"{REMOVE}.PROPS": []})
        assert found[f"{REMOVE}.ENABLE"] is False
        assert any(f"PROPS is empty, so {name} has no effect" in line for line in said)


@pytest.mark.parametrize(
    ("keys", "overrides", "size", "before"),
    [
        ({}, (), 10, False),
        ({OLD: 20}, (), 20, True),
        ({NEW: 20}, (), 20, False),
        ({OLD: 20, NEW: 20}, (), 20, True),
        ({OLD: 20, ORDER: False}, (), 20, False),
        ({NEW: 20, ORDER: True}, (), 20, True),
        ({OLD: 20, NEW: 20, ORDER: False}, (), 20, False),
        ({OLD: 20}, (f"{ORDER}=False",), 20, False),
        ({NEW: 20, ORDER: False}, (f"{OLD}=50",), 50, False),
        ({NEW: 20}, (f"{OLD}=50",), 50, True),
        ({OLD: 20}, (f"{NEW}=50",), 50, False),
        ({f"{SEG}.WATERSHED.DATA_REMOVE_SMALL_OBJ_BEFORE": 20}, (), 20, False),
        ({OLD: 20, f"{SEG}.WATERSHED.DATA_REMOVE_BEFORE_MW": False}, (), 20, False),
    ],
)
def test_order_of_removal(
    keys: dict[str, object], overrides: tuple[str, ...], size: int, before: bool
) -> None:
    found, said = load(keys, *overrides)
    assert (found[NEW], found[ORDER]) == (size, before)
    follows = before and ORDER not in keys
    assert any("before they grow" in line for line in said) == follows


def test_two_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="only one of this key"):
        load({OLD: 20, NEW: 30})


def test_a_form_shows_implied_values(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("PROBLEM: {INSTANCE_SEG: {DATA_REMOVE_SMALL_OBJ: 20}}\n")
    values, left_out = read_values(path)
    assert values == {NEW: 20, ORDER: True}
    assert not left_out


@pytest.mark.parametrize(
    ("keys", "switch"),
    [
        ({"TEST.POST_PROCESSING.Z_FILTERING_SIZE": 3}, "TEST.POST_PROCESSING.Z_FILTERING"),
        ({"TEST.POST_PROCESSING.VORONOI_TH": 0.3}, "TEST.POST_PROCESSING.VORONOI_ON_MASK"),
        ({"DATA.PREPROCESS.RESIZE.OUTPUT_SHAPE": [9, 9]}, "DATA.PREPROCESS.RESIZE.ENABLE"),
        ({f"{SEG}.FORE_EROSION_RADIUS": 2}, f"{SEG}.ERODE_AND_DILATE_FOREGROUND"),
    ],
)
def test_keys_that_need_a_switch_are_named(keys: dict[str, object], switch: str) -> None:
    _, said = load(keys)
    (line,) = (line for line in said if f"no effect without {switch}: True" in line)
    assert next(iter(keys)) in line
    assert not any("no effect without" in line for line in load({**keys, switch: False})[1])

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.config import config_from_dict
from singula.errors import UserError
from singula.representations.decoders import DecodeSettings
from singula.representations.thresholds import AUTOMATIC, THRESHOLDS


def test_defaults_are_those_of_the_format():
    assert DecodeSettings() == DecodeSettings.from_keys(
        {
            "DATA_MW_TH_TYPE": "auto",
            "DATA_MW_TH_BINARY_MASK": 0.5,
            "DATA_MW_TH_CONTOUR": 0.1,
            "DATA_MW_TH_FOREGROUND": 0.3,
            "DATA_MW_TH_DISTANCE": 1.0,
            "DATA_MW_TH_DIST_FOREGROUND": 0.0,
            "DATA_MW_TH_POINTS": 0.5,
            "DATA_REMOVE_SMALL_OBJ_BEFORE": 10,
            "DATA_REMOVE_BEFORE_MW": False,
            "SEED_MORPH_SEQUENCE": [],
            "SEED_MORPH_RADIUS": [],
            "ERODE_AND_DILATE_FOREGROUND": False,
            "FORE_EROSION_RADIUS": 5,
            "FORE_DILATION_RADIUS": 5,
            "WATERSHED_BY_2D_SLICES": False,
            "DATA_CONTOUR_MODE": "thick",
        }
    )


@pytest.mark.parametrize("prefix", ["", "DATA_MW_"])
def test_a_given_threshold_is_manual_and_the_others_stay_automatic(prefix):
    def manual(keys):
        chosen = DecodeSettings.from_keys(keys)
        return {key for key in AUTOMATIC if not chosen.is_automatic(key)}

    assert DecodeSettings.from_keys({f"{prefix}TH_CONTOUR": 0.2}).thresholds["TH_CONTOUR"] == 0.2
    assert manual({f"{prefix}TH_CONTOUR": 0.2}) == {"TH_CONTOUR"}
    assert manual({f"{prefix}TH_DISTANCE": 2}) == set()
    assert manual({f"{prefix}TH_TYPE": "auto", "TH_POINTS": 0.4}) == set()
    assert manual({f"{prefix}TH_TYPE": "manual"}) == set(AUTOMATIC)
    assert not DecodeSettings().is_automatic("TH_DISTANCE")


def test_older_spellings():
    assert DecodeSettings.from_keys({"DATA_REMOVE_SMALL_OBJ": 7}).remove_small == 7
    assert DecodeSettings.from_keys({"DATA_REMOVE_SMALL_OBJ": 7}).remove_before
    explicit = {"DATA_REMOVE_SMALL_OBJ": 7, "REMOVE_BEFORE_MW": False}
    assert not DecodeSettings.from_keys(explicit).remove_before
    assert not DecodeSettings.from_keys({"DATA_REMOVE_SMALL_OBJ_BEFORE": 7}).remove_before
    assert not DecodeSettings.from_keys({"REMOVE_SMALL_OBJ": 7}).remove_before
    assert DecodeSettings.from_keys({"TH_POINTS": 0.7}).thresholds["TH_POINTS"] == 0.7


def test_composed_keys():
    chosen = DecodeSettings.from_keys(
        {
            "SEED_MORPH_SEQUENCE": ["dilate", "erode"],
            "SEED_MORPH_RADIUS": [3, 2],
            "ERODE_AND_DILATE_FOREGROUND": True,
            "FORE_DILATION_RADIUS": 2,
        }
    )
    assert chosen.seed_morph == (("dilate", 3.0), ("erode", 2.0))
    assert (chosen.fore_erosion, chosen.fore_dilation) == (5.0, 2.0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"TH_BINARY_MASC": 0.5}, "TH_BINARY_MASC"),
        ({"TH_BINARY_MASK": "high"}, "TH_BINARY_MASK.*'high'"),
        ({"TH_BINARY_MASK": True}, "TH_BINARY_MASK"),
        ({"REMOVE_SMALL_OBJ": 1.5}, "REMOVE_SMALL_OBJ"),
        ({"TH_TYPE": "otsu"}, "otsu.*auto, manual"),
        ({"CONTOUR_MODE": "subpixel"}, "subpixel.*thick"),
        ({"SEED_MORPH_SEQUENCE": ["open"], "SEED_MORPH_RADIUS": [1]}, "open.*erode"),
        ({"SEED_MORPH_SEQUENCE": ["erode"], "SEED_MORPH_RADIUS": [-1]}, "-1"),
        ({"SEED_MORPH_SEQUENCE": ["erode"], "SEED_MORPH_RADIUS": ["big"]}, "big"),
        ({"SEED_MORPH_SEQUENCE": ["erode"]}, "got 1 and 0 entries"),
        ({"SEED_MORPH_SEQUENCE": "erode"}, "expected a list"),
    ],
)
def test_mistakes_are_named(keys, message):
    with pytest.raises(UserError, match=message):
        DecodeSettings.from_keys(keys)


def test_an_unknown_key_suggests_the_nearest():
    with pytest.raises(UserError) as error:
        DecodeSettings.from_keys({"TH_BINARY_MASC": 0.5})
    assert "TH_BINARY_MASK" in str(error.value.hint)


def test_some_keys_are_exchanged_and_the_others_stay():
    own = DecodeSettings(remove_small=33, by_2d_slices=True, thresholds={"TH_CONTOUR": 0.2})
    changed = own.changed({"DATA_MW_TH_BINARY_MASK": 0.7})
    assert changed == DecodeSettings(
        manual_keys=frozenset({"TH_BINARY_MASK"}),
        thresholds={"TH_BINARY_MASK": 0.7, "TH_CONTOUR": 0.2},
        remove_small=33, by_2d_slices=True,
    )  # fmt: skip
    assert changed.changed({"TH_POINTS": 0.4}).manual_keys == {"TH_BINARY_MASK", "TH_POINTS"}
    assert not changed.changed({"DATA_REMOVE_SMALL_OBJ": 3}).remove_before
    assert own.changed({}) == own
    assert own.changed({"TH_DISTANCE": 3.0}).th_type == "auto"
    assert changed.changed({"TH_TYPE": "auto"}).is_automatic("TH_BINARY_MASK")
    assert not changed.changed({"TH_TYPE": "manual"}).is_automatic("TH_CONTOUR")
    shaped = own.changed({"SEED_MORPH_SEQUENCE": ["erode"], "SEED_MORPH_RADIUS": [2]})
    assert shaped.seed_morph == (("erode", 2.0),)
    with pytest.raises(UserError, match="did you mean"):
        own.changed({"TH_CONTUR": 0.5})


@pytest.mark.parametrize("key", THRESHOLDS)
@settings(deadline=None)
@given(value=st.one_of(st.floats(), st.floats(-0.5, 1.5), st.sampled_from([0, 1, -0.0])))
def test_thresholds_are_allowed_as_in_a_file(key, value):
    def accepted(take, *given):
        try:
            take(*given)
        except UserError:
            return False
        return True

    file = {"TEST.ENABLE": True, f"PROBLEM.INSTANCE_SEG.DATA_MW_{key}": value}
    assert accepted(DecodeSettings.from_keys, {key: value}) == accepted(config_from_dict, file)
    assert accepted(DecodeSettings.from_keys, {key: value}) == accepted(
        lambda: DecodeSettings(thresholds={key: value})
    )


def test_a_refused_threshold_is_named_with_what_is_allowed():
    with pytest.raises(
        UserError,
        match=r"TH_BINARY_MASK\): got 5\.0, expected a number of 0 or more",
    ):
        DecodeSettings().changed({"TH_BINARY_MASK": 5})
    with pytest.raises(UserError, match=r"TH_DISTANCE\): got nan"):
        DecodeSettings.from_keys({"TH_DISTANCE": float("nan")})
    for wrong in ([0.5], 0.5, "manual"):
        with pytest.raises(UserError, match="expected 'auto' or a mapping"):
            DecodeSettings.from_keys(wrong)


def test_numbers_of_numpy_are_numbers():
    found = DecodeSettings.from_keys(
        {"TH_CONTOUR": np.float32(0.25), "REMOVE_SMALL_OBJ": np.int64(7), "TH_DISTANCE": np.int8(2)}
    )
    assert found == DecodeSettings.from_keys(
        {"TH_CONTOUR": 0.25, "REMOVE_SMALL_OBJ": 7, "TH_DISTANCE": 2}
    )
    assert type(found.remove_small) is int
    with pytest.raises(UserError, match="TH_CONTOUR"):
        DecodeSettings.from_keys({"TH_CONTOUR": np.True_})

"""Which thresholds hold: the file's or those that were saved with the weights."""

from singula.config import config_from_dict
from singula.stages.tuned import KEYS, apply_tuned, configured

TUNED = {"tuned": {"thresholds": {"TH_TYPE": "manual", "TH_CONTOUR": 0.35, "REMOVE_SMALL_OBJ": 44}}}
PROBLEM = "PROBLEM.INSTANCE_SEG"


def config(**keys: object):
    return config_from_dict(
        {"TRAIN.ENABLE": True, **{f"{PROBLEM}.{k}": v for k, v in keys.items()}}
    )


def test_without_thresholds_in_the_file_the_tuned_ones_hold() -> None:
    plain = config()
    new, notices = apply_tuned(plain, TUNED)
    assert {**configured(plain), **TUNED["tuned"]["thresholds"]} == configured(new)
    assert len(notices) == 1
    assert "TH_CONTOUR 0.35" in notices[0]
    assert apply_tuned(plain, {}) == (plain, [])
    assert apply_tuned(plain, {"tuned": None}) == (plain, [])


def test_one_threshold_in_the_file_keeps_all_of_the_files_but_for_the_size() -> None:
    own = config(DATA_MW_TH_BINARY_MASK=0.6)
    new, notices = apply_tuned(own, TUNED)
    assert configured(new) == {**configured(own), "REMOVE_SMALL_OBJ": 44}
    assert len(notices) == 2
    assert "gives PROBLEM.INSTANCE_SEG.DATA_MW_TH_BINARY_MASK;" in notices[1]
    sized, _ = apply_tuned(config(DATA_REMOVE_SMALL_OBJ_BEFORE=5), TUNED)
    assert configured(sized)["TH_CONTOUR"] == 0.35
    assert configured(sized)["REMOVE_SMALL_OBJ"] == 5
    always, _ = apply_tuned(own, TUNED, always=True)
    assert configured(always) == {**configured(own), **TUNED["tuned"]["thresholds"]}


def test_the_same_values_are_not_worth_a_word() -> None:
    same = config(
        DATA_MW_TH_TYPE="manual", DATA_MW_TH_CONTOUR=0.35, DATA_REMOVE_SMALL_OBJ_BEFORE=44
    )
    assert apply_tuned(same, TUNED) == (same, [])


def test_every_key_is_one_of_the_format() -> None:
    values = config().dotted()
    assert all(key in values for key in KEYS.values())

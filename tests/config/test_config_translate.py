"""Keys and values of other versions and workflows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from singula.config import config_from_dict
from singula.config.biapy.translate import RENAMED
from singula.config.keys import key_table
from singula.config.load import config_and_notices
from singula.errors import UserError

Problems = Callable[..., list[str]]
DATA = Path(__file__).parent / "data"
SEG = "PROBLEM.INSTANCE_SEG"
POST = "TEST.POST_PROCESSING"
REMOVE = f"{POST}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES"

# Neutral values: what a file holds that does not ask for anything special.
NEUTRAL: dict[str, object] = {
    "LOSS.CLASS_REBALANCE": False,
    "LOSS.IGNORE_INDEX": -1,
    "LOSS.WEIGHTS": [0.66, 0.34],
    "DATA.PREPROCESS.MEDIAN_BLUR.KERNEL_SIZE": 3,
    "MODEL.NORMALIZATION": "bn",
    "MODEL.OUT_CHECKPOINT_FORMAT": "pth",
    "DATA.NORMALIZATION.MEASURE_BY": "image",
    "DATA.NORMALIZATION.PERC_CLIP.LOWER_PERC": 1,
    "DATA.NORMALIZATION.PERC_CLIP.UPPER_PERC": 99,
    "DATA.NORMALIZATION.PERC_CLIP.LOWER_VALUE": -1.0,
    "DATA.NORMALIZATION.PERC_CLIP.UPPER_VALUE": -1.0,
    "DATA.N_CLASSES": 3,
    "DATA.TEST.INPUT_IMG_AXES_ORDER": "ZYX",
    "DATA.TEST.INPUT_MASK_AXES_ORDER": "ZYX",
    "DATA.TEST.INPUT_ZARR_MULTIPLE_DATA_RAW_PATH": "raw",
    "DATA.TEST.INPUT_ZARR_MULTIPLE_DATA_GT_PATH": "labels",
    "MODEL.BMZ.SOURCE_MODEL_ID": "",
    f"{SEG}.TYPE": "regular",
    f"{SEG}.INSTANCE_CREATION_PROCESS": "watershed",
    f"{SEG}.BORDER_EXTRA_WEIGHTS": "",
    f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{}],
    f"{SEG}.DATA_CHANNELS_LOSSES": [],
    f"{SEG}.WATERSHED.TOPOGRAPHIC_SURFACE_CHANNEL": "",
    f"{SEG}.WATERSHED.DATA_REMOVE_SMALL_OBJ_BEFORE": 5,
    f"{SEG}.WATERSHED.FORE_DILATION_RADIUS": 5,
    f"{SEG}.WATERSHED.FORE_EROSION_RADIUS": 5,
    "TEST.AUGMENTATION_MODE": "mean",
    "DATA.NORMALIZATION.ZERO_MEAN_UNIT_VAR.MEAN_VAL": -1,
    "DATA.NORMALIZATION.ZERO_MEAN_UNIT_VAR.STD_VAL": -1,
}


def names(file: str) -> list[str]:
    lines = (DATA / file).read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[0] for line in lines]


def neutral(key: str) -> object:
    if key in NEUTRAL:
        return NEUTRAL[key]
    is_list = key.endswith(
        ("PROPS", "SIGNS", "VALUES", "CHANNELS", "THRESH", "_SEQUENCE", "_RADIUS", "_SIGN",
         "REMOVE_BY_PROPERTIES", "ISOTROPY", "WEIGHTS")
    )  # fmt: skip
    return [] if is_list else False


def load(keys: dict[str, object]) -> tuple[dict[str, Any], list[str]]:
    tree = {"TRAIN.ENABLE": True, "TEST.ENABLE": True, "DATA.TEST.LOAD_GT": True, **keys}
    config, notices = config_and_notices(tree)
    return config.dotted(), list(notices)


@pytest.mark.parametrize("key", names("other_versions.tsv"))
def test_every_key_of_other_versions_loads(key: str) -> None:
    load({key: neutral(key)})


@pytest.mark.parametrize(
    "value", [None, True, 3, -1, "word", [], ["a"], [[1, 2]], [{"a": {"b": []}}], "(1, 2)", 1.5]
)
def test_no_value_crashes(value: object, problems: Problems) -> None:
    for key in names("other_versions.tsv"):
        for line in problems({key: value}):
            assert line.startswith("configuration: ")
            assert " got " in line or "must be lists" in line or "not supported" in line


def test_keys_of_other_workflows_are_reported_in_one_line() -> None:
    keys = names("other_workflows.tsv")
    _, said = load({key: 1 for key in keys})
    assert said == [f"keys of other workflows, not used here: {', '.join(keys)}"]


def test_new_names_are_keys_and_old_names_are_not() -> None:
    assert set(RENAMED.values()) <= set(key_table())
    assert not set(RENAMED) & set(key_table())


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("DATA.TRAIN.MASK_PATH", "DATA.TRAIN.GT_PATH", "masks"),
        (f"{SEG}.TH_POINTS", f"{SEG}.DATA_MW_TH_POINTS", 0.7),
        (f"{SEG}.DATA_REMOVE_SMALL_OBJ", f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE", 3),
        ("TEST.STATS.FULL_IMG", "TEST.FULL_IMG", True),
        ("DATA.PREPROCESS.CANNY.ACTIVATE", "DATA.PREPROCESS.CANNY.ENABLE", True),
        (f"{SEG}.WATERSHED.BY_2D_SLICES", f"{SEG}.WATERSHED_BY_2D_SLICES", True),
        ("DATA.N_CLASSES", "MODEL.N_CLASSES", 4),
        ("DATA.NORMALIZATION.PERC_CLIP.ENABLE", "DATA.NORMALIZATION.PERC_CLIP", False),
        (f"{SEG}.DATA_MW_TH_DIST_FOREGROUND", f"{SEG}.DATA_MW_TH_DIST_FOREGROUND", 1.2),
    ],
)
def test_renamed(old: str, new: str, value: object) -> None:
    found, said = load({old: value})
    assert found[new] == value
    line = f"configuration: {old} is read as {new}"
    assert (line in said) == (old != new)


def test_an_error_names_the_key_of_the_user(problems: Problems) -> None:
    (line,) = problems({"DATA.NORMALIZATION.MEASURE_BY": "patch"})
    assert line == (
        "configuration: DATA.NORMALIZATION.APPLICATION_MODE: got 'patch' in "
        "DATA.NORMALIZATION.MEASURE_BY, expected 'image', 'dataset'"
    )


def test_old_and_new_name_together(problems: Problems) -> None:
    assert problems({"DATA.TRAIN.MASK_PATH": "a", "DATA.TRAIN.GT_PATH": "a"}) == []
    assert problems({"DATA.TEST.INPUT_IMG_AXES_ORDER": "ZYX"}) == []
    (line,) = problems({"DATA.TRAIN.MASK_PATH": "a", "DATA.TRAIN.GT_PATH": "b"})
    assert line == (
        "configuration: DATA.TRAIN.MASK_PATH: got 'a', expected only one of this key and "
        "DATA.TRAIN.GT_PATH ('b' at configuration), which have the same meaning"
    )
    norm = "DATA.NORMALIZATION.PERC_CLIP"
    (line,) = problems({norm: True, f"{norm}.ENABLE": False})
    assert "only one of this key" in line


@pytest.mark.parametrize(
    ("key", "word", "here"),
    [
        ("DATA.NORMALIZATION.TYPE", "zero_mean_unit_variance", "custom"),
        ("LOSS.TYPE", "", "CE"),
        ("AUGMENTOR.AFFINE_MODE", "mirror", "reflect"),
        ("AUGMENTOR.AFFINE_MODE", "grid-wrap", "wrap"),
        ("AUGMENTOR.E_MODE", "mirror", "reflect"),
    ],
)
def test_renamed_words(key: str, word: str, here: str) -> None:
    found, said = load({key: word})
    assert found[key] == here
    assert said == [f"configuration: {key}: {word!r} is read as {here!r}"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["B", "C"], "BC"),
        (["C", "B"], "BC"),
        (["B", "C", "D"], "BCD"),
        (["Dv2"], "Dv2"),
        (["B", "C", "Dv2"], "BCDv2"),
        ("['B', 'P']", "BP"),
    ],
)
def test_channels_as_a_list(written: object, read: str) -> None:
    found, said = load({f"{SEG}.DATA_CHANNELS": written})
    assert found[f"{SEG}.DATA_CHANNELS"] == read
    assert any(f"is read as {read!r} (B: the inside of instances" in line for line in said)


def test_weights_and_losses_follow_the_order_of_the_channels() -> None:
    config, _ = load(
        {
            f"{SEG}.DATA_CHANNELS": ["D", "B", "C"],
            f"{SEG}.DATA_CHANNEL_WEIGHTS": [3, 1, 2],
            f"{SEG}.DATA_CHANNELS_LOSSES": ["mse", "bce", "bce"],
        }
    )
    assert config[f"{SEG}.DATA_CHANNELS"] == "BCD"
    assert tuple(config[f"{SEG}.DATA_CHANNEL_WEIGHTS"]) == (1, 2, 3)
    assert tuple(config[f"{SEG}.DATA_CHANNELS_LOSSES"]) == ("bce", "bce", "mse")


def test_usual_activations_of_a_list_are_read() -> None:
    config, _ = load(
        {
            f"{SEG}.DATA_CHANNELS": ["F", "H", "V", "Db"],
            f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [
                {"H": {"act": "linear", "norm": False}, "V": {"norm": False}, "Db": {"act": ""}}
            ],
        }
    )
    assert config[f"{SEG}.DATA_CHANNELS_EXTRA_OPTS"] == (
        "H.activation=linear",
        "H.norm=False",
        "V.norm=False",
    )


def test_unsupported_options_of_a_list_are_named() -> None:
    with pytest.raises(UserError, match=r"EXTRA_OPTS\.H\.act: got 'softmax'"):
        config_from_dict(
            {
                f"{SEG}.DATA_CHANNELS": ["F", "H", "V"],
                f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"H": {"act": "softmax"}}],
                "TRAIN.ENABLE": True,
            }
        )


def test_thresholds_of_the_inferred_growth_mask() -> None:
    config, _ = load(
        {
            f"{SEG}.DATA_CHANNELS": ["Db", "F"],
            f"{SEG}.WATERSHED.GROWTH_MASK_CHANNELS_THRESH": [0.2],
        }
    )
    assert config[f"{SEG}.DATA_MW_TH_FOREGROUND"] == 0.2


@pytest.mark.parametrize(
    ("channels", "key", "thresholds", "expected"),
    [
        (["C"], "GROWTH_MASK", [0.25], {"TH_CONTOUR_GROWTH": 0.75}),
        (["C"], "SEED", [0.6], {"TH_CONTOUR": 0.4}),
        (["Dc"], "GROWTH_MASK", [0.1], {"TH_CENTER_GROWTH": 0.9}),
        (["C", "Db"], "SEED", [0.7, 0.5], {"TH_CONTOUR": 0.3, "TH_BORDER_DISTANCE": 0.5}),
        (["Db", "Dc"], "SEED", [0.5, 0.4], {"TH_BORDER_DISTANCE": 0.5, "TH_CENTER_DISTANCE": 0.4}),
        (["F", "C"], "SEED", [0.5, 0.4], {"TH_BINARY_MASK": 0.5, "TH_CONTOUR": 0.4}),
    ],
)
def test_biapy_inverts_the_threshold_of_a_first_channel_that_is_low_inside(
    channels: list[str], key: str, thresholds: list[float], expected: dict[str, float]
) -> None:
    config, _ = load(
        {
            f"{SEG}.DATA_CHANNELS": channels,
            f"{SEG}.WATERSHED.{key}_CHANNELS_THRESH": thresholds,
        }
    )
    assert {name: config[f"{SEG}.DATA_MW_{name}"] for name in expected} == expected


def test_default_thresholds_of_values_that_are_not_normalized_are_reported() -> None:
    keys = {
        f"{SEG}.DATA_CHANNELS": ["F", "Db"],
        f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"Db": {"norm": False}}],
        "TEST.ENABLE": True,
    }
    key = f"{SEG}.DATA_MW_TH_BORDER_DISTANCE"
    _, messages = load(keys)
    (line,) = (message for message in messages if "norm: False" in message)
    assert f" {key}: " in line
    _, messages = load({**keys, key: 3.0})
    assert not any("norm: False" in message for message in messages)
    _, messages = load({**keys, f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": []})
    assert not any("norm: False" in message for message in messages)


def test_options_of_other_channels_have_no_effect() -> None:
    _, messages = load(
        {
            f"{SEG}.DATA_CHANNELS": ["F", "C"],
            f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"Db": {"norm": False}}],
        }
    )
    assert any("options of Db have no effect" in message for message in messages)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["F", "C"], "F+C"),
        (["F", "C", "Db"], "F+C+Db"),
        (["F", "H", "V"], "F+H+V"),
        ("['F', 'P']", "F+P"),
        (["C", "M"], "C+M"),
        (["Db"], "Db"),
        (["C"], "C"),
        (["Dc"], "Dc"),
        ("F+B+D", "F+B+D"),
    ],
)
def test_combinations_of_channels(written: object, read: str) -> None:
    found, _ = load({f"{SEG}.DATA_CHANNELS": written})
    assert found[f"{SEG}.DATA_CHANNELS"] == read


@pytest.mark.parametrize(
    ("written", "missing"),
    [
        (["P", "T"], "a channel that covers the instances"),
        (["F", "H"], "expected H and V, without Z"),
        (["F", "H", "V", "Z"], "expected H and V, without Z"),
        (["F", "F"], "different codes"),
        (["F", "Q", "W"], "unknown codes Q, W"),
        ([], "different codes"),
    ],
)
def test_impossible_channels(written: object, missing: str, problems: Problems) -> None:
    (line,) = problems({f"{SEG}.DATA_CHANNELS": written, "TRAIN.ENABLE": True})
    assert missing in line


def test_options_losses_and_watershed_of_a_list() -> None:
    found, _ = load(
        {
            f"{SEG}.DATA_CHANNELS": ["F", "C", "Db", "D"],
            f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [
                {"C": {"mode": "inner"}, "Db": {"val_type": "raw"}, "D": {"act": "linear"}}
            ],
            f"{SEG}.DATA_CHANNELS_LOSSES": ["ce", "bce", "mse", "mae"],
            f"{SEG}.WATERSHED.SEED_CHANNELS": ["F", "Db", "D"],
            f"{SEG}.WATERSHED.SEED_CHANNELS_THRESH": [0.6, 3.5, "auto"],
            f"{SEG}.WATERSHED.GROWTH_MASK_CHANNELS": ["F"],
            f"{SEG}.WATERSHED.GROWTH_MASK_CHANNELS_THRESH": [0.25],
            f"{SEG}.WATERSHED.TOPOGRAPHIC_SURFACE_CHANNEL": "F",
        }
    )
    assert found[f"{SEG}.DATA_CONTOUR_MODE"] == "inner"
    assert found[f"{SEG}.DATA_CHANNELS_EXTRA_OPTS"] == ("Db.norm=False", "D.activation=linear")
    assert found[f"{SEG}.DATA_CHANNELS_LOSSES"] == ("bce", "bce", "mse", "l1")
    assert found[f"{SEG}.SEED_CHANNELS"] == ("F", "Db", "D")
    assert found[f"{SEG}.DATA_MW_TH_BINARY_MASK"] == 0.6
    assert found[f"{SEG}.DATA_MW_TH_BORDER_DISTANCE"] == 3.5
    assert found[f"{SEG}.DATA_MW_TH_FOREGROUND"] == 0.25
    assert found[f"{SEG}.TOPOGRAPHIC_SURFACE_CHANNEL"] == "F"


def test_thresholds_of_an_empty_list_belong_to_the_inferred_seeds(problems: Problems) -> None:
    keys = {f"{SEG}.DATA_CHANNELS": ["F", "C"], f"{SEG}.WATERSHED.SEED_CHANNELS": []}
    assert not problems({**keys, f"{SEG}.WATERSHED.SEED_CHANNELS_THRESH": [0.5, 0.4]})
    (line,) = problems({**keys, f"{SEG}.WATERSHED.SEED_CHANNELS_THRESH": [0.5]})
    assert "2 thresholds" in line


def test_losses_of_unknown_channels_are_not_reported_too(problems: Problems) -> None:
    keys = {
        f"{SEG}.DATA_CHANNELS": ["Db", "Gh", "Gx"],
        f"{SEG}.DATA_CHANNELS_LOSSES": ["mse", "mse", "mse"],
    }
    (line,) = problems(keys)
    assert f"{SEG}.DATA_CHANNELS: got" in line
    assert "Gx" in line


def test_keys_of_flows(problems: Problems) -> None:
    keys = {
        f"{SEG}.DATA_CHANNELS": ["F", "Gh", "Gv"],
        f"{SEG}.INSTANCE_CREATION_PROCESS": "gradient-flow",
        f"{SEG}.DATA_CHANNELS_LOSSES": ["bce", "mse", "mse"],
        f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"Gv": {"gradient_type": "cellpose"}}],
        f"{SEG}.CELLPOSE.FG_THRESH": 0.4,
        f"{SEG}.CELLPOSE.FLOW_THRESHOLD": 0.6,
        f"{SEG}.CELLPOSE.N_STEPS": 300,
    }
    found, _ = load(keys)
    assert found[f"{SEG}.DATA_CHANNELS"] == "F+Gh+Gv"
    assert found[f"{SEG}.DECODER"] == "flows"
    assert found[f"{SEG}.DATA_MW_TH_FOREGROUND"] == 0.4
    assert found[f"{SEG}.DATA_MW_TH_FLOW_ERROR"] == 0.6
    assert found[f"{SEG}.DATA_MW_TH_FLOW_STEPS"] == 300
    keys[f"{SEG}.DATA_CHANNELS_EXTRA_OPTS"] = [{"Gv": {"gradient_type": "omnipose"}}]
    (line,) = problems(keys)
    assert "omnipose" in line


@pytest.mark.parametrize(
    ("key", "value", "because"),
    [
        (f"{SEG}.TYPE", "synapses", "synapses are not segmented here"),
        (f"{SEG}.BORDER_EXTRA_WEIGHTS", "unet-like", "no such weights"),
        (f"{SEG}.WATERSHED.SEED_CHANNELS", ["P"], "DATA_CHANNELS BC"),
        (f"{SEG}.WATERSHED.SEED_CHANNELS_THRESH", [0.5], "one threshold for each"),
        (f"{SEG}.WATERSHED.TOPOGRAPHIC_SURFACE_CHANNEL", "F", "DATA_CHANNELS BC"),
        (f"{SEG}.DATA_CHANNELS_LOSSES", ["bce", "mse"], "expected bce"),
        (f"{SEG}.DATA_CHANNELS_EXTRA_OPTS", [{"B": {"erosion": 2}}], "is not supported"),
        (f"{SEG}.DATA_CHANNELS_EXTRA_OPTS", "thick", "expected [{'C': {'mode': 'thick'}}]"),
        (f"{SEG}.DATA_CHANNELS_EXTRA_OPTS", [{"C": {"mode": "subpixel"}}], "doubles the size"),
        ("MODEL.NORMALIZATION", "group", "expected 'bn' or 'none'"),
        ("MODEL.ISOTROPY", [True, False], "same size along all axes"),
        ("MODEL.LARGER_IO", True, "no such layers"),
        ("DATA.NORMALIZATION.MEASURE_BY", "patch", "expected 'image', 'dataset'"),
        ("DATA.NORMALIZATION.PERC_CLIP.LOWER_VALUE", 12, "only PERC_LOWER clips"),
        (f"{POST}.MEDIAN_FILTER", True, ""),
    ],
)
def test_unsupported_values_are_errors(
    key: str, value: object, because: str, problems: Problems
) -> None:
    if key.endswith("MEDIAN_FILTER"):
        (line,) = problems({key: value, f"{key}_AXIS": ["z"], f"{key}_SIZE": [3, 3]})
    else:
        (line,) = problems({key: value})
    assert because in line


def test_losses_and_options_with_the_same_meaning() -> None:
    keys: dict[str, object] = {
        f"{SEG}.DATA_CHANNELS": "BCD",
        f"{SEG}.DATA_CHANNELS_LOSSES": ["bce", "ce", "mae"],
        f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [
            {"C": {"mode": "inner"}, "D": {"mask_values": False}, "B": {"dilation": 0}}
        ],
        "MODEL.NORMALIZATION": "none",
        "MODEL.ISOTROPY": [True, True],
        f"{SEG}.WATERSHED.SEED_CHANNELS_THRESH": ["auto", "auto"],
    }
    found, said = load(keys)
    assert found[f"{SEG}.DATA_CONTOUR_MODE"] == "inner"
    assert found[f"{SEG}.DISTANCE_CHANNEL_MASK"] is False
    assert found["MODEL.BATCH_NORMALIZATION"] is False
    assert len(said) == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("AUGMENTOR.ZOOM_IN_Z", True),
        ("DATA.TEST.FILTER_SAMPLES.ENABLE", True),
        ("TEST.AUGMENTATION_MODE", "max"),
        ("LOSS.IGNORE_INDEX", 255),
    ],
)
def test_values_without_an_effect_are_reported(key: str, value: object) -> None:
    _, said = load({key: value})
    assert said == [f"1 value of BiaPy has no effect in Singula:\n    {key}: {value!r}"]


def test_median_filters() -> None:
    found, said = load(
        {
            f"{POST}.MEDIAN_FILTER": True,
            f"{POST}.MEDIAN_FILTER_AXIS": ["z", "zy", "xy"],
            f"{POST}.MEDIAN_FILTER_SIZE": [3, 7, 9],
        }
    )
    assert (found[f"{POST}.Z_FILTERING"], found[f"{POST}.Z_FILTERING_SIZE"]) == (True, 3)
    assert (found[f"{POST}.YZ_FILTERING"], found[f"{POST}.YZ_FILTERING_SIZE"]) == (True, 7)
    assert any("MEDIAN_FILTER: the filter along 'xy'" in line for line in said)
    found, said = load({f"{POST}.MEDIAN_FILTER": False, f"{POST}.MEDIAN_FILTER_AXIS": ["z"]})
    assert not found[f"{POST}.Z_FILTERING"]


def test_refinement() -> None:
    section = f"{POST}.INSTANCE_REFINEMENT"
    found, said = load(
        {f"{section}.ENABLE": True, f"{section}.OPERATIONS": ["clear_border", "fill_holes"]}
    )
    assert found[f"{POST}.CLEAR_BORDER"] is True
    assert any("OPERATIONS: 'fill_holes'" in line for line in said)
    operations = {
        f"{section}.ENABLE": True,
        f"{section}.OPERATIONS": ["fill_holes", "remove_small_objects"],
        f"{section}.VALUES": ["none", 15],
    }
    found, _ = load(operations)
    assert found[f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE"] == 15
    found, said = load({**operations, f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE": 30})
    assert found[f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE"] == 30
    assert any("OPERATIONS: 'remove_small_objects'" in line for line in said)


def test_minimum_foreground() -> None:
    section = "DATA.TRAIN.FILTER_SAMPLES"
    keys: dict[str, object] = {
        f"{section}.ENABLE": True,
        f"{section}.PROPS": [["foreground"]],
        f"{section}.VALUES": [[0.05]],
        f"{section}.SIGNS": [["lt"]],
    }
    found, _ = load(keys)
    assert found["DATA.TRAIN.MINIMUM_FOREGROUND_PER"] == 0.05
    found, said = load({**keys, f"{section}.PROPS": [["mean"]]})
    assert found["DATA.TRAIN.MINIMUM_FOREGROUND_PER"] == -1
    assert any("no effect" in line and f"{section}.ENABLE: True" in line for line in said)


def test_removal_by_properties_of_the_first_version() -> None:
    found, _ = load(
        {
            f"{POST}.REMOVE_BY_PROPERTIES": [["npixels", "circularity"]],
            f"{POST}.REMOVE_BY_PROPERTIES_VALUES": [[100, 0.7]],
            f"{POST}.REMOVE_BY_PROPERTIES_SIGN": [["lt", "le"]],
        }
    )
    assert found[f"{REMOVE}.ENABLE"] is True
    assert found[f"{REMOVE}.PROPS"] == (("npixels", "circularity"),)
    assert found[f"{REMOVE}.VALUES"] == ((100, 0.7),)
    assert found[f"{REMOVE}.SIGN"] == (("lt", "le"),)


@pytest.mark.parametrize(
    ("value", "word"), [(True, "auto"), (False, "none"), ("False", "none"), ("manual", "manual")]
)
def test_the_boolean_class_rebalance_is_translated(value: object, word: str) -> None:
    found, said = load({"LOSS.CLASS_REBALANCE": value, "LOSS.CLASS_WEIGHTS": [1, 2]})
    assert found["LOSS.CLASS_REBALANCE"] == word
    assert bool(said) == (value is True)


@pytest.mark.parametrize("part", ["TRAIN", "VAL", "TEST"])
@pytest.mark.parametrize("what", ["ID", "PARTNERS", "LOCATIONS", "RESOLUTION"])
def test_paths_of_synapses_are_reported(part: str, what: str) -> None:
    key = f"DATA.{part}.INPUT_ZARR_MULTIPLE_DATA_{what}_PATH"
    _, said = load({key: "annotations/ids"})
    assert any(line.startswith(f"configuration: {key}: 'annotations/ids'") for line in said)
    assert any("synapses are not" in line for line in said)
    assert not any("synapse" in line for line in load({key: ""})[1])


def test_a_file_for_offsets_of_biapy_3_7() -> None:
    found, said = load(
        {
            f"{SEG}.DATA_CHANNELS": ["F", "H", "V"],
            f"{SEG}.CHANNELS_PER_HEAD_INFO": [1, 2],
            f"{SEG}.SEPARATED_DECODERS_PER_HEAD": True,
            f"{SEG}.CLASS_REBALANCE_WITHIN_CHANNELS": True,
            f"{SEG}.DATA_CHANNELS_EXTRA_OPTS.H.norm": True,
            f"{SEG}.DATA_CHANNELS_EXTRA_OPTS.F.erosion": 1,
            f"{SEG}.WATERSHED.SEED_CHANNELS_THRESH": [0.6, 0.4, 0.4],
            f"{SEG}.WATERSHED.GROWTH_MASK_CHANNELS_THRESH": [0.45],
            "DATA.TRAIN.EXTRACT_RANDOM_PATCH": True,
            "AUGMENTOR.RANDOM_ROT_PROB": 1.0,
            "MODEL.CONV_LAYERS": [4, 4],
        }
    )
    assert found[f"{SEG}.DATA_CHANNELS"] == "F+H+V"
    assert set(found[f"{SEG}.DATA_CHANNELS_EXTRA_OPTS"]) == {
        "H.norm=True",
        "V.norm=True",
        "F.erosion=1",
    }
    assert found[f"{SEG}.DATA_MW_TH_BINARY_MASK"] == 0.6
    assert found[f"{SEG}.DATA_MW_TH_EDGES"] == 0.4
    assert found[f"{SEG}.DATA_MW_TH_FOREGROUND"] == 0.45
    assert found["LOSS.CLASS_REBALANCE"] == "auto"
    assert found["DATA.EXTRACT_RANDOM_PATCH"] is True
    text = "\n".join(said)
    for name in ("CHANNELS_PER_HEAD_INFO", "SEPARATED_DECODERS_PER_HEAD", "RANDOM_ROT_PROB",
                 "CONV_LAYERS"):  # fmt: skip
        assert name in text

"""Rules across keys: configurations that violate each, and configurations that do not."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable

import pytest

from singula.config import config_from_dict
from singula.config.biapy.unsupported import UNAVAILABLE
from singula.config.keys import key_table
from singula.config.load import ConfigError, config_and_notices
from singula.config.notices import config_notices
from singula.config.validate import check_config
from singula.errors import UserError

Problems = Callable[..., list[str]]
SEG = "PROBLEM.INSTANCE_SEG"
POST = "TEST.POST_PROCESSING"
REMOVE = f"{POST}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES"
RATE = "TRAIN.LR_SCHEDULER"
IN_3D: dict[str, object] = {"PROBLEM.NDIM": "3D", "DATA.PATCH_SIZE": (16, 64, 64, 1)}
UNETR: dict[str, object] = {"MODEL.ARCHITECTURE": "unetr"}
REMOVAL: dict[str, object] = {
    f"{REMOVE}.ENABLE": True,
    f"{REMOVE}.PROPS": [["npixels"], ["area", "circularity"]],
    f"{REMOVE}.VALUES": [[10], [5, 0.5]],
    f"{REMOVE}.SIGN": [["lt"], ["gt", "le"]],
}
COSINE: dict[str, object] = {
    f"{RATE}.NAME": "warmupcosine",
    f"{RATE}.MIN_LR": 0.0,
    f"{RATE}.WARMUP_COSINE_DECAY_EPOCHS": 5,
}
FLOOD = {f"{SEG}.DECODER": "watershed"}
RAYS = {f"{SEG}.DATA_CHANNELS": ["Db", "R"]}
NINE = {f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"R": {"nrays": 9}}]}
OFFSETS: dict[str, object] = {
    f"{SEG}.DATA_CHANNELS": ["F", "H", "V"],
    f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": ["H.norm=False", "V.norm=False"],
}
CLOSE: dict[str, object] = {f"{SEG}.DATA_CHANNELS": "BP", f"{POST}.REMOVE_CLOSE_POINTS": True}
PLATEAU: dict[str, object] = {
    f"{RATE}.NAME": "reduceonplateau",
    f"{RATE}.MIN_LR": 1e-6,
    f"{RATE}.REDUCEONPLATEAU_PATIENCE": 5,
}

VALID: list[dict[str, object]] = [
    {},
    IN_3D,
    {**IN_3D, "DATA.TRAIN.OVERLAP": "(0, 0)", "DATA.TEST.PADDING": "(0, 0)"},
    {**IN_3D, "DATA.PATCH_SIZE": (20, 64, 64, 1), "MODEL.Z_DOWN": [2, 0, 1, 1]},
    {**IN_3D, "DATA.PATCH_SIZE": (7, 64, 64, 1), "MODEL.Z_DOWN": 1},
    {"MODEL.FEATURE_MAPS": [8, 16, 32], "DATA.PATCH_SIZE": (20, 36, 1)},
    {f"{SEG}.DATA_CHANNELS": "BCD", f"{SEG}.DATA_CHANNEL_WEIGHTS": "(1, 1)"},
    {f"{SEG}.DATA_CHANNELS": "Dv2", f"{SEG}.DATA_CHANNEL_WEIGHTS": 2},
    {"MODEL.N_CLASSES": 3, f"{SEG}.DATA_CHANNEL_WEIGHTS": (1, 1, 3)},
    {"DATA.TEST.PADDING": (127, 0)},
    {"DATA.VAL.FROM_TRAIN": False, "DATA.VAL.SPLIT_TRAIN": 0},
    {"DATA.NORMALIZATION.TYPE": "custom"},
    {
        "DATA.NORMALIZATION.TYPE": "custom",
        "DATA.NORMALIZATION.CUSTOM_MEAN": 3,
        "DATA.NORMALIZATION.CUSTOM_STD": 2,
    },
    {"DATA.NORMALIZATION.PERC_CLIP": True, "DATA.NORMALIZATION.PERC_LOWER": 0,
     "DATA.NORMALIZATION.PERC_UPPER": 100},
    {f"{SEG}.SEED_MORPH_SEQUENCE": ["erode"], f"{SEG}.SEED_MORPH_RADIUS": [1]},
    UNETR,
    {**UNETR, "MODEL.VIT_TOKEN_SIZE": 8, "DATA.PATCH_SIZE": (24, 40, 1)},
    {**UNETR, "MODEL.VIT_TOKEN_SIZE": 2, "MODEL.UNETR_VIT_HIDD_MULT": 50},
    {**UNETR, "MODEL.VIT_MODEL": "vit_large_patch16", "MODEL.UNETR_VIT_HIDD_MULT": 6},
    # Keys of a transformer do not matter to other networks.
    {"MODEL.VIT_NUM_HEADS": 7, "MODEL.ARCHITECTURE": "ResUNet++"},
    COSINE,
    PLATEAU,
    {f"{RATE}.NAME": "onecycle"},
    REMOVAL,
    {"TEST.MATCHING_STATS_THS": [0.5]},
    {f"{POST}.VORONOI_ON_MASK": True, f"{SEG}.DATA_CHANNELS": "BCM"},
    {f"{POST}.APPLY_MASK": True, f"{SEG}.DATA_CHANNELS": ["C", "Db"]},
    {f"{POST}.VORONOI_ON_MASK": True, f"{SEG}.DATA_CHANNELS": ["F", "C", "Db"]},
    {f"{POST}.REMOVE_CLOSE_POINTS": True, f"{SEG}.DATA_CHANNELS": "BP",
     f"{POST}.REMOVE_CLOSE_POINTS_RADIUS": 3},
    {f"{POST}.REMOVE_CLOSE_POINTS": True, f"{SEG}.DATA_CHANNELS": ["F", "P"],
     f"{POST}.REMOVE_CLOSE_POINTS_RADIUS": 3},
]  # fmt: skip

INVALID: list[tuple[dict[str, object], str, str]] = [
    ({"PROBLEM.NDIM": "3D"}, "DATA.PATCH_SIZE", "expected 4 numbers (z, y, x, channels)"),
    ({"DATA.PATCH_SIZE": (1, 2, 3, 4)}, "DATA.PATCH_SIZE", "expected 3 numbers (y, x, channels)"),
    ({"DATA.PATCH_SIZE": (8, 64, 1)}, "DATA.PATCH_SIZE", "multiples of 16"),
    ({**IN_3D, "DATA.PATCH_SIZE": (20, 64, 64, 1)}, "DATA.PATCH_SIZE", "got 20 along z"),
    ({"MODEL.DROPOUT_VALUES": [0.1, 0.2]}, "MODEL.DROPOUT_VALUES", "expected 5, one for each"),
    ({**IN_3D, "MODEL.Z_DOWN": [1, 1]}, "MODEL.Z_DOWN", "got 2 values, expected 4"),
    ({"MODEL.KERNEL_SIZE": 2}, "MODEL.KERNEL_SIZE", "odd"),
    ({f"{SEG}.DATA_CHANNEL_WEIGHTS": (1, 1, 1)}, f"{SEG}.DATA_CHANNEL_WEIGHTS", "expected 2"),
    ({f"{SEG}.SEED_MORPH_SEQUENCE": ["erode"]}, f"{SEG}.SEED_MORPH_RADIUS", "expected 1"),
    (
        {"DATA.NORMALIZATION.PERC_CLIP": True},
        "DATA.NORMALIZATION.PERC_LOWER",
        "PERC_LOWER < PERC_UPPER",
    ),
    (
        {"DATA.NORMALIZATION.TYPE": "custom", "DATA.NORMALIZATION.CUSTOM_STD": 2},
        "DATA.NORMALIZATION.CUSTOM_MEAN",
        "expected both",
    ),
    ({"DATA.TRAIN.OVERLAP": (0, 0, 0.5)}, "DATA.TRAIN.OVERLAP", "got 3 values, expected 2"),
    ({**IN_3D, "DATA.TEST.PADDING": (4, 4)}, "DATA.TEST.PADDING", "got 2 values, expected 3"),
    ({"DATA.TEST.PADDING": (128, 0)}, "DATA.TEST.PADDING", "less than 128"),
    ({"DATA.TEST.RESOLUTION": (1, 1, 1)}, "DATA.TEST.RESOLUTION", "expected 2"),
    ({"DATA.VAL.SPLIT_TRAIN": 1}, "DATA.VAL.SPLIT_TRAIN", "(0, 1)"),
    (
        {"DATA.VAL.CROSS_VAL": True, "DATA.VAL.CROSS_VAL_FOLD": 6},
        "DATA.VAL.CROSS_VAL_FOLD",
        "1 to 5",
    ),
    (
        {"DATA.VAL.FROM_TRAIN": False, "DATA.VAL.PADDING": (1, 1, 1)},
        "DATA.VAL.PADDING",
        "expected 2",
    ),
    ({**COSINE, f"{RATE}.MIN_LR": -1}, f"{RATE}.MIN_LR", "0 ≤ MIN_LR < TRAIN.LR"),
    (
        {**COSINE, "TRAIN.EPOCHS": 5},
        f"{RATE}.WARMUP_COSINE_DECAY_EPOCHS",
        "less than TRAIN.EPOCHS 5",
    ),
    (
        {**PLATEAU, f"{RATE}.REDUCEONPLATEAU_PATIENCE": -1},
        f"{RATE}.REDUCEONPLATEAU_PATIENCE",
        "at least 1",
    ),
    ({**PLATEAU, "TRAIN.PATIENCE": 5}, f"{RATE}.REDUCEONPLATEAU_PATIENCE", "TRAIN.PATIENCE 5"),
    (
        {**IN_3D, "TEST.ANALIZE_2D_IMGS_AS_3D_STACK": True},
        "TEST.ANALIZE_2D_IMGS_AS_3D_STACK",
        "2D",
    ),
    (
        {f"{POST}.APPLY_MASK": True, f"{SEG}.DATA_CHANNELS": ["C"]},
        f"{POST}.APPLY_MASK",
        "growth mask (C)",
    ),
    (
        {f"{POST}.VORONOI_ON_MASK": True, f"{SEG}.DATA_CHANNELS": "BP"},
        f"{POST}.VORONOI_ON_MASK",
        "expected one of BC, BCM",
    ),
    (
        {f"{POST}.REMOVE_CLOSE_POINTS": True, f"{POST}.REMOVE_CLOSE_POINTS_RADIUS": [2]},
        f"{POST}.REMOVE_CLOSE_POINTS",
        "expected BP",
    ),
    (
        {f"{POST}.REMOVE_CLOSE_POINTS": True, f"{SEG}.DATA_CHANNELS": "BP"},
        f"{POST}.REMOVE_CLOSE_POINTS_RADIUS",
        "numbers > 0",
    ),
    ({f"{REMOVE}.ENABLE": True}, f"{REMOVE}.PROPS", "at least one property"),
    ({**REMOVAL, f"{REMOVE}.VALUES": [[10], [5]]}, f"{REMOVE}.VALUES", "expected [1, 2]"),
    ({**REMOVAL, f"{REMOVE}.SIGN": [["lt"]]}, f"{REMOVE}.SIGN", "got lists of [1]"),
    ({**REMOVAL, **IN_3D}, f"{REMOVE}.PROPS", "'circularity', which is not defined for volumes"),
    ({"MODEL.ARCHITECTURE": "edsr"}, "MODEL.ARCHITECTURE", "is for another workflow"),
    ({"MODEL.ARCHITECTURE": "EfficientNet_B3"}, "MODEL.ARCHITECTURE", "for another workflow"),
    (
        {**UNETR, "DATA.PATCH_SIZE": (100, 64, 1)},
        "DATA.PATCH_SIZE",
        "along y, expected multiples "
        "of 16, the side of a token of MODEL.ARCHITECTURE unetr (MODEL.VIT_TOKEN_SIZE): 96 or 112",
    ),
    ({**UNETR, **IN_3D, "DATA.PATCH_SIZE": (8, 64, 64, 1)}, "DATA.PATCH_SIZE", "8 along z"),
    (
        {**UNETR, "MODEL.VIT_MODEL": "vit_base_patch16", "DATA.PATCH_SIZE": (64, 72, 1)},
        "DATA.PATCH_SIZE",
        "(MODEL.VIT_MODEL vit_base_patch16): 64 or 80",
    ),
    (
        {**UNETR, "MODEL.VIT_TOKEN_SIZE": 12, "DATA.PATCH_SIZE": (48, 48, 1)},
        "MODEL.VIT_TOKEN_SIZE",
        "expected 2, 4, 8, 16",
    ),
    ({**UNETR, "MODEL.VIT_NUM_HEADS": 7}, "MODEL.VIT_NUM_HEADS", "divisors"),
    ({**UNETR, "MODEL.UNETR_VIT_HIDD_MULT": 4}, "MODEL.UNETR_VIT_HIDD_MULT", "expected 1 to 3"),
    ({**UNETR, "MODEL.VIT_NUM_LAYERS": 3}, "MODEL.UNETR_VIT_HIDD_MULT", "more than 3"),
    ({**UNETR, "MODEL.UNETR_DEC_KERNEL_SIZE": 4}, "MODEL.UNETR_DEC_KERNEL_SIZE", "odd"),
    ({"MODEL.SOURCE": "bmz"}, "MODEL.SOURCE", "expected 'biapy' or 'singula'"),
    (
        {"LOSS.TYPE": "W_CE_DICE", "LOSS.WEIGHTS": (0, 0)},
        "LOSS.WEIGHTS",
        "one of them above 0",
    ),
    (
        {"LOSS.CLASS_REBALANCE": "manual", "LOSS.CLASS_WEIGHTS": [1, 2, 3]},
        "LOSS.CLASS_WEIGHTS",
        "got 3 weights, expected 2",
    ),
    (
        {"TRAIN.CHECKPOINT_MONITOR": "val_iou_D"},
        "TRAIN.CHECKPOINT_MONITOR",
        "expected val_loss, val_iou, val_iou_B, val_iou_C, train_loss",
    ),
    (
        {"TRAIN.CHECKPOINT_MONITOR": "val_iou", f"{SEG}.DATA_CHANNELS": "Dv2"},
        "TRAIN.CHECKPOINT_MONITOR",
        "expected val_loss, val_mae_Dv2, train_loss, train_mae_Dv2",
    ),
    (
        {"DATA.VAL.CROSS_VAL": True, "DATA.VAL.FROM_TRAIN": False},
        "DATA.VAL.CROSS_VAL",
        "folds are taken from the training images",
    ),
    ({"DATA.FORCE_RGB": True}, "DATA.FORCE_RGB", "that ends with 3 channels"),
    (
        {
            "DATA.EXTRACT_RANDOM_PATCH": True,
            "DATA.PROBABILITY_MAP": True,
            "DATA.W_FOREGROUND": 0,
            "DATA.W_BACKGROUND": 0,
        },
        "DATA.W_FOREGROUND",
        "one of them above 0",
    ),
    (
        {
            "DATA.PREPROCESS.TEST": True,
            "DATA.PREPROCESS.RESIZE.ENABLE": True,
            "DATA.PREPROCESS.RESIZE.OUTPUT_SHAPE": [64],
        },
        "DATA.PREPROCESS.RESIZE.OUTPUT_SHAPE",
        "expected 2 numbers",
    ),
    (
        {
            "DATA.PREPROCESS.TEST": True,
            "DATA.PREPROCESS.CLAHE.ENABLE": True,
            "DATA.PREPROCESS.CLAHE.KERNEL_SIZE": [8, 8, 8],
        },
        "DATA.PREPROCESS.CLAHE.KERNEL_SIZE",
        "one number, or 2",
    ),
    (
        {
            "DATA.PREPROCESS.TRAIN": True,
            "DATA.PREPROCESS.MEDIAN_BLUR.ENABLE": True,
            "DATA.PREPROCESS.MEDIAN_BLUR.KERNEL_SIZE": 4,
        },
        "DATA.PREPROCESS.MEDIAN_BLUR.KERNEL_SIZE",
        "odd",
    ),
    (
        {"TRAIN.ENABLE": False, "TEST.ENABLE": False},
        "TRAIN.ENABLE",
        "one of them True",
    ),
]


@pytest.mark.parametrize("keys", VALID)
def test_valid_configurations(keys: dict[str, object], problems: Problems) -> None:
    assert problems(keys) == []


@pytest.mark.parametrize(("keys", "key", "text"), INVALID)
def test_invalid_configurations(
    keys: dict[str, object], key: str, text: str, problems: Problems
) -> None:
    (line,) = problems(keys)
    assert line.startswith(f"configuration: {key}: got ")
    assert text in line


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"TRAIN.EPOCS": 1}, "config.unknown_key"),
        ({"TRIAN": {"LR": 1}}, "config.unknown_section"),
        ({"TRAIN": 1}, "config.section_expected"),
        ({"LOSS.TYPE.A": 1}, "config.value_expected"),
        ({"TRAIN.LR": "fast"}, "config.value"),
        ({"MODEL.KERNEL_SIZE": 2}, "config.value"),
        ({"DATA.TRAIN.OVERLAP": (0, 0, 0.5)}, "config.length"),
        ({"DATA.PATCH_SIZE": (8, 64, 1)}, "config.patch_multiple"),
        ({"DATA.FORCE_RGB": True}, "config.combination"),
        ({"TRAIN.ENABLE": False, "TEST.ENABLE": False}, "config.nothing_enabled"),
        ({f"{SEG}.DATA_CHANNELS": ["R"]}, "decode.missing_channel"),
        ({f"{SEG}.DATA_CHANNELS": ["C", "R"]}, "decode.missing_channel"),
        ({f"{SEG}.DATA_CHANNELS": ["E3"]}, "config.combination"),
        ({f"{SEG}.DATA_CHANNELS": ["A[-1,0,0;0,-1,0;0,0,-1]"]}, "config.combination"),
        (
            {f"{SEG}.DATA_CHANNELS": ["E"], f"{SEG}.DATA_CHANNELS_LOSSES": ["l1"]},
            "config.combination",
        ),
        (
            {
                f"{SEG}.DATA_CHANNELS": ["Db", "R8"],
                f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": ["R.nrays=9"],
            },
            "config.combination",
        ),
        (
            {
                f"{SEG}.DATA_CHANNELS": ["F", "H", "V"],
                f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": ["H.norm=False"],
            },
            "config.combination",
        ),
        (
            {f"{SEG}.DATA_CHANNELS": ["Db", "R"], f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": ["R.nrays=2"]},
            "config.value",
        ),
        ({"MODEL.SOURCE": "bmz"}, "config.unsupported"),
        ({"MODEL.ISOTROPY": False}, "config.unsupported"),
        ({"DATA.TRAIN.MASK_PATH": "a", "DATA.TRAIN.GT_PATH": "b"}, "config.two_spellings"),
    ],
)
def test_code_of_each_problem(keys: dict[str, object], code: str) -> None:
    with pytest.raises(ConfigError) as error:
        config_from_dict({"TRAIN.ENABLE": True, **keys})
    assert [problem.code for problem in error.value.problems] == [code]
    assert error.value.code == "config.invalid"


def test_problems_of_another_process() -> None:
    with pytest.raises(ConfigError) as error:
        config_from_dict({"TRAIN.EPOCS": 1, "TEST.ENABLE": "perhaps"})
    copy = pickle.loads(pickle.dumps(error.value))
    assert (copy.problems, str(copy)) == (error.value.problems, str(error.value))


def test_the_error_about_an_unknown_network_lists_the_known_ones(problems: Problems) -> None:
    (line,) = problems({"MODEL.ARCHITECTURE": "u-net"})
    assert "MODEL.ARCHITECTURE: got 'u-net', expected 'unet', 'resunet', 'resunet++'" in line
    assert line.endswith("did you mean 'unet'?")


def test_rules_hold_only_in_their_phase() -> None:
    keys: dict[str, object] = {
        "TRAIN.ENABLE": True,
        "DATA.TEST.PADDING": (1, 1, 1),
        f"{POST}.VORONOI_ON_MASK": True,
        f"{SEG}.DATA_CHANNELS": "BP",
    }
    config = config_from_dict(keys)
    assert check_config(config, train=True, test=False) == []
    assert len(check_config(config, train=True, test=True)) == 2
    with pytest.raises(UserError, match="2 problems"):
        config_from_dict({**keys, "TEST.ENABLE": True})


def test_unavailable_keys_are_reported_once() -> None:
    _, notices = config_and_notices(
        {
            "TRAIN.ENABLE": True,
            "TEST.ENABLE": True,
            "DATA.TEST.LOAD_GT": True,
            "AUGMENTOR": {"ENABLE": True, "VFLIP": True, "CUTOUT": True, "SALT": True},
            "MODEL.LAST_ACTIVATION": "softmax",
        },
    )
    assert sorted(notices) == [
        "configuration: MODEL.LAST_ACTIVATION: 'softmax' has no effect: the activation follows "
        "from the kind of each channel"
    ]


def test_an_image_at_a_threshold_without_scores_is_reported() -> None:
    _, notices = config_and_notices(
        {"TEST.ENABLE": True, "DATA.TEST.LOAD_GT": True, "TEST.MATCHING_STATS_THS": [0.5],
         "TEST.MATCHING_STATS_THS_COLORED_IMG": [0.3, 0.5]},
    )  # fmt: skip
    assert list(notices) == [
        "configuration: TEST.MATCHING_STATS_THS_COLORED_IMG: 0.3 has no effect, as it is not in "
        "TEST.MATCHING_STATS_THS"
    ]


def test_disabled_keys_are_not_reported() -> None:
    _, notices = config_and_notices(
        {"TRAIN.ENABLE": True, "AUGMENTOR.ZFLIP": True, "TEST.BY_CHUNKS.ENABLE": True},
    )
    assert list(notices) == []


def test_defaults_of_unsupported_keys_are_supported() -> None:
    for unsupported in UNAVAILABLE:
        assert not unsupported.excludes(key_table()[unsupported.key].default)
        assert not unsupported.switch or unsupported.switch in key_table()


def test_polygons_without_their_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_from_dict({"TEST.ENABLE": True, **RAYS})
    assert check_config(config, train=True, test=True) == []
    monkeypatch.setitem(sys.modules, "stardist", None)
    assert check_config(config, train=True, test=False) == []
    (problem,) = check_config(config, train=True, test=True)
    assert problem.code == "decode.library_missing"


@pytest.mark.parametrize(
    ("keys", "needs_both"),
    [
        (OFFSETS, True),
        ({f"{SEG}.DATA_CHANNELS": ["E"]}, True),
        ({**IN_3D, f"{SEG}.DATA_CHANNELS": ["E"]}, True),
        ({**IN_3D, **RAYS}, True),
        (RAYS, False),
        ({f"{SEG}.DATA_CHANNELS": ["F", "H", "V"]}, False),
        ({f"{SEG}.DATA_CHANNELS": "BCD"}, False),
    ],
)
def test_the_voxel_size_of_encoding_is_that_of_decoding(
    keys: dict[str, object], needs_both: bool, problems: Problems
) -> None:
    size = (0.5, 0.2, 0.2)[1 if "PROBLEM.NDIM" not in keys else 0 :]
    train, test = "DATA.TRAIN.RESOLUTION", "DATA.TEST.RESOLUTION"
    assert problems(keys) == problems({**keys, train: size, test: size}) == []
    for given, missing in ((train, test), (test, train)):
        lines = problems({**keys, given: size})
        assert [given in line and missing in line for line in lines] == [True] * needs_both


def test_the_voxel_size_of_separate_validation_images_is_that_of_the_others(
    problems: Problems,
) -> None:
    keys = {f"{SEG}.DATA_CHANNELS": ["E"], "DATA.VAL.FROM_TRAIN": False}
    sizes = {f"DATA.{part}.RESOLUTION": (0.2, 0.2) for part in ("TRAIN", "VAL", "TEST")}
    assert problems({**keys, **sizes}) == []
    for missing in sizes:
        others = {key: size for key, size in sizes.items() if key != missing}
        (line,) = problems({**keys, **others})
        assert missing in line


def test_polyhedra_need_four_rays() -> None:
    keys = {"TEST.ENABLE": True, **IN_3D}
    assert not check_config(config_from_dict({**keys, **RAYS}), train=False, test=True)
    with pytest.raises(ConfigError) as error:
        config_from_dict({**keys, f"{SEG}.DATA_CHANNELS": "Db+R3"})
    assert [problem.code for problem in error.value.problems] == ["decode.few_rays"]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"DATA.TEST.LOAD_GT": False}, "predicted but not scored"),
        ({f"{SEG}.WATERSHED_BY_2D_SLICES": True}, "no effect in 2D"),
        ({**UNETR, "MODEL.FEATURE_MAPS": [8, 16, 32]}, "no effect with MODEL.ARCHITECTURE unetr"),
        ({**UNETR, **IN_3D, "MODEL.Z_DOWN": [1, 1, 1, 1]}, "MODEL.Z_DOWN: (1, 1, 1, 1) has no"),
        (
            {**UNETR, "MODEL.VIT_MODEL": "vit_base_patch16", "MODEL.VIT_EMBED_DIM": 64},
            "MODEL.VIT_EMBED_DIM: 64 has no effect with MODEL.VIT_MODEL vit_base_patch16",
        ),
        ({"MODEL.ARCHITECTURE": "unext_v1", "MODEL.BATCH_NORMALIZATION": False}, "no effect with"),
        ({f"{SEG}.DATA_CHANNELS": "Dv2"}, "DATA_CHANNELS: Dv2 alone cannot tell background"),
        ({f"{POST}.Z_FILTERING": True}, f"{POST}.Z_FILTERING: has no effect in 2D without"),
        ({f"{POST}.YZ_FILTERING": True}, f"{POST}.YZ_FILTERING: has no effect in 2D without"),
        ({**RAYS, "TEST.AUGMENTATION": True, **NINE}, "TEST.AUGMENTATION: averages 2 flips"),
        ({**RAYS, "TEST.AUGMENTATION": True, **IN_3D}, "TEST.AUGMENTATION: has no effect with R"),
        ({f"{SEG}.DATA_CHANNELS": ["F", "E"]}, "does not use F, which has no effect"),
        ({f"{SEG}.DATA_CHANNELS": ["M", "C", "A"]}, "does not use C, which has no effect"),
        ({f"{SEG}.DATA_CHANNELS": ["F", "C", "Db", "R"]}, "does not use F, C, which have no"),
        ({**OFFSETS, f"{SEG}.DATA_CHANNELS": ["F", "H", "V", "T"]}, "does not use T"),
        ({f"{SEG}.DATA_CHANNELS": ["B", "C", "Gh", "Gv"]}, "does not use C, which has no effect"),
        ({f"{SEG}.DATA_CHANNELS": ["F", "C", "Gh", "Gv"], **FLOOD}, "does not use Gh, Gv, which"),
        ({f"{SEG}.DATA_CHANNELS": ["F", "C", "R"], **FLOOD}, "does not use R32, which has no"),
        ({f"{SEG}.DATA_CHANNELS": ["F", "C", "H", "V", "P"]}, "does not use C, which"),
        ({f"{SEG}.DATA_CHANNELS": "BCM"}, "without GROW_INTO_CONTOUR does not use M, which has"),
        (
            {
                f"{SEG}.DATA_CHANNELS": ["F", "C", "Db"],
                f"{SEG}.SEED_CHANNELS": ["Db"],
                f"{SEG}.TOPOGRAPHIC_SURFACE_CHANNEL": "Db",
            },
            "does not use C, which",
        ),
        (
            {**CLOSE, f"{POST}.REMOVE_CLOSE_POINTS_RADIUS": [3, 5]},
            f"{POST}.REMOVE_CLOSE_POINTS_RADIUS: only the first of (3.0, 5.0) has an effect",
        ),
    ],
)
def test_notices(keys: dict[str, object], text: str) -> None:
    config = config_from_dict({"TEST.ENABLE": True, "DATA.TEST.LOAD_GT": True, **keys})
    (line,) = config_notices(config, train=False, test=True)
    assert text in line


@pytest.mark.parametrize(
    "keys",
    [
        {f"{POST}.Z_FILTERING": True, "TEST.ANALIZE_2D_IMGS_AS_3D_STACK": True},
        {f"{POST}.YZ_FILTERING": True, **IN_3D},
        {**CLOSE, f"{POST}.REMOVE_CLOSE_POINTS_RADIUS": [3, 3]},
        {f"{POST}.REMOVE_CLOSE_POINTS_RADIUS": [3, 5]},
        {**RAYS, "TEST.AUGMENTATION": True},
        {f"{SEG}.DATA_CHANNELS": ["F", "C", "H", "V"]},
        {f"{SEG}.DATA_CHANNELS": ["F", "C", "A"], **FLOOD},
        {f"{SEG}.DATA_CHANNELS": "BCDv2"},
        {f"{SEG}.DATA_CHANNELS": "BCM", f"{SEG}.GROW_INTO_CONTOUR": True},
    ],
)
def test_keys_with_an_effect_are_not_reported(keys: dict[str, object]) -> None:
    config = config_from_dict({"TEST.ENABLE": True, "DATA.TEST.LOAD_GT": True, **keys})
    assert config_notices(config, train=False, test=True) == []


def test_class_weight() -> None:
    keys = {"TRAIN.ENABLE": True, "MODEL.N_CLASSES": 3}
    assert config_from_dict(keys).class_weight == 1
    config = config_from_dict({**keys, f"{SEG}.DATA_CHANNEL_WEIGHTS": (1, 2, 3)})
    assert (config.channel_weights, config.class_weight) == ((1, 2), 3)


@pytest.mark.parametrize("key", ["ZFLIP", "MISALIGNMENT", "GRAYSCALE", "CHANNEL_SHUFFLE"])
def test_augmentation_without_an_effect_is_reported(key: str) -> None:
    disabled: dict[str, object] = {"TRAIN.ENABLE": True, f"AUGMENTOR.{key}": True}
    enabled: dict[str, object] = {**disabled, "AUGMENTOR.ENABLE": True}
    notices = config_notices(config_from_dict(enabled), train=True, test=False)
    condition = "in 2D" if key in ("ZFLIP", "MISALIGNMENT") else "with one channel"
    assert notices == [f"AUGMENTOR.{key}: has no effect {condition}"]
    volume = {"PROBLEM.NDIM": "3D", "DATA.PATCH_SIZE": (16, 64, 64, 2)}
    assert config_notices(config_from_dict({**enabled, **volume}), train=True, test=False) == []
    assert config_notices(config_from_dict(disabled), train=True, test=False) == []
    enabled["DATA.TEST.LOAD_GT"] = True
    assert config_notices(config_from_dict(enabled), train=False, test=True) == []

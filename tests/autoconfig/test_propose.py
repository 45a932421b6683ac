"""Choices for facts of constructed and of random data sets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.autoconfig import Choice, Proposal, propose
from singula.autoconfig.network import z_steps
from singula.autoconfig.report import reasons_table
from singula.autoconfig.setting import spell
from singula.config.load import config_and_notices
from singula.config.validate_model import multiples
from singula.dataset.facts import Machine, Objects, survey_dataset
from singula.errors import UserError
from singula.synthetic.datasets import make_drawn_dataset

from .conftest import GPU

SEG = "PROBLEM.INSTANCE_SEG"


def loaded(proposal):
    """Return the configuration in the file, and the messages about it."""
    config, notices = config_and_notices(yaml.safe_load(proposal.yaml))
    return config, list(notices)


def test_the_file_loads_with_the_chosen_values_and_every_key_has_an_effect(survey) -> None:
    proposal = propose(survey())
    config, notices = loaded(proposal)
    assert notices == []
    values = config.dotted()
    for choice in proposal.choices:
        value = values[choice.key]
        expected = tuple(choice.value) if isinstance(choice.value, list) else choice.value
        assert value == expected, choice.key


def test_every_reason_is_a_line_of_the_file(survey) -> None:
    proposal = propose(survey())
    for key, value, why in proposal.reasons:
        assert "\n" not in why
        assert f"{key.split('.')[-1]}: {value}" in proposal.yaml
    assert {"DATA.PATCH_SIZE", f"{SEG}.DATA_CHANNELS", "TRAIN.EPOCHS"} <= {
        key for key, _, _ in proposal.reasons
    }


@pytest.mark.parametrize(
    ("facts", "key", "value"),
    [
        ({"size": 24}, f"{SEG}.DATA_CHANNELS", "F+Gh+Gv"),
        ({"size": 24, "touching": 0.6}, f"{SEG}.DATA_CHANNELS", "F+Gh+Gv"),
        ({"size": 150}, f"{SEG}.DATA_CHANNELS", "BC"),
        ({"size": (20, 90), "touching": 0.2}, f"{SEG}.DATA_CHANNELS", "F+Gh+Gv"),
        ({"shape": (64, 96, 96), "size": 24}, f"{SEG}.DATA_CHANNELS", "BC"),
        ({"size": 150}, f"{SEG}.DATA_CONTOUR_MODE", "thick"),
        ({"size": 24, "foreground": 0.99}, f"{SEG}.DATA_CHANNELS", "BC"),
        ({"size": 2}, f"{SEG}.DATA_CHANNELS", "BP"),
        ({"size": (1, 40)}, f"{SEG}.DATA_CONTOUR_MODE", "outer"),
        ({"size": 24}, "DATA.PATCH_SIZE", (128, 128, 1)),
        ({"size": 100}, "DATA.PATCH_SIZE", (256, 256, 1)),
        ({"size": 400}, "DATA.PATCH_SIZE", (512, 512, 1)),
        ({"size": 24, "shape": (100, 300)}, "DATA.PATCH_SIZE", (96, 96, 1)),
        ({"channels": 3}, "DATA.PATCH_SIZE", (128, 128, 3)),
        ({"channels": (1, 3)}, "DATA.FORCE_RGB", True),
        ({"size": 24}, "MODEL.ARCHITECTURE", "unet_light"),
        ({"size": 24, "machine": GPU}, "MODEL.ARCHITECTURE", "unet"),
        ({"size": 5}, "MODEL.ARCHITECTURE", "unet"),
        ({"size": 24, "shape": (9, 300)}, "MODEL.ARCHITECTURE", "unet"),
        ({"size": 5}, "MODEL.FEATURE_MAPS", [16, 32, 64]),
        ({"size": 8}, "MODEL.FEATURE_MAPS", [16, 32]),
        ({"size": 60}, "MODEL.FEATURE_MAPS", [16, 32, 64, 128]),
        ({"size": 60, "machine": GPU}, "MODEL.FEATURE_MAPS", [32, 64, 128, 256, 512]),
        ({"foreground": 0.01}, "DATA.PROBABILITY_MAP", True),
        ({"classes": (1, 2)}, "MODEL.N_CLASSES", 3),
        ({"classes": (1, 2)}, f"{SEG}.DATA_CHANNEL_WEIGHTS", (1, 0.25, 0.25, 0.5)),
        ({"classes": (1, 2), "size": 150}, f"{SEG}.DATA_CHANNEL_WEIGHTS", (1, 1, 0.5)),
        ({"brightness": (10.0, 100.0)}, "AUGMENTOR.CONTRAST_FACTOR", (-0.3, 0.3)),
        ({"brightness": (100.0,)}, "AUGMENTOR.CONTRAST_FACTOR", (-0.1, 0.1)),
        ({"empty": 10}, "DATA.NORMALIZATION.APPLICATION_MODE", "dataset"),
        ({"empty": 10, "brightness": (9.0, 99.0)}, "DATA.NORMALIZATION.APPLICATION_MODE", "image"),
        ({"parts": ("train",), "count": 20}, "DATA.VAL.SPLIT_TRAIN", 0.15),
        ({"parts": ("train",)}, "DATA.TEST.USE_VAL_AS_TEST", True),
        ({"parts": ("train",), "count": 1}, "DATA.TEST.LOAD_GT", False),
        ({"parts": ("train", "val")}, "DATA.VAL.FROM_TRAIN", False),
        ({"shape": (64, 96, 96), "size": 24}, "MODEL.Z_DOWN", [2, 2, 2]),
        ({"shape": (64, 96, 96), "size": 24}, "DATA.PATCH_SIZE", (48, 48, 48, 1)),
        (
            {"shape": (32, 128, 128), "size": (12, 24, 24), "spacing": (2.0, 1.0, 1.0)},
            "MODEL.Z_DOWN",
            [1, 2, 2],
        ),
        (
            {"shape": (32, 128, 128), "size": (12, 24, 24), "spacing": (2.0, 1.0, 1.0)},
            "DATA.TRAIN.RESOLUTION",
            (2.0, 1.0, 1.0),
        ),
        ({"shape": (32, 128, 128), "size": (6, 24, 24)}, "MODEL.Z_DOWN", [1, 1, 2]),
        ({"shape": (64, 96, 96), "size": 24}, f"{SEG}.SEED_MORPH_SEQUENCE", ["erode"]),
        ({"shape": (1, 96, 96), "size": (1, 24, 24)}, "DATA.PATCH_SIZE", (1, 64, 64, 1)),
        ({"size": 24}, "TEST.AUGMENTATION", False),
        ({"shape": (64, 96, 96), "size": 24}, "TEST.AUGMENTATION", False),
    ],
)  # fmt: skip
def test_expected_choices(survey, facts, key: str, value) -> None:
    assert propose(survey(**facts))[key] == value


def test_run_ids_of_a_proposed_file_are_repetitions(survey) -> None:
    config, _ = loaded(propose(survey()))
    assert not config.is_set("SYSTEM.SEED")


def test_a_gpu_gets_larger_networks_and_batches(survey, gpu) -> None:
    facts = {"size": 24, "touching": 0.6, "count": 200}
    small, large = propose(survey(**facts)), propose(survey(**facts, machine=gpu))
    assert large[f"{SEG}.DATA_CHANNELS"] == "BCD"
    assert large["MODEL.FEATURE_MAPS"][0] > small["MODEL.FEATURE_MAPS"][0]
    assert large["TRAIN.BATCH_SIZE"] > small["TRAIN.BATCH_SIZE"]
    assert (small["SYSTEM.DEVICE"], large["SYSTEM.DEVICE"]) == ("cpu", "cuda:0")
    assert large["SYSTEM.NUM_WORKERS"] == -1
    assert loaded(large)[1] == []


def test_a_pixel_size_that_differs_between_files_is_not_configured(survey) -> None:
    facts = survey(spacing=(0.5, 0.5))
    assert propose(facts)["DATA.TRAIN.RESOLUTION"] == (0.5, 0.5)
    train = facts.parts[0]
    other = replace(train, images=(replace(train.images[0], spacing=None), *train.images[1:]))
    with pytest.raises(KeyError):
        propose(replace(facts, parts=(other, *facts.parts[1:])))["DATA.TRAIN.RESOLUTION"]


def test_images_of_different_pixel_sizes_are_resampled_to_the_median(survey) -> None:
    facts = survey(spacing=(0.5, 0.5))
    train = facts.parts[0]

    def with_size(size: float | None) -> Proposal:
        spacing = None if size is None else (size, size)
        images = (replace(train.images[0], spacing=spacing), *train.images[1:])
        return propose(replace(facts, parts=(replace(train, images=images), *facts.parts[1:])))

    different = with_size(1.0)
    assert different["DATA.PREPROCESS.SPACING"] == (0.5, 0.5)
    assert loaded(different)[1] == []
    with pytest.raises(KeyError):
        different["DATA.TRAIN.RESOLUTION"]
    for size in (0.6, None):  # similar, and not known
        with pytest.raises(KeyError):
            with_size(size)["DATA.PREPROCESS.SPACING"]


def test_depth_is_measured_in_the_unit_of_the_files(survey, gpu) -> None:
    facts = {"shape": (64, 128, 128), "size": 40, "touching": 0.6, "machine": gpu}
    pixels = propose(survey(**facts))[f"{SEG}.DATA_MW_TH_DISTANCE"]
    micrometers = propose(survey(**facts, spacing=(0.5, 0.5, 0.5)))[f"{SEG}.DATA_MW_TH_DISTANCE"]
    assert micrometers == pytest.approx(pixels / 2)


def test_depth_is_in_pixels_if_the_voxel_size_is_not_configured(survey, gpu) -> None:
    facts = {"shape": (64, 128, 128), "size": 40, "touching": 0.6, "machine": gpu}
    pixels = propose(survey(**facts))[f"{SEG}.DATA_MW_TH_DISTANCE"]
    uniform = survey(**facts, spacing=(0.5, 0.5, 0.5))
    train = uniform.parts[0]
    images = (replace(train.images[0], spacing=(0.55, 0.5, 0.5)), *train.images[1:])
    similar = replace(uniform, parts=(replace(train, images=images), *uniform.parts[1:]))
    assert propose(similar)[f"{SEG}.DATA_MW_TH_DISTANCE"] == pixels
    fixed = [Choice("DATA.TRAIN.RESOLUTION", (-1,))]
    proposal = propose(uniform, fixed=fixed)
    assert proposal[f"{SEG}.DATA_MW_TH_DISTANCE"] == pixels
    assert loaded(proposal)[0].DATA.TRAIN.spacing is None


def test_choices_are_for_resampled_images(survey) -> None:
    small = survey((512, 512), size=24)
    fixed = [
        Choice(f"{SEG}.DATA_CHANNELS", "BC"),
        Choice("MODEL.ARCHITECTURE", "unet"),
        Choice("MODEL.FEATURE_MAPS", [8, 16]),
        Choice("DATA.PATCH_SIZE", (128, 128, 1)),
        Choice("DATA.TRAIN.RESOLUTION", (3.0, 3.0)),
    ]
    enlarged = propose(small, fixed=[*fixed, Choice("DATA.PREPROCESS.SPACING", (1.5, 1.5))])
    large = propose(survey((1024, 1024), size=48), fixed=fixed)
    for key in ("TRAIN.EPOCHS", "TRAIN.BATCH_SIZE", f"{SEG}.DATA_CONTOUR_MODE"):
        assert enlarged[key] == large[key]
    key = f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE"
    assert enlarged[key] == pytest.approx(large[key], rel=0.01)
    assert "512" in dict((key, why) for key, _, why in enlarged.reasons)["PROBLEM.NDIM"]


def test_fixed_channels_decide_thresholds_and_weights(survey) -> None:
    for channels, n_thresholds in (("BC", 4), ("BCD", 5), ("BP", 4)):
        proposal = propose(survey(), fixed=[Choice(f"{SEG}.DATA_CHANNELS", channels)])
        config, notices = loaded(proposal)
        assert notices == []
        assert channels == config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
        assert len(config.channel_weights) == len(channels)
        thresholds = {choice.key for choice in proposal.choices if "DATA_MW_TH" in choice.key}
        assert len(thresholds) == n_thresholds


@pytest.mark.parametrize(
    ("channels", "thresholds"),
    [
        ("F+A", {"TH_AFFINITY", "TH_FOREGROUND"}),
        ("E", {"TH_SEEDINESS", "TH_CLUSTER"}),
        ("F+C+Db", {"TH_BINARY_MASK", "TH_CONTOUR", "TH_BORDER_DISTANCE", "TH_FOREGROUND"}),
    ],
)
def test_lists_of_channels_get_the_thresholds_of_their_decoder(
    survey, channels: str, thresholds: set[str]
) -> None:
    proposal = propose(survey(), fixed=[Choice(f"{SEG}.DATA_CHANNELS", channels)])
    config, notices = loaded(proposal)
    assert notices == []
    assert len(proposal[f"{SEG}.DATA_CHANNEL_WEIGHTS"]) == len(channels.split("+"))
    names = set(config.decoder.threshold_names(into_contour=True))
    assert names == thresholds
    written = {choice.key.rpartition(".")[2] for choice in proposal.choices if "TH_" in choice.key}
    assert {name.removeprefix("DATA_MW_") for name in written} - {"GENERATED_THRESHOLDS"} == names


def test_more_minutes_give_more_epochs_within_the_time(survey) -> None:
    facts = survey(count=200)
    few, many = propose(facts, minutes=10), propose(facts, minutes=60)
    assert 10 <= few["TRAIN.EPOCHS"] < many["TRAIN.EPOCHS"]


def test_a_short_training_gets_a_higher_contour_threshold(survey) -> None:
    facts = survey((1024, 1024), count=200, touching=0.6)
    for minutes, threshold in ((1, 0.2), (60, 0.1)):
        proposal = propose(facts, minutes=minutes, channels="BC")
        assert proposal[f"{SEG}.DATA_MW_TH_CONTOUR"] == threshold


def test_many_large_images_get_random_patches(survey) -> None:
    proposal = propose(survey((4096, 4096), count=100))
    assert proposal["DATA.EXTRACT_RANDOM_PATCH"] is True
    assert proposal["TRAIN.EPOCHS"] >= 10
    assert loaded(proposal)[1] == []


def test_data_that_exceed_memory_stay_on_disk(survey) -> None:
    little = Machine(cores=2, memory=1 << 28)
    assert propose(survey((2048, 2048), machine=little))["DATA.TRAIN.IN_MEMORY"] is False
    assert propose(survey((2048, 2048)))["DATA.TRAIN.IN_MEMORY"] is True


def test_a_gpu_with_little_memory_gets_small_batches(survey) -> None:
    tiny = Machine(8, 64 << 30, 1, "card", 1 << 30)
    proposal = propose(survey(count=200, machine=tiny))
    assert proposal["TRAIN.BATCH_SIZE"] == 10
    assert (
        "is too small for more"
        in dict((k, why) for k, _, why in proposal.reasons)["TRAIN.BATCH_SIZE"]
    )


def test_the_minimum_size_removes_no_training_object(survey) -> None:
    facts = survey()
    objects = facts.objects("train")
    min_size = propose(facts)[f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE"]
    assert 0 < min_size <= objects.npixels.min()


@pytest.mark.parametrize("channels", [(2, 2, 2, 1), (3, 3, 4), (3, 3, 3, 2, 3, 3, 1), (4, 3)])
def test_different_numbers_of_channels_are_an_error(survey, channels: tuple[int, ...]) -> None:
    facts = survey(channels=channels, count=len(channels), parts=("train",))
    with pytest.raises(UserError) as error:
        propose(facts)
    usual = max(channels, key=lambda n: (channels.count(n), n))
    message = str(error.value.message)
    assert f"{channels.count(usual)} of {len(channels)} have {usual}" in message
    for image in facts.images:
        assert (f"{image.path} has {image.channels}" in message) is (image.channels != usual)
    assert error.value.hint


@pytest.mark.parametrize(
    ("size", "radius", "width"),
    [
        ((512, 512), 512.0, 512),
        ((24, 24), 10.0, 20),
        ((24, 60), 12.0, 24),
        ((300, 512), 400.0, 300),
    ],
)
def test_no_object_is_wider_than_its_box(survey, size, radius: float, width: int) -> None:
    facts = survey(size=size, radius=np.full(40, radius), touching=0.6)
    reasons = {key: why for key, _, why in propose(facts, channels="BC").reasons}
    reason = f"objects are thick enough, {width} pixels across"
    assert reasons[f"{SEG}.DATA_CONTOUR_MODE"] == reason


def test_labels_without_an_object_are_an_error(survey) -> None:
    for code, facts, minutes in (
        ("init.no_objects", survey(empty=20), 30),
        ("init.no_labels", survey(parts=("val",)), 30),
        ("arguments.number", survey(), 0),
    ):
        with pytest.raises(UserError) as caught:
            propose(facts, minutes=minutes)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("levels", "depth", "anisotropy", "steps"),
    [
        (4, 64, 1.0, [2, 2, 2]),
        (4, 64, 2.0, [1, 2, 2]),
        (4, 64, 5.0, [1, 1, 2]),
        (4, 16, 1.0, [2, 2, 1]),
        (4, 3, 1.0, [1, 1, 1]),
    ],
)
def test_z_is_pooled_once_voxels_are_isotropic(
    levels: int, depth: int, anisotropy: float, steps: list[int]
) -> None:
    assert z_steps(levels, depth, anisotropy) == steps


@pytest.mark.parametrize(
    ("depth", "reason"), [(6, "z is downsampled later"), (1, "z is never downsampled")]
)
def test_the_reason_for_z_matches_the_chosen_pooling(survey, depth: int, reason: str) -> None:
    proposal = propose(survey(shape=(32, 128, 128), size=(depth, 24, 24)))
    (why,) = [why for key, _, why in proposal.reasons if key == "MODEL.Z_DOWN"]
    assert reason in why
    assert (2 in proposal["MODEL.Z_DOWN"]) == (reason == "z is downsampled later")


def test_the_summary_gives_the_number_of_sampled_images(survey) -> None:
    whole = survey(shape=(256, 256), size=24)
    part = whole.part("train")
    assert "(median), " in propose(whole).summary
    more = replace(part, pairs=2 * part.pairs, shapes=2 * part.shapes)
    summary = propose(replace(whole, parts=(more,))).summary
    assert f"(median) in {len(part.labels)} of {2 * len(part.pairs)} images, " in summary


def test_the_reasons_are_aligned(survey) -> None:
    proposal = propose(survey(shape=(256, 256), size=24))
    lines = reasons_table(proposal)
    rows = [row for row in proposal.reasons if not row[0].endswith("PATH")]
    assert len({line.index(f" {row[1]} ") for line, row in zip(lines, rows, strict=True)}) == 1


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_data_set_gets_a_valid_configuration_whose_patch_fits(data) -> None:
    facts = data.draw(surveys())
    proposal = propose(facts, minutes=data.draw(st.floats(0.5, 600)))
    config, notices = loaded(proposal)
    assert notices == []
    shape = facts.parts[0].shapes[0]
    for side, size, multiple in zip(config.patch, shape, multiples(config), strict=True):
        assert side % multiple == 0
        assert side <= max(size, multiple)
    assert config.in_channels == facts.channels
    assert math.prod(config.patch) <= 2**21
    assert config.TRAIN.EPOCHS >= 10


@st.composite
def surveys(draw):
    from .conftest import CPU, GPU, example_survey

    ndim = draw(st.sampled_from((2, 3)))
    sides = st.integers(1, 3000) if ndim == 2 else st.integers(1, 300)
    shape = tuple(draw(sides) for _ in range(ndim))
    size = tuple(draw(st.integers(1, side)) for side in shape)
    machine = draw(st.sampled_from((CPU, GPU, Machine(1, 1 << 28), Machine(1, 0))))
    spacing = draw(st.none() | st.tuples(*[st.floats(1e-4, 100).map(lambda x: round(x, 6))] * ndim))
    return example_survey(
        shape,
        count=draw(st.integers(1, 30)),
        size=size,
        objects=draw(st.integers(1, 30)),
        touching=draw(st.floats(0, 1)),
        foreground=draw(st.floats(0.001, 1)),
        channels=draw(st.sampled_from((1, 2, 3, (1, 3)))),
        classes=draw(st.sampled_from(((), (1,), (1, 2, 5)))),
        spacing=spacing,
        brightness=draw(st.sampled_from(((1.0,), (0.0,), (3.0, 60000.0)))),
        outliers=draw(st.floats(1, 50)),
        parts=draw(st.sampled_from((("train",), ("train", "test"), ("train", "val", "test")))),
        machine=machine,
    )


@given(st.text(max_size=30) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_written_values_are_read_back(value) -> None:
    if isinstance(value, str) and (not value.isprintable() or "  " in value):
        return
    read = yaml.safe_load(f"key: {spell(value)}\n")["key"]
    if isinstance(value, str):
        assert read == value or spell(value) == value
    else:
        assert read == pytest.approx(value)


def test_the_comment_is_the_note_or_the_reason() -> None:
    assert Choice("A.B", 1, "because").comment == "because"
    assert Choice("A.B", 1, "because", "meaning").comment == "meaning"


def test_objects_of_several_images_are_concatenated(survey) -> None:
    facts = survey(count=3)
    assert len(facts.objects("train")) == 3 * 40
    assert len(facts.objects()) == 9 * 40
    alone = replace(facts, parts=())
    assert len(alone.objects()) == len(Objects.empty(2)) == 0


def test_the_reason_for_the_channels_names_the_shape_of_the_objects(tmp_path) -> None:
    reasons = {}
    for name in ("cells", "rods", "tissue"):
        root = tmp_path / name
        make_drawn_dataset(root, name, np.random.default_rng(0), n_train=2, n_val=0, n_test=0)
        proposal = propose(survey_dataset(root))
        assert proposal[f"{SEG}.DATA_CHANNELS"] == ("BC" if name == "tissue" else "F+Gh+Gv")
        reasons[name] = dict((key, why) for key, _, why in proposal.reasons)[f"{SEG}.DATA_CHANNELS"]
    assert "(R)" in reasons["rods"]
    assert "(A)" in reasons["tissue"]
    assert ";" not in reasons["cells"]


@pytest.mark.parametrize(("size", "is_slow"), [(127, False), (128, True), (150, True)])
def test_the_reason_for_bc_names_the_size_that_rules_out_flows(survey, size, is_slow) -> None:
    for touching in (0.0, 0.6):
        reasons = propose(survey(size=size, touching=touching)).reasons
        reason = dict((key, why) for key, _, why in reasons)[f"{SEG}.DATA_CHANNELS"]
        slow = f"encoding flows (Gh, Gv) is slow from 128 pixels on (large objects: {size} pixels)"
        assert (slow in reason) == is_slow


def test_volumes_have_no_reason_about_wide_flows(survey) -> None:
    reasons = propose(survey((200, 256, 256), size=150)).reasons
    assert "is slow" not in dict((key, why) for key, _, why in reasons)[f"{SEG}.DATA_CHANNELS"]

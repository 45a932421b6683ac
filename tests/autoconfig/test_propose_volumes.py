"""Choices from objects that the border cuts, and from the amount and appearance of the data."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from singula.autoconfig import propose
from singula.autoconfig.sizes import Sizes
from singula.config.load import config_and_notices

SEG = "PROBLEM.INSTANCE_SEG"


def loaded(proposal):
    """Return the configuration in the file, and the notices about it."""
    config, notices = config_and_notices(yaml.safe_load(proposal.yaml))
    return config, list(notices)


def cut_survey(
    survey, make_objects, complete: int, cut: int, *, sliver: int = 4, shape=(20, 320, 288)
):
    """One volume with complete objects of 10x30x30 voxels, and slivers that the border cuts off."""
    side = np.array([[10, 30, 30]] * complete + [[1, sliver, sliver]] * cut)
    border = np.arange(complete + cut) >= complete
    made = make_objects(side, border=border, core=np.where(border, 0, 100))
    whole = survey((20, 320, 288), count=1, size=(10, 30, 30), parts=("train", "test"))
    parts = tuple(
        replace(part, labels=tuple(replace(labels, objects=made) for labels in part.labels))
        for part in whole.parts
    )
    return replace(whole, parts=parts)


def test_slivers_at_the_border_do_not_change_sizes(survey, make_objects) -> None:
    alone = propose(cut_survey(survey, make_objects, 20, 0))
    among = propose(cut_survey(survey, make_objects, 20, 40))
    for key in (
        f"{SEG}.DATA_CONTOUR_MODE",
        f"{SEG}.DATA_CHANNELS",
        f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE",
        "DATA.PATCH_SIZE",
        "MODEL.FEATURE_MAPS",
        "MODEL.Z_DOWN",
    ):
        assert among[key] == alone[key], key
    assert int(among[f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE"]) > 2000
    # Four fifths of the slivers stay.
    sliver = int(16 * np.pi / 6)
    assert 0 < int(among[f"{SEG}.REMOVE_SMALL_OBJ_AT_BORDER"]) <= sliver
    with pytest.raises(KeyError):
        alone[f"{SEG}.REMOVE_SMALL_OBJ_AT_BORDER"]
    assert "40 cut by the border" in among.summary
    reasons = {key: why for key, _, why in among.reasons}
    assert "80%" in reasons[f"{SEG}.REMOVE_SMALL_OBJ_AT_BORDER"]


def test_large_cut_objects_count_with_half_their_size(survey, make_objects) -> None:
    found = propose(cut_survey(survey, make_objects, 20, 20, sliver=200))
    whole = int(found[f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE"])
    assert found[f"{SEG}.REMOVE_SMALL_OBJ_AT_BORDER"] == pytest.approx(whole / 2, abs=1)
    reasons = {key: why for key, _, why in found.reasons}
    assert "half of each remains" in reasons[f"{SEG}.REMOVE_SMALL_OBJ_AT_BORDER"]


@pytest.mark.parametrize("complete", [0, 2])
def test_a_thin_volume_that_cuts_nearly_all_objects(survey, make_objects, complete: int) -> None:
    box = np.array([[10, 30, 30]] * complete + [[20, 40, 90]] * 15 + [[1, 4, 4]] * 15)
    border = np.arange(len(box)) >= complete
    made = make_objects(box, border=border)
    whole = survey((20, 320, 288), count=1, size=(10, 30, 30))
    parts = tuple(
        replace(part, labels=tuple(replace(labels, objects=made) for labels in part.labels))
        for part in whole.parts
    )
    sizes = Sizes.of(replace(whole, parts=parts))
    assert not sizes.complete
    assert (sizes.count, sizes.cut) == (30 + complete, 30)
    # The larger half of the cut objects counts, the slivers do not.
    assert sizes.typical == (20, 40, 90)
    assert sizes.min_pixels > 1000
    assert sizes.lost == 0


def test_three_complete_objects_determine_the_minimum_size(survey, make_objects) -> None:
    sizes = Sizes.of(cut_survey(survey, make_objects, 3, 40, sliver=200))
    assert sizes.min_pixels == pytest.approx(0.5 * 10 * 30 * 30 * np.pi / 6, rel=0.01)


def changed_images(survey, **facts):
    parts = tuple(
        replace(part, images=tuple(replace(image, **facts) for image in part.images))
        for part in survey.parts
    )
    return replace(survey, parts=parts)


def chosen(proposal, key: str):
    try:
        return proposal[key]
    except KeyError:
        return None


STRONG = ("ELASTIC", "ZOOM", "G_BLUR", "GAUSSIAN_NOISE")


@pytest.mark.parametrize(
    ("count", "objects", "strong"), [(1, 40, True), (4, 40, True), (10, 40, False), (1, 500, False)]
)
def test_little_data_get_stronger_augmentation(survey, count, objects, strong) -> None:
    found = propose(
        survey((64, 96, 96), count=count, objects=objects, parts=("train", "val", "test"))
    )
    for name in STRONG:
        assert bool(chosen(found, f"AUGMENTOR.{name}")) == strong, name
    assert found["AUGMENTOR.CONTRAST_FACTOR"] == ((-0.3, 0.3) if strong else (-0.1, 0.1))
    reasons = {key: why for key, _, why in found.reasons}
    if strong:
        for name in STRONG:
            assert str(objects * count) in reasons[f"AUGMENTOR.{name}"]
    assert loaded(found)[1] == []


@pytest.mark.parametrize(
    ("facts", "keys"),
    [
        ({}, {}),
        ({"slice_change": 0.05, "slice_shift": 1.0}, {}),
        ({"slice_change": 0.3}, {"BRIGHTNESS_MODE": "2D", "CONTRAST_MODE": "2D"}),
        ({"slice_shift": 4.2}, {"MISALIGNMENT": True, "MS_DISPLACEMENT": 5}),
        ({"lost_slices": 0.1}, {"MISSING_SECTIONS": True}),
    ],
)
def test_augmentation_matches_the_differences_of_slices(survey, facts, keys) -> None:
    data = changed_images(survey((64, 96, 96)), **facts)
    found = propose(data)
    for name in ("BRIGHTNESS_MODE", "CONTRAST_MODE", "MISALIGNMENT", "MS_DISPLACEMENT",
                 "MISSING_SECTIONS"):  # fmt: skip
        assert chosen(found, f"AUGMENTOR.{name}") == keys.get(name), name
    reasons = {key: why for key, _, why in found.reasons}
    for name in keys:
        if name != "MS_DISPLACEMENT":
            assert reasons[f"AUGMENTOR.{name}"]
    assert loaded(found)[1] == []


@pytest.mark.parametrize(
    ("shape", "touching", "minutes", "expected"),
    [
        ((64, 96, 96), 0.1, 1, 0.3),
        ((64, 96, 96), 0.6, 1, 0.2),
        ((64, 96, 96), 0.1, 3000, 0.2),
        ((512, 512), 0.6, 1, 0.2),
    ],
)
def test_volumes_with_few_contacts_get_a_lenient_contour(
    survey, shape, touching, minutes, expected
) -> None:
    found = propose(survey(shape, touching=touching), minutes=minutes, channels="BC")
    assert found[f"{SEG}.DATA_MW_TH_CONTOUR"] == expected

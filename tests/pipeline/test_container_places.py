"""Keys for the arrays of images and labels in containers."""

from typing import Any

import pytest

from singula.config import config_from_dict
from singula.io.image import ArrayPlace, ArrayPlaces
from singula.pipeline.readers import places_for


def places(part: str, keys: dict[str, Any]) -> ArrayPlaces:
    tree = {"TRAIN.ENABLE": True, "TEST.ENABLE": True, **keys}
    return places_for(config_from_dict(tree), part)


@pytest.mark.parametrize("part", ["TRAIN", "VAL", "TEST"])
def test_unset_keys_use_the_axes_of_the_files(part: str) -> None:
    assert places(part, {}) == ArrayPlaces()


@pytest.mark.parametrize(
    ("part", "section"),
    [
        ("TRAIN", "DATA.TRAIN"),
        ("VAL", "DATA.VAL"),
        ("TEST", "TEST.BY_CHUNKS"),
        ("TEST", "DATA.TEST"),  # as earlier versions spell it
    ],
)
def test_keys_of_a_part_apply_to_that_part(part: str, section: str) -> None:
    keys = {
        f"{section}.INPUT_ZARR_MULTIPLE_DATA": True,
        f"{section}.INPUT_ZARR_MULTIPLE_DATA_RAW_PATH": "volumes.raw",
        f"{section}.INPUT_ZARR_MULTIPLE_DATA_GT_PATH": "volumes/ids",
        f"{section}.INPUT_IMG_AXES_ORDER": "ZYXC",
        f"{section}.INPUT_MASK_AXES_ORDER": "ZYX",
    }
    expected = ArrayPlaces(
        ArrayPlace("volumes.raw", "ZYXC"), ArrayPlace("volumes/ids", "ZYX"), True
    )
    assert places(part, keys) == expected
    for other in {"TRAIN", "VAL", "TEST"} - {part}:
        assert places(other, keys) == ArrayPlaces()

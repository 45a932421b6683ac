"""A decoder that another module adds decodes arrays and test images, and is refused in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import singula
from singula.config import Config, config_from_dict
from singula.config.validate import check_config
from singula.errors import UserError
from singula.io.image import Image
from singula.io.run_folder import ResultsTree
from singula.pipeline.postprocess import PostSettings
from singula.pipeline.results import TestResults
from singula.pipeline.thresholds import used_names
from singula.pipeline.whole_image import WholeImage
from singula.representations.base import Decoder, IntermediateImages
from singula.representations.decoders.blockwise import block_decoder
from singula.representations.table import DECODERS
from singula.representations.watershed import Watershed

MASK = np.zeros((20, 30), np.float32)
MASK[2:8, 3:9] = 0.9
MASK[10:18, 12:28] = 0.8


@dataclass(frozen=True)
class Components(Decoder):
    """Connected components of the foreground."""

    def threshold_groups(self, *, into_contour: bool) -> tuple[tuple[str, ...], ...]:
        return (("TH_FOREGROUND",),)

    def decode(
        self, maps: Any, thresholds: Any, settings: Any, **rest: Any
    ) -> tuple[np.ndarray, IntermediateImages | None]:
        labels, count = ndimage.label(maps["M"] > thresholds["TH_FOREGROUND"])
        return labels.astype(np.min_scalar_type(count)), None


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DECODERS, "M", Components("M", ("M",)))


def config(**keys: Any) -> Config:
    """Return a configuration of the added decoder; the schema was built before it was added."""
    loaded = config_from_dict({"TEST.ENABLE": True, "TRAIN.ENABLE": False, **keys})
    section = "PROBLEM.INSTANCE_SEG"
    changes = {f"{section}.DATA_CHANNELS": "M", f"{section}.DATA_CHANNEL_WEIGHTS": (1,)}
    return loaded.replaced(changes, mark_set=True)


def test_arrays_are_decoded_with_the_threshold_of_the_decoder() -> None:
    labels = singula.decode({"M": MASK}, "M")
    expected, _ = ndimage.label(MASK > 0.3)
    np.testing.assert_array_equal(labels, expected)
    assert singula.decode({"M": MASK}, "M", thresholds={"TH_FOREGROUND": 0.85}).max() == 1
    with pytest.raises(UserError) as error:
        singula.decode({"B": MASK}, "M")
    assert error.value.code == "decode.missing_map"


def test_a_test_image_is_decoded_in_memory(tmp_path: Path) -> None:
    results = TestResults(config(), ResultsTree(tmp_path, "job", 1), PostSettings())
    assert used_names(results.config) == ["TH_FOREGROUND", "REMOVE_SMALL_OBJ"]
    image = Image(np.uint8(255 * MASK)[..., None], None)
    WholeImage(results, "a", "per_image", image, truth=None).add({"M": MASK})
    assert results.instances == {"a": 2}
    assert results.thresholds["a"]["TH_FOREGROUND"] == 0.3
    assert (results.tree.per_image_instances / "a.tif").is_file()


def test_blocks_are_refused_before_anything_is_computed() -> None:
    with pytest.raises(UserError) as error:
        block_decoder(DECODERS["M"])
    assert error.value.code == "decode.not_in_blocks"
    chunks = {"TEST.BY_CHUNKS.ENABLE": True, "TEST.FULL_IMG": False}
    (problem,) = check_config(config(**chunks), train=False, test=True)
    assert problem.text.startswith("TEST.BY_CHUNKS.ENABLE: got True")
    only_maps = {**chunks, "TEST.BY_CHUNKS.WORKFLOW_PROCESS.ENABLE": False}
    assert not check_config(config(**only_maps), train=False, test=True)


def test_the_watershed_declares_that_blocks_are_exact() -> None:
    for name, decoder in DECODERS.items():
        assert decoder.supports_blocks == isinstance(decoder, Watershed)
        assert (name == "M") != decoder.supports_blocks

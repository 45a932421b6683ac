"""A threshold, a configuration and a decoder are declared in one place and read everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from singula.config.keys import key_table
from singula.config.thresholds import KEYS
from singula.representations.table import DECODERS
from singula.representations.thresholds import THRESHOLDS

ROOT = Path(__file__).parents[2]

ADDED = """
import json, sys
from dataclasses import replace
sys.path.insert(0, {docs!r})
from singula.representations import thresholds, watershed
from singula.representations.thresholds import Otsu, Threshold
from singula.representations.watershed import Term

extra = Threshold(
    "TH_EXTRA", "Seeds: extra above", "Seeds: M above this", "smaller seeds", 0.35, 0.4, ("M",),
    otsu=Otsu("M"),
)
thresholds.THRESHOLDS["TH_EXTRA"] = extra
thresholds.AUTOMATIC += ("TH_EXTRA",)
row = watershed.Watershed(
    "BM", ("B", "M"), seeds=(Term("M", True, "TH_EXTRA"),), growth=(watershed._IN_B,)
)
watershed.CONFIGURATIONS += (row,)

import numpy as np
from decoding import configuration_table, threshold_table
from singula.autoconfig.objects import _default
from singula.config import config_from_dict
from singula.config.examples import example
from singula.config.keys import key_table
from singula.config.thresholds import resolve_sources
from singula.gui.retune import LABELS, keys_that_matter
from singula.pipeline.from_config import decode_settings
from singula.pipeline.thresholds import threshold_line
from singula.representations.channels import encode
from singula.representations.decoders import DecodeSettings, decode_labels, histogram_channels
from singula.representations.table import DECODERS
from singula.tuning import Example, Tuner

name = "PROBLEM.INSTANCE_SEG.DATA_MW_TH_EXTRA"
keys = {{"TEST.ENABLE": True, "PROBLEM.INSTANCE_SEG.DATA_CHANNELS": "bm", name: 0.6}}
config = config_from_dict(keys)
labels = np.zeros((24, 40), np.uint16)
labels[4:20, 4:18], labels[4:20, 22:36] = 1, 2
maps = encode(labels, "BM")
tuner = Tuner(
    [Example("a", labels.shape, lambda: (maps, labels))], "BM", decode_settings(config)
)
key = key_table()[name]
print(json.dumps({{
    "schema": [key.allowed, key.default, key.description, example(key)],
    "channels": config.channel_count,
    "source": resolve_sources(config)["TH_EXTRA"].source,
    "line": threshold_line(config),
    "automatic": histogram_channels(DECODERS["BM"], DecodeSettings()),
    "objects": int(decode_labels(maps, "BM", thresholds={{"TH_EXTRA": 0.6}}).max()),
    "tuning": [parameter.key for parameter in tuner.parameters()],
    "sliders": [LABELS[key] for key in keys_that_matter(config)],
    "comment": _default("TH_EXTRA").note,
    "docs": ["TH_EXTRA" in threshold_table(), "`M > TH_EXTRA`" in configuration_table()],
}}))
"""


def test_a_threshold_and_a_configuration_are_added_in_one_module() -> None:
    code = ADDED.format(docs=str(ROOT / "docs" / "make"))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout.splitlines()[-1])
    assert seen["schema"] == ["a number in [0, 1]", 0.35, "Seeds: M above this.", "0.4"]
    assert seen["channels"] == 2
    assert seen["source"] == "user"
    assert "TH_EXTRA 0.6" in seen["line"]
    assert seen["automatic"] == ["B", "M"]
    assert seen["objects"] == 2
    assert seen["tuning"] == ["TH_EXTRA", "TH_FOREGROUND", "REMOVE_SMALL_OBJ"]
    assert seen["sliders"][0] == "Seeds: extra above"
    assert seen["comment"] == "seeds: M above this"
    assert seen["docs"] == [True, True]


def test_every_declared_threshold_has_a_key_with_its_range_and_default() -> None:
    for name, threshold in THRESHOLDS.items():
        key = key_table()[KEYS[name]]
        assert key.default == threshold.default
        assert key.description == f"{threshold.meaning}."
        assert ("[0, 1]" in key.allowed) == (threshold.high == 1)
        assert threshold.example != threshold.default
        assert threshold.larger


@pytest.mark.parametrize("channels", DECODERS)
def test_a_configuration_compares_only_its_own_channels(channels: str) -> None:
    decoder = DECODERS[channels]
    for into_contour in (False, True):
        names = decoder.threshold_names(into_contour=into_contour)
        assert len(set(names)) == len(names) > 0
        for name in names:
            assert set(THRESHOLDS[name].channels) & set(decoder.channels)

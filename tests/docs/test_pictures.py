"""The pictures of the channels are those that the code makes now, and show what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import singula

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(DOCS / "make"))
    import pictures

    yield pictures
    sys.modules.pop("pictures")


def test_the_stored_pictures_are_current_and_small(pictures, tmp_path: Path) -> None:
    for new in pictures.main(tmp_path):
        stored = DOCS / new.name
        assert stored.stat().st_size < 100_000
        with Image.open(stored) as old, Image.open(new) as now:
            assert old.size == now.size
            difference = np.abs(
                np.asarray(old.convert("RGB"), int) - np.asarray(now.convert("RGB"), int)
            )
        # Fonts and quantisation may differ a little between versions of Pillow.
        assert difference.mean() < 3


def test_the_decoding_shown_finds_every_nucleus(pictures) -> None:
    image, labels = pictures.example()
    panels, found = pictures.decoding_panels(image, pictures.as_predicted(labels, "BC"))
    assert len(panels) == 8
    (score,) = singula.match(labels, found.labels, (0.7,))
    assert score.f1 == 1
    assert labels.max() >= 6


def test_there_is_a_panel_for_every_channel(pictures) -> None:
    from singula.channels import CHANNELS

    assert set(pictures.CHANNELS) == set(CHANNELS)

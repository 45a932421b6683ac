"""The figures of the documentation equal those that the code draws."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import singula
from singula.representations.channels import CHANNELS
from singula.representations.combination import foreground_term
from singula.synthetic.fluorescence import make_image

DOCS = Path(__file__).parents[2] / "docs"


@contextmanager
def program(name: str) -> Iterator[ModuleType]:
    """Import a program of ``docs/make``."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "make" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(DOCS / "make"))
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(DOCS / "make"))
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def pictures() -> Iterator[ModuleType]:
    with program("pictures") as module:
        yield module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "folder"),
    [("pictures", DOCS), ("kernels", DOCS / "internals"), ("examples", DOCS)],
)
def test_stored_pictures_are_current_and_small(name: str, folder: Path, tmp_path: Path) -> None:
    with program(name) as module:
        drawn = module.main(tmp_path)
    for new in drawn:
        stored = folder / new.name
        assert stored.stat().st_size < 150_000
        with Image.open(stored) as old, Image.open(new) as now:
            assert old.size == now.size
            pairs = [np.asarray(picture.convert("RGB"), int) for picture in (old, now)]
        # Other fonts would change some pixels, another result whole panels.
        assert np.abs(pairs[0] - pairs[1]).mean() < 2, new.name


def test_every_channel_is_described_and_drawn(pictures: ModuleType) -> None:
    with program("decoding") as tables:
        page = tables.with_tables((DOCS / "channels.md").read_text(encoding="utf-8"))
    source = (DOCS / "make" / "pictures.py").read_text(encoding="utf-8")
    for code in CHANNELS:
        if CHANNELS[code].needs_volume and CHANNELS[code].vector == "flow":
            continue  # the picture of flows shows a 2D image
        assert re.search(rf"`{code}`", page)
        assert re.search(rf"[\"+]{code}[\"+]", source)


def test_the_page_lists_the_foregrounds_of_flows() -> None:
    page = (DOCS / "channels.md").read_text(encoding="utf-8")
    match = re.search(r"A foreground is needed: ([^.]+)\.", page)
    assert match is not None
    decoded = {row.list_code for code, row in CHANNELS.items() if foreground_term([code])}
    assert set(re.findall(r"`(\w+)`", match[1])) == decoded


@pytest.mark.parametrize("code", ["BC", "BP", "BCD", "BCDv2"])
def test_the_drawn_instances_match_the_labels(pictures: ModuleType, code: str) -> None:
    labels = make_image((220, 220), np.random.default_rng(pictures.SEED)).labels
    maps = pictures.predicted(labels, code)
    keys = {**pictures.STEPS[code], "REMOVE_SMALL_OBJ": 30}
    found = singula.decode(maps, code, thresholds=keys)
    (score,) = singula.match(labels, found, (0.3,))
    assert score.f1 > 0.9, score

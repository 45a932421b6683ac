"""The wizard and the notebooks derive the same configuration from the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from singula import notebook
from singula.autoconfig.answers import OBJECTS
from singula.config import Config, load_config
from singula.config.thresholds import origin
from singula.gui.guard import Guard
from singula.gui.wizard import Answers, make_example, propose_form, recognize
from singula.pipeline import timing
from singula.representations.channels import parse_channels
from singula.training.speed import TrainingSpeed


@pytest.fixture(autouse=True)
def known_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the measured training speed by fixed values."""
    speed = TrainingSpeed(2.0, 0.5, draw=1.0, epoch=4.0)
    monkeypatch.setattr(timing, "measure_training", lambda *arguments: speed)
    monkeypatch.setattr(notebook, "_show", lambda table: None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_example(Guard.of([folder]), 2)
    return folder


def both(home: Path, tmp_path: Path, channels: str | None, classes: int) -> tuple[Config, Config]:
    """Return the configurations of the wizard and of the notebook."""
    guard = Guard.of([home])
    parts, _ = recognize(guard, "example_2d")
    form, _, _ = propose_form(
        Answers(
            ndim=2,
            find=channels or "auto",
            parts=tuple(parts),
            classes=classes,
            minutes=20.0,
            output=Path("cells.yaml"),
        ),
        guard,
    )
    kind = next(kind for kind, value in notebook.kinds().items() if value == channels)
    plan = notebook.prepare(parts, 2, kind, str(classes), str(tmp_path), "cells", 20.0)
    return form.config(), load_config(plan.config)


@pytest.mark.parametrize("channels", [None, *OBJECTS])
@pytest.mark.parametrize("classes", [1, 3])
def test_same_answers_make_the_same_configuration(
    home: Path, tmp_path: Path, channels: str | None, classes: int
) -> None:
    wizard, written = both(home, tmp_path, channels, classes)
    first, second = wizard.dotted(), written.dotted()
    # The channels computed from labels are stored next to the configuration file.
    differing = {key for key in first if first[key] != second[key]}
    assert all(key.endswith(("CHANNELS_DIR", "CHANNELS_MASK_DIR")) for key in differing)
    assert classes + 1 == wizard.MODEL.N_CLASSES
    if channels is not None:
        assert channels == wizard.PROBLEM.INSTANCE_SEG.DATA_CHANNELS


@pytest.mark.parametrize("channels", OBJECTS)
def test_thresholds_and_weights_of_a_notebook_follow_the_channels(
    home: Path, tmp_path: Path, channels: str
) -> None:
    _, config = both(home, tmp_path, channels, 3)
    codes = parse_channels(channels)
    for threshold, code in (("TH_POINTS", "P"), ("TH_DISTANCE", "D"), ("TH_CONTOUR", "C")):
        assert (origin(config, threshold) == "generated") == (code in codes)
    weights = config.PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS
    assert len(weights) == len(codes) + 1  # the last one is that of the class head

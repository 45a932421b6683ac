"""Configuration files with the keys of BiaPy's templates, from version 3.5 to 3.7."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from singula.config.load import config_and_notices
from singula.config.yaml_source import parse_yaml

FILES = Path(__file__).parent / "biapy"
WITHOUT_EFFECT: dict[str, set[str]] = {
    "3.5_2d": set(),
    "3.5_3d": set(),
    "3.6_contours": set(),
    "3.6_offsets": {
        "PROBLEM.INSTANCE_SEG.CHANNELS_PER_HEAD_INFO",
        "PROBLEM.INSTANCE_SEG.SEPARATED_DECODERS_PER_HEAD",
        "AUGMENTOR.RANDOM_ROT_PROB",
        "AUGMENTOR.ZOOM_PROB",
        "MODEL.CONV_LAYERS",
        "MODEL.CONV_BLOCK_ORDER",
        "TEST.POST_PROCESSING.INSTANCE_REFINEMENT.OPERATIONS",
    },
    "3.6_points": {
        *(
            f"DATA.TRAIN.FILTER_SAMPLES.{name}"
            for name in ("ENABLE", "PROPS", "VALUES", "SIGNS", "NORM_BEFORE")
        ),
        "MODEL.HRNET.HEAD_TYPE",
        "TEST.POST_PROCESSING.INSTANCE_REFINEMENT.OPERATIONS",
    },
    "3.6_rays": {"PROBLEM.INSTANCE_SEG.CHANNELS_PER_HEAD_INFO"},
    "3.7_blocks": {
        f"DATA.TEST.FILTER_SAMPLES.{name}" for name in ("ENABLE", "PROPS", "VALUES", "SIGNS")
    },
    "3.7_centers": set(),
    "3.7_embedding": {
        "PROBLEM.INSTANCE_SEG.CHANNELS_PER_HEAD_INFO",
        "PROBLEM.INSTANCE_SEG.SEPARATED_DECODERS_PER_HEAD",
        "AUGMENTOR.RANDOM_ROT_PROB",
    },
    "3.7_flows": {
        *(f"PROBLEM.INSTANCE_SEG.CELLPOSE.{name}" for name in ("TYPE", "DIAMETER", "DIAM_MEAN")),
        "PROBLEM.INSTANCE_SEG.CHANNELS_PER_HEAD_INFO",
        "AUGMENTOR.RANDOM_ROT_PROB",
        "AUGMENTOR.ZOOM_PROB",
        "MODEL.CONV_LAYERS",
        "MODEL.CONV_BLOCK_ORDER",
        "TEST.POST_PROCESSING.INSTANCE_REFINEMENT.OPERATIONS",
    },
}
"""Keys that a file lists as without effect, by its name."""


def text_of(name: str, data: Path) -> str:
    return (FILES / f"{name}.yaml").read_text(encoding="utf-8").replace("{data}", str(data))


def test_every_file_is_tested() -> None:
    assert {path.stem for path in FILES.glob("*.yaml")} == set(WITHOUT_EFFECT)


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_values_without_effect_are_listed_in_one_message(name: str, tmp_path: Path) -> None:
    tree = parse_yaml(text_of(name, tmp_path), name)
    assert not tree.problems
    _, notices = config_and_notices({key: entry.value for key, entry in tree.entries.items()})
    lists = [line for line in notices if "no effect in Singula" in line]
    assert len(lists) == min(1, len(WITHOUT_EFFECT[name]))
    listed = {key for text in lists for key in re.findall(r"^ +([\w.]+):", text, re.MULTILINE)}
    assert listed == WITHOUT_EFFECT[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_a_file_runs_to_the_end(
    name: str, command, data_2d, data_3d, tmp_path, monkeypatch
) -> None:
    if name == "3.6_rays":
        pytest.importorskip("stardist")
    monkeypatch.chdir(tmp_path)
    text = text_of(name, data_3d if "NDIM: 3D" in (FILES / f"{name}.yaml").read_text() else data_2d)
    file, results = tmp_path / f"{name}.yaml", tmp_path / "results"
    file.write_text(text, encoding="utf-8")
    options = ("--config", file, "--result_dir", results, "--name", "job", "--run_id", 1)
    assert command(*options, "--gpu", "cpu", program="biapy") == 0, command.err
    run = next(results.glob("job/results/job_1"))
    assert list(run.parent.parent.rglob("*checkpoint-best.pth"))
    if "\nTEST: {ENABLE: false}" in text or "\nTEST:\n  ENABLE: False" in text:
        return
    images = sorted((run / "per_image_instances").glob("*.tif"))
    assert len(images) == 2
    assert all(np.issubdtype(tifffile.imread(path).dtype, np.unsignedinteger) for path in images)

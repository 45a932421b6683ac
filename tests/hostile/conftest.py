"""One small run of two images, whose files the tests change."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from singula.pipeline.run import Job, run
from singula.synthetic.fluorescence import make_dataset

CHANGES = {
    "PROBLEM": {"TYPE": "INSTANCE_SEG", "NDIM": "2D", "INSTANCE_SEG": {"DATA_CHANNELS": "BC"}},
    "MODEL": {"FEATURE_MAPS": [4, 8]},
    "TRAIN": {
        "ENABLE": True,
        "OPTIMIZER": "ADAMW",
        "EPOCHS": 1,
        "BATCH_SIZE": 4,
        "PRECISION": "32",
    },
    "TEST": {"ENABLE": True, "MATCHING_STATS_THS": [0.3, 0.5], "STATS": {"PER_PATCH": False}},
}


@pytest.fixture(scope="session")
def example_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with images, ``job.yaml`` and the results of the run in ``out``."""
    home = tmp_path_factory.mktemp("made")
    made = make_dataset(
        home / "data", 2, np.random.default_rng(3), n_train=1, n_val=1, n_test=2, shape=(48, 48)
    )
    del made
    places = {
        part: {
            "PATH": str(home / "data" / part.lower() / "x"),
            "GT_PATH": str(home / "data" / part.lower() / "y"),
        }
        for part in ("TRAIN", "VAL", "TEST")
    }
    places["VAL"]["FROM_TRAIN"] = False  # type: ignore[assignment]
    places["TEST"]["LOAD_GT"] = True  # type: ignore[assignment]
    data = {"PATCH_SIZE": "(32, 32, 1)", "NORMALIZATION": {"TYPE": "scale_range"}, **places}
    (home / "job.yaml").write_text(yaml.safe_dump({**CHANGES, "DATA": data}))
    run(Job(home / "job.yaml", home / "out", "job", gpu="cpu"))
    return home


@pytest.fixture
def run_copy(example_run: Path, tmp_path: Path) -> Path:
    """Return the folder of a copy of the run, ``out/job/results/job_1``."""
    shutil.copytree(example_run / "out", tmp_path / "out")
    return tmp_path / "out" / "job" / "results" / "job_1"

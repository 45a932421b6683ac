"""Small data sets, configurations and results of whole runs through the command line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from singula import cli
from singula.synthetic.fluorescence import make_dataset


class CommandLine:
    """Runner of commands that stores their output."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys = capsys
        self.monkeypatch = monkeypatch
        self.out = self.err = ""

    def __call__(self, *arguments: object, program: str = "singula") -> int:
        self.monkeypatch.setattr("sys.argv", [program, *map(str, arguments)])
        try:
            (cli.run_main if program == "biapy" else cli.main)()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        self.out, self.err = self.capsys.readouterr()
        return code


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def _make(folder: Path, ndim: int, **options: object) -> None:
    shape = (96, 96) if ndim == 2 else (12, 48, 48)
    arguments: dict[str, object] = {
        "n_train": 3,
        "n_val": 1,
        "n_test": 2,
        "shape": shape,
        **options,
    }
    make_dataset(folder, ndim, np.random.default_rng(3), **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def data_2d(make_once) -> Path:
    return make_once("data_2d", lambda folder: _make(folder, 2))


@pytest.fixture(scope="session")
def data_3d(make_once) -> Path:
    return make_once("data_3d", lambda folder: _make(folder, 3, spacing=(2.0, 1.0, 1.0)))


@pytest.fixture(scope="session")
def data_classes(make_once) -> Path:
    return make_once("data_classes", lambda folder: _make(folder, 2, n_classes=3))


@pytest.fixture(scope="session")
def data_classes_3d(make_once) -> Path:
    options = {"n_classes": 3, "spacing": (2.0, 1.0, 1.0)}
    return make_once("data_classes_3d", lambda folder: _make(folder, 3, **options))


Write = Callable[..., Path]


@pytest.fixture
def write_config(tmp_path: Path) -> Write:
    """Write a small configuration; dotted keys change it."""

    def write(data: Path, ndim: int = 2, name: str = "job.yaml", **changes: object) -> Path:
        stored = tmp_path / "channels"
        patch = (64, 64) if ndim == 2 else (8, 32, 32)
        flat: dict[str, object] = {
            "PROBLEM.TYPE": "INSTANCE_SEG",
            "PROBLEM.NDIM": f"{ndim}D",
            "PROBLEM.INSTANCE_SEG.DATA_CHANNELS": "BC",
            "DATA.PATCH_SIZE": str((*patch, 1)),
            "DATA.NORMALIZATION.TYPE": "scale_range",
            "DATA.VAL.FROM_TRAIN": False,
            "DATA.TEST.LOAD_GT": True,
            "DATA.TEST.PADDING": str((8,) * ndim if ndim == 2 else (0, 8, 8)),
            "AUGMENTOR.ENABLE": True,
            "AUGMENTOR.ROT90": True,
            "AUGMENTOR.HFLIP": True,
            "MODEL.FEATURE_MAPS": [8, 16],
            "TRAIN.ENABLE": True,
            "TRAIN.OPTIMIZER": "ADAMW",
            "TRAIN.LR": "1.E-2",
            "TRAIN.BATCH_SIZE": 4,
            "TRAIN.EPOCHS": 2,
            "TRAIN.PRECISION": "32",
            "TEST.ENABLE": True,
            "TEST.MATCHING_STATS_THS": [0.3, 0.5],
            "TEST.MATCHING_STATS_THS_COLORED_IMG": [0.3],
        }
        for part in ("TRAIN", "VAL", "TEST"):
            flat[f"DATA.{part}.PATH"] = str(data / part.lower() / "x")
            flat[f"DATA.{part}.GT_PATH"] = str(data / part.lower() / "y")
            flat[f"DATA.{part}.INSTANCE_CHANNELS_DIR"] = str(stored / part / "x")
            flat[f"DATA.{part}.INSTANCE_CHANNELS_MASK_DIR"] = str(stored / part / "y")
        if ndim == 3:
            flat["MODEL.Z_DOWN"] = [1]
        flat.update(changes)
        tree: dict[str, object] = {}
        for key, value in flat.items():
            *sections, last = key.split(".")
            branch = tree
            for section in sections:
                branch = branch.setdefault(section, {})  # type: ignore[assignment]
            branch[last] = value
        path = tmp_path / name
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


@pytest.fixture
def run_once(command: CommandLine, make_once) -> Callable[[str, Path, Path], Path]:
    """Return a function that gives each test a copy of the results of one run per session.

    Tests with the same name must pass the same configuration.
    """

    def results(name: str, config: Path, out: Path) -> Path:
        def fill(folder: Path) -> None:
            line = ("run", "--config", config, "--result_dir", folder)
            assert command(*line, "--name", config.stem) == 0, command.err

        return Path(shutil.copytree(make_once(f"run_{name}", fill), out, dirs_exist_ok=True))

    return results

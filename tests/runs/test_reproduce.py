"""A run is repeated with identical results, and changes of data and results are detected."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from singula.commands.original_inputs import find_model
from singula.commands.reproduce import Reproduction, reproduce
from singula.config import Config
from singula.errors import UserError
from singula.io.records.results import ModelFile
from singula.pipeline import provenance
from singula.runs.compare import Comparison, compare_runs, largest_f1_difference
from singula.runs.run import open_run
from singula.zoo.models import built_in_models

KEYS = {
    "TRAIN.EPOCHS": 1,
    "DATA.VAL.FROM_TRAIN": True,
    "DATA.VAL.SPLIT_TRAIN": 0.34,
    "TEST.POST_PROCESSING.MEASURE_PROPERTIES.ENABLE": True,
    "TEST.POST_PROCESSING.CLEAR_BORDER": True,
}


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """Return hash and time of all files, to see that nothing changes."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def change_summary(run: Path, **changes: object) -> None:
    summary = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**summary, **changes}))


@pytest.fixture
def run(run_once, write_config, data_2d, tmp_path) -> Path:
    config = write_config(data_2d, **KEYS)
    return run_once("reproduced", config, tmp_path / "out") / "job" / "results" / "job_1"


def test_a_run_is_repeated_bit_by_bit(
    command, write_config, data_2d, tmp_path, monkeypatch
) -> None:
    # The run id determines the seed of the training, but not the validation images.
    config = write_config(data_2d, **KEYS)
    line = ("run", "--config", config, "--result_dir", tmp_path / "out", "--run_id", 3)
    assert command(*line) == 0, command.err
    job = tmp_path / "out" / "job"
    before = contents(job)
    monkeypatch.chdir(tmp_path)
    assert command("reproduce", job / "results" / "job_3") == 0, command.err
    assert command.out.splitlines()[-1] == "REPRODUCED: all results are identical"
    assert contents(job) == before
    new = tmp_path / "job_3_reproduced"
    table = pd.read_csv(new / "comparison.csv")
    assert (table["differing"] == 0).all()
    assert set(table["result"]) >= {
        "weights, best checkpoint",
        "training log",
        "label images, per image",
        "label images, per image post processing",
        "tables of instances",
        "scores, metrics.csv",
    }
    states = [
        torch.load(path, weights_only=True)["state_dict"]
        for path in (
            job / "checkpoints" / "job_3-checkpoint-last.pth",
            new / "job" / "checkpoints" / "job_3-checkpoint-last.pth",
        )
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert command("reproduce", job / "results" / "job_3") == 2  # nothing is replaced
    assert "--resume" in command.err


@pytest.mark.slow
def test_another_seed_is_not_a_reproduction(run, command, tmp_path) -> None:
    change_summary(run, seed=7)
    assert command("reproduce", run, "-o", tmp_path / "new") == 1
    assert "NOT REPRODUCED" in command.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        {"DATA.VAL.CROSS_VAL": True, "DATA.VAL.CROSS_VAL_NFOLD": 3, "DATA.VAL.CROSS_VAL_FOLD": 2},
        {"TEST.BY_CHUNKS.ENABLE": True, "TEST.BY_CHUNKS.BLOCK_SHAPE": [64, 64]},
        {"TRAIN.OPTIMIZER": "SGD", "SYSTEM.NUM_WORKERS": 2, "DATA.EXTRACT_RANDOM_PATCH": True},
    ],
    ids=["fold", "blocks", "workers"],
)
def test_other_kinds_of_runs_are_repeated(keys, command, write_config, data_2d, tmp_path) -> None:
    config = write_config(data_2d, **{**KEYS, **keys})
    line = ("run", "--config", config, "--result_dir", tmp_path / "out")
    assert command(*line, "--set", "TRAIN.EPOCHS=2") == 0, command.err
    run = tmp_path / "out" / "job" / "results" / "job_1"
    assert command("reproduce", run, "-o", tmp_path / "new") == 0, command.out + command.err


def test_changed_data_are_detected(run, data_2d, tmp_path) -> None:
    data = Path(shutil.copytree(data_2d, tmp_path / "data"))
    label = data / "train" / "y" / "image_001.tif"
    original = label.read_bytes()

    def refused() -> str:
        with pytest.raises(UserError) as error:
            reproduce(run, tmp_path / "new", data=[f"{data_2d}={data}"])
        assert not (tmp_path / "new").exists()
        assert error.value.code == "reproduce.data_changed"
        return str(error.value)

    array = tifffile.imread(label)
    array[5, 7] += 1
    tifffile.imwrite(label, array)
    assert "DATA.TRAIN.GT_PATH: image_001.tif has another content" in refused()
    label.unlink()
    assert "image_001.tif is missing" in refused()
    label.write_bytes(original)
    extra = data / "test" / "x" / "image_009.tif"
    extra.write_bytes((data / "test" / "x" / "image_000.tif").read_bytes())
    assert "image_009.tif was added" in refused()


def test_missing_folders_name_the_option_that_helps(run, data_2d, tmp_path) -> None:
    def code(**options: object) -> str:
        with pytest.raises(UserError) as error:
            reproduce(run, tmp_path / "new", **options)
        return error.value.code

    for text in ("nothing", "=there", "here="):
        assert code(data=[text]) == "reproduce.data_option"
    assert code(data=[f"/somewhere/else={data_2d}"]) == "reproduce.data_option"
    configuration = json.loads((run / "run.json").read_text())["configuration"]
    configuration["DATA.TEST.PATH"] = str(tmp_path / "gone")
    change_summary(run, configuration=configuration)
    assert code() == "reproduce.data_missing"


def test_changed_results_are_found(run, tmp_path) -> None:
    copy = Path(shutil.copytree(run.parents[1], tmp_path / "copy")) / "results" / "job_1"
    original = open_run(run)

    def differing() -> list[str]:
        comparisons = compare_runs(original, open_run(copy))
        return [c.result for c in comparisons if c.differing]

    assert differing() == []
    assert largest_f1_difference(original, open_run(copy)) == 0

    path = copy / "per_image_instances" / "image_000.tif"
    labels = tifffile.imread(path)
    labels[np.nonzero(labels)[0][0], np.nonzero(labels)[1][0]] = 0
    tifffile.imwrite(path, labels, metadata={"axes": "YX"})
    assert differing() == ["label images, per image"]
    shutil.copy(run / "per_image_instances" / "image_000.tif", path)

    metrics = copy / "metrics.csv"
    metrics.write_text(metrics.read_text().replace("0.3,", "0.35,", 1))
    assert differing() == ["scores, metrics.csv"]
    shutil.copy(run / "metrics.csv", metrics)

    table = next((copy / "instance_associations").glob("*_gt_assoc.csv"))
    table.unlink()
    assert differing() == ["tables of instances"]


def comparison(*differing: str, agreement: float | None = None) -> Comparison:
    return Comparison("label images", 2, differing, agreement=agreement)


@pytest.mark.parametrize(
    ("comparisons", "environment", "f1", "reproduced"),
    [
        ([comparison()], [], 0.0, True),
        ([comparison("a")], [], 0.0, False),  # on the same machine, every bit counts
        ([comparison("a")], ["torch: 1 in the run, 2 here"], 0.0099, True),
        ([comparison("a")], ["torch: 1 in the run, 2 here"], 0.0101, False),
        ([comparison("a")], ["torch: 1 in the run, 2 here"], float("inf"), False),
        # without ground truth, the instances of both runs are compared
        ([comparison("a", agreement=0.995)], ["numpy: 1 in the run, 2 here"], None, True),
        ([comparison("a", agreement=0.98)], ["numpy: 1 in the run, 2 here"], None, False),
        ([comparison("a")], ["numpy: 1 in the run, 2 here"], None, False),
    ],
)
def test_the_tolerance_depends_on_versions_and_machine(
    comparisons, environment, f1, reproduced
) -> None:
    result = Reproduction(Path("run"), comparisons, environment, f1)
    assert result.is_reproduced == reproduced
    assert result.lines()[-1].startswith("REPRODUCED" if reproduced else "NOT REPRODUCED")


def test_the_first_model_must_be_the_same(run, tmp_path) -> None:
    opened = open_run(run)
    path = tmp_path / "start.pth"

    def found(content: bytes) -> Path | None:
        recorded = ModelFile(path=str(path), sha256=hashlib.sha256(content).hexdigest())
        summary = opened.summary.model_copy(update={"first_model": recorded})
        return find_model(replace(opened, summary=summary))

    with pytest.raises(UserError) as missing:
        found(b"weights")
    assert missing.value.code == "reproduce.model_missing"
    path.write_bytes(b"weights")
    assert found(b"weights") == path
    with pytest.raises(UserError) as changed:
        found(b"other weights")
    assert changed.value.code == "reproduce.model_changed"
    # A training that starts from its own checkpoint renames it.
    path.with_name("start.previous.pth").write_bytes(b"other weights")
    assert found(b"other weights") == path.with_name("start.previous.pth")
    assert find_model(opened) is None


def test_a_built_in_model_is_recorded_by_name(run, tmp_path) -> None:
    opened = open_run(run)
    file = built_in_models()["nuclei"].checkpoint
    config = Config().replaced(
        {"PATHS.CHECKPOINT_FILE": str(file), "MODEL.LOAD_CHECKPOINT": True, "TRAIN.ENABLE": True}
    )
    recorded = provenance.first_model(config, opened.tree)
    assert recorded is not None
    assert recorded["path"] == "nuclei"

    def model(path: str, sha256: str) -> Path | None:
        first = ModelFile(path=path, sha256=sha256)
        return find_model(
            replace(opened, summary=opened.summary.model_copy(update={"first_model": first}))
        )

    assert model(**recorded) == file
    # Earlier versions recorded the path on the other machine.
    assert model("/elsewhere/singula/zoo/nuclei/model.pth", recorded["sha256"]) == file
    for path, code in (("nuclei", "model_changed"), ("absent", "model_missing")):
        with pytest.raises(UserError) as error:
            model(path, "0" * 64)
        assert error.value.code == f"reproduce.{code}"
        assert "install Singula" in str(error.value.hint)


@pytest.mark.slow
def test_a_test_without_training_is_repeated_with_its_checkpoint(
    run, command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(data_2d, **{**KEYS, "TRAIN.ENABLE": False})
    line = ("run", "--config", config, "--result_dir", tmp_path / "out")
    assert command(*line) == 0, command.err
    summary = json.loads((run / "run.json").read_text())
    assert summary["first_model"]["path"].endswith("job_1-checkpoint-best.pth")
    assert command("reproduce", run, "-o", tmp_path / "new") == 0, command.out + command.err
    assert "did not train" in command.out


def test_the_commit_of_a_checkout_is_recorded(tmp_path, monkeypatch) -> None:
    assert provenance.source_commit(tmp_path) == ""
    (tmp_path / ".git").mkdir()
    (tmp_path / "src" / "singula").mkdir(parents=True)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.source_commit(tmp_path) == ""  # git fails


def test_all_folders_of_the_data_are_recorded() -> None:
    switches = (
        "TRAIN.ENABLE",
        "TEST.ENABLE",
        "DATA.TEST.LOAD_GT",
        "DATA.PREPROCESS.TRAIN",
        "DATA.PREPROCESS.MATCH_HISTOGRAM.ENABLE",
        "TEST.POST_PROCESSING.APPLY_MASK",
    )
    ignored = {f"DATA.{part}.IGNORE_PATH": "masks" for part in ("TRAIN", "VAL", "TEST")}
    values = {**dict.fromkeys(switches, True), "DATA.VAL.FROM_TRAIN": False, **ignored}
    config = Config().replaced(values)
    folders = {
        name
        for name in config.dotted()
        if name.startswith("DATA.")
        and name.endswith(("PATH", "_MASKS"))
        and "INPUT_ZARR" not in name
    }
    assert set(provenance.data_keys(config)) == folders

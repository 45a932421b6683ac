"""Fine-tuning from the Correct page: the command, its files, and the run that it starts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from example_run import ExampleRun, cells
from prediction_folder import write_prediction

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.io.record_files import read_record, write_record
from singula.io.records.results import StartedPrediction

pytest.importorskip(
    "psutil", reason="no test of processes: `pip install 'singula[gui]'` is missing"
)

from singula.gui import fine_tune, pictures
from singula.gui.correct import CorrectableImages, open_correctable
from singula.gui.fine_tune import describe_corrections, model_of, start_fine_tuning


@pytest.fixture
def images(tmp_path: Path) -> CorrectableImages:
    """Write a prediction of four images."""
    folder = write_prediction(tmp_path.resolve())
    for name in "bcd":
        for file in (folder / "a.tif", tmp_path / "in" / "a.tif"):
            shutil.copyfile(file, file.with_name(f"{name}.tif"))
    return open_correctable(Guard.of([tmp_path]), folder)


def use_model(images: CorrectableImages, model: str) -> None:
    record = read_record(images.folder / "gui_predict.json", StartedPrediction)
    write_record(images.folder / "gui_predict.json", record.model_copy(update={"model": model}))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record the commands instead of running them; each succeeds."""
    commands: list[list[str]] = []

    def run(command: list[str], **_options: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    monkeypatch.setattr(fine_tune.subprocess, "run", run)
    return commands


class Jobs:
    """Control that records the started runs."""

    def __init__(self) -> None:
        self.configs: list[Path] = []

    def start(self, job: object) -> Path:
        self.configs.append(job.config)
        return Path("started")


def test_images_for_training_and_comparison_are_counted(images: CorrectableImages) -> None:
    assert describe_corrections(images) == ""
    with pytest.raises(UserError) as caught:
        start_fine_tuning(Jobs(), images, 1)
    assert caught.value.code == "corrections.none"
    images.read("a").save()
    assert describe_corrections(images).startswith("1 corrected image.")
    for name in "bcd":
        images.read(name).save()
    text = describe_corrections(images)
    assert text.startswith("4 corrected images; 1 of them")


def test_a_run_is_started_from_the_model_of_the_prediction(
    images: CorrectableImages, commands: list[list[str]], tmp_path: Path
) -> None:
    images.read("a").save()
    use_model(images, "nuclei")
    jobs = Jobs()
    assert start_fine_tuning(jobs, images, 2.5) == Path("started")
    (tmp_path / "out_corrected.yaml").touch()
    (tmp_path / "out_corrected_2_data").mkdir()
    start_fine_tuning(jobs, images, 2.5)
    names = ["out_corrected.yaml", "out_corrected_3.yaml"]
    assert jobs.configs == [tmp_path.resolve() / name for name in names]
    for command, config in zip(commands, jobs.configs, strict=True):
        words = command[command.index("init") :]
        corrected = str(images.folder / "corrected")
        assert words == ["init", corrected, "--from=nuclei", f"--output={config}", "--minutes=2.5"]


def test_the_model_is_that_of_the_run_or_chosen_by_the_images(
    images: CorrectableImages, tmp_path: Path
) -> None:
    images.read("a").save()
    assert model_of(images) in ("nuclei", "tissue")  # chosen by the kind of the image
    folder = ExampleRun(tmp_path / "run", {"a": cells(2)}).write()
    assert model_of(open_correctable(images.guard, folder)) == str(folder)


def test_an_error_of_the_command_is_shown_and_no_run_starts(
    images: CorrectableImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.read("a").save()
    use_model(images, "nuclei")
    text = "error: too few images\n  hint: correct more\n"
    failed = subprocess.CompletedProcess([], 2, "", text)
    monkeypatch.setattr(fine_tune.subprocess, "run", lambda *_, **__: failed)
    jobs = Jobs()
    with pytest.raises(UserError) as caught:
        start_fine_tuning(jobs, images, 1)
    assert caught.value.code == "gui.fine_tune"
    assert "too few images" in caught.value.message
    assert jobs.configs == []


@pytest.mark.parametrize(("model", "code"), [("missing", "unknown_model"), ("/tmp", "outside")])
def test_a_record_with_another_model_is_refused(
    model: str, code: str, images: CorrectableImages, commands: list[list[str]]
) -> None:
    images.read("a").save()
    use_model(images, model)
    with pytest.raises(UserError) as caught:
        start_fine_tuning(Jobs(), images, 1)
    assert caught.value.code == f"gui.{code}"
    assert commands == []


def test_the_first_slice_of_a_volume_is_chosen_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_prediction(tmp_path.resolve(), depth=4)
    opened = open_correctable(Guard.of([tmp_path]), folder)
    run = ExampleRun(tmp_path / "run", {"a": cells(3)}).write()
    results = open_correctable(Guard.of([tmp_path]), run).opened
    labels = results.instances("a", results.run.final_stage).labels
    scenes = [
        opened.read("a").scene,
        opened.opened.read("a")[0],
        results.scene("a", results.run.final_stage, labels),
    ]
    monkeypatch.setattr(pictures, "middle_plane", None)  # it would be called by the pages
    most = int(np.count_nonzero(labels, axis=(1, 2)).argmax())
    assert [scene.middle_slice() for scene in scenes] == [0, 0, most]

"""Links and special files in run folders that lead the interface to files outside its roots."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.io.run_folder import ResultsTree

pytest.importorskip("psutil", reason="`pip install 'singula[gui]'` is missing")

from singula.config.load import config_from_dict
from singula.gui import processes
from singula.gui.control import Control
from singula.gui.processes import alive, open_output
from singula.gui.runs import OUTPUT, RECORD, read_record, tail
from singula.pipeline.run import Job

CONFIG = """
DATA: {TRAIN: {PATH: x, GT_PATH: y}, VAL: {FROM_TRAIN: True}}
TRAIN: {ENABLE: True}
"""
JOB = Job(Path("cells.yaml"), Path("out"), "cells")
# Locations of the results, relative to out/cells.
FOLDERS = ["results", "results/cells_1", "config_files", "checkpoints", "prob_map"]
FOLDERS += [f"results/cells_1/{name}" for name in (
    "per_image", "per_image_instances", "per_image_post_processing", "full_image", "charts",
    "train_logs", "tensorboard", "watershed", "watershed/cell_1", "instance_associations", "aug",
    "overlays", "tuning", "gen_check", "as_3d_stack", "per_image/a.zarr/0")]  # fmt: skip
FILES = [f"results/cells_1/{name}" for name in (
    OUTPUT, RECORD, "cells_1.log", "run.json", "progress.jsonl", "metrics.csv", "report.html",
    "per_image/a.tif", "train_logs/cells_1.csv")]  # fmt: skip
FILES += ["config_files/cells.yaml", "checkpoints/cells_1-checkpoint-last.pth",
          "checkpoints/normalization_mean_value.npy"]  # fmt: skip


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("kept")
    return folder


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Control:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "cells.yaml").write_text(CONFIG)
    monkeypatch.setattr(processes, "_PROGRAM", "print('a run')")
    return Control(Guard.of([tmp_path / "root"]))


def link(control: Control, name: str, target: Path) -> Path:
    path = control.guard.home / "out" / "cells" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def refuse(control: Control, outside: Path) -> None:
    for job in (JOB, replace(JOB, resume=True)):
        with pytest.raises(UserError, match="outside"):
            control.start(job)
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "kept"
    assert control.processes._children == []


@pytest.mark.parametrize("name", FOLDERS)
def test_a_linked_results_folder_starts_nothing(control: Control, outside: Path, name: str) -> None:
    link(control, name, outside)
    refuse(control, outside)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("target", ["file", "missing"])
def test_a_linked_result_file_starts_nothing(
    control: Control, outside: Path, name: str, target: str
) -> None:
    link(control, name, outside / target)
    refuse(control, outside)


@pytest.mark.parametrize(
    "key",
    ["PATHS.CHECKPOINT", "PATHS.RESULT_DIR.PATH", "PATHS.RESULT_DIR.PER_IMAGE", "PATHS.CHARTS",
     "PATHS.WATERSHED_DIR", "PATHS.PROB_MAP_DIR", "LOG.LOG_DIR", "PATHS.MEAN_INFO_FILE",
     "PATHS.CHECKPOINT_FILE"],
)  # fmt: skip
@pytest.mark.parametrize("way", ["JOB_DIR/{}/deep", "out/cells/{}/deep"])
def test_a_link_in_the_middle_of_a_moved_path_starts_nothing(
    control: Control, outside: Path, key: str, way: str
) -> None:
    section, _, rest = key.partition(".")
    parts = rest.split(".")
    text = f"{{{parts[-1]}: {way.format('link')}}}"
    for name in reversed(parts[:-1]):
        text = f"{{{name}: {text}}}"
    (control.guard.home / "cells.yaml").write_text(f"{CONFIG}\n{section}: {text}\n")
    link(control, "link", outside)
    refuse(control, outside)


def test_links_of_links_and_of_channel_folders_start_nothing(
    control: Control, outside: Path
) -> None:
    (control.guard.home / "elsewhere").mkdir()
    link(control, "checkpoints", control.guard.home / "elsewhere")
    inner = control.guard.home / "elsewhere" / "inner"
    inner.symlink_to(outside)
    refuse(control, outside)
    inner.unlink()
    keys = {"DATA.TRAIN.PATH": "x", "DATA.TRAIN.GT_PATH": "y", "TRAIN.ENABLE": True}
    channels = config_from_dict(keys).DATA.TRAIN.INSTANCE_CHANNELS_DIR
    (control.guard.home / channels).symlink_to(outside)
    refuse(control, outside)


def test_links_inside_the_roots_pass(control: Control) -> None:
    (control.guard.home / "disk").mkdir()
    link(control, "checkpoints", control.guard.home / "disk")
    link(control, "results/cells_1/per_image", control.guard.home / "disk")
    folder = control.start(JOB)
    until(lambda: "a run" in tail(folder / OUTPUT))
    assert read_record(folder) is not None


def test_every_location_of_the_results_is_known() -> None:
    tree = ResultsTree(Path("/r/cells"), "cells", 1)
    text = {str(path) for path in tree.locations()}
    for name in ("results/cells_1", "config_files", "checkpoints", "results/cells_1/cells_1.log",
                 "results/cells_1/progress.jsonl", "results/cells_1/tuning"):  # fmt: skip
        assert f"/r/cells/{name}" in text


def _to_file(path: Path, target: Path) -> None:
    path.symlink_to(target)


def _dangling(path: Path, target: Path) -> None:
    path.symlink_to(target.with_name("new"))


def _fifo(path: Path, target: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_to_file, _dangling, _fifo, lambda path, _: path.mkdir()])
@pytest.mark.parametrize("append", [False, True])
def test_a_log_is_opened_as_a_file_of_its_own(
    make: Callable[[Path, Path], None], append: bool, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    make(tmp_path / OUTPUT, target)
    with pytest.raises(UserError) as error:
        open_output(tmp_path / OUTPUT, append=append)
    assert error.value.code == "gui.log_is_special"
    assert target.read_text() == "kept"
    assert not (tmp_path / "new").exists()


def test_another_name_of_a_log_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("kept")
    os.link(tmp_path / "other", tmp_path / OUTPUT)
    with open_output(tmp_path / OUTPUT) as file:
        file.write(b"new")
    assert (tmp_path / "other").read_text() == "kept"
    with open_output(tmp_path / OUTPUT, append=True) as file:
        file.write(b" more")
    assert (tmp_path / OUTPUT).read_text() == "new more"


def until(done: Callable[[], object]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")


def test_after_the_check_a_linked_log_is_still_refused(
    control: Control, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "check_below", lambda self, paths: None)
    link(control, f"results/cells_1/{OUTPUT}", outside / "file")
    with pytest.raises(UserError):
        control.start(JOB)
    assert (outside / "file").read_text() == "kept"
    assert alive(read_record(control.guard.home / "out/cells/results/cells_1"), outside) is None

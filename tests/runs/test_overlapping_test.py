"""A test in several threads has the files and messages of a test of one image after the other."""

import errno
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from singula.io import write
from singula.pipeline import overlap, test
from singula.synthetic.fluorescence import make_dataset

SEG = "PROBLEM.INSTANCE_SEG"
# Files with dates, and records to which each image adds its line when it is finished
RECORDS = {".singula_files.jsonl", "predictions.jsonl", "progress.jsonl", "run.json", "report.html"}


@pytest.fixture
def tested(command, run_once, write_config, data_2d, tmp_path, monkeypatch):
    """Return a function that tests six images with a number of threads."""
    data = tmp_path / "data"
    shutil.copytree(data_2d, data)
    config = write_config(data, **{"TRAIN.EPOCHS": 3, f"{SEG}.DATA_MW_TH_TYPE": "manual"})
    trained = run_once("manual_3", config, tmp_path / "trained")
    make_dataset(
        data, 2, np.random.default_rng(5), n_train=0, n_val=0, n_test=6, shape=(90, 70)
    )  # fmt: skip
    (weights,) = (trained / "job" / "checkpoints").glob("*best*")

    def run(name: str, workers: int, *changes: str, resume: bool = False) -> int:
        monkeypatch.setattr(test, "finishing_threads", lambda *_: workers)
        keys = (
            "TRAIN.ENABLE=False",
            f"PATHS.CHECKPOINT_FILE={weights}",
            "TEST.POST_PROCESSING.CLEAR_BORDER=True",
            "TEST.POST_PROCESSING.MEASURE_PROPERTIES.ENABLE=True",
            *changes,
        )
        words = [word for key in keys for word in ("--set", key)]
        out = ("--result_dir", tmp_path / name, "--name", "job")
        return command("run", "--config", config, *out, *words, *["--resume"] * resume)

    return run


def files(folder: Path) -> dict[str, bytes]:
    run = folder / "job/results/job_1"
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in RECORDS and path.suffix != ".log"
    }


def lines(folder: Path, name: str) -> list[str]:
    """Return the images of a record in order."""
    text = (folder / "job/results/job_1" / name).read_text()
    return re.findall(r'"(?:image|file)":"([^"]*image_\d+)"', text)


def image_lines(out: str) -> list[str]:
    return [line for line in out.splitlines() if re.search(r"image_\d+", line)]


def test_threads_do_not_change_the_results(tested, command, tmp_path) -> None:
    # A damaged image in the middle of the others
    damaged = tmp_path / "data/test/x/image_002.tif"
    damaged.write_bytes(damaged.read_bytes()[:-3000])
    assert tested("one", 0) == 1
    expected = image_lines(command.out)
    assert any("FAILED" in line for line in expected)
    for workers in (1, 3):
        name = f"{workers}_threads"
        assert tested(name, workers) == 1
        assert [line.replace(name, "one") for line in image_lines(command.out)] == expected
        one, several = files(tmp_path / "one"), files(tmp_path / name)
        assert several.keys() == one.keys()
        assert [path for path in one if one[path] != several[path]] == []
        for record in ("progress.jsonl", "predictions.jsonl"):
            images = lines(tmp_path / name, record)
            assert sorted(images) == lines(tmp_path / "one", record)
        assert b"image_005" in one["metrics.csv"]


@pytest.mark.parametrize("key", ["TEST.FULL_IMG=True", "TEST.ANALIZE_2D_IMGS_AS_3D_STACK=True"])
def test_threads_do_not_change_other_views(key, tested, command, tmp_path) -> None:
    results = []
    for workers in (0, 2):
        name = f"{workers}_threads"
        assert tested(name, workers, key) == 0, command.err
        results.append(files(tmp_path / name))
    assert results[0] == results[1]


def test_a_full_disk_ends_the_test_which_can_be_resumed(
    tested, command, tmp_path, monkeypatch
) -> None:
    assert tested("one", 0) == 0
    write_file = write._write

    def fill_disk(path: Path, *rest: object) -> None:
        if "image_003" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_file(path, *rest)

    monkeypatch.setattr(write, "_write", fill_disk)
    assert tested("two", 2) == 2
    assert "the disk is full" in command.err
    assert "[3/6] image_002" in command.out
    assert "image_003:" not in command.out
    assert {"image_000", "image_001", "image_002"} <= set(lines(tmp_path / "two", "progress.jsonl"))
    assert not list((tmp_path / "two").rglob("*.part*"))
    monkeypatch.setattr(write, "_write", write_file)
    assert tested("two", 2, resume=True) == 0
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_ctrl_c_keeps_the_finished_images(tested, command, tmp_path, monkeypatch) -> None:
    assert tested("one", 0) == 0
    predict = test.predict_maps
    names: list[str] = []

    def interrupt(*arguments: object, **options: object) -> object:
        names.append("")
        if len(names) == 4:
            raise KeyboardInterrupt
        return predict(*arguments, **options)

    monkeypatch.setattr(test, "predict_maps", interrupt)
    assert tested("two", 2) == 130
    assert "Traceback" not in command.err
    assert not list((tmp_path / "two").rglob("*.part*"))
    monkeypatch.setattr(test, "predict_maps", predict)
    assert tested("two", 2, resume=True) == 0
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_little_memory_means_one_image_after_the_other(tested, tmp_path, monkeypatch) -> None:
    in_progress, most = [0], [0]
    stages = overlap.Stages

    def counting(read, predict, finish, size):
        def count(item: object) -> object:
            in_progress[0] += 1
            most[0] = max(most[0], in_progress[0])
            return read(item)

        def uncount(item: object, predicted: object) -> object:
            try:
                return finish(item, predicted)
            finally:
                in_progress[0] -= 1

        return stages(count, predict, uncount, size)

    monkeypatch.setattr(test, "Stages", counting)
    assert tested("two", 2, "SYSTEM.MAX_MEMORY=100KB") == 0
    assert most == [1]

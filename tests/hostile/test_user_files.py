"""Files created or changed by the user are never replaced or deleted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from selection import fast_first
from tiny_run import TINY_RUN

from singula import notebook
from singula.commands import demo
from singula.commands.demo import run_demo
from singula.errors import StorageError, UserError
from singula.io import written
from singula.io.atomic import atomic_folder, atomic_path
from singula.io.block_array import BlockArray
from singula.io.read import read_image
from singula.io.run_folder import ResultsTree, _Place
from singula.io.write import write_text, write_tiff
from singula.io.written import RECORD, foreign_files, protect
from singula.pipeline.map_cache import set_results_aside
from singula.pipeline.progress import Progress
from singula.synthetic.fluorescence import dataset_files, make_dataset

MINE = "mine"


def _tree(folder: Path) -> ResultsTree:
    return ResultsTree(folder / "job", "job", 1)


def _contents(folder: Path) -> list[str]:
    """Return the contents of all files except the records of Singula."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return [path.read_text() for path in files]


PLACES = {name: place for name, place in vars(ResultsTree).items() if isinstance(place, _Place)}
MOVED = [
    (name, place.key)
    for name, place in PLACES.items()
    if place.key not in (None, "PATHS.CHECKPOINT_FILE")
]


@pytest.mark.parametrize(
    ("place", "key"), [(name, "") for name in PLACES if name != "blocks"] + MOVED
)
def test_every_place_of_a_run_is_protected(
    tmp_path: Path, place: str, key: str, messages: list[str]
) -> None:
    name = "other/values.npy" if key.endswith("INFO_FILE") else "other"
    tree = ResultsTree(tmp_path / "job", "job", 1, {key: str(tmp_path / name)} if key else {})
    path: Path = getattr(tree, place)
    path = path if path.suffix else path / "sub" / "file.txt"
    path.parent.mkdir(parents=True)
    path.write_text(MINE)
    for text in ("one", "two"):
        with tree.protect():
            write_text(path, text)
    assert sorted(_contents(tmp_path)) == [MINE, "two"]
    (kept,) = (p for p in tmp_path.rglob("*") if p.is_file() and p.read_text() == MINE)
    assert "previous" in kept.parts
    assert [line.count(str(kept)) for line in messages] == [1]


def _edit(path: Path) -> None:
    path.write_text(MINE)


def _edit_same_size(path: Path) -> None:
    path.write_text("own".replace("o", "O"))


def _replace(path: Path) -> None:
    path.unlink()
    path.write_text(MINE)


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.write_text("own")
    path.unlink()
    path.symlink_to(target)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inner").write_text(MINE)


CHANGES: list[Callable[[Path], None]] = [_edit, _edit_same_size, _replace, _link, _folder]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_files_are_moved(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "run" / "a" / "file.txt"
    with protect([tmp_path / "run"]):
        write_text(path, "own")
    change(path)
    before = os.readlink(path) if path.is_symlink() else _contents(tmp_path)
    with protect([tmp_path / "run"]):
        write_text(path, "new")
        write_text(path, "newer")
    kept = tmp_path / "run" / "previous" / "a" / "file.txt"
    assert path.read_text() == "newer"
    assert (os.readlink(kept) if kept.is_symlink() else _contents(kept.parent)) == before


def _copy(run: Path) -> None:
    shutil.copytree(run, run.with_name("copied"))
    shutil.rmtree(run)
    run.with_name("copied").rename(run)


def _touch(run: Path) -> None:
    for path in run.rglob("*.txt"):
        os.utime(path, (1, 1))


def _move(run: Path) -> None:
    run.rename(run.with_name("other"))
    run.with_name("other").rename(run)


@pytest.mark.parametrize("handle", [lambda run: None, _copy, _touch, _move])
def test_files_of_singula_are_replaced(
    tmp_path: Path, handle: Callable[[Path], None], messages: list[str]
) -> None:
    """Copies and other times of small files are not changes."""
    run = tmp_path / "run"
    for number in range(3):
        with protect([run]):
            write_text(run / "a" / "file.txt", str(number))
        handle(run)
    assert messages == []
    assert _contents(run) == ["2"]


OBSTACLES: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_text("obstacle"),
    "link": lambda path: path.symlink_to(path.with_name("outside"), target_is_directory=True),
    "inner file": lambda path: write_text(path / "a", "obstacle"),
    "inner folder": lambda path: write_text(path / "a" / "file.txt" / "b", "obstacle"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_an_existing_previous_folder(tmp_path: Path, obstacle: str) -> None:
    """A file, link or folder of the user has the name of the target."""
    run = tmp_path / "run"
    (tmp_path / "run" / "outside").mkdir(parents=True)
    OBSTACLES[obstacle](run / "previous")
    write_text(run / "a" / "file.txt", MINE)
    before = _contents(run)
    with protect([run]):
        write_text(run / "a" / "file.txt", "new")
    assert sorted(_contents(run)) == sorted([*before, "new"])
    assert (run / "previous_2" / "a" / "file.txt").read_text() == MINE
    assert list((run / "outside").iterdir()) == []


def test_equal_files_are_not_moved(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("same")
    with protect([tmp_path]):
        write_text(tmp_path / "file.txt", "same")
        write_text(tmp_path / "file.txt", "other")
    assert _contents(tmp_path) == ["other"]


def test_nothing_is_recorded_elsewhere(tmp_path: Path) -> None:
    with protect([tmp_path / "run"], exempt=[tmp_path / "run" / "chunks"]):
        write_text(tmp_path / "file.txt", "1")
        write_text(tmp_path / "run" / "chunks" / "file.txt", "1")
    write_text(tmp_path / "run" / "file.txt", "1")
    assert [path for path in tmp_path.rglob("*") if path.name == RECORD] == []


def test_inner_and_repeated_contexts(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    with protect([outer]), protect([outer, inner]):
        with protect([inner]):
            write_text(inner / "file.txt", "1")
        write_text(inner / "file.txt", "2")
        write_text(outer / "file.txt", "1")
    (inner / "file.txt").write_text(MINE)
    with protect([inner, outer]):
        write_text(inner / "file.txt", "3")
        write_text(outer / "file.txt", "3")
    assert (inner / "previous" / "file.txt").read_text() == MINE
    assert not (outer / "previous").exists()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\0" * 9),
    "other values": lambda path: path.write_text('{"a": 1}\n[1]\n[]\n"abc"\n7\nnull\n["a", 3]\n'),
    "other types": lambda path: path.write_text('["file.txt", ["a", {}, null]]\n'),
    "huge numbers": lambda path: path.write_text(f'["file.txt", [{"9" * 5000}, 1e999, 1]]\n'),
    "deep": lambda path: path.write_text("[" * 100_000),
    "gone": lambda path: path.unlink(),
    "outside": lambda path: path.write_text('["../../file", [3, 1, ""]]\n'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_files_count_as_the_users_if_the_record_is_damaged(tmp_path: Path, damage: str) -> None:
    run = tmp_path / "run"
    with protect([run]):
        write_text(run / "file.txt", "own")
    DAMAGE[damage](run / RECORD)
    for text in ("new", "newer", "newest"):
        with protect([run]):
            write_text(run / "file.txt", text)
    assert _contents(run) == ["newest", "own"]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_record_that_is_not_a_file_stops_the_command(tmp_path: Path, kind: str) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    (run / "file.txt").write_text(MINE)
    outside.write_text(MINE)
    make: dict[str, Callable[[Path], object]] = {
        "link": lambda path: path.symlink_to(outside),
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
    }
    make[kind](run / RECORD)
    with pytest.raises(StorageError), protect([run]):
        write_text(run / "file.txt", "new")
    assert outside.read_text() == MINE
    assert MINE in _contents(run) if kind != "pipe" else True


def test_files_of_a_killed_process_count_as_written(tmp_path: Path, messages: list[str]) -> None:
    """After the record and before the rename, and within a line."""
    code = (
        "import os, pathlib\n"
        "from singula.io import atomic, written\n"
        "from singula.io.write import write_text\n"
        f"run = pathlib.Path({str(tmp_path)!r})\n"
        "with written.protect([run]):\n"
        "    write_text(run / 'file.txt', 'one')\n"
        "    atomic.os.replace = lambda *paths: os._exit(9)\n"
        "    write_text(run / 'file.txt', 'two')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    with (tmp_path / RECORD).open("a") as file:
        file.write('["file.txt", [1, ')
    for text in ("three", "four"):
        with protect([tmp_path]):
            write_text(tmp_path / "file.txt", text)
    assert messages == []
    assert (tmp_path / "file.txt").read_text() == "four"


def test_the_size_of_records_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "_MAX_OUTDATED", 10)
    for _ in range(5):
        with protect([tmp_path]):
            for number in range(20):
                write_text(tmp_path / "file.txt", str(number))
    lines = [line for line in (tmp_path / RECORD).read_text().splitlines() if line]
    assert len(lines) < 30
    with protect([tmp_path]):
        assert list(foreign_files(tmp_path / "file.txt")) == []


def test_runs_that_share_a_folder_may_shorten_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "_MAX_OUTDATED", 0)
    code = (
        "import pathlib, sys\n"
        "from singula.io import written\n"
        "from singula.io.write import write_text\n"
        f"run = pathlib.Path({str(tmp_path)!r})\n"
        "with written.protect([run]):\n"
        "    for line in sys.stdin:\n"
        "        write_text(run / 'other.txt', line)\n"
        "        print('written', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for number in range(5):
            with protect([tmp_path]):
                for text in "abc":
                    write_text(tmp_path / "file.txt", text)
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "written\n"
        process.stdin.close()
    with protect([tmp_path]):
        assert list(foreign_files(tmp_path / "file.txt")) == []
        assert list(foreign_files(tmp_path / "other.txt")) == []


def test_folders_are_recorded_as_a_whole(tmp_path: Path, messages: list[str]) -> None:
    """Any change of a file of a Zarr counts; an unfinished Zarr belongs to Singula."""
    path = tmp_path / "a.zarr"

    def write() -> BlockArray:
        image = BlockArray.create(path, (8, 8), np.uint8, ndim=2, kind="labels")
        image.write((slice(0, 8), slice(0, 8)), np.ones((8, 8), np.uint8))
        return image

    for _ in range(2):
        with protect([tmp_path]):
            write()
        with protect([tmp_path]):
            write().finish()
    assert messages == []
    image = BlockArray.open(path)
    image.write((slice(0, 8), slice(0, 8)), np.full((8, 8), 2, np.uint8))
    with protect([tmp_path]):
        write().finish()
    kept = read_image(tmp_path / "previous" / "a.zarr", 2).array
    assert set(np.unique(kept)) == {2}
    assert len(messages) == 1
    with protect([tmp_path]):
        for number in range(2):
            with atomic_folder(tmp_path / "b.zarr") as temporary:
                (temporary / "inner").write_text(str(number))
    assert not (tmp_path / "previous" / "b.zarr").exists()


def _test_results(tree: ResultsTree, text: str) -> None:
    with tree.protect():
        write_text(tree.per_image_instances / "a.txt", text)
        write_text(tree.overlays / "a.txt", text)
        write_text(tree.metrics_csv, text)


def test_corrected_instances_outlive_any_number_of_tests(
    tmp_path: Path, messages: list[str]
) -> None:
    tree = _tree(tmp_path)
    for number in range(4):
        with tree.protect():
            set_results_aside(tree, keep_maps=False)
        _test_results(tree, str(number))
    assert _contents(tree.run) == ["3", "3", "3", "2", "2", "2"]  # and those before are deleted
    assert len(messages) == 3
    (tree.per_image_instances / "a.txt").write_text(MINE)
    for number in range(3):
        set_results_aside(tree, keep_maps=False)
        _test_results(tree, f"new {number}")
    assert (tree.run / "previous" / "per_image_instances" / "a.txt").read_text() == MINE
    assert any("changed" in line for line in messages[3:])
    # Files that are corrected after they were moved, too.
    (tree.run / "previous_2" / "metrics.csv").write_text("also mine")
    for number in range(2):
        set_results_aside(tree, keep_maps=False)
        _test_results(tree, f"newer {number}")
    assert {MINE, "also mine"} <= set(_contents(tree.run))
    kept = sorted(path.name for path in tree.run.glob("previous*"))
    assert kept == ["previous", "previous_2", "previous_3"]  # others are deleted, as without edits


def test_a_user_file_named_as_the_progress_file_is_kept(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    write_text(tree.progress, MINE)
    with tree.protect():
        Progress(tree.progress, "settings", resume=False)
    assert _contents(tree.run) == [MINE]
    assert not tree.progress.exists()


def test_results_of_another_program_are_kept(tmp_path: Path) -> None:
    """A folder of another program contains files with the same names."""
    tree = _tree(tmp_path)
    for path in (tree.run_json, tree.metrics_csv, tree.report_html, tree.progress):
        write_text(path, MINE)
    foreign = (
        tree.overlays / "a.txt",
        tree.run / "previous" / "a.txt",
        tree.config_files / "j.yaml",
    )
    for path in foreign:
        write_text(path, MINE)
    count = _contents(tmp_path).count(MINE)
    for _ in range(3):
        set_results_aside(tree, keep_maps=False)
        with tree.protect():
            for path in (tree.run_json, tree.metrics_csv, tree.report_html, tree.progress):
                write_text(path, "new")
            write_text(tree.config_files / "j.yaml", "new")
            write_text(tree.overlays / "a.txt", "new")
    assert _contents(tmp_path).count(MINE) == count


class Ended(Exception):
    """Error that ends a demonstration before its run."""


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """End demonstrations before their run, and list the runs."""
    runs: list[object] = []

    def end(job: object) -> None:
        runs.append(job)
        raise Ended

    monkeypatch.setattr(demo, "run", end)
    return runs


def _demo(output: Path, ndim: int = 2) -> None:
    with suppress(Ended):
        run_demo(output, ndim, quick=True, live=False)


DEMO_FILES = [
    str(path.relative_to("2d"))
    for path in (Path("2d/demo.yaml"), *dataset_files("2d/data", 2, 1, 1))
]


@pytest.mark.parametrize("name", fast_first(DEMO_FILES, 2))
def test_a_demonstration_does_not_replace_changed_files(
    tmp_path: Path, untrained: list[object], name: str
) -> None:
    output = tmp_path / "demo"
    for number in range(2):  # the same command works again
        _demo(output)
        assert len(untrained) == number + 1
    path = output / "2d" / name
    if path.suffix == ".tif":
        labels = read_image(path, 2).array[..., 0]
        labels[:4] = 0
        write_tiff(path, labels, "YX")
    else:
        path.write_text(path.read_text() + "# mine\n")
    before = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}
    with pytest.raises(UserError) as error:
        _demo(output)
    assert error.value.code == "demo.changed_files"
    assert {p: p.read_bytes() for p in output.rglob("*") if p.is_file()} == before
    _demo(output, 3)  # which has a folder of its own
    path.unlink()
    if path.name != demo.MARK:
        _demo(output)  # what is missing is made again
        assert path.is_file()


def test_a_demonstration_of_unknown_origin_is_kept(tmp_path: Path, untrained: list[object]) -> None:
    _demo(tmp_path)
    (tmp_path / "2d" / RECORD).unlink()
    with pytest.raises(UserError) as error:
        _demo(tmp_path)
    assert error.value.code == "demo.changed_files"


def test_a_notebook_keeps_a_changed_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "_show", lambda table: None)
    monkeypatch.setattr("singula.pipeline.timing.measure_proposal", None)
    from singula.dataset.facts import Folders

    data = tmp_path / "data"
    make_dataset(data, 2, np.random.default_rng(1), n_train=2, n_val=0, n_test=0, shape=(64, 64))
    parts = [Folders("train", data / "train" / "x", data / "train" / "y")]

    def prepare() -> Path:
        given = (parts, 2, "let the data decide", notebook.AS_LABELED, str(tmp_path), "cells", 1.0)
        return notebook.prepare(*given).config

    path = prepare()
    assert prepare() == path
    path.write_text(path.read_text() + "# mine\n")
    text = path.read_text()
    with pytest.raises(notebook.NotebookError):
        prepare()
    assert path.read_text() == text


def test_a_moved_file_is_not_lost_if_the_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text(MINE)
    with pytest.raises(ZeroDivisionError), protect([tmp_path]), atomic_path(path):
        raise ZeroDivisionError
    assert _contents(tmp_path) == [MINE]


CONFIG = TINY_RUN + "PATHS: {{CHARTS: JOB_DIR/my charts}}\n"


@pytest.mark.slow
def test_commands_on_a_run_keep_changed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Repeat a run, tune, export and report after changing all files of the run."""
    from singula import cli

    def command(*words: object) -> int:
        monkeypatch.setattr("sys.argv", ["singula", *map(str, words)])
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    data = tmp_path / "data"
    make_dataset(data, 2, np.random.default_rng(1), n_train=2, n_val=0, n_test=0, shape=(48, 48))
    (tmp_path / "job.yaml").write_text(CONFIG.format(data=data / "train"))
    run = ("run", "--config", tmp_path / "job.yaml", "--gpu", "cpu", "--result_dir", tmp_path)
    tree = _tree(tmp_path)
    # What is there is not Singula's: every file and folder has other content.
    foreign = [tree.config_files / "job.yaml", tree.run_json, tree.metrics_csv, tree.report_html]
    foreign += [
        tree.per_image_instances / "image_000.tif",
        tree.job_dir / "my charts/job_1_loss.png",
    ]
    for number, path in enumerate(foreign):
        write_text(path, f"foreign {number}")
    assert command(*run) == 0
    text = _texts(tree.job_dir)
    assert {f"foreign {number}" for number in range(len(foreign))} <= set(text)
    capsys.readouterr()

    test = (*run, "--set", "TRAIN.ENABLE=False")
    for words in (test, ("report", tree.run), ("tune", tree.run, "--gpu", "cpu"), test):
        capsys.readouterr()
        assert command(*words) == 0, words
        assert "was not written" not in capsys.readouterr().out, words
    instances = tree.per_image_instances / "image_000.tif"
    for number in range(2):
        instances.write_text(f"corrected {number}")
        assert command(*test) == 0
        assert f"corrected {number}" in _texts(tree.run)
    for words, path in (
        (("report", tree.run), tree.report_html),
        (("tune", tree.run, "--gpu", "cpu"), tree.tuning / "trials.csv"),
        (("tune", tree.run, "--gpu", "cpu"), tree.tuning / "tuned.yaml"),
        (("export", tree.run, "--to", "csv", "--overwrite"), tree.exports / "instances.csv"),
    ):
        write_text(path, f"changed {path.name}")
        for _ in range(2):
            assert command(*words) == 0, words
            assert f"changed {path.name}" in _texts(tree.run)
    assert {"corrected 0", "corrected 1"} <= set(_texts(tree.run))


def _texts(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.read_bytes().decode("utf-8", "replace") for path in files]

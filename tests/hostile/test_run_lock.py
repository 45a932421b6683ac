"""Several processes that write to one run or folder."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from locks import held_elsewhere
from selection import fast_first

from singula import cli, exports, tuning
from singula.commands.check import check_data
from singula.commands.demo import run_demo
from singula.commands.launch import launch_run
from singula.config import load_config
from singula.dataset.checks import inspect_dataset, write_fixed
from singula.errors import StorageError, UserError
from singula.inference import load as load_model
from singula.inference import predict_files
from singula.io import run_lock
from singula.io.records.locks import LockRecord
from singula.io.run_folder import ResultsTree
from singula.io.run_lock import check_free, find_holder, hold, lock_file, output_locks
from singula.pipeline.run import Job
from singula.pipeline.run import run as run_job
from singula.report.build import build_report
from singula.synthetic.fluorescence import make_dataset
from singula.training.checkpoint import load_checkpoint

posix = pytest.mark.skipif(os.name == "nt", reason="needs links, named pipes and fork")


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return all files below a folder with times and contents, except lock files."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns if path.is_file() else 0,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
        if not path.name.endswith(run_lock.NAME)
    }


def refusal(call: Callable[[], object]) -> UserError:
    with pytest.raises(UserError) as error:
        call()
    return error.value


class TestLock:
    def test_two_holders_exclude_each_other_in_both_orders(self, tmp_path: Path) -> None:
        path = lock_file(tmp_path)
        with held_elsewhere(path):
            assert refusal(lambda: take(path)).code == "run.locked"
        take(path)
        with hold([path], "run"):
            line = [sys.executable, "-c", TAKE, str(path)]
            result = subprocess.run(line, capture_output=True, text=True)
            assert result.stdout == "run.locked\n", result.stderr
        take(path)
        assert not any(tmp_path.iterdir())

    def test_the_second_of_two_files_leaves_the_first_one_free(self, tmp_path: Path) -> None:
        one, two = lock_file(tmp_path / "a"), lock_file(tmp_path / "b")
        with held_elsewhere(two):
            assert refusal(lambda: take(one, two)).code == "run.locked"
            assert not (tmp_path / "a").exists()
            take(one)

    def test_a_killed_holder_is_no_obstacle(self, tmp_path: Path) -> None:
        path = lock_file(tmp_path / "run")
        with held_elsewhere(path) as process:
            process.kill()
            process.wait()
            assert path.is_file()
            assert find_holder(path) is None
            check_free([path])
            take(path)
        assert not path.exists()

    @posix
    def test_a_forked_process_does_not_keep_the_lock(self, tmp_path: Path) -> None:
        path = lock_file(tmp_path)
        line = [sys.executable, "-c", FORK, str(path)]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            try:
                assert find_holder(path) is not None
                process.kill()
                process.wait()
                os.kill(child, 0)
                assert find_holder(path) is None
            finally:
                os.kill(child, signal.SIGKILL)

    def test_a_caller_that_holds_a_lock_takes_it_again(self, tmp_path: Path) -> None:
        path = lock_file(tmp_path / "run")
        with hold([path], "run"), hold([path, lock_file(tmp_path / "other")], "report"):
            check_free([path])
            holder = find_holder(path)
        assert holder is not None
        assert holder.task == "run"
        assert find_holder(path) is None

    def test_threads_exclude_each_other(self, tmp_path: Path) -> None:
        path, codes = lock_file(tmp_path), list[str | None]()
        with hold([path], "run"):
            thread = threading.Thread(target=lambda: codes.append(refusal(lambda: take(path)).code))
            thread.start()
            thread.join()
        assert codes == ["run.locked"]

    def test_an_error_releases_the_lock_and_removes_empty_folders(self, tmp_path: Path) -> None:
        path = lock_file(tmp_path / "a" / "b")
        with pytest.raises(ZeroDivisionError), hold([path], "run"):
            raise ZeroDivisionError
        assert not (tmp_path / "a").exists()
        with hold([path], "run"):
            (tmp_path / "a" / "kept.txt").touch()
        assert [found.name for found in (tmp_path / "a").iterdir()] == ["kept.txt"]

    @posix
    def test_a_link_to_the_folder_is_the_same_folder(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "run")
        with held_elsewhere(lock_file(tmp_path / "run")):
            assert refusal(lambda: take(lock_file(tmp_path / "link"))).code == "run.locked"

    def test_holders_that_delete_the_file_of_each_other(self, tmp_path: Path) -> None:
        """An opened file, and its folder, can be deleted before it is locked."""
        path = lock_file(tmp_path / "run")
        inside, failures = list[int](), list[object]()

        def work(number: int) -> None:
            for _ in range(100):
                try:
                    with hold([path], "run"):
                        inside.append(number)
                        failures.extend([inside.copy()] * (len(inside) > 1))
                        inside.remove(number)
                except UserError as error:
                    failures.extend([error] * (error.code != "run.locked"))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert not list(tmp_path.rglob(f"*{run_lock.NAME}"))


class TestRecord:
    def test_the_error_names_the_process(self, tmp_path: Path) -> None:
        path = lock_file(tmp_path)
        with held_elsewhere(path, task="tune") as process:
            holder = find_holder(path)
            text = str(refusal(lambda: take(path)))
        assert holder is not None
        assert (holder.pid, holder.task) == (process.pid, "tune")
        for word in (str(process.pid), holder.host, holder.started, holder.command, str(tmp_path)):
            assert word
            assert word in text

    @posix
    @pytest.mark.parametrize(
        "content",
        [b"", b" ", b"\0" * 100, b" {", b" []", b" null", b' {"pid": "7"}', b' {"pid": 1e99}',
         b' {"format": 99, "pid": 7}', b' {"pid": 7, "command": 3}', b" \xff\xfe{}",
         b" " + b"[" * 60_000, b" " * 200_000, b' {"pid": 7, "host": null}'],
        ids=map(str, range(14)),
    )  # fmt: skip
    def test_a_damaged_record_hides_only_the_name(self, tmp_path: Path, content: bytes) -> None:
        path = lock_file(tmp_path)
        with held_elsewhere(path):
            path.write_bytes(content)
            assert find_holder(path) == LockRecord()
            assert refusal(lambda: take(path)).code == "run.locked"
        take(path)

    @posix
    def test_a_record_cannot_write_to_the_terminal(self, tmp_path: Path) -> None:
        path = lock_file(tmp_path)
        record = {"pid": 7, "host": "a\x1b[2J\nb", "command": "\x1b]0;x\x07" + "y" * 9000}
        with held_elsewhere(path):
            path.write_text(" " + json.dumps(record))
            text = refusal(lambda: take(path)).message
        assert text.isprintable()
        assert len(text) < 1000

    def test_arguments_that_are_not_utf_8(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(sys, "argv", ["singula", "run", "--name", "a\udcffb" * 9000])
        with hold([lock_file(tmp_path)], "run"):
            holder = find_holder(lock_file(tmp_path))
        assert holder is not None
        assert holder.command.startswith("singula run --name")


def plant_link(path: Path) -> None:
    path.symlink_to(path.parent / "target")


def plant_link_to_file(path: Path) -> None:
    (path.parent / "target").write_text("mine")
    plant_link(path)


def plant_pipe(path: Path) -> None:
    os.mkfifo(path)


def plant_folder(path: Path) -> None:
    path.mkdir()


def plant_socket(path: Path) -> None:
    import socket

    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


SPECIAL = [plant_link, plant_link_to_file, plant_pipe, plant_folder, plant_socket]


class TestHostileFiles:
    @posix
    @pytest.mark.parametrize("plant", SPECIAL)
    def test_a_special_file_in_place_of_the_lock(
        self, tmp_path: Path, plant: Callable[[Path], None]
    ) -> None:
        path = lock_file(tmp_path)
        plant(path)
        before = snapshot(tmp_path)
        assert refusal(lambda: take(path)).code == "run.lock_file"
        assert find_holder(path) is None
        assert snapshot(tmp_path) == before

    @posix
    def test_a_hard_link_is_replaced(self, tmp_path: Path) -> None:
        victim, path = tmp_path / "victim", lock_file(tmp_path / "run")
        victim.write_text("mine")
        path.parent.mkdir()
        os.link(victim, path)
        with hold([path], "run"):
            assert find_holder(path) is not None
            assert victim.read_text() == "mine"
        assert victim.read_text() == "mine"

    @posix
    def test_a_file_that_replaced_a_hard_link_is_kept(self, tmp_path: Path, monkeypatch) -> None:
        """Another process replaces the link while this one waits for its lock."""
        victim, path = tmp_path / "victim", lock_file(tmp_path / "run")
        victim.write_text("mine")
        path.parent.mkdir()
        os.link(victim, path)
        lock, other = run_lock.lock_descriptor, []

        def lock_late(descriptor: int, *, blocking: bool) -> bool:
            if not other:
                path.unlink()
                other.append(os.open(path, os.O_RDWR | os.O_CREAT))
                assert lock(other[0], blocking=False)
            return lock(descriptor, blocking=blocking)

        monkeypatch.setattr(run_lock, "lock_descriptor", lock_late)
        assert refusal(lambda: take(path)).code == "run.locked"
        os.close(other[0])

    @pytest.mark.parametrize("code", sorted(run_lock._NO_LOCKS))
    def test_file_systems_without_locks(
        self, tmp_path: Path, monkeypatch, code: int, messages: list[str]
    ) -> None:
        monkeypatch.setattr(run_lock, "lock_descriptor", failing(OSError(code, "no locks")))
        with hold([lock_file(tmp_path)], "run"):
            assert len(messages) == 1
            assert str(tmp_path) in messages[0]
        assert find_holder(lock_file(tmp_path)) is None
        assert not any(tmp_path.iterdir())

    def test_other_errors_of_the_system(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(run_lock, "lock_descriptor", failing(OSError(errno.EIO, "broken")))
        with pytest.raises(StorageError):
            take(lock_file(tmp_path))

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
    def test_a_folder_that_cannot_be_written(self, tmp_path: Path, monkeypatch, code: int) -> None:
        error = PermissionError if code == errno.EACCES else OSError
        monkeypatch.setattr(os, "open", failing(error(code, os.strerror(code))))
        with pytest.raises(StorageError):
            take(lock_file(tmp_path))

    def test_a_file_of_another_user_is_replaced_when_it_is_free(
        self, tmp_path: Path, monkeypatch
    ) -> None:
        path, system = lock_file(tmp_path), os.open

        def readable_only(name: Path, flags: int, *rest: int) -> int:
            if flags & os.O_RDWR and os.path.exists(name) and os.stat(name).st_ino == number:
                raise PermissionError(errno.EACCES, "not yours")
            return system(name, flags, *rest)

        path.write_text("another user's")
        number = path.stat().st_ino
        monkeypatch.setattr(os, "open", readable_only)
        # A new file would get the number of the deleted one if that were not open any more.
        with path.open(), hold([path], "run"):
            assert path.stat().st_ino != number
        path.unlink(missing_ok=True)
        with held_elsewhere(path):
            number = path.stat().st_ino
            assert refusal(lambda: take(path)).code == "run.locked"


TAKE = """
import sys
from pathlib import Path
from singula.errors import UserError
from singula.io.run_lock import hold

try:
    with hold([Path(sys.argv[1])], "run"):
        print("taken")
except UserError as error:
    print(error.code)
"""
FORK = """
import os, sys, time
from pathlib import Path
from singula.io.run_lock import hold

with hold([Path(sys.argv[1])], "run"):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(600)
"""


def take(*paths: Path) -> None:
    with hold(paths, "run"):
        pass


def failing(error: Exception) -> Callable[..., int]:
    def fail(*_: object, **__: object) -> int:
        raise error

    return fail


class TestWhichFilesCollide:
    """Runs exclude each other exactly if they write the same files."""

    @pytest.mark.parametrize(
        ("one", "two", "keys", "collide"),
        [
            ("a/cells_1", "a/cells_1", {}, True),
            ("a/cells_1", "a/cells_2", {}, False),
            ("a/cells_1", "a/nuclei_1", {}, False),
            ("a/cells_1", "b/cells_1", {}, False),
            ("a/cells_1", "b/cells_1", {"PATHS.CHECKPOINT": "{0}/shared"}, True),
            ("a/cells_1", "a/cells_2", {"PATHS.CHECKPOINT": "{0}/shared"}, False),
            ("a/cells_1", "b/cells_1", {"PATHS.CHECKPOINT": "JOB_DIR/shared"}, False),
            ("a/cells_1", "a/cells_2", {"PATHS.RESULT_DIR.PATH": "{0}/shared"}, True),
            ("a/cells_1", "a/cells_2", {"PATHS.RESULT_DIR.PER_IMAGE": "{0}/shared"}, True),
            ("a/cells_1", "a/cells_2", {"PATHS.RESULT_DIR.PER_IMAGE": "{0}/JOB_ID"}, False),
            ("a/cells_1", "a/cells_2", {"PATHS.RESULT_DIR.PATH": "JOB_DIR/JOB_ID"}, False),
            ("a/cells_1", "b/cells_1", {"LOG.LOG_DIR": "{0}/shared"}, True),
            ("a/cells_1", "b/nuclei_1", {"LOG.LOG_DIR": "{0}/shared"}, False),
            ("a/cells_1", "b/cells_1", {"PATHS.CHARTS": "{0}/shared"}, True),
            ("a/cells_1", "a/cells_2", {"PATHS.WATERSHED_DIR": "{0}/shared"}, True),
        ],
    )
    def test_by_name_and_moved_folders(
        self, tmp_path: Path, one: str, two: str, keys: dict[str, str], collide: bool
    ) -> None:
        moved = {key: value.format(tmp_path) for key, value in keys.items()}
        found = []
        for text in (one, two):
            place, _, name = text.partition("/")
            stem, _, number = name.rpartition("_")
            tree = ResultsTree(tmp_path / place / stem, stem, int(number), moved)
            found.append({*tree.lock_files(checkpoints=True)})
        assert bool(found[0] & found[1]) is collide

    def test_a_test_leaves_the_checkpoints_to_a_training(self, tmp_path: Path) -> None:
        tree = ResultsTree(tmp_path / "cells", "cells", 1)
        assert tree.checkpoint_lock in tree.lock_files(checkpoints=True)
        assert tree.lock_files(checkpoints=False) == [lock_file(tree.run.resolve())]

    def test_output_in_a_run_needs_the_run(self, tmp_path: Path) -> None:
        run = ResultsTree(tmp_path / "cells", "cells", 1).run.resolve()
        one, two = run / "exports" / "csv", run.parent / "exports"
        with hold([lock_file(run)], "predict"):
            assert output_locks(one) == [lock_file(one)]
        with hold([lock_file(run)], "run"):
            assert output_locks(one) == [lock_file(one), lock_file(run)]
            assert output_locks(two) == [lock_file(two)]
        run.mkdir(parents=True)
        (run / "run.json").touch()
        assert output_locks(one) == [lock_file(one), lock_file(run)]


CONFIG = {
    "PROBLEM": {"TYPE": "INSTANCE_SEG", "NDIM": "2D", "INSTANCE_SEG": {"DATA_CHANNELS": "BC"}},
    "DATA": {"PATCH_SIZE": "(32, 32, 1)", "VAL": {"FROM_TRAIN": False}, "TEST": {"LOAD_GT": True}},
    "MODEL": {"FEATURE_MAPS": [4, 8]},
    "TRAIN": {"ENABLE": True, "OPTIMIZER": "ADAMW", "LR": "1.E-2", "BATCH_SIZE": 4,
              "EPOCHS": 100_000},
    "TEST": {"ENABLE": True},
}  # fmt: skip


def make_place(folder: Path) -> Path:
    """Fill a folder with images and a configuration, without results."""
    make_dataset(
        folder / "data", 2, np.random.default_rng(3), n_train=1, n_val=1, n_test=1, shape=(64, 64)
    )
    tree = json.loads(json.dumps(CONFIG))
    for part in ("TRAIN", "VAL", "TEST"):
        where = folder / "data" / part.lower()
        tree["DATA"].setdefault(part, {}).update(
            PATH=str(where / "x"), GT_PATH=str(where / "y"),
            INSTANCE_CHANNELS_DIR=str(folder / "channels" / part / "x"),
            INSTANCE_CHANNELS_MASK_DIR=str(folder / "channels" / part / "y"),
        )  # fmt: skip
    (folder / "cells.yaml").write_text(yaml.safe_dump(tree))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("locks"))


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """Folder of a finished run."""
    job = Job(place / "cells.yaml", place / "out", "cells", gpu="cpu", overrides=["TRAIN.EPOCHS=1"])
    run_job(job)
    return place / "out/cells/results/cells_1"


def run_line(place: Path, *more: str) -> list[str]:
    line = [sys.executable, "-m", "singula", "run", "--config", str(place / "cells.yaml")]
    return [*line, "--result_dir", str(place / "out"), "--gpu", "cpu", *more]


@pytest.fixture(scope="module")
def race_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("race"))


@pytest.fixture(scope="module")
def race(race_place: Path) -> tuple[list[int], list[str], str]:
    """Start a run twice; kill the working one after the other has failed."""
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        both = [
            stack.enter_context(
                subprocess.Popen(run_line(race_place), stdout=pipe, stderr=pipe, text=True)
            )
            for _ in range(2)
        ]
        while all(process.poll() is None for process in both):
            threading.Event().wait(0.05)
        first = next(process for process in both if process.poll() is not None)
        winner = next(process for process in both if process is not first)
        errors = first.communicate()[1]
        assert winner.stdout is not None
        for line in winner.stdout:
            if line.startswith("epoch 2/"):
                break
        winner.kill()
        winner.communicate()
    return [first.returncode, first.pid, winner.pid], errors.splitlines(), errors


@pytest.mark.slow
@pytest.mark.xdist_group("race")
class TestTwoRuns:
    def test_one_works_and_the_other_fails_at_once(
        self, race: tuple[list[int], list[str], str], race_place: Path
    ) -> None:
        (code, loser, winner), lines, errors = race
        assert code == 2, errors
        assert lines[0].startswith("error: ")
        assert f"process {winner} " in lines[0]
        assert str(loser) not in errors
        assert "Traceback" not in errors
        log = (race_place / "out/cells/results/cells_1/cells_1.log").read_text()
        assert log.count("results: ") == 1
        assert "error: " not in log

    def test_the_killed_run_can_be_resumed(self, race: object, race_place: Path) -> None:
        last = race_place / "out/cells/checkpoints/cells_1-checkpoint-last.pth"
        epochs = load_checkpoint(last).epoch + 1
        line = run_line(race_place, "--resume", "--set", f"TRAIN.EPOCHS={epochs}")
        result = subprocess.run(line, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        run = race_place / "out/cells/results/cells_1"
        assert (run / "run.json").is_file()
        assert not list(run.parents[1].rglob(f"*{run_lock.NAME}"))


def image(place: Path) -> Path:
    return next((place / "data/test/x").iterdir())


def labels(place: Path) -> Path:
    return place / "data/test/y"


# Arguments by command, with the folder that another process writes to
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run --config {place}/cells.yaml --result_dir {place}/out", "{run}"),
    "run --resume": ("run --config {place}/cells.yaml --result_dir {place}/out --resume", "{run}"),
    "run --set": (
        "run --config {place}/cells.yaml --result_dir {place}/new --set "
        "PATHS.RESULT_DIR.PER_IMAGE={place}/maps",
        "{place}/maps",
    ),
    "run --gpus": ("run --config {place}/cells.yaml --result_dir {place}/out --gpus 2", "{run}"),
    "tune": ("tune {run} --gpu cpu", "{run}"),
    "tune --no-save": ("tune {run} --no-save --gpu cpu", "{run}"),
    "export": ("export {run} --to csv", "{run}"),
    "export --overwrite": ("export {run} --to imagej --overwrite", "{run}"),
    "export into the run": ("export {run} --to csv -o {run}/tables", "{run}"),
    "export of labels": ("export {place}/data/test/y --to csv -o {place}/tables", "{place}/tables"),
    "report": ("report {run}", "{run}"),
    "predict": ("predict {place}/data/test/x -m {run} -o {place}/new", "{place}/new"),
    "predict --resume": ("predict {place}/data/test/x -m {run} -o {place}/new --resume",
                         "{place}/new"),
    "predict into the run": ("predict {place}/data/test/x -m {run} -o {run}/new", "{run}"),
    "check --fix": ("check {place}/data --fix {place}/fixed", "{place}/fixed"),
}  # fmt: skip


class TestEveryCommand:
    @pytest.mark.parametrize("name", fast_first(COMMANDS, 3))
    def test_a_folder_in_use_is_refused_before_anything_is_written(
        self, name: str, place: Path, run: Path, monkeypatch
    ) -> None:
        words, folder = (text.format(place=place, run=run) for text in COMMANDS[name])
        with held_elsewhere(lock_file(folder)) as process:
            before = snapshot(place)
            error = refusal(lambda: cli.app(words.split(), standalone_mode=False))
            assert error.code == "run.locked"
            assert f"process {process.pid} " in error.message
            assert snapshot(place) == before

    def test_the_exit_code_is_2(self, place: Path, run: Path, monkeypatch, capsys) -> None:
        monkeypatch.setattr(sys, "argv", ["singula", "report", str(run)])
        with held_elsewhere(lock_file(run)) as process, pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 2
        assert f"process {process.pid} " in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["2d", "3d"])
    def test_demo(self, tmp_path: Path, name: str, monkeypatch) -> None:
        monkeypatch.setattr("singula.commands.demo.print_line", stop_demo)
        with held_elsewhere(lock_file(tmp_path, "2d"), task="demo"):
            error = refusal(lambda: run_demo(tmp_path, int(name[0]), quick=True, live=False))
        assert error.code == ("run.locked" if name == "2d" else "test.stopped")

    def test_a_training_needs_its_checkpoints(self, place: Path, run: Path) -> None:
        """They can be in a folder shared with other runs."""
        job = Job(place / "cells.yaml", place / "other", "cells", gpu="cpu",
                  overrides=[f"PATHS.CHECKPOINT={run.parents[1]}/checkpoints"])  # fmt: skip
        path = ResultsTree(run.parents[1], "cells", 1).checkpoint_lock
        with held_elsewhere(path):
            assert refusal(lambda: run_job(job)).code == "run.locked"
            assert not (place / "other").exists()
            assert refusal(lambda: tuning.tune(run)).code == "run.locked"

    def test_another_number_of_the_job_may_run(self, place: Path, run: Path) -> None:
        job = Job(place / "cells.yaml", place / "out", "cells", 2, gpu="cpu",
                  overrides=[f"DATA.TRAIN.PATH={place}/nowhere"])  # fmt: skip
        files = ResultsTree(run.parents[1], "cells", 1).lock_files(checkpoints=True)
        with held_elsewhere(*files):
            error = refusal(lambda: run_job(job))
        assert error.code != "run.locked"
        assert "nowhere" in error.message

    def test_other_processes_of_a_run_take_no_lock(
        self, place: Path, run: Path, monkeypatch
    ) -> None:
        for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "::1",
                            "MASTER_PORT": "1"}.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        job = Job(place / "cells.yaml", place / "out", "cells", gpu="cpu",
                  overrides=[f"DATA.TEST.PATH={place}/nowhere"])  # fmt: skip
        with held_elsewhere(lock_file(run)):
            error = refusal(lambda: run_job(job))
        assert error.code != "run.locked"
        assert "nowhere" in error.message

    def test_several_processes_are_not_started(self, place: Path, run: Path, monkeypatch) -> None:
        monkeypatch.setattr("singula.commands.launch.launch", failing(AssertionError("started")))
        with held_elsewhere(lock_file(run)):
            job = Job(place / "cells.yaml", place / "out", "cells", gpu="cpu")
            assert refusal(lambda: launch_run(2, job)).code == "run.locked"


def ignore(line: str) -> None:
    pass


def stop_demo(line: str) -> None:
    raise UserError("stopped", None, "test.stopped")


class TestEveryFunction:
    @pytest.fixture
    def functions(self, place: Path, run: Path) -> dict[str, Callable[[Path], object]]:
        """Return functions that write to a folder, or to the run."""
        array = tifffile.imread(next(labels(place).iterdir()))
        model = load_model(run)
        found = inspect_dataset(place / "data")
        opened = tuning.find_run(run)
        return {
            "tune": lambda folder: tuning.tune(run),
            "open_tuner": lambda folder: tuning.open_tuner(run),
            "save_thresholds": lambda folder: tuning.save_thresholds(opened, {"TH_CONTOUR": 0.3}),
            "write_configuration": lambda folder: tuning.write_configuration(opened, {}),
            "build_report": lambda folder: build_report(run),
            "export a run": lambda folder: exports.export(run, "csv"),
            "export an array": lambda folder: exports.export(array, "csv", folder),
            "predict_files": lambda folder: predict_files(
                model, [], folder, augment=None, tables=False, resume=False
            ),
            "write_fixed": lambda folder: write_fixed(found, folder),
            "check_data": lambda folder: check_data(place / "data", None, fix=folder),
        }

    @pytest.mark.parametrize(
        "name",
        ["tune", "open_tuner", "save_thresholds", "write_configuration", "build_report",
         "export a run", "export an array", "predict_files", "write_fixed", "check_data"],
    )  # fmt: skip
    def test_it_fails_while_another_process_writes(
        self, functions: dict[str, Callable[[Path], object]], place: Path, run: Path,
        tmp_path: Path, name: str,
    ) -> None:  # fmt: skip
        folder = tmp_path / "out"
        with held_elsewhere(lock_file(run), lock_file(folder)):
            before = snapshot(place), snapshot(tmp_path)
            assert refusal(lambda: functions[name](folder)).code == "run.locked"
            assert (snapshot(place), snapshot(tmp_path)) == before

    @pytest.mark.parametrize("name", ["build_report", "export an array", "write_fixed"])
    def test_it_leaves_no_lock_file(
        self, functions: dict[str, Callable[[Path], object]], run: Path, tmp_path: Path, name: str
    ) -> None:
        functions[name](tmp_path / "out")
        assert not [*run.rglob(f"*{run_lock.NAME}"), *tmp_path.rglob(f"*{run_lock.NAME}")]


class TestSharedFilesOfAJob:
    def test_copies_of_configurations_and_statistics_are_whole_at_any_time(
        self, tmp_path: Path
    ) -> None:
        """Two runs of a job write them at the same time; a reader gets one or the other."""
        from singula.data.normalize import Normalizer
        from singula.pipeline.normalization import write_statistics
        from singula.pipeline.run import _copy_config

        tree = ResultsTree(tmp_path / "cells", "cells", 1)
        texts, values, done = [], [], threading.Event()
        for number in (1, 2):
            path = tmp_path / str(number) / "cells.yaml"
            path.parent.mkdir()
            path.write_text(f"# {number}\n" * 20_000)
            texts.append(path)
            statistics = {"mean": (float(number),) * 1000, "std": (1.0,) * 1000}
            values.append(Normalizer("custom", statistics=statistics))

        def write(index: int) -> None:
            while not done.is_set():
                _copy_config(texts[index], tree)
                write_statistics(tree, values[index])

        threads = [threading.Thread(target=write, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        known = {path.read_text() for path in texts}
        for _ in range(200):
            if tree.std_file.exists():
                assert tree.config_file(texts[0]).read_text() in known
                assert len({*np.load(tree.mean_file)}) == 1
        done.set()
        for thread in threads:
            thread.join()

    def test_mean_and_deviation_are_those_of_one_run(self, tmp_path: Path) -> None:
        from singula.data.normalize import Normalizer
        from singula.pipeline.normalization import write_statistics

        tree = ResultsTree(tmp_path / "cells", "cells", 1)
        values = Normalizer("custom", per_image=False, statistics={"mean": (1.0,), "std": (2.0,)})
        thread = threading.Thread(target=write_statistics, args=(tree, values))
        with held_elsewhere(lock_file(tree.checkpoints, "normalization")):
            thread.start()
            thread.join(0.5)
            assert thread.is_alive()
            assert not tree.mean_file.exists()
        thread.join()
        assert (np.load(tree.mean_file), np.load(tree.std_file)) == (1.0, 2.0)


class TestInterface:
    @pytest.fixture
    def control(self, tmp_path: Path) -> object:
        pytest.importorskip("psutil", reason="`pip install 'singula[gui]'` is missing")
        from singula.gui.control import Control
        from singula.gui.guard import Guard

        config = {"DATA": {"TRAIN": {"PATH": "x", "GT_PATH": "y"}}, "TRAIN": {"ENABLE": True}}
        (tmp_path / "cells.yaml").write_text(yaml.safe_dump(config))
        return Control(Guard.of([tmp_path]))

    @pytest.mark.parametrize("resume", [False, True])
    @pytest.mark.parametrize("task", ["run", "tune", "export"])
    def test_start_and_resume_are_refused(
        self, control, tmp_path: Path, task: str, resume: bool
    ) -> None:
        job = Job(Path("cells.yaml"), Path("out"), "cells", resume=resume)
        with held_elsewhere(lock_file(control.folder(job)), task=task):
            before = snapshot(tmp_path)
            assert refusal(lambda: control.start(job)).code == "run.locked"
            assert snapshot(tmp_path) == before

    @pytest.mark.parametrize(
        ("task", "state"), [("run", "running"), ("tune", "unfinished"), ("report", "unfinished")]
    )
    def test_only_a_run_is_shown_as_running(
        self, control, tmp_path: Path, task: str, state: str
    ) -> None:
        from singula.gui.runs import state_of, view_run

        folder = control.folder(Job(Path("cells.yaml"), Path("out"), "cells"))
        (folder / "train_logs").mkdir(parents=True)
        with held_elsewhere(lock_file(folder), task=task):
            assert (view_run(folder).state, state_of(folder)) == (state, state)
        assert state_of(folder) == "unfinished"

    @posix
    @pytest.mark.parametrize("plant", SPECIAL)
    def test_a_special_lock_file_does_not_block_the_list(
        self, control, tmp_path: Path, plant: Callable[[Path], None]
    ) -> None:
        from singula.gui.run_search import find_runs
        from singula.gui.runs import state_of

        folder = control.folder(Job(Path("cells.yaml"), Path("out"), "cells"))
        (folder / "train_logs").mkdir(parents=True)
        plant(lock_file(folder))
        assert find_runs(control.guard) == [folder]
        assert state_of(folder) == "unfinished"

    def test_the_page_shows_why_a_started_run_failed(self, control, tmp_path: Path) -> None:
        """Another process took the lock after the interface looked."""
        from singula.gui.runs import OUTPUT, view_run

        job = Job(Path("cells.yaml"), Path("out"), "cells")
        folder = control.folder(job)
        checkpoint = ResultsTree(folder.parents[1], "cells", 1).checkpoint_lock
        with held_elsewhere(checkpoint) as process, pytest.MonkeyPatch.context() as patch:
            patch.setattr("singula.gui.control.check_free", ignore)
            control.start(job)
            control.processes._children[0].wait()
            view = view_run(folder)
        assert view.state == "failed", (folder / OUTPUT).read_text()
        assert f"process {process.pid} " in str(view.error)

    @pytest.mark.parametrize("action", ["search", "save"])
    def test_search_and_saved_thresholds(
        self, control, place: Path, run: Path, action: str
    ) -> None:
        from singula.gui.guard import Guard
        from singula.gui.results import open_results
        from singula.gui.save_thresholds import save_in_checkpoint
        from singula.gui.search import start_search

        guard = Guard.of([place])
        results = open_results(run, guard)
        work = {
            "search": lambda: start_search(results, guard, control.queue, metric="pq", iou=0.5),
            "save": lambda: save_in_checkpoint(results, {"DATA_MW_TH_CONTOUR": 0.3}, guard),
        }
        with held_elsewhere(lock_file(run), task="tune"):
            before = snapshot(place)
            assert refusal(work[action]).code == "run.locked"
            assert snapshot(place) == before


def test_the_paths_of_a_job_are_those_of_its_run(place: Path, run: Path) -> None:
    job = Job(place / "cells.yaml", place / "out")
    assert job.tree(load_config(job.config)).run == run

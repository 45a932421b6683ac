"""Data, run folders and caches that the user may read, but not write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pandas  # noqa: F401  (a process without rights may not be able to import it)
import pytest
from tiny_run import TINY_RUN

from singula.data.channel_store import ChannelStore
from singula.errors import UserError
from singula.io.read import read_image
from singula.io.write import write_csv, write_json, write_npy, write_text, write_tiff
from singula.representations.channels import EncodeSettings
from singula.synthetic.fluorescence import make_dataset

NOBODY = 65534
Lock = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder whose parents every user can search, unlike those of `tmp_path`."""
    made = Path(tempfile.mkdtemp(prefix="singula_test_"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def _mounted(path: Path) -> Iterator[None]:
    """Mount a folder read-only over itself."""
    if not _run("mount", "--bind", str(path), str(path)):
        pytest.skip("no right to mount a folder here")
    try:
        assert _run("mount", "-o", "remount,ro,bind", str(path))
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


@contextmanager
def _another_user() -> Iterator[None]:
    """Act as nobody if the tests run as root, who ignores permissions."""
    if not hasattr(os, "setresuid") or os.geteuid() != 0:
        yield
        return
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


@contextmanager
def _owned(path: Path) -> Iterator[None]:
    """Change the owner of a folder, without the permission to write."""
    folders = [path, *(inner for inner in path.rglob("*") if inner.is_dir())]
    modes = [inner.stat().st_mode for inner in folders]
    for inner in folders:
        inner.chmod(0o555)
    try:
        with _another_user():
            yield
    finally:
        for inner, mode in zip(folders, modes, strict=True):
            inner.chmod(mode)


@pytest.fixture(params=[_mounted, _owned], ids=["mount", "owner"])
def read_only(request: pytest.FixtureRequest) -> Lock:
    """Make a folder read-only in each possible way."""
    found: Lock = request.param
    return found


def _labels(seed: int) -> np.ndarray:
    labels = np.zeros((24, 24), np.uint16)
    labels[2:9, 3:12] = 1
    labels[12:20, 5 + seed : 14 + seed] = 2
    return labels


def _data(data: Path, count: int = 2) -> Path:
    for number in range(count):
        labels = _labels(number)
        write_tiff(data / "x" / f"{number}.tif", (labels * 90).astype(np.uint8), "YX")
        write_tiff(data / "y" / f"{number}.tif", labels, "YX")
    return data


def _encode(data: Path, fallback: Path | None) -> list[dict[str, np.ndarray]]:
    """Store the channels of a data set as a run does, and return the loaded channels."""
    found = []
    with ChannelStore(
        data / "x_BC",
        data / "y_BC",
        EncodeSettings(("B", "C")),
        fallback=fallback,
    ) as store:
        for label in sorted((data / "y").iterdir()):
            ids = read_image(label, 2).array[..., 0]
            store.ensure(label.stem, data / "x" / label.name, lambda ids=ids: ids, label)
            found.append(store.load(label.stem, ids))
    return found


def _files(path: Path) -> dict[str, int]:
    return {str(f.relative_to(path)): f.stat().st_mtime_ns for f in path.rglob("*") if f.is_file()}


def _same(one: list[dict[str, np.ndarray]], two: list[dict[str, np.ndarray]]) -> bool:
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
        for a, b in zip(one, two, strict=True)
    )


def test_channels_of_read_only_data_are_stored_in_the_results(
    folder: Path, read_only: Lock, messages: list[str]
) -> None:
    expected = _encode(_data(folder / "reference"), None)
    data, spare = _data(folder / "data"), folder / "run" / "channels"
    before = _files(data)
    with read_only(data):
        assert _same(_encode(data, spare), expected)
        assert len([line for line in messages if str(spare) in line]) == 2  # images, channels
        written = _files(spare)
        assert {"x/0.tif", "y/0.tif", "y/1.tif"} <= written.keys()
        # The second time they are read from there, and none is written again.
        assert _same(_encode(data, spare), expected)
        assert {n: t for n, t in _files(spare).items() if n.endswith(".tif")} == {
            n: t for n, t in written.items() if n.endswith(".tif")
        }
    assert _files(data) == before
    # With the right to write, the results are the same.
    assert _same(_encode(data, spare), expected)


def test_channels_next_to_read_only_data_are_used(
    folder: Path, read_only: Lock, messages: list[str]
) -> None:
    data, spare = _data(folder / "data"), folder / "run" / "channels"
    expected = _encode(data, None)
    before = _files(data)
    with read_only(data):
        assert _same(_encode(data, spare), expected)
    assert _files(data) == before
    assert not spare.exists()
    assert messages == []


def test_changed_labels_of_read_only_data_are_encoded_again(folder: Path, read_only: Lock) -> None:
    data, spare = _data(folder / "data"), folder / "run" / "channels"
    _encode(data, None)
    write_tiff(data / "y" / "0.tif", _labels(4), "YX")
    reference = _data(folder / "reference")
    write_tiff(reference / "y" / "0.tif", _labels(4), "YX")
    expected = _encode(reference, None)
    with read_only(data):
        assert _same(_encode(data, spare), expected)


def test_channels_that_another_user_keeps_private(folder: Path) -> None:
    """Stored channels of a colleague can be unreadable."""
    expected = _encode(_data(folder / "reference"), None)
    for private in ("y_BC", "y_BC/0.tif"):
        data, spare = _data(folder / private.replace("/", "_")), folder / f"run_{len(private)}"
        _encode(data, None)
        (data / private).chmod(0)
        with _another_user():
            assert _same(_encode(data, spare), expected)
        (data / private).chmod(0o755)


def test_without_another_folder_the_error_names_the_key(folder: Path, read_only: Lock) -> None:
    data = _data(folder / "data")
    with read_only(data), pytest.raises(UserError) as error:
        _encode(data, None)
    assert error.value.code == "storage.forbidden"
    assert "INSTANCE_CHANNELS" in error.value.message


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.tif": lambda path: write_tiff(path, _labels(0), "YX"),
    "a.npy": lambda path: write_npy(path, _labels(0)),
    "a.csv": lambda path: write_csv(path, [{"id": 1}]),
    "a.json": lambda path: write_json(path, [1]),
    "a.txt": lambda path: write_text(path, "x"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_says_what_cannot_be_written(folder: Path, read_only: Lock, name: str) -> None:
    target = folder / "there"
    target.mkdir()
    (target / name).write_bytes(b"old")
    for path in (target / name, target / "new" / name):
        with read_only(target), pytest.raises(UserError) as error:
            WRITERS[name](path)
        assert error.value.code == "storage.forbidden"
    assert [path.name for path in target.iterdir()] == [name]
    assert (target / name).read_bytes() == b"old"


_CACHED = """\
from pathlib import Path
import numpy as np
from singula.util.process import compiled
from singula.training.charts import draw_charts

def double(values):
    return values * 2

assert compiled(double)(np.ones(3)).sum() == 6
draw_charts([{"epoch": 1, "train_loss": 1.0}], "job", lambda name: Path(f"{OUT}/{name}.png"))
"""


def test_caches_need_no_writable_home(folder: Path, tmp_path: Path) -> None:
    """Compiled functions and fonts are cached in the home folder only if possible."""
    (folder / "cached.py").write_text(_CACHED.replace("{OUT}", str(tmp_path)))
    unset = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NUMBA_CACHE_DIR")
    environment = {k: v for k, v in os.environ.items() if k not in unset}
    with _mounted(folder):
        done = subprocess.run(
            [sys.executable, folder / "cached.py"],
            env={**environment, "HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "loss.png").is_file()
    assert [path.name for path in folder.iterdir()] == ["cached.py"]


def _results(run: Path) -> dict[str, bytes]:
    kinds = ("per_image", "per_image_instances", "metrics.csv")
    files = [p for kind in kinds for p in (run / kind, *(run / kind).rglob("*")) if p.is_file()]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_commands_on_read_only_images_and_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read-only images give the same results; a read-only run is an error."""
    # Nobody may not import modules from the home of root.
    lock = _mounted if os.geteuid() == 0 else _owned
    from singula import cli

    monkeypatch.chdir(folder)

    def command(*words: object) -> int:
        monkeypatch.setattr("sys.argv", ["singula", *map(str, words)])
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    data = folder / "data"
    make_dataset(data, 2, np.random.default_rng(1), n_train=3, n_val=0, n_test=0, shape=(48, 48))
    data = data / "train"
    (folder / "job.yaml").write_text(TINY_RUN.format(data=data))
    (folder / "out").mkdir()
    (folder / "out").chmod(0o777)
    before = _files(data)
    run = ("run", "--config", "job.yaml", "--gpu", "cpu", "--result_dir")
    job = Path("out/job/results/job_1")
    with lock(data):
        assert command(*run, "out") == 0
        first = _results(job)
        assert (job / "channels" / "train" / "y").is_dir()
        assert command(*run, "out", "--resume") == 0
        assert _results(job) == first
        # A test that cannot begin moves no results.
        for change in ("DATA.NORMALIZATION.TYPE=custom", "MODEL.FEATURE_MAPS=[8, 16]"):
            assert command(*run, "out", "--set", "TRAIN.ENABLE=False", "--set", change) == 2
        assert _results(job) == first
        assert not (job / "previous").exists()
        commands: tuple[tuple[object, ...], ...] = (
            ("predict", data / "x", "--model", job, "-o", "out/predicted", "--gpu", "cpu"),
            ("tune", job, "--gpu", "cpu"),
            ("export", job, "--to", "csv"),
            ("report", job),
            ("check", data.parent, "--html", "out/check.html", "--fix", "out/fixed"),
            ("check", "--config", "job.yaml", "--no-timing"),
            ("init", data.parent, "-o", "out/new.yaml"),
        )
        for words in commands:
            assert command(*words) in (0, 1 if words[0] == "check" else 0), words
    assert _files(data) == before
    # With the right to write, the channels are stored next to the images, and nothing else changes.
    assert command(*run, "out2") == 0
    assert (data.parent / "train" / "y_BC").is_dir()
    assert _results(Path("out2/job/results/job_1")) == first
    # Nor need the run be writable, unless the command writes into it.
    before = _files(folder)
    (folder / "new").mkdir()
    (folder / "new").chmod(0o777)
    with lock(folder / "out"):
        capsys.readouterr()
        for words in (
            (*run, "out"),
            (*run, "out", "--resume"),
            ("tune", job, "--gpu", "cpu"),
            ("export", job, "--to", "imagej"),
            ("report", job),
            ("init", data.parent, "-o", "out/other.yaml"),
            ("check", data.parent, "--html", "out/other.html"),
            ("check", data.parent, "--fix", "out/other"),
            ("predict", data / "x", "--model", job, "-o", "out/other", "--gpu", "cpu"),
            ("demo", "-o", "out/demo", "--quick"),
        ):
            assert command(*words) == 2, words
            assert "cannot be written (" in capsys.readouterr().err, words
        assert command("export", job, "--to", "imagej", "-o", "new/rois") == 0
        assert command("predict", data / "x", "--model", job, "-o", "new/p", "--gpu", "cpu") == 0
    assert {n: t for n, t in _files(folder).items() if not n.startswith("new/")} == before

"""Every command with every kind of bad file, folder, name and text.

The cases follow from the commands' own parameters: a command or a path that is new must be added to
`VALID`, or `test_every_parameter_has_cases` fails.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import bad_files
import numpy as np
import pytest
import yaml
from bad_files import BAD_INPUTS, BAD_NAMES, BAD_OUTPUTS
from selection import fast_first
from typer.main import get_command

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from fuzz_cases import image_writers

from singula import cli
from singula.errors import ExitCode, UserError
from singula.io.formats.table import FORMATS, IMAGE_SUFFIXES
from singula.synthetic.fluorescence import make_dataset

COMMANDS = get_command(cli.app).commands
# Arguments with which a command succeeds; several where paths exclude each other.
VALID: dict[str, list[dict[str, str]]] = {
    "run": [{"config": "{config}", "result_dir": "{out}", "gpu": "cpu"}],
    "predict": [{"images": "{data}/test/x", "model": "{run}", "output": "{out}", "gpu": "cpu"}],
    "models": [{"folder": "{run}"}],
    "tune": [{"run_folders": "{run}", "gpu": "cpu"}],
    "export": [{"source": "{run}", "to": "csv", "output": "{out}"}],
    "report": [{"run_folder": "{run}"}],
    "package": [
        {"model": "{run}", "output": "{out}.zip"},
        {"image": "{data}/test/x/image_000.tif", "model": "{run}", "output": "{out}.zip"},
    ],
    "reproduce": [
        {"run_folder": "{run}"},
        {"output": "{out}", "run_folder": "{run}", "gpu": "cpu"},
    ],
    "sweep": [
        {
            "config": "{config}",
            "vary": "DATA.TEST.OVERLAP=(0,0),(0.1,0.1)",
            "result_dir": "{out}",
            "gpu": "cpu",
        },
        {
            "config": "{config}",
            "vary": "DATA.TEST.OVERLAP=(0,0),(0.1,0.1)",
            "result_dir": "{out}",
            "slurm": "{out}.sh",
        },
    ],
    "init": [
        {"dataset": "{data}", "output": "{out}/made.yaml", "minutes": "1"},
        {"data_channels": "BC", "dataset": "{data}", "output": "{out}/made.yaml", "minutes": "1"},
        {"start": "{run}", "dataset": "{data}", "output": "{out}/made.yaml", "minutes": "1"},
    ],
    "demo": [{"output": "{out}", "quick": "", "gpu": "cpu"}],
    "check": [
        {"dataset": "{data}", "fix": "{out}", "html": "{out}.html"},
        {"config": "{config}", "no_timing": ""},
    ],
    "gui": [{"root": "{data}", "no_browser": ""}],
}
OUTPUTS = {("run", "result_dir"), ("predict", "output"), ("export", "output"), ("init", "output"),
           ("reproduce", "output"), ("demo", "output"), ("check", "fix"),
           ("check", "html"), ("package", "output"), ("sweep", "result_dir"),
           ("sweep", "slurm")}  # fmt: skip
# Commands that write into the run that they read.
INTO_RUN = ("tune", "report", "export")
# Commands that list what is in a folder, which may be nothing.
LISTING = ("gui", "models")
SUFFIXES: dict[str, tuple[str, ...]] = {
    "config": (".yaml",),
    "model": (".pth", ".zip", ""),
    "start": (".pth", ".zip", ""),
    "images": IMAGE_SUFFIXES,
    "source": (*IMAGE_SUFFIXES, ""),
}
WORDS = ["", " ", "-1", "0", "1.5", "nan", "inf", "1e999", "9" * 30, "9" * 5000, "abc", "a\tb\nc",
         "é\udcff", "\U0001f52c", "../..", "~nosuchuser", "a,b,c", "0,0,0", "1,2,3,4", "[", "=",
         "=1", "A=", "x" * 5000, "TRAIN.EPOCHS=!!int ''", "SYSTEM.SEED=" + "9" * 5000, "cuda:99",
         "cpu,cpu", "local:", "local:0", "local:-1", "tcp://[:x", "slurm:/nowhere"]  # fmt: skip
CODES = (ExitCode.DONE, ExitCode.INCOMPLETE, ExitCode.USER_ERROR)


def is_path(param: Any) -> bool:
    return "Path" in str(param.type_descriptor.annotation)


def is_word(param: Any) -> bool:
    return not (is_path(param) or getattr(param, "is_flag", False) or param.name == "help")


PARAMS = [(name, param) for name, command in COMMANDS.items() for param in command.params]
PATHS = [(name, param.name) for name, param in PARAMS if is_path(param)]
TEXTS = [(name, param.name) for name, param in PARAMS if is_word(param)]
INPUTS = [path for path in PATHS if path not in OUTPUTS]


def test_every_parameter_has_cases() -> None:
    assert set(VALID) == set(COMMANDS)
    assert set(PATHS) >= OUTPUTS
    given = {(name, key) for name, variants in VALID.items() for valid in variants for key in valid}
    assert set(PATHS) <= given


@dataclass
class World:
    """A data set, configurations and a finished run of a tiny network.

    Parameters
    ----------
    folder : Path
        Nothing in it may be changed by a command that fails.
    """

    folder: Path

    def fill(self, text: str, out: Path) -> str:
        return text.format(
            data=self.folder / "data", config=self.folder / "test.yaml", run=self.run, out=out
        )

    @property
    def run(self) -> Path:
        return self.folder / "results" / "job" / "results" / "job_1"


def configuration(data: Path, checkpoint: str = "", *, train: bool = True) -> str:
    tree: dict[str, Any] = {
        "PROBLEM": {"NDIM": "2D", "INSTANCE_SEG": {"DATA_CHANNELS": "BC"}},
        "DATA": {
            "PATCH_SIZE": "(16, 16, 1)",
            "TRAIN": {"PATH": f"{data}/train/x", "GT_PATH": f"{data}/train/y"},
            "VAL": {"PATH": f"{data}/val/x", "GT_PATH": f"{data}/val/y", "FROM_TRAIN": False},
            "TEST": {"PATH": f"{data}/test/x", "GT_PATH": f"{data}/test/y", "LOAD_GT": True,
                     "PADDING": "(4, 4)"},
        },
        "MODEL": {"FEATURE_MAPS": [2, 4], "LOAD_CHECKPOINT": bool(checkpoint)},
        "PATHS": {"CHECKPOINT_FILE": checkpoint},
        "SYSTEM": {"NUM_WORKERS": 0},
        "TRAIN": {"ENABLE": train, "EPOCHS": 1, "BATCH_SIZE": 1, "PRECISION": "32"},
        "TEST": {"ENABLE": True},
    }  # fmt: skip
    return yaml.safe_dump(tree)


@pytest.fixture(scope="module")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    from singula.pipeline.run import Job, run

    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    make_dataset(folder / "data", 2, rng, n_train=1, n_val=1, n_test=1, shape=(32, 32))
    (folder / "job.yaml").write_text(configuration(folder / "data"))
    run(Job(folder / "job.yaml", folder / "results", gpu="cpu"))
    checkpoint = folder / "results/job/checkpoints/job_1-checkpoint-best.pth"
    (folder / "test.yaml").write_text(configuration(folder / "data", str(checkpoint), train=False))
    return World(folder)


@pytest.fixture
def world(made_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    from nicegui import app, ui

    import singula.commands.demo as demonstration
    import singula.pipeline.timing as timing

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    small = demonstration.DemoSettings((32, 32), (16, 16), (4, 4), (1, 1, 1), 1, 1, (2, 4), (0, 0))
    monkeypatch.setitem(demonstration.QUICK, 2, small)
    monkeypatch.setattr(timing, "measure_proposal", lambda *given, **more: None)
    monkeypatch.setattr(ui, "run", lambda **options: None)
    # An earlier test may have started the application, which then refuses more middleware.
    monkeypatch.setattr(app, "middleware_stack", None)
    monkeypatch.setattr(app, "user_middleware", list(app.user_middleware))
    return made_world


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """Fail instead of blocking: every case takes less than a hundredth of this time."""

    def stop(number: int, frame: FrameType | None) -> None:
        pytest.fail("the command does not end")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Shell:
    """The command line, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd

    def __call__(self, words: list[str]) -> int:
        self.monkeypatch.setattr("sys.argv", ["singula", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = self.capfd.readouterr()
        self.text = out + err
        assert "Traceback" not in self.text, self.text
        assert code in CODES, self.text
        if code == 2:
            assert err.strip(), "no message"
        return code


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capfd)


def words_for(world: World, name: str, key: str, value: str, out: Path) -> list[str]:
    """Return valid arguments of a command, with one argument replaced or added."""
    valid = next((v for v in VALID[name] if key in v), VALID[name][0])
    filled = {k: world.fill(v, out) for k, v in valid.items()}
    filled[key] = value
    words, positional = [name], []
    for param in COMMANDS[name].params:
        if param.name not in filled:
            continue
        if param.param_type_name == "argument":
            positional.append(filled[param.name])
        elif getattr(param, "is_flag", False):
            words.append(param.opts[0])
        else:
            words += [param.opts[0], filled[param.name]]
    return [*words, *(["--"] if positional else []), *positional]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_valid_arguments_are_valid(
    name: str, world: World, shell: Shell, tmp_path: Path
) -> None:
    for number, valid in enumerate(VALID[name]):
        key = next(iter(valid))
        value = world.fill(valid[key], tmp_path / f"out{number}")
        words = words_for(world, name, key, value, tmp_path / f"out{number}")
        assert shell(words) in (0, 1), shell.text


@pytest.mark.parametrize("make", BAD_INPUTS, ids=lambda make: make.__name__)
@pytest.mark.parametrize(("name", "key"), fast_first(INPUTS, 2))
def test_bad_inputs_are_refused(
    name: str,
    key: str,
    make: Callable[[Path], object],
    world: World,
    shell: Shell,
    tmp_path: Path,
) -> None:
    for suffix in SUFFIXES.get(key, ("",)):
        path = tmp_path / f"bad{suffix}"
        make(path)
        before = bad_files.state(world.folder) | bad_files.state(tmp_path)
        code = shell(words_for(world, name, key, str(path), tmp_path / "out"))
        allowed = (0,) if name in LISTING and path.is_dir() else (1, 2)
        assert code in allowed, f"{path.name}: {code}\n{shell.text}"
        now = bad_files.state(world.folder) | bad_files.state(tmp_path)
        assert [p for p in before if now.get(p) != before[p]] == []
        bad_files.remove(path)


@pytest.mark.parametrize("make", BAD_OUTPUTS, ids=lambda make: make.__name__)
@pytest.mark.parametrize(("name", "key"), sorted(OUTPUTS))
def test_outputs_that_cannot_be_written_are_refused(
    name: str,
    key: str,
    make: Callable[[Path], object],
    world: World,
    shell: Shell,
    tmp_path: Path,
) -> None:
    path = tmp_path / "bad"
    make(path)
    before = bad_files.state(world.folder) | bad_files.state(tmp_path)
    assert shell(words_for(world, name, key, str(path), tmp_path / "out")) == 2, shell.text
    now = bad_files.state(world.folder) | bad_files.state(tmp_path)
    assert [p for p in before if now.get(p) != before[p]] == []


@pytest.mark.parametrize(("name", "key"), sorted(OUTPUTS))
def test_outputs_on_web_servers_are_refused(
    name: str, key: str, world: World, shell: Shell, tmp_path: Path
) -> None:
    url = "https://127.0.0.1:1/x"
    assert shell(words_for(world, name, key, url, tmp_path / "out")) == 2
    assert url in shell.text
    assert "on this computer" in shell.text


@pytest.mark.parametrize("value", BAD_NAMES, ids=lambda value: repr(value[:12]))
@pytest.mark.parametrize(("name", "key"), PATHS)
def test_names_that_no_file_can_have_are_refused(
    name: str, key: str, value: str, world: World, shell: Shell, tmp_path: Path
) -> None:
    before = bad_files.state(world.folder)
    code = shell(words_for(world, name, key, value, tmp_path / "out"))
    assert code == 2 or (value == "" and code in CODES), shell.text
    assert bad_files.changed(before, world.folder) == []


def leave_out_work(monkeypatch: pytest.MonkeyPatch, name: str, key: str) -> None:
    """Skip work after the arguments were checked."""
    import singula.commands.launch
    import singula.commands.sweep.execute
    import singula.inference.files
    import singula.inference.model
    import singula.inference.package.write
    import singula.inference.stages
    import singula.pipeline.run
    import singula.tuning
    from singula.blocks.dask_run import check_dask_option

    def workers(model: object, dask: str | None) -> AbstractContextManager[None]:
        if dask is not None:
            check_dask_option(dask)
        return nullcontext()

    def stop(*given: object, **more: object) -> None:
        raise UserError("the arguments are valid", None, "test.valid")

    def launch(count: int, arguments: object) -> int:
        assert count < 1000, "the command would fill the machine with processes"
        return 0

    for function in ("_train", "_test", "_report"):
        work = stop if name == "demo" else lambda *given, **more: None
        monkeypatch.setattr(singula.pipeline.run, function, work)
    monkeypatch.setattr(singula.inference.package.write, "_example", stop)
    if key == "gpu":
        monkeypatch.setattr(singula.tuning, "tune", stop)
    monkeypatch.setattr(singula.commands.launch, "launch", launch)
    monkeypatch.setattr(singula.commands.sweep.execute, "run_job", lambda job: None)
    monkeypatch.setattr(singula.inference.files, "_workers", workers)
    monkeypatch.setattr(singula.inference.stages, "_write_instances", lambda *given, **more: 0)
    monkeypatch.setattr(singula.inference.model.Model, "predict_maps", lambda *given, **more: {})


@pytest.mark.parametrize(("name", "key"), fast_first(TEXTS, 2))
def test_no_text_breaks_a_command(
    name: str,
    key: str,
    world: World,
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leave_out_work(monkeypatch, name, key)
    if name in INTO_RUN:
        world = World(Path(shutil.copytree(world.folder, tmp_path / "world")))
    before = bad_files.state(world.folder / "data")
    for number, value in enumerate(WORDS):
        shell(words_for(world, name, key, value, tmp_path / f"out{number}"))
    assert bad_files.changed(before, world.folder / "data") == []


def test_names_that_are_not_text_are_used(
    made_world: World, world: World, shell: Shell, tmp_path: Path
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        shutil.copytree(made_world.folder, folder)
    except OSError:
        pytest.skip("the file system refuses the name")
    strange = World(folder)
    for name in COMMANDS:
        for valid in VALID[name]:
            key = next(iter(valid))
            out = folder / f"out {name} {key}"
            # A configuration is text and cannot hold the name; `demo` and `reproduce` write one
            # for their folders.
            config = made_world.folder / "test.yaml"
            value = str(config) if key == "config" else strange.fill(valid[key], out)
            writes = (name, key) in (("demo", "output"), ("reproduce", "output"))
            expected = ExitCode.USER_ERROR if writes else ExitCode.DONE
            assert shell(words_for(strange, name, key, value, out)) == expected, shell.text


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a valid image for each suffix."""
    labels = np.zeros((24, 24), np.uint16)
    labels[2:9, 2:9] = 1
    found = {}
    for suffix, write in image_writers():
        if suffix not in found:
            found[suffix] = tmp_path_factory.mktemp("images") / f"image{suffix}"
            write(found[suffix], labels)
    return found


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_images_of_another_format_or_cut_off_are_refused(
    suffix: str, images: dict[str, Path], world: World, shell: Shell, tmp_path: Path
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    for other, path in images.items():
        is_tiff = FORMATS[suffix].name == "TIFF" and FORMATS[other].slide  # a slide is a TIFF
        if FORMATS[other].name != FORMATS[suffix].name and not is_tiff:
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, folder / f"as{other.replace('.', '_')}{suffix}")
    if images[suffix].is_file():
        whole = images[suffix].read_bytes()
        for size in (3, 20, len(whole) // 2):
            (folder / f"cut_{size}{suffix}").write_bytes(whole[:size])
    before = bad_files.state(folder)
    # 2: none of them could be used; 1 would mean that one could.
    words = words_for(world, "predict", "images", str(folder), tmp_path / "out")
    assert shell(words) == ExitCode.USER_ERROR, shell.text
    assert bad_files.changed(before, folder) == []

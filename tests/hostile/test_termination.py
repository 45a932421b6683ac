"""Signals, exhausted memory and errors of the program, and the exit codes of the commands."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from selection import fast_first

import singula
from singula import cli
from singula.errors import ExitCode, StorageError, UserError
from singula.exports import FORMATS
from singula.inference import files
from singula.inference.stages import PredictionStages, PredictTask
from singula.io.pairing import Pair
from singula.pipeline.readers import Reader
from singula.training.epoch_log import EpochLog

# A command that prints "ready" and is then interrupted at the place of {body}.
PROGRAM = """
import atexit, gc, os, sys, threading, time
import singula.cli
from singula.cli.app import app, begin_command

def wait():
    print("ready", flush=True)
    for _ in range(600):
        time.sleep(0.1)

class Finalized:
    def __del__(self):
        wait()

@app.command()
def work():
    begin_command("continue with --resume")
{body}

sys.argv[1:] = ["work"]
from singula.__main__ import main
main()
"""
MOMENTS = {
    "command": "wait()",
    "finally": "try:\n  int('x')\nfinally:\n  wait()",
    "exec": "exec('wait()')",
    "finalizer": "Finalized()\nwait()",
    "converted": "try:\n  wait()\nexcept KeyboardInterrupt:\n  raise RuntimeError('of a library')",
    "user error": "from singula.errors import UserError\n"
    "try:\n  wait()\nfinally:\n  raise UserError('cannot be written', None, 'test.failed')",
    "exit": "try:\n  wait()\nexcept KeyboardInterrupt:\n  sys.exit(1)",
    "swallowed": "try:\n  wait()\nexcept KeyboardInterrupt:\n  pass",
    "threads": "t = threading.Thread(target=time.sleep, args=(0.3,)); t.start(); wait()",
    "fork": "pid = os.fork()\nif pid == 0:\n  time.sleep(0.5); os._exit(0)\nwait()",
    "blocked": "import signal, subprocess\nfrom singula.util.signals import blocked_signals\n"
    "with blocked_signals({signal.SIGINT}):\n"
    "  subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1)'])\nwait()",
    "interpreter end": "atexit.register(wait)",
}
NUMBERS = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    getattr(signal, "SIGUSR1", signal.SIGTERM): ExitCode.TERMINATED,
}


def start(code: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts the tests in the background lets them ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,  # type: ignore[call-overload]
    )


def program(body: str) -> str:
    return PROGRAM.format(body="\n".join(f"    {line}" for line in body.splitlines()))


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
@pytest.mark.parametrize("moment", fast_first(MOMENTS, 2))
def test_a_signal_prints_one_line(moment: str, number: signal.Signals) -> None:
    process = start(program(MOMENTS[moment]))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, number)
    _, errors = process.communicate()
    lines = errors.strip().splitlines()
    assert len(lines) == 1, errors
    assert lines[0].startswith("interrupted" if number == signal.SIGINT else "terminated")
    assert lines[0].endswith("--resume")
    assert process.returncode == NUMBERS[number]


def test_signals_that_come_together_are_one_and_a_later_one_ends_at_once() -> None:
    process = start(program("try:\n  wait()\nfinally:\n  print('kept', flush=True); wait()"))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(3):
        process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert [process.stdout.readline() for _ in range(2)] == ["kept\n", "ready\n"]
    time.sleep(1.1)
    process.send_signal(signal.SIGTERM)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert (
        errors.strip() == "interrupted; files written so far are complete: continue with --resume"
    )
    assert process.returncode == ExitCode.INTERRUPTED


def test_an_ignored_signal_remains_ignored() -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code += program("print('ready', flush=True); time.sleep(0.5); print('finished')")
    process = start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert (output, errors, process.returncode) == ("finished\n", "", ExitCode.DONE)


def test_only_the_first_process_of_a_run_prints_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    process = start(program("wait()"))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", "")
    assert process.returncode == ExitCode.INTERRUPTED


LAUNCHER = """
import sys
sys.executable = {script!r}
from singula.commands.launch import launch
from singula.cli import _exit_with_code_of
_exit_with_code_of(lambda: launch(2, []))
"""
SCRIPT = """#!/bin/sh
trap 'test "$RANK" = 0 && echo terminated >&2; exit 143' TERM
echo ready
while :; do sleep 0.1; done
"""


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_a_signal_to_the_launcher_only_ends_its_processes(
    number: signal.Signals, tmp_path: Path
) -> None:
    script = tmp_path / "program"
    script.write_text(SCRIPT)
    script.chmod(0o700)
    process = start(LAUNCHER.format(script=str(script)))
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    process.send_signal(number)
    _, errors = process.communicate()
    assert errors.split() == ["terminated"]
    assert process.returncode == NUMBERS[number]


def fail(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def eof() -> None:
    application = typer.Typer(pretty_exceptions_enable=False)
    application.command()(fail(EOFError("a truncated file")))
    application([])


OUT_OF_MEMORY = [
    MemoryError(), MemoryError("numba: Unable to allocate 3 GiB"),
    OSError(errno.ENOMEM, "Cannot allocate memory"), RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("Exception from src/inference/src/core.cpp:\nbad allocation"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "code"),
    [(lambda: None, ExitCode.DONE),
     (fail(SystemExit(0)), ExitCode.DONE),
     (fail(SystemExit(1)), ExitCode.INCOMPLETE),
     (fail(UserError("wrong", None, "test.wrong")), ExitCode.USER_ERROR),
     (fail(StorageError("full", None, "test.full")), ExitCode.USER_ERROR),
     *((fail(error), ExitCode.USER_ERROR) for error in OUT_OF_MEMORY),
     (fail(KeyboardInterrupt()), ExitCode.INTERRUPTED),
     (fail(ValueError("a bug")), ExitCode.INTERNAL_ERROR),
     (fail(GeneratorExit()), ExitCode.INTERNAL_ERROR),
     (eof, ExitCode.INTERNAL_ERROR)],
)  # fmt: skip
def test_every_error_has_its_code(
    command: Callable[[], None],
    code: ExitCode,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["singula"])
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.stdout
    with pytest.raises(SystemExit) as end:
        cli._exit_with_code_of(command)
    assert end.value.code == code
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.stdout) == before
    errors = capsys.readouterr().err
    assert ("Traceback" in errors) == (code == ExitCode.INTERNAL_ERROR)
    assert errors.startswith("error: ") == (code == ExitCode.USER_ERROR)


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--version"], 0), (["predict", "--help"], 0), (["nothing"], 2), (["run"], 2),
     (["run", "--config", "missing.yaml"], 2), (["export", "missing", "--to", "csv"], 2),
     (["report", "missing"], 2), (["run", "--config", "c", "--run_id", "x"], 2)],
    ids=str,
)  # fmt: skip
def test_commands_end_with_the_codes(
    words: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["singula", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == code


def test_memory_that_one_image_exhausts_does_not_end_a_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = SimpleNamespace(NUM_CPUS=-1, MAX_MEMORY=10**9)
    settings = SimpleNamespace(SYSTEM=system, in_channels=1)
    predictor = SimpleNamespace(device=SimpleNamespace(type="cpu"))
    model = SimpleNamespace(
        config=settings,
        ndim=2,
        reader=Reader(2, 1),
        predictor=predictor,
        others=(),
        factors=lambda scale: None,
    )
    monkeypatch.setattr(files, "instance", lambda value, *_: value)  # no model is needed
    errors = [*OUT_OF_MEMORY, ValueError("a bug")]

    def read(self: PredictionStages, task: PredictTask) -> None:
        fail(errors[int(task.pair.name)])()

    monkeypatch.setattr(PredictionStages, "read", read)
    pairs = [Pair(tmp_path / f"{n}.tif", None, f"{n}") for n in range(len(errors))]
    options = {"augment": None, "tables": False, "resume": False}
    failed = files.predict_files(model, pairs[:-1], tmp_path / "out", **options)
    assert len(failed) == len(OUT_OF_MEMORY)
    assert {error.code for error in failed.values()} == {"memory.exhausted"}
    with pytest.raises(ValueError, match="a bug"):
        files.predict_files(model, pairs, tmp_path / "out", **options)


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_removes_what_a_killed_one_left(to: str, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from singula.io.atomic import atomic_folder, atomic_path\n"
        "with atomic_folder(sys.argv[1] + '/a.ome.zarr') as folder:\n"
        "  (folder / 'chunk').write_bytes(b'half')\n"
        "  with atomic_path(sys.argv[1] + '/a.csv') as file:\n"
        "    file.write_bytes(b'half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    out = tmp_path / "out"
    line = [sys.executable, "-c", code, str(out)]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        killed.kill()
    left = set(out.rglob("*.part*"))
    assert len(left) == 2
    (out / ".mine.part").write_text("of the user")
    labels = np.zeros((16, 16), np.uint16)
    labels[4:9, 4:9] = 1
    assert all(path.exists() for path in singula.export(labels, to, out))
    assert not left & set(out.rglob("*"))
    assert (out / ".mine.part").exists()


def test_a_full_disk_of_events_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    def write(writer: object, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    lost: list[object] = []
    monkeypatch.setattr("threading.excepthook", lost.append)
    log = EpochLog(tmp_path / "log.csv", tmp_path / "events")
    log.write([{"epoch": 1.0, "train_loss": 0.5}])
    monkeypatch.setattr(RecordWriter, "write", write)
    with pytest.raises(StorageError, match="the disk is full"):
        log.write([{"epoch": 2.0, "train_loss": 0.25}])
    log.close()
    assert lost == []


def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EpochLog(tmp_path / "log.csv", tmp_path / "events")
    for epoch in (1, 2):
        log.write([{"epoch": float(epoch), "train_loss": 0.5 / epoch, "val_iou_B": 0.1}])
    log.close()
    found = EventAccumulator(str(tmp_path / "events")).Reload()
    assert found.Tags()["scalars"] == ["train/loss", "val/iou_B"]
    assert [(e.step, e.value) for e in found.Scalars("train/loss")] == [(1, 0.5), (2, 0.25)]

"""Run a worker, and measure its process tree."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peer_programs.programs import FOLDER, PROGRAMS, interpreter

_INTERVAL = 0.1  # seconds between two measurements of the memory
_THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip


class WorkerError(Exception):
    """Failure of a worker."""


def run_worker(environments: Path, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Run the worker of a program, and return its answer with the times and memory of all of it."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        job = json.dumps({**options, "answer": str(answer)})
        worker = FOLDER / PROGRAMS[name].worker
        command = [interpreter(environments, name), str(worker), job]
        measured = run_measured(command, int(options["threads"]))
        if not answer.is_file():
            raise WorkerError(measured["output"][-2000:])
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "ready" in found:
        found["start_wall"] = found.pop("ready") - measured["begin"]
    return {**found, **{key: measured[key] for key in ("wall", "cpu", "peak_mib")}}


def run_measured(command: list[str], threads: int) -> dict[str, Any]:
    """Run a command, and return its wall-clock and CPU seconds, peak memory and output.

    CPU seconds and memory include all processes that the command starts. The memory is the largest
    sum of their resident sets.
    """
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        **dict.fromkeys(_THREADS, str(threads)),
    }
    if command[0] == interpreter(Path(), "singula") and "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    with tempfile.TemporaryFile() as output:
        begin = time.time()
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        peak = _Peak(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.time() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    return {
        "begin": begin,
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mib": peak.stop(),
        "output": text,
        "code": process.returncode,
    }


class _Peak(threading.Thread):
    """Largest sum of the resident sets of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._peak, self._done = pid, 0, threading.Event()
        self.start()

    def run(self) -> None:
        import psutil

        try:
            root = psutil.Process(self._pid)
        except psutil.NoSuchProcess:
            return
        while not self._done.wait(_INTERVAL):
            total = 0
            try:
                for process in (root, *root.children(recursive=True)):
                    total += process.memory_info().rss
            except psutil.Error:
                continue
            self._peak = max(self._peak, total)

    def stop(self) -> float:
        """End the thread, and return the memory in MiB."""
        self._done.set()
        self.join()
        return self._peak / 2**20

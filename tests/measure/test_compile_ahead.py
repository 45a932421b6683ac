"""Compilation in a second process before a first prediction."""

import os
import subprocess
import sys

import psutil
import pytest

from singula.measure import compile_ahead as ahead

_USE = """
import numpy as np
from skimage.draw import disk
import singula
from singula.measure import intensity, moments, morphology
from singula.labels import index
from singula.measure.confidence import confidence
from singula.representations.channels import transform
from singula.representations.channels.source import EncodeSettings
from singula.representations.decoders import flood
from singula.util.process import compiled

labels = np.zeros((60, 70), np.uint16)
for number, center in enumerate([(12, 12), (12, 30), (40, 40)], start=1):
    labels[disk(center, 9)] = number
maps = {code: values.astype(np.float32) for code, values in singula.encode(labels, "BCD").items()}
found = singula.decode(maps, "BCD").astype(np.uint16)
assert len(np.unique(found)) == 4
confidence(found, maps, EncodeSettings(("B", "C", "D")))
singula.measure(found, np.ones(found.shape, np.uint8))
for function in (flood._count_pixels, flood._spread, index._survey, morphology.add_perimeters,
                 moments._add_moments, intensity._add_intensities, transform._along_rows,
                 transform._along_columns):
    stats = compiled(function).stats
    print(function.__name__, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""

# The process would end after ten minutes if it did not look at its input.
_SLOW_STEPS = (
    "import time; from singula.measure import compile_ahead as ahead; "
    "ahead.steps = lambda: [lambda: time.sleep(0.1)] * 6000"
)


def _run(program: str, folder) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    line = [sys.executable, "-c", program]
    return subprocess.run(line, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_a_prediction_finds_the_compiled_functions(tmp_path) -> None:
    _run("from singula.measure.compile_ahead import steps\nfor step in steps(): step()", tmp_path)
    lines = [line.split() for line in _run(_USE, tmp_path).splitlines()]
    assert len(lines) == 8
    assert [line for line in lines if line[1] == "0" or line[2] != "0"] == []


def test_the_process_ends_with_the_context(monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(ahead, "available_cores", lambda: 2)
    monkeypatch.setattr(ahead, "is_stored", lambda function: False)
    monkeypatch.setattr(ahead, "_PROGRAM", f"{_SLOW_STEPS}; ahead.main()")
    before = set(psutil.Process().children())
    with ahead.compile_ahead():
        (child,) = set(psutil.Process().children()) - before
        assert child.is_running()
    assert child.wait(120) == 0


def test_a_process_that_cannot_start_is_left_out(monkeypatch) -> None:
    def refuse(*arguments, **options) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(ahead, "available_cores", lambda: 2)
    monkeypatch.setattr(ahead, "is_stored", lambda function: False)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with ahead.compile_ahead():
        pass


@pytest.mark.parametrize(
    ("cores", "threads", "stored"), [(1, "", False), (4, "1", False), (4, "", True), (4, "", None)]
)
def test_no_process_starts_without_use(monkeypatch, cores, threads, stored) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(ahead, "available_cores", lambda: cores)
    monkeypatch.setattr(ahead, "is_stored", lambda function: stored)
    monkeypatch.setattr(subprocess, "Popen", None)
    with ahead.compile_ahead():
        pass


def test_functions_are_stored_until_their_source_changes(tmp_path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def add(a, b):\n    return a + b\n")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import module
from singula.util.process import compiled, is_stored
assert is_stored(module.add) is False
compiled(module.add)(1, 2)
assert is_stored(module.add) is True
"""
    _run(program, tmp_path / "compiled")
    stored = program.partition("assert")[0] + "print(is_stored(module.add))"
    os.utime(module, (2**31, 2**31))
    assert _run(stored, tmp_path / "compiled") == "True\n"
    module.write_text("def add(a, b):\n    return a - b\n")
    assert _run(stored, tmp_path / "compiled") == "False\n"

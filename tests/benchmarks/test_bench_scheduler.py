"""The benchmark of schedulers completes all blocks."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def rows(*words: str) -> dict[str, str]:
    pytest.importorskip("psutil")
    command = [sys.executable, "benchmarks/scheduler.py", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cells = [line.strip("|").split("|") for line in done.stdout.splitlines() if "|" in line]
    return {name.strip(): value.strip() for name, value in cells}


def number(text: str) -> int:
    return int(text.split()[0].replace(",", ""))


def test_tasks():
    pytest.importorskip("distributed")
    table = rows("tasks", "--blocks", "300")
    assert 300 / 1000 <= number(table["tasks"]) <= 300
    alone = rows("tasks", "--blocks", "120", "--alone")
    assert number(alone["tasks"]) == 120


@pytest.mark.parametrize("record", ["nothing", "seeds"])
def test_records(record):
    together = rows("records", "--blocks", "60", "--record", record)
    alone = rows("records", "--blocks", "60", "--record", record, "--alone")
    assert number(alone["files"].split(",")[0]) == 60
    assert number(together["files"].split(",")[0]) < 60


def test_join():
    table = rows("join", "--pieces", "1e4")
    assert 0 < number(table["instances"]) < 1e4

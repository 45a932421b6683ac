"""The benchmark of stages prints a complete table."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bench stages")]
ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("stage", "data", "seconds", "library", "library's", "ratio", "limit", "peak MiB")
STAGES = 9


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture(scope="module")
def table() -> list[list[str]]:
    pytest.importorskip("stardist")
    command = [sys.executable, "benchmarks/stages.py", "--quick", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [cells(line) for line in done.stdout.splitlines()]


def test_has_the_columns(table):
    assert tuple(table[0]) == COLUMNS
    assert set(table[1]) == {"---"}


def test_has_every_stage_in_an_image_and_in_a_volume(table):
    names = [row[0] for row in table[2:]]
    assert len(set(names[:STAGES])) == STAGES
    assert names[:STAGES] == names[STAGES:]
    assert len({row[1] for row in table[2:]}) == 2


def test_numbers_are_numbers(table):
    for _, _, seconds, peer, peer_seconds, ratio, limit, peak in table[2:]:
        assert peer
        assert min(map(float, (seconds, peer_seconds, ratio))) >= 0
        assert float(limit) > 0
        assert peak == "–" or float(peak) >= 0

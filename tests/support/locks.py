"""Locks that another process holds."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CODE = """
import sys
from pathlib import Path
from singula.io.run_lock import hold

with hold(map(Path, sys.argv[2:]), sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(*files: Path, task: str = "run") -> Iterator[subprocess.Popen[str]]:
    """Let a process hold locks until the block ends, or it is killed."""
    line = [sys.executable, "-c", _CODE, task, *map(str, files)]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process

"""Run `singula` in this process, and write the CPU seconds of each block as JSON.

    python benchmarks/timed_blocks.py TIMES.json run --config scan.yaml …

The file has a list of [phase, number of the block, CPU seconds]. Blocks that Dask workers process
are not included.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from singula.blocks import runner
from singula.cli import main

_do_blocks = runner.do_blocks
_times: list[tuple[str, int, float]] = []


def do_blocks(work: Any, folder: Path, phase: str, numbers: Any, *seconds: float) -> list[int]:
    """Process blocks like `singula.blocks.runner.do_blocks`, and measure each."""

    def measured(job: Path, number: int) -> Any:
        start = time.process_time()
        record = work(job, number)
        _times.append((phase, number, time.process_time() - start))
        return record

    return _do_blocks(measured, folder, phase, numbers, *seconds)


if __name__ == "__main__":
    target = Path(sys.argv.pop(1))
    runner.do_blocks = do_blocks
    try:
        sys.exit(main())
    finally:
        target.write_text(json.dumps(_times), encoding="utf-8")

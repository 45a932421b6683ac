"""Functions of BiaPy in its own environment, for the comparison of the stages.

    python benchmarks/peers.py --install peers --programs biapy
    make bench PEER=peers/biapy/bin/python

`biapy_stages_worker.py` runs and times the functions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class PeerError(Exception):
    """Failure of a function of the peer."""


class Peer:
    """A process of the other environment that runs functions on request.

    Parameters
    ----------
    python : str
        Interpreter of the environment in which BiaPy is installed.
    """

    def __init__(self, python: str) -> None:
        worker = Path(__file__).with_name("biapy_stages_worker.py")
        self._process = subprocess.Popen(
            [python, str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": ""},
        )

    def load(self, arrays: Mapping[str, Any]) -> None:
        """Load the arrays of a folder in the other process."""
        with tempfile.TemporaryDirectory() as folder:
            for name, values in arrays.items():
                np.save(Path(folder, name), values)
            self._ask({"load": folder})

    def seconds(self, stage: str) -> float | None:
        """Return the CPU time of one call, or None if the function fails."""
        try:
            return self._ask({"run": stage})
        except PeerError as error:
            print(error, file=sys.stderr)
            return None

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, order: Mapping[str, str]) -> float:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the peer has no pipes")
        print(json.dumps(order), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended at {order}")
        found = json.loads(line)
        if "error" in found:
            raise PeerError(f"the peer failed at {order}: {found['error']}")
        return float(found["seconds"])

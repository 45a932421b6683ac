"""Train with two launchers, as on two machines, and compare with one launcher of two processes.

    python benchmarks/two_nodes.py

Both launchers run on this machine and communicate over its loopback address. Prints the losses
of both trainings and whether they and the scores are equal; exit code 1 if they are not.
"""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from crashes import prepare

from singula.synthetic.fluorescence import make_dataset


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def start(folder: Path, name: str, *options: object) -> subprocess.Popen[str]:
    """Start a launcher."""
    script = shutil.which("biapy", path=str(Path(sys.executable).parent))
    line = [sys.executable, "-u", "-m", "torch.distributed.run", *options, script]
    line += ["--config", folder / "job.yaml", "--result_dir", folder, "--name", name]
    return subprocess.Popen(
        [str(word) for word in line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def read_results(folder: Path, name: str) -> tuple[list[float], str]:
    """Return the training losses and the table of scores."""
    run = folder / name / "results" / f"{name}_1"
    with (run / "train_logs" / f"{name}_1.csv").open() as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    return losses, (run / "metrics.csv").read_text()


def main() -> int:
    """Run both trainings, and compare them."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        rng = np.random.default_rng(0)
        make_dataset(root / "data", 2, rng, n_train=4, n_val=1, n_test=3, shape=(128, 128))
        folder = root / "job"
        prepare(folder, root / "data")
        port = free_port()
        common = ("--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1")
        nodes = [
            start(folder, "nodes", *common, f"--node_rank={rank}", f"--master_port={port}")
            for rank in (0, 1)
        ]
        for node in nodes:
            output = node.communicate()[0]  # reads the pipe, so that the launcher never blocks
            print(output[-300:] if node.returncode else "a launcher finished without an error")
        local = start(folder, "local", "--nproc_per_node=2", f"--master_port={free_port()}")
        local.communicate()
        results, expected = read_results(folder, "nodes"), read_results(folder, "local")
    print("losses, two launchers:", results[0])
    print("losses, one launcher: ", expected[0])
    equal = results[1] == expected[1] and np.allclose(results[0], expected[0], rtol=1e-6)
    print("equal" if equal else "DIFFERENT")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())

"""Train on two machines, and cut or slow the network between them.

    python benchmarks/cluster/two_machines.py
    python benchmarks/cluster/two_machines.py --scenarios slow cut

Each machine is a network namespace with a launcher of one process (``torch.distributed.run``). This
program carries the packets between them (TUN devices). A slow network must give the results of a
fast one. After a cut, both launchers must end with an error within minutes, and the run must
continue to bit-identical weights. Prints a Markdown table; exit code 1 if anything differs. Needs
root, and the command ``ip``. Ends only processes that it started.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from crashes import CONFIG

from singula.synthetic.fluorescence import make_dataset

_LIMIT = 600  # seconds of a run
_MAX_DETECTION = 300  # seconds from a cut to the end of both launchers
_PORT = 29500
_GRACE = 60  # seconds; a launcher kills its process after 30


class NotAllowedError(Exception):
    """This system does not allow a network of namespaces."""


class Network(threading.Thread):
    """Network that carries packets between two TUN devices, with a delay, a rate and losses.

    Parameters
    ----------
    devices : list of int
        Files of the two devices.
    """

    def __init__(self, devices: list[int]) -> None:
        super().__init__(daemon=True)
        self.devices = devices
        self.delay, self.rate, self.loss = 0.0, float("inf"), 0.0
        self.ends = False
        self._random = random.Random(0)

    def run(self) -> None:
        """Carry packets until `ends` is set."""
        waiting: tuple[deque[tuple[float, bytes]], ...] = (deque(), deque())
        free = [0.0, 0.0]  # times from which the network can carry the next packet
        while not self.ends:
            now = time.monotonic()
            due = min((queue[0][0] for queue in waiting if queue), default=now + 0.1)
            ready, _, _ = select.select(self.devices, [], [], max(0.0, due - now))
            now = time.monotonic()
            for side, device in enumerate(self.devices):
                if device in ready:
                    packet = os.read(device, 65536)
                    free[side] = max(free[side], now) + len(packet) / self.rate
                    if self._random.random() >= self.loss:
                        waiting[side].append((free[side] + self.delay, packet))
                while waiting[side] and waiting[side][0][0] <= now:
                    _, packet = waiting[side].popleft()
                    with suppress(OSError):  # the other device is being removed
                        os.write(self.devices[1 - side], packet)


class Machines:
    """Two network namespaces, and the network between them.

    Parameters
    ----------
    prefix : str
        Start of the names of the namespaces and devices.
    """

    def __init__(self, prefix: str) -> None:
        self.names = [f"{prefix}{number}" for number in (0, 1)]
        self.addresses = ["10.231.7.1", "10.231.7.2"]
        self.network: Network | None = None
        self.processes: list[subprocess.Popen[bytes]] = []

    def connect(self) -> None:
        """Create the namespaces and the network."""
        devices: list[int] = []
        for name, address in zip(self.names, self.addresses, strict=True):
            _ip("netns", "add", name)
            # A thread of its own, because it stays in the namespace.
            opener = threading.Thread(target=lambda n=name: devices.append(_open_tun(n)))
            opener.start()
            opener.join()
            for line in (f"addr add {address}/24 dev {name}", f"link set {name} up",
                         "link set lo up"):  # fmt: skip
                _ip("-n", name, *line.split())
        if len(devices) != len(self.names):
            raise OSError("a TUN device could not be created")
        self.network = Network(devices)
        self.network.start()

    def remove(self) -> None:
        """End the launchers that are in progress; remove the namespaces and the network."""
        for process in self.processes:
            _end(process)
        if self.network is not None:
            self.network.ends = True
            self.network.join()
            for device in self.network.devices:
                os.close(device)
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def shape(self, delay: float = 0.0, rate: float = float("inf"), loss: float = 0.0) -> None:
        """Set the delay in seconds, the rate in bytes per second, and the share of lost packets."""
        assert self.network is not None
        self.network.delay, self.network.rate, self.network.loss = delay, rate, loss

    def start(self, folder: Path, name: str, *more: str) -> list[subprocess.Popen[bytes]]:
        """Start a launcher on each machine."""
        processes = []
        for rank, machine in enumerate(self.names):
            line = ["ip", "netns", "exec", machine, sys.executable, "-u", "-m",
                    "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1",
                    f"--node_rank={rank}", f"--master_addr={self.addresses[0]}",
                    f"--master_port={_PORT}", "-m", "singula", "run", "--config", "job.yaml",
                    "--result_dir", ".", "--name", name, *more]  # fmt: skip
            environment = {**os.environ, "GLOO_SOCKET_IFNAME": machine, "OMP_NUM_THREADS": "1",
                           "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
            with (folder / f"{name}_{rank}.log").open("ab") as log:
                processes.append(
                    subprocess.Popen(line, cwd=folder, env=environment, stdout=log, stderr=log,
                                     start_new_session=True)
                )  # fmt: skip
        self.processes += processes
        return processes


@dataclass
class Scenario:
    """Network of a training.

    Parameters
    ----------
    text : str
        Description for the table.
    network : dict
        Arguments of `Machines.shape` from the start.
    cuts : bool
        Cut the network when the first epochs are finished.
    """

    text: str
    network: dict[str, float] = field(default_factory=dict)
    cuts: bool = False


SCENARIOS = {
    "slow": Scenario("delay of 50 ms, 8 Mbit/s, 1 % of the packets lost",
                     {"delay": 0.05, "rate": 1e6, "loss": 0.01}),
    "cut": Scenario("cut during the training, then resumed", cuts=True),
}  # fmt: skip


def _open_tun(name: str) -> int:
    """Enter a network namespace, and create a TUN device in it; return its file."""
    with open(f"/run/netns/{name}") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"network namespace {name}")
    device = os.open("/dev/net/tun", os.O_RDWR)
    set_interface, tun, no_header = 0x400454CA, 0x0001, 0x1000  # TUNSETIFF, IFF_TUN, IFF_NO_PI
    fcntl.ioctl(device, set_interface, struct.pack("16sH", name.encode(), tun | no_header))
    return device


def _ip(*line: str) -> None:
    subprocess.run(["ip", *line], check=True, capture_output=True)


@contextmanager
def machines() -> Iterator[Machines]:
    """Create two machines, and remove them at the end.

    Raises
    ------
    NotAllowedError
        This system does not allow network namespaces or TUN devices.
    """
    pair = Machines(f"sg{os.getpid() % 100000}m")
    try:
        try:
            pair.connect()
        except (OSError, subprocess.CalledProcessError, ValueError) as error:
            raise NotAllowedError(str(error)) from error
        yield pair
    finally:
        pair.remove()


def wait(processes: list[subprocess.Popen[bytes]], seconds: float) -> list[int | None]:
    """Wait for both launchers; return their exit codes, or None for those that do not end."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(0.3)
    codes = [process.poll() for process in processes]
    for process in processes:
        _end(process)
    return codes


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a launcher, which ends its process, if it is in progress."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def errors(folder: Path, name: str) -> list[str]:
    """Return the first error of each machine."""
    found = []
    for rank in (0, 1):
        text = (folder / f"{name}_{rank}.log").read_text()
        lines = [line for line in text.splitlines() if line.startswith("error: ")]
        found.append(lines[0] if lines else "no message")
    return found


def last_weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """Return the weights after the last epoch."""
    path = folder / name / "checkpoints" / f"{name}_1-checkpoint-last.pth"
    weights: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return weights


def is_equal(folder: Path, name: str, expected: str) -> bool:
    """Compare the weights and scores of two runs bit by bit."""
    weights, others = last_weights(folder, name), last_weights(folder, expected)
    tables = [folder / n / "results" / f"{n}_1" / "metrics.csv" for n in (name, expected)]
    same = weights.keys() == others.keys() and tables[0].read_text() == tables[1].read_text()
    return same and all(torch.equal(weights[key], others[key]) for key in weights)


def run_scenario(pair: Machines, folder: Path, name: str, scenario: Scenario) -> str:
    """Run a scenario, and return how it ended.

    Raises
    ------
    RuntimeError
        A launcher does not end, or ends without a message.
    """
    pair.shape(**scenario.network)
    processes, note = pair.start(folder, name), "finished"
    if scenario.cuts:
        log, until = folder / f"{name}_0.log", time.monotonic() + _LIMIT
        while "epoch 3/" not in log.read_text():
            if time.monotonic() > until or any(p.poll() is not None for p in processes):
                raise RuntimeError(f"{name}: no third epoch:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        pair.shape(loss=1.0)
        started = time.monotonic()
        codes = wait(processes, _MAX_DETECTION)
        seconds = time.monotonic() - started
        lines = errors(folder, name)
        print(*(f"  {line[:300]}" for line in lines), sep="\n", file=sys.stderr)
        named = all(re.search(r"rank \d of 2, .*epoch \d", line) for line in lines)
        if None in codes or 0 in codes or not named:
            logs = "\n".join((folder / f"{name}_{r}.log").read_text()[-3000:] for r in (0, 1))
            raise RuntimeError(f"{name}: exit codes {codes} after {seconds:.0f} s\n{logs}")
        note = f"both errors name rank and step after {seconds:.0f} s; finished with --resume"
        pair.shape()
        processes = pair.start(folder, name, "--resume")
    codes = wait(processes, _LIMIT)
    if codes != [0, 0]:
        logs = "\n".join((folder / f"{name}_{r}.log").read_text()[-3000:] for r in (0, 1))
        raise RuntimeError(f"{name}: exit codes {codes}\n{logs}")
    return note


def main() -> int:
    """Run the scenarios, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    if os.name != "posix" or os.geteuid() or not shutil.which("ip"):
        print("skipped: needs root, and the command ip")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with the clean-up
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        make_dataset(folder / "data", 2, rng, n_train=8, n_val=2, n_test=2, shape=(128, 128))
        text = CONFIG.format(
            data=folder / "data", channels=folder / "channels", epochs=options.epochs
        )
        (folder / "job.yaml").write_text(text)
        try:
            with machines() as pair:
                return _compare(pair, folder, options.scenarios)
        except NotAllowedError as error:
            print(f"skipped: this system does not allow network namespaces or TUN devices: {error}")
            return 0


def _compare(pair: Machines, folder: Path, keys: list[str]) -> int:
    started = time.monotonic()
    run_scenario(pair, folder, "whole", Scenario("nothing"))
    print("| network | end | bit-identical | seconds |")
    print("|---|---|---|---|")
    print(f"| as it is | finished | | {time.monotonic() - started:.0f} |", flush=True)
    equal = True
    for key in keys:
        started = time.monotonic()
        note = run_scenario(pair, folder, key, SCENARIOS[key])
        same = is_equal(folder, key, "whole")
        equal &= same
        print(f"| {SCENARIOS[key].text} | {note} | {'yes' if same else 'NO'} "
              f"| {time.monotonic() - started:.0f} |", flush=True)  # fmt: skip
    return 0 if equal else 1


if __name__ == "__main__":
    raise SystemExit(main())

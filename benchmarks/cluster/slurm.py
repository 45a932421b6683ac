"""Start SLURM with several nodes on this machine, and end it.

    python benchmarks/cluster/slurm.py -- squeue

Runs a command while munge, slurmctld and two slurmd run; ``SLURM_CONF`` is set for it. All files
are in a temporary folder, and only processes that this program started are ended. Needs Debian's
packages ``slurm-wlm`` and ``munge``, and root, because slurmd starts jobs of other users.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "sinfo")
_START_SECONDS = 60
_CONFIG = """\
ClusterName=singula
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool_%n
SlurmdPidFile={folder}/slurmd_%n.pid
SlurmdLogFile={folder}/slurmd_%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
MinJobAge=600
{nodes}
PartitionName=normal Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
"""


class NotStartedError(RuntimeError):
    """A service of SLURM does not start on this machine."""


def missing_programs() -> list[str]:
    """Return the programs of SLURM and munge that are not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def free_ports(count: int) -> list[int]:
    """Return ports that no process uses."""
    sockets = [socket.socket() for _ in range(count)]
    for free in sockets:
        free.bind(("127.0.0.1", 0))
    ports = [free.getsockname()[1] for free in sockets]
    for free in sockets:
        free.close()
    return ports


@contextmanager
def cluster(
    nodes: int = 2, *, cores: int = 1, megabytes: int = 4000
) -> Iterator[Mapping[str, str]]:
    """Run a cluster, and yield the environment of its commands.

    Parameters
    ----------
    nodes : int
        Number of nodes, which are processes of this machine.
    cores : int
        Cores of each node, which need not exist.
    megabytes : int
        Memory of each node.

    Raises
    ------
    NotStartedError
        A service does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm_"))
    folder.chmod(0o755)  # munge refuses folders that others may write
    for name in ("state", *(f"spool_n{number}" for number in range(1, nodes + 1))):
        (folder / name).mkdir()
    ports = free_ports(1 + nodes)
    names = [
        f"NodeName=n{number} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 "
        f"Port={ports[number]} CPUs={cores} RealMemory={megabytes} State=UNKNOWN"
        for number in range(1, nodes + 1)
    ]
    config = folder / "slurm.conf"
    config.write_text(
        _CONFIG.format(
            host=socket.gethostname(), ports=ports, folder=folder, nodes="\n".join(names)
        )
    )
    is_v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    plugin = "CgroupPlugin=cgroup/v2\nIgnoreSystemd=yes\n" if is_v2 else "CgroupPlugin=cgroup/v1\n"
    (folder / "cgroup.conf").write_text(plugin)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    environment = {**os.environ, "SLURM_CONF": str(config), "PATH": path}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    lines = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        ["slurmctld", "-D", "-f", str(config)],
        *(["slurmd", "-D", "-f", str(config), "-N", f"n{n}"] for n in range(1, nodes + 1)),
    ]
    processes: list[subprocess.Popen[bytes]] = []
    previous = signal.signal(signal.SIGTERM, exit_at_signal)
    try:
        for line in lines:
            with (folder / "services.log").open("ab") as log:
                processes.append(
                    subprocess.Popen(line, env=environment, stdout=log, stderr=log,
                                     start_new_session=True)
                )  # fmt: skip
            if line[0] == "munged":
                _wait_until((folder / "munge.socket").exists, folder, processes)
        _wait_until(lambda: _count_idle(environment) == nodes, folder, processes)
        yield environment
    finally:
        _end_jobs(environment)
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, previous)


def exit_at_signal(number: int, frame: object) -> None:
    """End the program with its clean-up; a handler of SIGTERM."""
    sys.exit(128 + number)


def call(environment: Mapping[str, str], *line: str) -> str:
    """Run a command of SLURM, and return its output."""
    done = subprocess.run(
        line, env=environment, check=False, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def _count_idle(environment: Mapping[str, str]) -> int:
    return (
        call(environment, "sinfo", "--noheader", "-N", "-p", "normal", "-o", "%t")
        .split()
        .count("idle")
    )


def _wait_until(
    is_ready: Callable[[], bool], folder: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    until = time.monotonic() + _START_SECONDS
    while not is_ready():
        dead = [process.args[0] for process in processes if process.poll() is not None]
        if dead or time.monotonic() > until:
            logs = "\n".join(file.read_text()[-2000:] for file in folder.glob("*.log"))
            raise NotStartedError(
                f"SLURM does not start ({', '.join(dead) or 'no answer'}):\n{logs}"
            )
        time.sleep(0.2)


def _end_jobs(environment: Mapping[str, str]) -> None:
    """Cancel all jobs, and wait until they have ended."""
    until = time.monotonic() + 30
    call(environment, "scancel", "--full", "--user", "root")
    while call(environment, "squeue", "--noheader").strip() and time.monotonic() < until:
        time.sleep(0.5)


def main() -> int:
    """Run a command in a cluster, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("line", nargs=argparse.REMAINDER, help="command")
    options = parser.parse_args()
    absent = missing_programs()
    if absent:
        print(f"not installed: {', '.join(absent)}", file=sys.stderr)
        return 2
    line = [word for word in options.line if word != "--"] or ["sinfo"]
    with cluster(options.nodes) as environment:
        return subprocess.run(line, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())

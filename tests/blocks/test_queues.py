"""Jobs of batch systems: their scripts, and errors about invalid files."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from block_work import slow_square

from singula.blocks import JobFolder, dask_run
from singula.errors import UserError
from singula.util.format import install_command

jobqueue = pytest.importorskip("dask_jobqueue")
dask = pytest.importorskip("dask")
local = pytest.importorskip("dask_jobqueue.local")
VALUES = {"jobs": 3, "cores": 4, "memory": "10GB", "walltime": "02:30:00", "queue": "long"}
# Lines of the script that request cores, memory and time
EXPECTED = {
    "slurm": ("#SBATCH --cpus-per-task=4", "#SBATCH --mem=10G", "#SBATCH -t 02:30:00",
              "#SBATCH -p long"),
    "pbs": ("#PBS -l select=1:ncpus=4:mem=9537MB", "#PBS -l walltime=02:30:00", "#PBS -q long"),
    "lsf": ("#BSUB -n 4", "#BSUB -M 10", "#BSUB -W 02:30", "#BSUB -q long"),
    "sge": ("#$ -l h_rt=02:30:00", "#$ -q long"),
}  # fmt: skip


@pytest.fixture
def scaled(monkeypatch):
    """Record the requested number of jobs instead of submitting them."""
    requested = []
    for name in dask_run.QUEUES.values():
        kind = getattr(jobqueue, name)
        monkeypatch.setattr(kind, "scale", lambda self, jobs: requested.append(jobs))
    return requested


def write(path: Path, values: object) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("queue", list(EXPECTED))
def test_the_script_of_a_job(queue, tmp_path, scaled):
    values = dict(VALUES)
    if queue == "lsf":
        values |= {"walltime": "02:30", "lsf_units": "gb"}
    with dask_run.queue_cluster(queue, write(tmp_path / "queue.yaml", values)) as cluster:
        script = cluster.job_script()
    assert scaled[0] == 3  # closing the cluster requests none
    for line in EXPECTED[queue]:
        assert line in script, script
    command = script.splitlines()[-1]
    assert "distributed.cli.dask_worker" in command
    assert sys.executable in command
    # One process with one block at a time, with all cores and all memory of the job
    assert "--nworkers" not in command
    assert re.findall(r"--nthreads (\d+)", command)[-1] == "1"
    assert "--memory-limit 9.31GiB" in command
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        assert f"export {name}=4" in script
    assert "export MALLOC_ARENA_MAX=1" in script
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False" in script


class ProcessJob(local.LocalJob):
    """Job that is a group of processes of this machine."""

    async def _submit_job(self, script_filename: str) -> str:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        script = Path(script_filename).read_text()  # the file is deleted soon
        return str(subprocess.Popen(["sh", "-c", script], start_new_session=True, **quiet).pid)

    @classmethod
    async def _close_job(cls, job_id: str, cancel_command: str) -> None:
        with suppress(ProcessLookupError):
            os.killpg(int(job_id), signal.SIGKILL)


class ProcessCluster(local.LocalCluster):
    job_cls = ProcessJob


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_lost_job_is_replaced(tmp_path, monkeypatch):
    """Kill the only job; it is a process of this machine, with the script of a real job."""
    monkeypatch.setattr(jobqueue, "SLURMCluster", ProcessCluster)
    monkeypatch.setattr(dask_run, "_REPLACE_INTERVAL", 0.5)
    support = str(Path(__file__).parents[1] / "support")  # workers import the work function
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([support, os.environ.get("PYTHONPATH", "")]))
    values = {"jobs": 1, "cores": 1, "memory": "2GB"}
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if done > 20 and not killed:
            killed.extend(runner.client.run(os.getpid).values())
            os.killpg(os.getpgid(killed[0]), signal.SIGKILL)

    job = JobFolder(tmp_path / "job")
    job.path.mkdir()
    option = f"slurm:{write(tmp_path / 'queue.yaml', values)}"
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        dask_run.dask_runner(option, memory=10**9) as runner,
    ):
        runner.run(slow_square, job, "a", range(300), kill)
        (worker,) = runner.client.run(os.getpid).values()
    assert killed
    assert worker not in killed
    assert job.done("a") == set(range(300))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**VALUES, "colour": "red"}, "colour"),
        ({"jobs": 2, "memory": "1GB"}, "cores"),
        ({"cores": 2, "memory": "1GB"}, "jobs"),
        ({**VALUES, "jobs": 0}, "jobs"),
        (["jobs"], "jobs"),
        ("jobs: [", "YAML"),
    ],
)
def test_wrong_files(values, message, tmp_path, scaled):
    file = tmp_path / "queue.yaml"
    file.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    with pytest.raises(UserError, match=message) as caught:
        dask_run.queue_cluster("slurm", file)
    assert str(file) in caught.value.message
    assert scaled == []


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    file = write(tmp_path / "queue.yaml", VALUES)
    with pytest.raises(UserError, match="dask_jobqueue is not installed") as caught:
        dask_run.check_dask_option(f"slurm:{file}")
    assert caught.value.hint == install_command("dask")

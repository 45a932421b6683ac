"""Jobs of batch systems: their scripts, and errors about invalid files."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from singula.blocks import dask_run
from singula.errors import UserError
from singula.util.format import install_command

jobqueue = pytest.importorskip("dask_jobqueue")
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

"""Script that executes a sweep as a SLURM job array."""

from __future__ import annotations

import shlex
from pathlib import Path

from singula.commands.sweep.plan import Sweep, SweepOptions, plan_sweep, write_plan
from singula.errors import UserError
from singula.io.write import write_text
from singula.util.process import python_command

_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{count}
#SBATCH --output={output} --open-mode=append
#SBATCH --signal=USR1@300 --requeue
# Change these requests, and add those of your cluster, such as a partition or a GPU.
#SBATCH --ntasks=1 --cpus-per-task=4 --mem=16G
#SBATCH --time=24:00:00
##SBATCH --gres=gpu:1

# Each task executes the run of its number; the last task also scores the ensembles. A task is put
# back into the queue before its time limit. To continue after an error, submit the script again.
cd {working_folder}
srun {command}
"""


def write_script(
    options: SweepOptions, target: Path, index: int | None = None
) -> tuple[Sweep, Path]:
    """Write a batch script whose tasks execute the runs of a sweep; no run is started.

    Parameters
    ----------
    options : SweepOptions
        Options of the command.
    target : Path
        File to write.
    index : int, optional
        Option ``--index``, which must not be given.

    Raises
    ------
    UserError
        ``sweep.script_index``: `index` is given; ``sweep.script_exists``: the file exists; the
        codes of `plan_sweep` and `write_plan`.
    """
    if index is not None:
        raise UserError(
            f"--slurm: got also --index {index}, expected one of them, because the tasks of the "
            "script execute all runs",
            "omit --index, or omit --slurm",
            "sweep.script_index",
        )
    if target.exists():
        raise UserError(
            f"--slurm: got {target}, which exists, expected a new file",
            "give another name, or delete the file",
            "sweep.script_exists",
        )
    sweep = plan_sweep(options)
    write_plan(sweep)
    text = _SCRIPT.format(
        name=shlex.quote(sweep.runs[0].tree.name),
        count=len(sweep.runs),
        # SLURM replaces %a and other patterns in the path.
        output=shlex.quote(str(sweep.folder.absolute()).replace("%", "%%") + "/slurm_%a.log"),
        working_folder=shlex.quote(str(Path.cwd())),
        command=shlex.join([*python_command(), "-m", "singula", *arguments(options)]),
    )
    return sweep, write_text(target, text)


def arguments(options: SweepOptions) -> list[str]:
    """Return the arguments of the command that executes the sweep.

    Parameters
    ----------
    options : SweepOptions
        Options of the command.
    """
    words = ["sweep", str(options.config), "--result_dir", str(options.result_dir)]
    for name, values in (("--vary", options.varied), ("--set", options.overrides)):
        for value in values:
            words += [name, value]
    for name, given in (
        ("--folds", options.folds),
        ("--trials", options.trials),
        ("--seed", options.seed or None),
        ("--name", options.name),
        ("--gpu", options.gpu),
    ):
        words += [] if given is None else [name, str(given)]
    return words

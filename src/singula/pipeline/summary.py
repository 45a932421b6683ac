"""Summary of a run: versions, machine, times, memory, configuration and scores."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singula.config import Config
from singula.io.digest import file_sha256
from singula.io.run_folder import ResultsTree
from singula.pipeline.provenance import RunInputs, machine, versions
from singula.pipeline.seed import run_seed
from singula.pipeline.thresholds import threshold_sources
from singula.util.memory import peak_memory

if TYPE_CHECKING:
    from singula.pipeline.test_run import TestRun
    from singula.pipeline.train import TrainReport
    from singula.training.device import Device


def write_summary(
    config: Config,
    tree: ResultsTree,
    device: Device,
    inputs: RunInputs,
    seconds: dict[str, float],
    memory: dict[str, float],
    training: TrainReport | None,
    test: TestRun | None,
) -> None:
    """Write the summary of a run, ``run.json``.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.
    device : Device
        Device of the network.
    inputs : RunInputs
        Data, weights and options of the run.
    seconds : dict of str to float
        Seconds of each stage.
    memory : dict of str to float
        Peak memory after each stage, in MiB.
    training : TrainReport, optional
        Report of the training.
    test : TestRun, optional
        Finished test.
    """
    from singula.io.record_files import write_record
    from singula.io.records.results import RunSummary
    from singula.io.write import plain_values

    summary: dict[str, Any] = {
        "job": {
            "id": tree.job_id,
            "paths": tree.overrides,
            "started_in": str(Path.cwd()),
            "processes": inputs.processes,
            "dask": inputs.dask,
            "resumed": inputs.resumed,
        },
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": machine(device),
        "seed": run_seed(config, tree.run_id) if training is None else training.seed,
        "precision": device.precision,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "peak_memory_mb": peak_memory_mib(),
        "peak_memory_mb_after": memory,
        "configuration": config.written(),
        "data": inputs.data,
        "first_model": inputs.model,
    }
    if training is not None:
        summary["training"] = {
            "epochs": len(training.result.history),
            "patches_per_epoch": training.patches,
            "parameters": training.parameters,
            "images": training.images,
            "validation_images": training.validation_images,
            "smallest_image": list(training.min_shape),
            "largest_image": list(training.max_shape),
            "annotated": training.annotated,
            "last_epoch": training.result.history[-1],
            "model": file_sha256(training.result.best),
        }
    if test is not None:
        results = test.results
        summary["test"] = {
            "instances": results.instances,
            "thresholds": results.thresholds,
            "threshold_sources": threshold_sources(results.config),
            "failed": test.failed,
            "files": test.sources,
        }
        summary["scores"] = {
            view: {
                "mean": [vars(s) for s in results.scores.dataset(view, by_image=True)],
                "pooled": [vars(s) for s in results.scores.dataset(view, by_image=False)],
            }
            for view in results.scores.matches
        }
    write_record(tree.run_json, RunSummary.model_validate(plain_values(summary)))


def peak_memory_mib() -> float:
    """Return the peak resident memory of this process, in MiB; 0 if it is unknown."""
    return round(peak_memory() / 2**20, 1)

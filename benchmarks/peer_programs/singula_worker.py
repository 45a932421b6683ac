"""Singula inside a process, with the functions of its command `singula predict`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker import Job, measure, store, work


def start(job: Job) -> Callable[[], int]:
    """Load a trained model with one view, as the command does."""
    from singula.util.process import importing, prepare_process

    prepare_process()
    with importing():
        from singula.inference import gather_images, load, plan_predictions, predict_files
    model = load(job.model)
    changes = {key: value for key, value in job.keys.items() if value != value_of(model, key)}
    if changes:
        model = changed(model, changes)
    if job.maps:
        model = with_ideal_maps(model, job)
    output = Path(job.output)

    def process() -> int:
        files = gather_images([Path(path) for path in job.images])
        pairs = plan_predictions(model, files, output, overwrite=True)
        failed = predict_files(model, pairs, output, augment=False, tables=False, resume=False)
        if failed:
            raise RuntimeError(str(failed))
        return 0

    return process


def value_of(model: Any, key: str) -> Any:
    value = model.config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def changed(model: Any, changes: dict[str, Any]) -> Any:
    """Return a model as if it had been trained with other keys for prediction."""
    import torch

    from singula.pipeline.checkpoints import predictor_from
    from singula.training.checkpoint import load_checkpoint

    config = model.config.replaced(changes)
    checkpoint = load_checkpoint(model.checkpoint)
    predictor, _ = predictor_from(config, checkpoint, torch.device("cpu"))
    return dataclasses.replace(model, config=config, predictor=predictor)


def with_ideal_maps(model: Any, job: Job) -> Any:
    """Return a model that replaces the maps of its network by those of the labels."""
    from singula.inference.model import Model

    current = iter(range(len(job.images)))

    class IdealModel(Model):
        def predict_maps(self, array: Any, *, augment: bool | None = None) -> dict[str, Any]:
            with job.clock.part("network"):
                maps = super().predict_maps(array, augment=augment)
            number = next(current)
            return {name: job.ideal(number, name) for name in maps}

    values = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    return IdealModel(**values)


def prepare(job: Job) -> None:
    """Compute the channels of the model from the labels."""
    from tifffile import imread

    import singula

    model = singula.load(job.model)
    for path in job.labels:
        for name, values in singula.encode(imread(path), model.channels).items():
            store(job, path, name, values.astype("float32"))


if __name__ == "__main__":
    work(predict=lambda job: measure(job, start), prepare=prepare)

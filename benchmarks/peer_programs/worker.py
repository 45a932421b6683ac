"""Job, clock and files of the workers of all programs.

A worker runs in the environment of its program, which has neither Singula nor its dependencies. It
gets one job as JSON in its only argument, and writes the answer as JSON to the file named in the
job. The output that the program prints is not part of the answer.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Image = np.ndarray
# From the image and its number in the job to the label image
Predict = Callable[[Image, int], Image]


# A library of operators exists as long as its object.
_libraries: list[Any] = []


class Job:
    """Job of a worker.

    Parameters
    ----------
    options : dict
        Values that `benchmarks/peers.py` gave: ``do``, ``answer``, ``images``, ``output``,
        ``threads``, ``ndim``, and further ones of the program.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.clock = Clock()

    def __getattr__(self, name: str) -> Any:
        try:
            return self.options[name]
        except KeyError:
            raise AttributeError(name) from None

    def ideal(self, number: int, name: str) -> Image:
        """Read a map computed from the labels of an image; the clock is paused meanwhile."""
        with self.clock.paused():
            values: Image = np.load(map_path(self, self.images[number], name))
            return values


def map_path(job: Job, image: str, name: str) -> Path:
    return Path(job.maps) / f"{Path(image).stem}_{name}.npy"


def store(job: Job, image: str, name: str, values: Image) -> None:
    """Write a map of an image for `Job.ideal`."""
    np.save(map_path(job, image, name), values)


class Clock:
    """Wall-clock and CPU seconds of this process and its children, without pauses."""

    def __init__(self) -> None:
        self._pause = np.zeros(2)
        self._parts: dict[str, np.ndarray] = {}

    def now(self) -> np.ndarray:
        """Return wall-clock and CPU seconds."""
        return seconds() - self._pause

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the enclosed statements."""
        begin = seconds()
        try:
            yield
        finally:
            self._pause += seconds() - begin

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the enclosed statements to a part of the work."""
        begin = self.now()
        try:
            yield
        finally:
            self._parts[name] = self._parts.get(name, 0) + self.now() - begin

    def parts(self) -> dict[str, float]:
        """Return the CPU seconds of each part."""
        return {name: float(times[1]) for name, times in self._parts.items()}


def seconds() -> np.ndarray:
    """Return the wall-clock time, and the CPU seconds of this process and its ended children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.time(), time.process_time() + children.ru_utime + children.ru_stime])


def measure(job: Job, start: Callable[[Job], Callable[[], int]]) -> dict[str, Any]:
    """Build the model, then process the files, and return the times of both.

    Parameters
    ----------
    job : Job
        Job of the worker.
    start : callable
        Imports the program and returns the function that reads, predicts, decodes and writes all
        images, and returns the number of instances.
    """
    process = start(job)
    ready = seconds()
    begin = job.clock.now()
    Path(job.output).mkdir(parents=True, exist_ok=True)
    instances = process()
    wall, cpu = job.clock.now() - begin
    return {
        "ready": float(ready[0]),
        "start_cpu": float(ready[1]),
        "work_wall": float(wall),
        "work_cpu": float(cpu),
        "parts": job.clock.parts(),
        "instances": instances,
    }


def by_image(start: Callable[[Job], Predict]) -> Callable[[Job], Callable[[], int]]:
    """Return the `start` of a program that predicts one array at a time."""

    def start_files(job: Job) -> Callable[[], int]:
        import tifffile

        predict = start(job)

        def process() -> int:
            instances = 0
            for number, path in enumerate(job.images):
                labels = predict(tifffile.imread(path), number)
                tifffile.imwrite(Path(job.output) / Path(path).name, labels.astype(np.int32))
                instances += int(labels.max())
            return instances

        return process

    return start_files


def import_torchvision() -> None:
    """Import torchvision, also next to a build of torch for CPUs.

    The package on the index is compiled for GPUs, so its operators cannot be loaded. They detect
    boxes, which no compared network needs, but torchvision expects two of them to exist.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
        import torchvision  # noqa: F401


def work(**actions: Callable[[Job], Any]) -> None:
    """Run the job of the command line with the action that it names, and write the answer."""
    job = Job(json.loads(sys.argv[1]))
    answer = actions[job.do](job) or {}
    target = Path(job.answer)
    target.with_suffix(".part").write_text(json.dumps(answer), encoding="utf-8")
    os.replace(target.with_suffix(".part"), target)

"""Training from the layers of napari: data set, configuration and run, in separate processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.gui.control import Control, next_run_id
from singula.gui.guard import Guard
from singula.gui.processes import alive, error_message, interrupt
from singula.gui.runs import tail, view_run
from singula.io.atomic import make_folder
from singula.io.write import write_tiff
from singula.napari_plugin.segmentation import check_shape, frames_of
from singula.pipeline.run import Job
from singula.util.format import counted
from singula.util.paths import user_name

Array = Any
_POLL = 0.5  # seconds between two looks at the files of a run
FROM_RANDOM = ""
"""Start of a training from random weights."""


@dataclass(frozen=True)
class TrainingData:
    """Pairs of images and labels from two layers.

    Parameters
    ----------
    image : ndarray or dask array
        Image; leading axes, then (y, x) or (z, y, x), and then the colors if `rgb` is true.
    labels : ndarray of int
        Labels with the axes of the image. Images without any label are omitted.
    ndim : {2, 3}
        Number of spatial axes.
    rgb : bool
        True if the last axis of the image has colors.
    voxel_size : tuple of float, optional
        Size of a voxel along each spatial axis; None if it is unknown.
    """

    image: Array
    labels: Array
    ndim: int
    rgb: bool = False
    voxel_size: tuple[float, ...] | None = None

    def write(self, folder: Path) -> int:
        """Write the pairs as ``x/image_000.tif`` and ``y/image_000.tif``; return their number.

        Parameters
        ----------
        folder : Path
            New or empty folder.

        Raises
        ------
        UserError
            ``napari.other_shape``: image and labels have different shapes; ``napari.no_labels``:
            there is no label.
        """
        shape = self.image.shape[:-1] if self.rgb else self.image.shape
        check_shape(tuple(self.labels.shape), tuple(shape))
        axes = "ZYX"[-self.ndim :]
        count = 0
        for frame in frames_of(tuple(shape), self.ndim):
            ids = np.asarray(self.labels[frame])
            if not (ids > 0).any():
                continue
            ids = ids.astype(np.uint16 if ids.max() < 1 << 16 else np.uint32)
            image = np.asarray(self.image[frame])
            image = image[..., :3] if self.rgb else image
            name = f"image_{count:03d}.tif"
            letters = f"{axes}S" if self.rgb else axes
            write_tiff(folder / "x" / name, image, letters, self.voxel_size)
            write_tiff(folder / "y" / name, ids, axes, self.voxel_size)
            count += 1
        if not count:
            raise UserError(
                "labels: got a layer without objects, expected one or more objects",
                "paint objects into the layer, or choose another layer",
                "napari.no_labels",
            )
        return count


@dataclass(frozen=True)
class TrainingStatus:
    """State of a training, for display.

    Parameters
    ----------
    phase : str
        Description of the current step.
    share : float, optional
        Completed fraction, 0 to 1; None if it is unknown.
    history : list of dict
        Losses and scores of each epoch.
    run : Path, optional
        Folder of the run, after it has started.
    finished, stopped : bool
        True if the training ended with a model, or was canceled.
    """

    phase: str
    share: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    run: Path | None = None
    finished: bool = False
    stopped: bool = False


@dataclass
class Training:
    """Training of a model, which runs in separate processes.

    Parameters
    ----------
    data : TrainingData
        Images and labels.
    folder : Path
        Folder for the data set, the configuration and the results.
    name : str
        Name of the model. Each training of a name has its own data set and configuration.
    start : str
        Built-in model, run or checkpoint from which the training starts; `FROM_RANDOM`: random
        weights.
    minutes : float
        Time limit of the training.
    changes : sequence of str
        Changed keys of the configuration as ``KEY=VALUE``.
    """

    data: TrainingData
    folder: Path
    name: str
    start: str = FROM_RANDOM
    minutes: float = 5.0
    changes: Sequence[str] = ()
    _canceled: threading.Event = field(init=False, default_factory=threading.Event)

    def cancel(self) -> None:
        """Stop the training after its next message; only the current epoch is lost."""
        self._canceled.set()

    def run(self) -> Iterator[TrainingStatus]:
        """Write the data, choose a configuration and train; yield the state twice a second.

        Raises
        ------
        UserError
            ``napari.training``: a step failed; the codes of `TrainingData.write`, of `user_name`
            and of `Control.start`.
        """
        name = user_name(self.name.strip() or "cells", "name")
        make_folder(self.folder)
        guard = Guard.of([self.folder])
        control = Control(guard)
        number = next_run_id(guard, self.folder, name)
        number = next(n for n in range(number, 10_000) if not self._data(name, n).exists())
        data = self._data(name, number)
        yield TrainingStatus("Writing the images and labels")
        count = self.data.write(data)
        config = self.folder / f"{name}_{number}.yaml"
        images = counted(count, "image")
        yield from self._configure(control, data, config, images)
        if self._canceled.is_set():
            yield TrainingStatus("Canceled", stopped=True)
            return
        job = Job(config, self.folder, name, number, overrides=self.changes)
        yield from self._train(control, control.start(job))

    def _data(self, name: str, number: int) -> Path:
        return self.folder / f"{name}_{number}_data"

    def _configure(
        self, control: Control, data: Path, config: Path, images: str
    ) -> Iterator[TrainingStatus]:
        """Run `singula init`."""
        arguments = ["init", str(data), "--output", str(config), "--minutes", str(self.minutes)]
        arguments += [f"--from={self.start}"] if self.start else []
        output = config.with_suffix(".log")
        started = control.processes.start(arguments, output)
        while (process := alive(started, output)) is not None:
            if self._canceled.is_set():
                interrupt(process)
            yield TrainingStatus(f"Choosing the settings for {images}")
            time.sleep(_POLL)
        control.processes.reap()
        if not config.is_file() and not self._canceled.is_set():
            raise UserError(
                f"settings: {error_message(tail(output))}",
                "correct the labels, or start from another model",
                "napari.training",
            )

    def _train(self, control: Control, folder: Path) -> Iterator[TrainingStatus]:
        """Follow a run until it ends."""
        interrupted = False
        while True:
            control.processes.reap()
            view = view_run(folder)
            if view.state != "running":
                break
            if self._canceled.is_set() and not interrupted:
                control.stop(folder)
                interrupted = True
            phase = "Canceling" if interrupted else view.progress.phase
            left = f", {view.progress.remaining} left" if view.progress.remaining else ""
            yield TrainingStatus(phase + left, view.progress.share, view.history, folder)
            time.sleep(_POLL)
        if view.state == "stopped" or interrupted:
            yield TrainingStatus("Canceled", None, view.history, folder, stopped=True)
            return
        if view.state != "finished":
            raise UserError(
                f"training: {view.error or view.state}",
                f"see the log in {folder}",
                "napari.training",
            )
        yield TrainingStatus("Finished", 1.0, view.history, folder, finished=True)

"""Picture of the prediction during a training, which the browser interface shows."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from singula.data.dataset import PatchDataset
from singula.errors import UserError, is_out_of_memory
from singula.io.atomic import atomic_path
from singula.report.overlay import encode_png, enlarge, middle_plane, overlay, rescale, side_by_side
from singula.training.losses import Output, activate
from singula.util.process import PREVIEW_VARIABLE
from singula.util.sparse_labels import without_unannotated

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
_MAX_SHARE = 0.01  # of the time of the training
_CANDIDATES, _MAX_MAPS, _SIDE = 16, 3, 256


class Preview:
    """Writer of a picture of one patch, its labels and the maps of the network.

    Random numbers and statistics of the training are not changed, so the result of a training is
    the same with and without pictures.

    Parameters
    ----------
    path : Path
        PNG file. Its text entries ``epoch`` and ``titles`` describe the panels.
    dataset : PatchDataset
        Patches; one with many labeled pixels is chosen.
    outputs : sequence of Output
        Channels of the network.
    clock : callable
        Time in seconds.
    """

    def __init__(
        self,
        path: Path,
        dataset: PatchDataset,
        outputs: Sequence[Output],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.path, self.outputs, self.clock = path, list(outputs), clock
        self.began, self.spent = clock(), 0.0
        self.image, self.labels = _choose_patch(dataset)
        binary = [i for i, output in enumerate(self.outputs) if output.activation == "sigmoid"]
        self.shown = (binary or list(range(len(self.outputs))))[:_MAX_MAPS]

    def __call__(self, network: nn.Module, device: torch.device, epoch: int) -> None:
        """Write the picture, unless the pictures took more than 1 % of the time so far.

        A disk without space, or a GPU without memory for one more patch, does not end the training.

        Parameters
        ----------
        network : Module
            Network in training; it stays in this state.
        device : torch.device
            Device of the network.
        epoch : int
            Number of the epoch, from 1.
        """
        now = self.clock()
        if self.spent > _MAX_SHARE * (now - self.began):
            return
        try:
            self._write(self._predict(network, device), epoch)
        except (OSError, UserError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            _log.warning(f"{self.path}: the preview is not written: {error}")
        self.spent += self.clock() - now

    def _predict(self, network: nn.Module, device: torch.device) -> list[Array]:
        """Return the shown maps (y, x) or (z, y, x)."""
        batch = torch.from_numpy(np.moveaxis(self.image, -1, 0)[None].astype(np.float32))
        network.eval()
        try:
            with torch.inference_mode():
                logits = network(batch.to(device))
                maps = [
                    activate(logits[0, index], self.outputs[index].activation).float().cpu().numpy()
                    for index in self.shown
                ]
        finally:
            network.train()
        return maps

    def _write(self, maps: list[Array], epoch: int) -> None:
        from PIL.PngImagePlugin import PngInfo

        image, labels = self.image, self.labels
        if labels.ndim == 3:
            index = middle_plane(labels)
            image, labels, maps = image[index], labels[index], [m[index] for m in maps]
        panels = [enlarge(overlay(image, labels, fill=0.0), _SIDE)]
        names = [self.outputs[index].name for index in self.shown]
        for plane, number in zip(maps, self.shown, strict=True):
            is_probability = self.outputs[number].activation == "sigmoid"
            low, high = (0.0, 1.0) if is_probability else (float(plane.min()), float(plane.max()))
            gray = rescale(plane, low, max(high, low + 1e-6))
            gray = np.round(255 * np.clip(np.nan_to_num(gray), 0, 1)).astype(np.uint8)
            panels.append(enlarge(np.repeat(gray[..., None], 3, axis=-1), _SIDE))
        text = PngInfo()
        text.add_text("epoch", str(epoch))
        text.add_text("titles", "\n".join(["Image with outlines of your labels", *names]))
        side = len(panels) * 2 * _SIDE
        picture = encode_png(side_by_side(panels), side, compress_level=2, pnginfo=text)
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(picture)


def make_preview(path: Path, dataset: PatchDataset, outputs: Sequence[Output]) -> Preview | None:
    """Return a writer of pictures if the interface started the training, else None.

    Parameters
    ----------
    path, dataset, outputs
        As for `Preview`.
    """
    if not os.environ.get(PREVIEW_VARIABLE) or not len(dataset):
        return None
    return Preview(path, dataset, outputs)


def _choose_patch(dataset: PatchDataset) -> tuple[Array, Array]:
    """Return image (…, c) and label image of the patch with most labeled pixels of the first 16."""
    count = min(_CANDIDATES, len(dataset))
    indices = np.unique(np.linspace(0, len(dataset) - 1, count).astype(int))
    patches = (dataset.draw(0, int(index))[:2] for index in indices)
    pairs = ((image, without_unannotated(labels[..., 0])) for image, labels in patches)
    return max(pairs, key=lambda pair: int(np.count_nonzero(pair[1] > 0)))

"""InstanSeg in its own environment: its U-Net with random weights, and its postprocessing.

The network is the default of its training script, for images with one channel. The module is the
one that the script exports, but is not compiled, so that the maps can be replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from worker import Image, Job, Predict, by_image, measure, store, work

N_SIGMA, OFFSET, TILE, OVERLAP = 2, 3.9, 512, 200
PIXEL = 64 / 256  # step of InstanSeg's coordinates


def start(job: Job) -> Predict:
    import torch
    from instanseg import InstanSeg
    from instanseg.utils.loss.instanseg_loss import InstanSeg_Torchscript, ProbabilityNet
    from instanseg.utils.models.InstanSeg_UNet import InstanSeg_UNet

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    network = InstanSeg_UNet(
        in_channels=1, layers=np.array([256, 128, 64, 32]), out_channels=[[2, N_SIGMA, 1]],
        norm="BATCH",
    )  # fmt: skip
    network.pixel_classifier = near_center(ProbabilityNet(2 + N_SIGMA, width=5))
    module = InstanSeg_Torchscript(network, n_sigma=N_SIGMA, backbone_dim_in=1)
    traced = module.fcn
    tiles: Iterator[Image] = iter(())

    class Ideal(torch.nn.Module):
        """The network, whose maps are then replaced."""

        def forward(self, image: Any) -> Any:
            with job.clock.part("network"):
                found = traced(image)
            with job.clock.paused():
                found[...] = torch.from_numpy(np.ascontiguousarray(next(tiles)))
            return found

    module.fcn = Ideal()
    module.graph = ""  # InstanSeg reads the names of arguments from a compiled module
    model = InstanSeg(module.eval(), device="cpu", verbosity=0)

    def predict(image: Image, number: int) -> Image:
        nonlocal tiles
        maps = job.ideal(number, "maps")
        is_small = image.size < model.small_image_threshold
        tiles = iter([maps]) if is_small else cut(maps)
        evaluate = model.eval_small_image if is_small else model.eval_medium_image
        options = {} if is_small else {"tile_size": TILE}
        with torch.no_grad():
            labels = evaluate(image[None], return_image_tensor=False, **options)
        return labels.numpy().squeeze()

    return predict


def near_center(classifier: Any) -> Any:
    """Set the weights such that pixels at most one unit from the center belong to the instance."""
    import torch

    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.zero_()
        for unit, (axis, sign) in enumerate([(0, 1), (0, -1), (1, 1), (1, -1)]):
            classifier.fc1.weight[unit, axis] = sign
            classifier.fc2.weight[unit, unit] = 1
            classifier.fc3.weight[0, unit] = -8
        classifier.fc3.bias[0] = 8
    return classifier


def cut(maps: Image) -> Iterator[Image]:
    """Yield the maps of InstanSeg's tiles, in its order."""
    from instanseg.utils.tiling import _chops

    rows, columns = _chops(maps.shape, shape=(TILE, TILE), overlap=OVERLAP)
    for row in rows:
        for column in columns:
            yield maps[:, row : row + TILE, column : column + TILE]


def prepare(job: Job) -> None:
    """Compute offsets to the centroids and normalized distances to the outline from the labels."""
    from scipy import ndimage
    from tifffile import imread

    for path in job.labels:
        labels = imread(path)
        maps = np.zeros((3 + N_SIGMA, *labels.shape), np.float32)
        maps[-1] = -7.5
        for number, box in enumerate(ndimage.find_objects(labels), 1):
            if box is None:
                continue
            mask = labels[box] == number
            distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
            center = np.unravel_index(distance.argmax(), mask.shape)
            grids = np.indices(mask.shape)
            for channel, axis in ((0, 1), (1, 0)):
                offset = (center[axis] - grids[axis][mask]) * PIXEL
                share = offset.clip(-OFFSET, OFFSET) / 8 + 0.5
                maps[channel][box][mask] = np.log(share / (1 - share))
            maps[-1][box][mask] = 7.5 * distance[mask] / distance.max()
        store(job, path, "maps", maps)


if __name__ == "__main__":
    work(predict=lambda job: measure(job, by_image(start)), prepare=prepare)

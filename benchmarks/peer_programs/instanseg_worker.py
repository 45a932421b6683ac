"""InstanSeg in its own environment: training of its U-Net, prediction and postprocessing.

The network is the default of its training script, for images with one channel. The module is the
one that the script exports, but is not compiled, so that the maps can be replaced.

The training has the losses, optimizer, batches and augmentation ("minimal") of the script, but not
its epochs: the script would first train for 10 epochs of 1000 images with the losses that converge
fast, which is more than fits. Here, these losses take the first third of the time. The threshold of
the seeds is then optimized on the validation images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from worker import Image, Job, Predict, by_image, measure, seconds, store, work

N_SIGMA, OFFSET, TILE, OVERLAP = 2, 3.9, 512, 200
PIXEL = 64 / 256  # step of InstanSeg's coordinates
BATCH, SIDE = 3, 256
FIRST_STAGE = 1 / 3
SEEDS = (0.7, 0.6, 0.5, 0.4, 0.3)  # the first is the default


def start(job: Job) -> Predict:
    """Load a trained model, or one with random weights, which then gets ideal maps to decode."""
    import torch
    from instanseg import InstanSeg

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    module = load(job.model) if job.model else exported(untrained(near_center))
    tiles: Iterator[Image] = iter(())
    if not job.model:
        traced = module.fcn

        class Ideal(torch.nn.Module):
            """The network, whose maps are then replaced."""

            def forward(self, image: Any) -> Any:
                with job.clock.part("network"):
                    found = traced(image)
                with job.clock.paused():
                    found[...] = torch.from_numpy(np.ascontiguousarray(next(tiles)))
                return found

        module.fcn = Ideal()
    model = InstanSeg(module.eval(), device="cpu", verbosity=0)

    def predict(image: Image, number: int) -> Image:
        nonlocal tiles
        is_small = image.size < model.small_image_threshold
        if not job.model:
            maps = job.ideal(number, "maps")
            tiles = iter([maps]) if is_small else cut(maps)
        evaluate = model.eval_small_image if is_small else model.eval_medium_image
        options = {} if is_small else {"tile_size": TILE}
        with torch.no_grad():
            labels = evaluate(image[None], return_image_tensor=False, **options)
        return labels.numpy().squeeze()

    return predict


def untrained(change: Callable[[Any], Any] = lambda classifier: classifier) -> Any:
    """Return the network with random weights."""
    from instanseg.utils.loss.instanseg_loss import ProbabilityNet
    from instanseg.utils.models.InstanSeg_UNet import InstanSeg_UNet

    network = InstanSeg_UNet(
        in_channels=1, layers=np.array([256, 128, 64, 32]), out_channels=[[2, N_SIGMA, 1]],
        norm="BATCH",
    )  # fmt: skip
    network.pixel_classifier = change(ProbabilityNet(2 + N_SIGMA, width=5))
    return network


def exported(network: Any, **params: float) -> Any:
    from instanseg.utils.loss.instanseg_loss import InstanSeg_Torchscript

    module = InstanSeg_Torchscript(
        network.eval(), n_sigma=N_SIGMA, backbone_dim_in=1, params=params
    )
    module.graph = ""  # InstanSeg reads the names of arguments from a compiled module
    return module


def load(path: str) -> Any:
    """Return a trained network with its postprocessing."""
    import torch

    values = torch.load(path, weights_only=True)
    network = untrained()
    network.load_state_dict(values["state"])
    params = {} if "seed" not in values else {"seed_threshold": values["seed"]}
    return exported(network, **params)


def train(job: Job) -> dict[str, Any]:
    """Train until the CPU seconds are used up; store the weights every 20 batches."""
    import torch
    from instanseg.utils.loss.instanseg_loss import InstanSeg

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    images, labels = read_pairs(*job.train)
    network = untrained()
    method = InstanSeg(n_sigma=N_SIGMA, device="cpu", window_size=128, seed_loss_fn="binary_xloss",
                       binary_loss_fn_str="dice_loss")  # fmt: skip
    method.initialize_pixel_classifier(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    begin = seconds()[1]
    is_first, count, losses = True, 0, []
    network.train()
    while True:
        used = seconds()[1]
        if used + (used - begin) / max(1, count) / 2 > job.cpu_seconds:
            break
        if is_first and used > FIRST_STAGE * job.cpu_seconds:
            is_first = False
            method.update_seed_loss("l1_distance")
            method.update_binary_loss("lovasz_hinge")
        image, label = batch(images, labels, rng)
        loss = method.forward(network(image), label).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 20)
        optimizer.step()
        losses.append(float(loss))
        count += 1
        if count % 20 == 0:
            save(job, network, count, losses)
    save(job, network, count, losses)
    trained = seconds()[1]
    seed = optimize(job)
    save(job, network, count, losses, seed=seed)
    return {"epochs": count, "cpu": trained, "thresholds_cpu": seconds()[1] - trained, "seed": seed}


def save(job: Job, network: Any, count: int, losses: list[float], **more: float) -> None:
    import torch

    values = {"cpu": float(seconds()[1]), "batches": count, "losses": losses, **more}
    target = Path(job.model)
    torch.save({"state": network.state_dict(), **values}, target.with_suffix(".part"))
    target.with_suffix(".part").replace(target)


def batch(images: list[Image], labels: list[Image], rng: np.random.Generator) -> tuple[Any, Any]:
    """Crop, flip and rotate images, as the augmentation "minimal" of InstanSeg."""
    import torch

    pairs = []
    for number in rng.choice(len(images), BATCH):
        pair = np.stack([images[number], labels[number]])
        corner = [int(rng.integers(0, size - SIDE + 1)) for size in pair.shape[1:]]
        pair = pair[:, corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE]
        pair = np.rot90(pair, rng.integers(4), axes=(1, 2))
        pairs.append(pair[:, :: rng.choice([-1, 1])])
    stacked = torch.from_numpy(np.stack(pairs).astype(np.float32))
    return stacked[:, :1], stacked[:, 1:].int()


def read_pairs(images: list[str], labels: list[str]) -> tuple[list[Image], list[Image]]:
    """Read images, normalized as for the prediction, and labels."""
    from instanseg.utils.utils import percentile_normalize
    from tifffile import imread

    return (
        [percentile_normalize(imread(path).astype(np.float32))[..., 0] for path in images],
        [imread(path).astype(np.float32) for path in labels],
    )


def optimize(job: Job) -> float:
    """Return the threshold of the seeds with the best F1 on the validation images.

    F1 is the mean over the thresholds at which InstanSeg optimizes its parameters.
    """
    import torch
    from instanseg.utils.metrics import _robust_average_precision

    images, labels = read_pairs(*job.val)
    module = load(job.model)
    network, maps, number = module.fcn, {}, 0

    class Stored(torch.nn.Module):
        """The network, which predicts each image only once."""

        def forward(self, image: Any) -> Any:
            if number not in maps:
                maps[number] = network(image)
            return maps[number].clone()

    module.fcn = Stored()
    found = {}
    for seed in SEEDS:
        module.default_seed_threshold = seed
        predicted = []
        for number, image in enumerate(images):  # noqa: B007
            with torch.no_grad():
                predicted.append(module(torch.from_numpy(image)[None, None].clone())[0].int())
        truth = [torch.from_numpy(label)[None].int() for label in labels]
        found[seed] = _robust_average_precision(truth, predicted, threshold=[0.5, 0.7, 0.9])
    print(found, flush=True)
    return max(SEEDS, key=found.__getitem__)


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
    work(predict=lambda job: measure(job, by_image(start)), prepare=prepare, train=train)

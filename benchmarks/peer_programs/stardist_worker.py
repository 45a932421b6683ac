"""StarDist in its own environment: training with its default recipe, and prediction.

The recipe is that of its example notebooks: percentile normalization (1 to 99.8), flips, rotations
by 90°, changes of brightness, noise, and thresholds optimized on the validation images.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from worker import Image, Job, Predict, by_image, measure, seconds, store, work

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
MAX_EPOCHS = 400


def limit_threads(threads: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def new_model(ndim: int, folder: Path | None, **settings: Any) -> Any:
    """Return a model with the default configuration, at half resolution in 2D."""
    from stardist.models import Config2D, Config3D, StarDist2D, StarDist3D

    place = {"name": None, "basedir": None}
    if folder is not None:
        place = {"name": folder.name, "basedir": str(folder.parent)}
    if ndim == 2:
        return StarDist2D(Config2D(n_rays=32, grid=(2, 2), **settings), **place)
    # The grid of the example notebook for isotropic images
    return StarDist3D(Config3D(n_channel_in=1, grid=(2, 2, 2), **settings), **place)


def start(job: Job) -> Predict:
    """Load a trained model, or one with random weights, which then gets ideal maps to decode."""
    limit_threads(job.threads)
    from csbdeep.utils import normalize

    model = load(job) if job.model else new_model(job.ndim, None)

    def predict(image: Image, number: int) -> Image:
        with job.clock.part("normalization"):
            image = normalize(image, 1, 99.8, axis=None)
        n_tiles = tiles(model, image)
        if job.model:
            labels, _ = model.predict_instances(
                image, n_tiles=n_tiles, show_tile_progress=False, verbose=False
            )
            return labels
        with job.clock.part("network"):
            prob, dist = model.predict(image, n_tiles=n_tiles, show_tile_progress=False)
        prob[...], dist[...] = job.ideal(number, "prob"), job.ideal(number, "dist")
        with job.clock.part("decoding"):
            return model._instances_from_prediction(image.shape, prob, dist)[0]

    return predict


def prepare(job: Job) -> None:
    """Compute the object probabilities and the distances along the rays from the labels."""
    from stardist import rays_from_json
    from stardist.geometry import star_dist, star_dist3D
    from stardist.utils import edt_prob
    from tifffile import imread

    model = new_model(job.ndim, None)
    grid = model.config.grid
    for path in job.labels:
        labels = imread(path)
        if job.ndim == 2:
            dist = star_dist(labels, model.config.n_rays, grid=grid)
        else:
            dist = star_dist3D(labels, rays_from_json(model.config.rays_json), grid=grid)
        store(job, path, "dist", dist)
        store(job, path, "prob", edt_prob(labels)[tuple(slice(None, None, step) for step in grid)])


def tiles(model: Any, image: Image) -> tuple[int, ...] | None:
    """Return the number of tiles that StarDist proposes; None for images of one tile."""
    counts = model._guess_n_tiles(image)
    return None if np.prod(counts) == 1 else counts


def load(job: Job) -> Any:
    from stardist.models import StarDist2D

    folder = Path(job.model)
    model = StarDist2D(None, name=folder.name, basedir=str(folder.parent))
    weights = job.options.get("weights")
    if weights:
        model.keras_model.load_weights(weights)
        model.thresholds = json.loads(Path(weights).with_suffix(".json").read_text())
    return model


def train(job: Job) -> dict[str, Any]:
    """Train until the CPU seconds are used up; store the weights of each epoch."""
    limit_threads(job.threads)
    from tensorflow import keras

    folder = Path(job.model)
    steps = int(np.ceil(len(job.train[0]) / 4))
    model = new_model(2, folder, train_epochs=MAX_EPOCHS, train_steps_per_epoch=steps,
                      train_tensorboard=False)  # fmt: skip
    images, labels = read_pairs(*job.train)
    begin = seconds()[1]
    epochs: list[dict[str, Any]] = []

    class StoreWeights(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            used = seconds()[1]
            path = folder / f"epoch_{epoch + 1:03}.weights.h5"
            self.model.save_weights(path)
            losses = {name: float(value) for name, value in (logs or {}).items()}
            epochs.append({"cpu": used, "weights": str(path), **losses})
            (folder / "epochs.json").write_text(json.dumps(epochs))
            mean = (used - begin) / (epoch + 1)
            if used + mean / 2 > job.cpu_seconds:
                self.model.stop_training = True

    model.prepare_for_training()
    model.callbacks.append(StoreWeights())
    model.train(images, labels, validation_data=read_pairs(*job.val), augmenter=augment, seed=0)
    trained = seconds()[1]
    optimize(model, job)
    return {"epochs": epochs, "cpu": trained, "thresholds_cpu": seconds()[1] - trained}


def optimize(model: Any, job: Job) -> None:
    images, labels = read_pairs(*job.val)
    model.optimize_thresholds(images, labels)


def thresholds(job: Job) -> None:
    """Optimize the thresholds for the weights of an epoch, and store them next to the weights."""
    limit_threads(job.threads)
    from stardist.models import StarDist2D

    folder = Path(job.model)
    model = StarDist2D(None, name=folder.name, basedir=str(folder.parent))
    model.keras_model.load_weights(job.weights)
    images, labels = read_pairs(*job.val)
    found = model.optimize_thresholds(images, labels, save_to_json=False)
    Path(job.weights).with_suffix(".json").write_text(json.dumps(found))


def read_pairs(images: list[str], labels: list[str]) -> tuple[list[Image], list[Image]]:
    from csbdeep.utils import normalize
    from stardist import fill_label_holes
    from tifffile import imread

    return (
        [normalize(imread(path), 1, 99.8, axis=None) for path in images],
        [fill_label_holes(imread(path)) for path in labels],
    )


def augment(image: Image, labels: Image) -> tuple[Image, Image]:
    """Flip and rotate by 90°, change the brightness, add noise, as in the example notebooks."""
    axes = np.random.permutation(image.ndim)
    image, labels = image.transpose(axes), labels.transpose(axes)
    for axis in range(image.ndim):
        if np.random.rand() > 0.5:
            image, labels = np.flip(image, axis), np.flip(labels, axis)
    image = image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)
    sigma = 0.02 * np.random.uniform(0, 1)
    return image + sigma * np.random.normal(0, 1, image.shape), labels


if __name__ == "__main__":
    work(
        predict=lambda job: measure(job, by_image(start)),
        prepare=prepare,
        train=train,
        thresholds=thresholds,
    )

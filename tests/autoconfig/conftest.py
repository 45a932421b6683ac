"""Facts of data sets, made by hand without files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singula.dataset.facts import ImageFacts, LabelFacts, Machine, Objects, PartFacts, Survey
from singula.io.pairing import Pair

CPU = Machine(cores=4, memory=16 << 30)
GPU = Machine(8, 64 << 30, 1, "card", 24 << 30)


def example_objects(box: np.ndarray, touching: float = 0.0, **changes: Any) -> Objects:
    """Return round objects with the given bounding boxes."""
    count, ndim = box.shape
    npixels = np.maximum(1, box.prod(axis=1) * {2: np.pi / 4, 3: np.pi / 6}[ndim]).astype(int)
    values: dict[str, Any] = {
        "ids": np.arange(1, count + 1),
        "npixels": npixels,
        "low": np.zeros_like(box),
        "box": box,
        "core": np.maximum(0, box - 2).prod(axis=1),
        "contact": np.where(np.arange(count) < touching * count, box.sum(axis=1), 0),
        "border": np.zeros(count, bool),
        "radius": box.min(axis=1) / 2,
        "n_components": np.ones(count, int),
        "holes": np.zeros(count, int),
        "hole_pixels": np.zeros(count, int),
        "sides": 2 * box.sum(axis=1),
        "moments": npixels[:, None, None] * box[:, None] ** 2 / 16 * np.eye(ndim),
        "convexity": np.ones(count),
    }
    return Objects(**{**values, **changes})


def example_survey(
    shape: tuple[int, ...] = (512, 512),
    *,
    count: int = 20,
    size: tuple[int, ...] | int = 24,
    objects: int = 40,
    touching: float = 0.0,
    foreground: float = 0.2,
    channels: int | tuple[int, ...] = 1,
    classes: tuple[int, ...] = (),
    spacing: tuple[float, ...] | None = None,
    brightness: tuple[float, ...] = (100.0,),
    outliers: float = 1.0,
    parts: tuple[str, ...] = ("train", "val", "test"),
    machine: Machine = CPU,
    empty: int = 0,
    **changes: Any,
) -> Survey:
    """Return the facts of a data set whose images differ only in brightness."""
    ndim = len(shape)
    box = np.full((objects, ndim), size) if isinstance(size, int) else np.tile(size, (objects, 1))
    found = example_objects(box, touching, **changes)
    many = (channels,) if isinstance(channels, int) else channels

    def part(name: str) -> PartFacts:
        folder = Path("/data") / name
        pairs, images, labels = [], [], []
        for number in range(count):
            image, label = (folder / kind / f"{number}.tif" for kind in "xy")
            own = many[number % len(many)]
            top = brightness[number % len(brightness)]
            inner = np.linspace(0, top, 9)
            values = np.array([[0.0, *inner, top * outliers]] * own)
            images.append(ImageFacts(image, shape, own, "uint8", spacing, None, values))
            here = Objects.empty(ndim) if number < empty else found
            labels.append(LabelFacts(label, foreground, classes, here))
            pairs.append(Pair(image, label, str(number)))
        return PartFacts(
            name, folder / "x", folder / "y", tuple(pairs), (shape,) * count, tuple(images),
            tuple(labels),
        )  # fmt: skip

    return Survey(Path("/data"), ndim, max(many), tuple(map(part, parts)), machine)


@pytest.fixture
def survey():
    return example_survey


@pytest.fixture
def gpu() -> Machine:
    return GPU


@pytest.fixture
def make_objects():
    return example_objects

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from singula.data.normalize import Normalizer
from singula.data.patches import TilePlan
from singula.prediction import Predictor, PredictSettings
from singula.prediction.pipeline import run_pipeline
from singula.training.losses import Output


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_item_is_written_once_and_in_order(count: int, overlap: bool) -> None:
    written: list[tuple[int, int]] = []
    run_pipeline(
        range(count),
        lambda i: i + 1,
        lambda given: given * 10,
        lambda i, found: written.append((i, found)),
        overlap=overlap,
    )
    assert written == [(i, (i + 1) * 10) for i in range(count)]


def test_the_next_item_is_read_while_one_is_computed() -> None:
    read = {i: threading.Event() for i in range(3)}

    def compute(i: int) -> int:
        assert i == 2 or read[i + 1].wait(30), "the next item was not read meanwhile"
        return i

    def reading(i: int) -> int:
        read[i].set()
        return i

    run_pipeline(range(3), reading, compute, lambda i, found: None, overlap=True)


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("step", ["read", "compute", "write"])
@pytest.mark.parametrize("bad", [0, 2, 4])
def test_an_error_in_any_step_surfaces_and_ends_the_work(
    step: str, bad: int, overlap: bool
) -> None:
    before = threading.active_count()
    written: list[int] = []

    def fails(name: str, i: int) -> int:
        if (name, i) == (step, bad):
            raise ValueError(f"{name} {i}")
        return i

    def write(i: int, found: int) -> None:
        fails("write", i)
        written.append(found)

    with pytest.raises(ValueError, match=f"^{step} {bad}$"):
        run_pipeline(
            range(5), lambda i: fails("read", i), lambda i: fails("compute", i), write,
            overlap=overlap,
        )  # fmt: skip
    assert written == list(range(len(written)))
    assert len(written) <= bad
    assert threading.active_count() == before


@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize("ndim", [2, 3])
def test_maps_are_the_same_with_threads(ndim: int, overlap: float) -> None:
    torch.manual_seed(0)
    network = (torch.nn.Conv2d if ndim == 2 else torch.nn.Conv3d)(1, 2, 3, padding=1)
    outputs = (Output("B", "bce", "sigmoid"), Output("C", "bce", "sigmoid"))
    image = np.random.default_rng(0).integers(0, 255, (*(37, 50, 21)[:ndim], 1)).astype(np.uint8)
    plan = TilePlan((16,) * ndim, (overlap,) * ndim, (2,) * ndim, (1,) * ndim)
    scaling = Normalizer("div").scaling(image)
    found = [
        Predictor(network, outputs, overlap=threads).predict(
            image, scaling, PredictSettings(plan, 3)
        )
        for threads in (False, True)
    ]
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])

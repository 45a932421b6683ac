"""Optimizers and learning-rate schedules by their names in the configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from singula.training.compiler import without_compiler
from singula.util.citation import Citation, Method


@dataclass(frozen=True)
class OptimizerSettings:
    """Settings of the optimizer and the learning-rate schedule.

    Parameters
    ----------
    name : {'SGD', 'ADAM', 'ADAMW'}
        Optimizer.
    lr : float
        Learning rate; the maximum of a schedule.
    weight_decay : float
        Factor of the weight decay.
    betas : (float, float)
        Decay rates of the moments of Adam and AdamW.
    schedule : {'', 'warmupcosine', 'reduceonplateau', 'onecycle'}
        Learning-rate schedule; empty for a constant rate.
    min_lr : float
        Final learning rate of ``warmupcosine`` and ``reduceonplateau``; negative for 0.
    warmup_epochs : int
        Epochs of the linear rise of ``warmupcosine``.
    plateau_factor : float
        Factor by which ``reduceonplateau`` lowers the rate.
    plateau_patience : int
        Epochs without improvement before ``reduceonplateau`` lowers the rate.
    """

    name: str = "SGD"
    lr: float = 1e-4
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: str = ""
    min_lr: float = -1.0
    warmup_epochs: int = -1
    plateau_factor: float = 0.5
    plateau_patience: int = -1


OPTIMIZERS: dict[str, tuple[type[Optimizer], Method]] = {
    "SGD": (
        torch.optim.SGD,
        Method(
            "stochastic gradient descent with a Nesterov momentum of 0.9",
            (
                Citation(
                    "robbins1951",
                    "Robbins, H.; Monro, S.",
                    "A stochastic approximation method",
                    "Annals of Mathematical Statistics",
                    1951,
                    "10.1214/aoms/1177729586",
                ),
            ),
        ),
    ),
    "ADAM": (
        torch.optim.Adam,
        Method(
            "Adam",
            (
                Citation(
                    "kingma2014",
                    "Kingma, D. P.; Ba, J.",
                    "Adam: a method for stochastic optimization",
                    "arXiv",
                    2014,
                    "10.48550/arXiv.1412.6980",
                ),
            ),
        ),
    ),
    "ADAMW": (
        torch.optim.AdamW,
        Method(
            "AdamW",
            (
                Citation(
                    "loshchilov2017adamw",
                    "Loshchilov, I.; Hutter, F.",
                    "Decoupled weight decay regularization",
                    "arXiv",
                    2017,
                    "10.48550/arXiv.1711.05101",
                ),
            ),
        ),
    ),
}
"""Class of each optimizer, its name in a text and its citations."""

SCHEDULES = {
    "": Method("constant"),
    "warmupcosine": Method(
        "linear warm-up and cosine decay",
        (
            Citation(
                "loshchilov2016",
                "Loshchilov, I.; Hutter, F.",
                "SGDR: stochastic gradient descent with warm restarts",
                "arXiv",
                2016,
                "10.48550/arXiv.1608.03983",
            ),
        ),
    ),
    "reduceonplateau": Method("lowered when the loss did not improve"),
    "onecycle": Method(
        "one-cycle schedule",
        (
            Citation(
                "smith2019",
                "Smith, L. N.; Topin, N.",
                "Super-convergence: very fast training of neural networks using large learning "
                "rates",
                "Proceedings of SPIE 11006",
                2019,
                "10.1117/12.2520589",
            ),
        ),
    ),
}
"""Name of each schedule of the learning rate in a text, and its citations."""


def make_optimizer(parameters: Iterable[Parameter], settings: OptimizerSettings) -> Optimizer:
    """Return the optimizer; SGD has Nesterov momentum of 0.9.

    On a GPU, a single kernel updates all weights, and scaled gradients of float16 need no transfer.

    Parameters
    ----------
    parameters : iterable of Parameter
        Weights to optimize.
    settings : OptimizerSettings
        Name and settings of the optimizer.
    """
    parameters = list(parameters)
    common: dict[str, Any] = {
        "lr": settings.lr,
        "weight_decay": max(settings.weight_decay, 0.0),
        "fused": True if all(p.is_cuda for p in parameters) else None,
    }
    if settings.name == "SGD":
        specific: dict[str, Any] = {"momentum": 0.9, "nesterov": True}
    else:
        specific = {"betas": settings.betas}
    return without_compiler(OPTIMIZERS[settings.name][0])(parameters, **common, **specific)


class Schedule:
    """Common interface of the learning-rate schedules, updated after each step and each epoch.

    Parameters
    ----------
    optimizer : Optimizer
        Optimizer whose learning rate is changed.
    settings : OptimizerSettings
        Name and settings of the schedule.
    steps_per_epoch : int
        Optimizer steps in an epoch.
    epochs : int
        Number of epochs.
    """

    def __init__(
        self, optimizer: Optimizer, settings: OptimizerSettings, steps_per_epoch: int, epochs: int
    ) -> None:
        self.by_step: LambdaLR | OneCycleLR | None = None
        self.by_loss: ReduceLROnPlateau | None = None
        total = max(1, steps_per_epoch * epochs)
        min_lr = max(settings.min_lr, 0.0)
        if settings.schedule == "warmupcosine":
            warmup = max(0, settings.warmup_epochs) * steps_per_epoch
            self.by_step = LambdaLR(
                optimizer, lambda step: warmup_cosine(step, warmup, total, min_lr / settings.lr)
            )
        elif settings.schedule == "onecycle":
            self.by_step = OneCycleLR(optimizer, settings.lr, total_steps=total + 1)
        elif settings.schedule == "reduceonplateau":
            self.by_loss = ReduceLROnPlateau(
                optimizer,
                factor=settings.plateau_factor,
                patience=settings.plateau_patience,
                min_lr=min_lr,
            )

    def after_step(self) -> None:
        """Update the learning rate after an optimizer step."""
        if self.by_step is not None:
            self.by_step.step()

    def after_epoch(self, loss: float) -> None:
        """Update the learning rate after an epoch with the given validation or training loss."""
        if self.by_loss is not None:
            self.by_loss.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint, without the number of steps: epochs can be added."""
        state = dict((self.by_step or self.by_loss or _NoSchedule()).state_dict())
        for name in ("total_steps", "_schedule_phases", "lr_lambdas"):
            state.pop(name, None)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        if self.by_step is not None:
            initial = self.by_step.state_dict()
            self.by_step.load_state_dict({**initial, **state})
        elif self.by_loss is not None:
            self.by_loss.load_state_dict(state)


class _NoSchedule:
    def state_dict(self) -> dict[str, Any]:
        return {}


def warmup_cosine(step: int, warmup: int, total: int, min_factor: float) -> float:
    """Return the factor of the learning rate: a linear rise, then half a period of a cosine.

    Parameters
    ----------
    step : int
        Optimizer steps so far.
    warmup : int
        Steps of the linear rise.
    total : int
        Steps of the training.
    min_factor : float
        Factor at the end.

    References
    ----------
    Loshchilov & Hutter, "SGDR", ICLR 2017, without restarts.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return min_factor + (1.0 - min_factor) * 0.5 * (1.0 + math.cos(math.pi * progress))

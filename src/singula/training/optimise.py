"""Optimisers and learning-rate schedules by their names in the configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau


@dataclass(frozen=True)
class OptimiserSettings:
    """How weights are changed.

    Parameters
    ----------
    name : {'SGD', 'ADAM', 'ADAMW'}
    lr : float
        Learning rate (the highest one of a schedule).
    weight_decay : float
    betas : (float, float)
        For the Adam family.
    schedule : {'', 'warmupcosine', 'reduceonplateau', 'onecycle'}
    min_lr : float
        Where ``warmupcosine`` and ``reduceonplateau`` end; negative for 0.
    warmup_epochs : int
    plateau_factor, plateau_patience : float, int
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


def make_optimiser(parameters: Iterable[Parameter], settings: OptimiserSettings) -> Optimizer:
    """The optimiser; SGD has Nesterov momentum 0.9."""
    decay = max(settings.weight_decay, 0.0)
    if settings.name == "SGD":
        return torch.optim.SGD(
            parameters, settings.lr, momentum=0.9, nesterov=True, weight_decay=decay
        )
    family = {"ADAM": torch.optim.Adam, "ADAMW": torch.optim.AdamW}[settings.name]
    optimiser: Optimizer = family(parameters, settings.lr, betas=settings.betas, weight_decay=decay)
    return optimiser


class Schedule:
    """One interface to the three schedules: told of every step and of every epoch's loss.

    Parameters
    ----------
    optimiser : Optimizer
    settings : OptimiserSettings
    steps_per_epoch, epochs : int
        Optimiser steps, after accumulation.
    """

    def __init__(
        self, optimiser: Optimizer, settings: OptimiserSettings, steps_per_epoch: int, epochs: int
    ) -> None:
        self.by_step: LambdaLR | OneCycleLR | None = None
        self.by_loss: ReduceLROnPlateau | None = None
        total = max(1, steps_per_epoch * epochs)
        lowest = max(settings.min_lr, 0.0)
        if settings.schedule == "warmupcosine":
            warmup = max(0, settings.warmup_epochs) * steps_per_epoch
            self.by_step = LambdaLR(
                optimiser, lambda step: warmup_cosine(step, warmup, total, lowest / settings.lr)
            )
        elif settings.schedule == "onecycle":
            self.by_step = OneCycleLR(optimiser, settings.lr, total_steps=total + 1)
        elif settings.schedule == "reduceonplateau":
            self.by_loss = ReduceLROnPlateau(
                optimiser,
                factor=settings.plateau_factor,
                patience=settings.plateau_patience,
                min_lr=lowest,
            )

    def after_step(self) -> None:
        """Once per optimiser step."""
        if self.by_step is not None:
            self.by_step.step()

    def after_epoch(self, loss: float) -> None:
        """Once per epoch with the monitored loss."""
        if self.by_loss is not None:
            self.by_loss.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; the horizon is left out, so that epochs can be added."""
        state = dict((self.by_step or self.by_loss or _Nothing()).state_dict())
        for name in ("total_steps", "_schedule_phases", "lr_lambdas"):
            state.pop(name, None)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if self.by_step is not None:
            own = self.by_step.state_dict()
            self.by_step.load_state_dict({**own, **state})
        elif self.by_loss is not None:
            self.by_loss.load_state_dict(state)


class _Nothing:
    def state_dict(self) -> dict[str, Any]:
        return {}


def warmup_cosine(step: int, warmup: int, total: int, lowest: float) -> float:
    """Share of the full rate: linear rise over `warmup` steps, then half a cosine to `lowest`.

    Loshchilov & Hutter, "SGDR", ICLR 2017, without restarts.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return lowest + (1.0 - lowest) * 0.5 * (1.0 + math.cos(math.pi * progress))

"""Optimizers that do not import the compiler of torch."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.optim import Optimizer


def without_compiler(family: type[Optimizer]) -> type[Optimizer]:
    """Return an optimizer class that does not import the compiler of torch.

    torch wraps the methods of optimizers, so that they can be compiled. The wrappers import the
    compiler, which takes a second of CPU time. Singula does not compile optimizers.

    Parameters
    ----------
    family : type
        Class of the optimizer.

    Returns
    -------
    type
        Subclass with the unwrapped methods.
    """
    methods: dict[str, Any] = {
        name: inspect.unwrap(method)
        for name, method in vars(Optimizer).items()
        if inspect.isfunction(method) and hasattr(method, "__wrapped__")
    }
    methods["step"] = torch.no_grad()(inspect.unwrap(family.step))
    return type(family.__name__, (family,), methods)

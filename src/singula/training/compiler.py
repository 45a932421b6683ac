"""Optimizers that do not import the compiler of torch."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.optim import Optimizer


def without_compiler(family: type[Optimizer]) -> type[Optimizer]:
    """Return an optimizer class that does not import the compiler of torch.

    Methods of optimizers are wrapped for the case that they are compiled, and the wrappers import
    the compiler, which takes a second of CPU time. Singula compiles only networks.

    Parameters
    ----------
    family : type
        Class of the optimizer.

    Returns
    -------
    type
        Subclass with the methods inside of the wrappers.
    """
    methods: dict[str, Any] = {
        name: inspect.unwrap(method)
        for name, method in vars(Optimizer).items()
        if inspect.isfunction(method) and hasattr(method, "__wrapped__")
    }
    methods["step"] = torch.no_grad()(inspect.unwrap(family.step))
    return type(family.__name__, (family,), methods)

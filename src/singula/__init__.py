"""Singula finds every object in a microscopy image and gives each its own id.

The names below are stable. Each is imported at its first use, so that ``import singula`` is fast.

>>> import singula
>>> labels = singula.load("nuclei").predict(image)   # built-in model, without training
>>> maps = singula.encode(labels, "BC")          # labels -> channels
>>> labels = singula.decode(maps, "BC")          # channels -> labels
>>> scores = singula.match(truth, labels)        # one result per IoU threshold
>>> table = singula.measure(labels)              # a row for each instance
>>> singula.export(labels, "imagej", "rois")     # for other programs
"""

from __future__ import annotations

from importlib import import_module

# Importing typing takes most of the time before a command can handle signals.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from singula.config import load_config
    from singula.errors import UserError
    from singula.exports import export
    from singula.inference import Model, list_models, load
    from singula.measure import measure
    from singula.metrics import match
    from singula.representations.channels import encode
    from singula.representations.decoders import decode_labels as decode
    from singula.tuning import tune

__version__ = "0.1.0"
__all__ = [
    "Model",
    "UserError",
    "decode",
    "encode",
    "export",
    "list_models",
    "load",
    "load_config",
    "match",
    "measure",
    "tune",
]

_DEFINED_IN = {
    "Model": ("singula.inference", "Model"),
    "UserError": ("singula.errors", "UserError"),
    "decode": ("singula.representations.decoders", "decode_labels"),
    "encode": ("singula.representations.channels", "encode"),
    "export": ("singula.exports", "export"),
    "list_models": ("singula.inference", "list_models"),
    "load": ("singula.inference", "load"),
    "load_config": ("singula.config", "load_config"),
    "match": ("singula.metrics", "match"),
    "measure": ("singula.measure", "measure"),
    "tune": ("singula.tuning", "tune"),
}


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'singula' has no attribute {name!r}")
    module, attribute = _DEFINED_IN[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_DEFINED_IN])

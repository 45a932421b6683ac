"""Translation of the keys of BiaPy 3.7."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from singula.config.biapy.translation import Translation
from singula.config.values import plain
from singula.util.format import show

NEWER: dict[str, str] = {
    "DATA.TRAIN.PROBABILITY_MAP": "DATA.PROBABILITY_MAP",
    "DATA.TRAIN.W_FOREGROUND": "DATA.W_FOREGROUND",
    "DATA.TRAIN.W_BACKGROUND": "DATA.W_BACKGROUND",
    "MODEL.UNETR_VIT_MODEL": "MODEL.VIT_MODEL",
}
"""Name of a key in version 3.7 → its name in the schema."""

_ONE_NETWORK = ("OPTIMIZER", "LR", "OPT_BETAS", "LR_SCHEDULER.MIN_LR")
_EMPTY = ("LOSS.TYPE", "LOSS.WEIGHTS")
_NORMALIZATIONS = ("in", "ln", "gn")


def _one_network(work: Translation) -> None:
    """Translate lists with a value for each network, of which Singula trains one."""
    for key in ("LOSS.TYPE", *(f"TRAIN.{name}" for name in _ONE_NETWORK)):
        entry = work.entries.get(key)
        values = plain(entry.value) if entry is not None else None
        if entry is None or not isinstance(values, tuple) or len(values) != 1:
            continue
        work.entries[key] = replace(entry, value=values[0])


def _empty_losses(work: Translation) -> None:
    """Remove empty lists, which select the default loss."""
    for key in _EMPTY:
        entry = work.entries.get(key)
        if entry is not None and plain(entry.value) == ():
            work.take(key)


def _gradient_clip(work: Translation) -> None:
    """Translate the largest norm of the gradient; 0 disables the limit."""
    entry = work.take("TRAIN.GRADIENT_CLIP_NORM")
    if entry is not None:
        limit = -1.0 if plain(entry.value) == 0 else entry.value
        work.put(entry, "TRAIN.GRADIENT_CLIP", limit)


def _checkpoint_items(work: Translation) -> None:
    """Translate the items of a checkpoint that a training continues with."""
    entry = work.take("MODEL.ITEMS_TO_LOAD_FROM_CHECKPOINT")
    items = plain(entry.value) if entry is not None else None
    if entry is None or not isinstance(items, tuple):
        return
    state = [item for item in items if item in ("optimizer", "epoch")]
    if "weights" not in items:
        work.problem(entry, f"got {show(entry.value)}, expected 'weights' in it", "config.value")
    elif state:
        work.put(entry, "MODEL.LOAD_CHECKPOINT_ONLY_WEIGHTS", False)


def _normalization(work: Translation) -> None:
    """Translate the layers that normalize features; there is only batch normalization."""
    entry = work.entries.get("MODEL.NORMALIZATION")
    name = str(entry.value).lower() if entry is not None else ""
    if entry is None or name not in _NORMALIZATIONS:
        return
    work.take(entry.key)
    work.put(entry, "MODEL.BATCH_NORMALIZATION", True)


def _skip_connections(work: Translation) -> None:
    """Compute the number of layers between skip connections of UNETR from its size."""
    key = "MODEL.UNETR_VIT_HIDD_MULT"
    entry = work.entries.get(key)
    if entry is None or plain(entry.value) != -1:
        return
    work.take(key)
    layers, token = (work.entries.get(f"MODEL.VIT_{name}") for name in ("NUM_LAYERS", "TOKEN_SIZE"))
    n_layers = plain(layers.value) if layers is not None else 12
    side = plain(token.value) if token is not None else 16
    if isinstance(n_layers, int) and isinstance(side, int) and side > 1:
        work.put(entry, key, max(1, n_layers // (side.bit_length() - 1)))


def _no_radius(work: Translation) -> None:
    """Remove the radius 0 of close points, the default of version 3.6 and later."""
    key = "TEST.POST_PROCESSING.REMOVE_CLOSE_POINTS_RADIUS"
    entry = work.entries.get(key)
    if entry is not None and plain(entry.value) in (0, (0,)):
        work.take(key)


NEWER_RULES: tuple[Callable[[Translation], None], ...] = (
    _one_network,
    _empty_losses,
    _gradient_clip,
    _checkpoint_items,
    _normalization,
    _skip_connections,
    _no_radius,
)

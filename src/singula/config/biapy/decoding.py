"""Translation of the keys about the conversion of channels into instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from singula.config.biapy.translation import Translation
from singula.config.keys import key_table
from singula.config.values import plain
from singula.representations.table import METHODS
from singula.util.format import show

_SEG = "PROBLEM.INSTANCE_SEG"


@dataclass(frozen=True)
class Process:
    """Way in which BiaPy creates instances.

    Attributes
    ----------
    method : str
        Value of DECODER; not available if it is not in `METHODS`.
    missing : str
        Reason why a process without a method is refused.
    thresholds : mapping of str to str
        Key of BiaPy below PROBLEM.INSTANCE_SEG → threshold without its prefix.
    """

    method: str = ""
    missing: str = "the channels have no such decoder"
    thresholds: Mapping[str, str] = field(default_factory=dict)


PROCESSES: dict[str, Process] = {
    "watershed": Process("watershed"),
    "stardist": Process(
        "polygons",
        thresholds={
            "STARDIST.PROB_THRESH": "TH_PROBABILITY",
            "STARDIST.NMS_IOU_THRESH": "TH_NMS",
        },
    ),
    "agglomeration": Process("mutex"),
    "embeddings": Process(
        "embedding",
        thresholds={"EMBEDSEG.FG_THRESH": "TH_CLUSTER", "EMBEDSEG.SEED_THRESH": "TH_SEEDINESS"},
    ),
    "gradient-flow": Process(
        "flows",
        thresholds={
            "CELLPOSE.FG_THRESH": "TH_FOREGROUND",
            "CELLPOSE.FLOW_THRESHOLD": "TH_FLOW_ERROR",
            "CELLPOSE.N_STEPS": "TH_FLOW_STEPS",
        },
    ),
}
"""Values of INSTANCE_CREATION_PROCESS."""


def _process(work: Translation) -> None:
    """Translate the name of the process, and refuse one without an equivalent."""
    entry = work.take(f"{_SEG}.INSTANCE_CREATION_PROCESS")
    name = str(entry.value).lower() if entry is not None and entry.value else ""
    if entry is None or not name:
        return
    process = PROCESSES.get(name)
    if process is None:
        names = ", ".join(map(repr, PROCESSES))
        work.problem(entry, f"got {show(entry.value)}, expected {names}", "config.value")
    elif process.method not in METHODS:
        text = f"{show(entry.value)} is not supported: {process.missing}"
        work.problem(entry, text, "config.unsupported")
    else:
        work.put(entry, f"{_SEG}.DECODER", process.method)


def _thresholds(work: Translation) -> None:
    """Translate the thresholds of the processes that Singula has."""
    for process in PROCESSES.values():
        for old, name in process.thresholds.items():
            key = f"{_SEG}.DATA_MW_{name}"
            entry = work.entries.get(f"{_SEG}.{old}")
            value = plain(entry.value) if entry is not None else None
            if entry is None or key not in key_table() or not isinstance(value, int | float):
                continue
            work.take(entry.key)
            is_iou = old.endswith("IOU_THRESH") and 0 <= value <= 1
            work.put(entry, key, _overlap(value) if is_iou else value)


def _overlap(iou: float) -> float:
    """Return the share of their area that two shapes of equal size with this IoU have in common."""
    return round(2 * iou / (1 + iou), 4)


DECODING_RULES: tuple[Callable[[Translation], None], ...] = (_process, _thresholds)

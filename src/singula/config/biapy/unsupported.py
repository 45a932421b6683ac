"""What the format offers and this version does not do.

To make a feature available, take its row out of the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from singula.config.keys import key_table
from singula.config.schema.root import Config

NO_EFFECT = "Has no effect: "
"""How the description of a key begins that nothing reads; what follows is the reason."""


@dataclass(frozen=True)
class Gap:
    """A key of which only some values work, or none differs from another.

    Attributes
    ----------
    key : str
        Dotted name.
    works : tuple
        The values that ask for nothing else than what is done; () for the default alone.
    phase : str
        "train" or "test" when the key matters in that phase only, else "".
    switch : str
        Dotted name of a key that must be true for this one to matter, or "".
    fatal : bool
        Whether any other value is an error; else it is said to have no effect, for the reason
        that is the key's description.
    """

    key: str
    works: tuple[Any, ...] = ()
    phase: str = ""
    switch: str = ""
    fatal: bool = False

    def asks(self, value: object) -> bool:
        """Whether a value asks for something that is not done."""
        return value not in (self.works or (key_table()[self.key].default,))


_CHUNKS = "TEST.BY_CHUNKS"
_RESULTS = "PATHS.RESULT_DIR"
_BLUR = "DATA.PREPROCESS.GAUSSIAN_BLUR"

UNAVAILABLE: tuple[Gap, ...] = (
    Gap("MODEL.SOURCE", ("biapy", "singula"), fatal=True),
    Gap("MODEL.LAST_ACTIVATION", ("sigmoid", "SIGMOID", "linear", "LINEAR")),
    Gap("MODEL.BMZ.SOURCE_MODEL_DOI"),
    Gap("MODEL.TORCHVISION_MODEL_NAME"),
    Gap("SYSTEM.NUM_GPUS"),
    Gap("TRAIN.VERBOSE", phase="train"),
    Gap("DATA.VAL.DIST_EVAL", phase="train"),
    Gap("TEST.VERBOSE", phase="test"),
    Gap("DATA.TEST.ARGMAX_TO_OUTPUT", phase="test"),
    # The format's plain templates set it to True, and results are the same: nobody is told.
    Gap("DATA.TEST.IN_MEMORY", (False, True)),
    Gap(f"{_CHUNKS}.FLUSH_EACH", phase="test", switch=f"{_CHUNKS}.ENABLE"),
    Gap(f"{_CHUNKS}.WORKFLOW_PROCESS.TYPE", phase="test", switch=f"{_CHUNKS}.ENABLE"),
    Gap(f"{_BLUR}.CHANNEL_AXIS", (None, -1), switch=f"{_BLUR}.ENABLE"),
    Gap(f"{_RESULTS}.PER_IMAGE_BIN"),
    Gap(f"{_RESULTS}.FULL_IMAGE_BIN"),
    Gap(f"{_RESULTS}.AS_3D_STACK_BIN"),
    Gap("PATHS.PROFILER"),
    *(Gap(f"PATHS.{part}_INSTANCE_CHANNELS_CHECK") for part in ("TRAIN", "VAL", "TEST")),
    *(Gap(f"PATHS.{end}_{side}_FILE") for side in "XY" for end in ("LWR", "UPR")),
)


def working_words(key: str) -> tuple[str, ...]:
    """List the only words that a key takes in this version; empty when all it knows work."""
    return next((gap.works for gap in UNAVAILABLE if gap.key == key and gap.fatal), ())


def gaps(config: Config, *, train: bool, test: bool, fatal: bool) -> Iterator[str]:
    """Say which wishes are not met: the fatal ones, or those that merely have no effect."""
    values = config.dotted()
    phases = {"", *(["train"] if train else []), *(["test"] if test else [])}
    for gap in UNAVAILABLE:
        value = values[gap.key]
        matters = gap.phase in phases and (not gap.switch or values[gap.switch])
        if gap.fatal != fatal or not matters or not gap.asks(value):
            continue
        if fatal:
            works = " or ".join(repr(word) for word in gap.works)
            yield f"{gap.key}: found {value!r}; allowed {works}, the others are not in this version"
        else:
            reason = key_table()[gap.key].description.removeprefix(NO_EFFECT).removesuffix(".")
            yield f"{gap.key}: {value!r} has no effect: {reason}"

"""Keys and values of BiaPy that this version does not support.

To support a feature, remove its row from the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from singula.config.keys import key_table
from singula.config.schema.root import Config

NO_EFFECT = "Has no effect: "
"""Beginning of the description of a key that is not used; the reason follows."""


@dataclass(frozen=True)
class Gap:
    """Key of which only some values are supported, or which has no effect.

    Attributes
    ----------
    key : str
        Dotted name.
    supported : tuple
        Supported values; () for the default only.
    phase : str
        "train" or "test" if only that phase reads the key, else "".
    switch : str
        Dotted name of the switch that enables the key, or "".
    fatal : bool
        True if any other value is an error; else a notice states that it has no effect, with the
        reason from the description of the key.
    """

    key: str
    supported: tuple[Any, ...] = ()
    phase: str = ""
    switch: str = ""
    fatal: bool = False

    def excludes(self, value: object) -> bool:
        """Return True if the value is not supported."""
        return value not in (self.supported or (key_table()[self.key].default,))


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
    # The templates of BiaPy set it to True; the results are the same, so no notice is needed.
    Gap("DATA.TEST.IN_MEMORY", (False, True)),
    Gap(f"{_CHUNKS}.FLUSH_EACH", phase="test", switch=f"{_CHUNKS}.ENABLE"),
    Gap(f"{_CHUNKS}.WORKFLOW_PROCESS.TYPE", phase="test", switch=f"{_CHUNKS}.ENABLE"),
    Gap(f"{_BLUR}.CHANNEL_AXIS", (None, -1), switch=f"{_BLUR}.ENABLE"),
    Gap(f"{_RESULTS}.PER_IMAGE_BIN"),
    Gap(f"{_RESULTS}.FULL_IMAGE_BIN"),
    Gap(f"{_RESULTS}.AS_3D_STACK_BIN"),
    Gap("PATHS.PROFILER"),
    *(Gap(f"PATHS.{split}_INSTANCE_CHANNELS_CHECK") for split in ("TRAIN", "VAL", "TEST")),
    *(Gap(f"PATHS.{bound}_{data}_FILE") for data in "XY" for bound in ("LWR", "UPR")),
)


def supported_choices(key: str) -> tuple[str, ...]:
    """Return the supported choices of a key, or () if all its choices are supported."""
    return next((gap.supported for gap in UNAVAILABLE if gap.key == key and gap.fatal), ())


def unsupported_values(config: Config, *, train: bool, test: bool, fatal: bool) -> Iterator[str]:
    """Yield a message for each unsupported value: the fatal ones, or those without effect."""
    values = config.dotted()
    phases = {"", *(["train"] if train else []), *(["test"] if test else [])}
    for gap in UNAVAILABLE:
        value = values[gap.key]
        is_read = gap.phase in phases and (not gap.switch or values[gap.switch])
        if gap.fatal != fatal or not is_read or not gap.excludes(value):
            continue
        if fatal:
            supported = " or ".join(repr(word) for word in gap.supported)
            yield f"{gap.key}: got {value!r}, expected {supported}; this version has no others"
        else:
            reason = key_table()[gap.key].description.removeprefix(NO_EFFECT).removesuffix(".")
            yield f"{gap.key}: {value!r} has no effect: {reason}"

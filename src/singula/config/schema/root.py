"""The whole YAML tree: `Config` and the SYSTEM and PROBLEM sections.

The other sections are in the ``schema_*`` modules. Attributes are named as the keys are, for
example ``config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator

from singula.config.schema.augmentor import Augmentor
from singula.config.schema.base import Section, key, section
from singula.config.schema.data import Data
from singula.config.schema.model import Loss, Model, Train
from singula.config.schema.paths import Log, Paths
from singula.config.schema.test import Test
from singula.config.values import (
    AnyCase,
    Bool,
    Bytes,
    Float,
    Int,
    OffOr,
    Radii,
    Refuse,
    Text,
    Weights,
    refusal,
    to_float,
    to_text,
    to_tuple,
)

S = TypeVar("S", bound=Section)

Channels = Literal["BC", "BP", "BD", "BCM", "BCD", "BCDv2", "BDv2", "Dv2"]
Morphology = Annotated[Literal["erode", "dilate"], AnyCase()]
OnlyInstances = Refuse(
    "only instance segmentation is done here",
    (
        "semantic_seg", "detection", "denoising", "super_resolution", "self_supervised",
        "classification", "image_to_image",
    ),
)  # fmt: skip


def _mark(text: str) -> str:
    """Check an entry such as ``TH_CONTOUR=0.2``."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if name not in THRESHOLD_KEYS or not equals:
        raise refusal(f"each as NAME=VALUE, with a name of {', '.join(THRESHOLD_KEYS)}")
    if name != "TH_TYPE":
        try:
            to_float(value)
        except ValueError as error:
            raise refusal(f"a number after {name}=") from error
    return f"{name}={value}"


Marks = Annotated[
    tuple[Annotated[str, BeforeValidator(to_text), AfterValidator(_mark)], ...],
    BeforeValidator(to_tuple),
]
NoSubpixel = Refuse("it doubles the size of the image", ("subpixel",))


class System(Section):
    """The machine."""

    NUM_CPUS: Annotated[Int, OffOr(1, 100_000)] = key(
        -1, "Largest number of processor cores to use."
    )
    NUM_WORKERS: Annotated[Int, OffOr(0, 1000)] = key(
        5, "Processes that prepare patches; 0: none beside the main one; -1: as many as help."
    )
    NUM_GPUS: Int = key(
        0, "Has no effect: --gpu or --gpus on the command line asks for GPUs.", ge=0
    )
    DEVICE: Text = key("cpu", "Device to use when no GPU is asked for.")
    SEED: Int = key(
        0,
        "Seed of all random numbers. Where the file does not set it, each run id trains with "
        "another seed.",
        ge=0,
    )
    MAX_MEMORY: Bytes = key(
        0, "Memory for images that are done in blocks, such as 4GB; 0: 60 % of what is free."
    )
    PIN_MEM: Bool = key(True, "Pin memory for a faster transfer to the GPU.")


class InstanceSeg(Section):
    """From labels to channels and back to instances."""

    DATA_CHANNELS: Annotated[Channels, AnyCase()] = key(
        "BC", "Channels that the network learns: B inside, C contour, D distance, M mask, P point."
    )
    DISTANCE_CHANNEL_MASK: Bool = key(True, "Count distance errors only inside the foreground.")
    DATA_CHANNEL_WEIGHTS: Weights = key((1, 1), "Weight of each channel in the loss.")
    DATA_CONTOUR_MODE: Annotated[
        Literal["thick", "inner", "outer", "dense"], AnyCase(), NoSubpixel
    ] = key("thick", "Where the contour lies; dense: every foreground pixel is B or C.")
    GROW_INTO_CONTOUR: Bool = key(
        False,
        "Instances also cover their own side of the contour, which B leaves out; BCM grows in M.",
    )
    POINT_RADIUS: Int = key(3, "Radius of the points of channel P in pixels.", ge=0, le=1000)
    DATA_MW_TH_TYPE: Annotated[Literal["auto", "manual"], AnyCase()] = key(
        "auto",
        "Thresholds of binary channels by Otsu (auto) or from the keys (manual); if unset, each "
        "that is set is manual and the others are automatic.",
    )
    DATA_MW_TH_BINARY_MASK: Float = key(0.5, "Seeds: B above this.", ge=0, le=1)
    DATA_MW_TH_CONTOUR: Float = key(0.1, "Seeds: C below this.", ge=0, le=1)
    DATA_MW_TH_FOREGROUND: Float = key(
        0.3,
        "Instances grow where B is above this; with GROW_INTO_CONTOUR where M of BCM is, else no "
        "effect.",
        ge=0,
        le=1,
    )
    DATA_MW_TH_DISTANCE: Float = key(1.0, "Seeds: D above, or Dv2 below this.", ge=0)
    DATA_MW_TH_DIST_FOREGROUND: Float = key(0.0, "Instances grow where D is above this.", ge=0)
    DATA_MW_TH_POINTS: Float = key(0.5, "Seeds: P above this.", ge=0, le=1)
    DATA_REMOVE_SMALL_OBJ_BEFORE: Int = key(10, "Instances with fewer pixels are removed.", ge=0)
    REMOVE_SMALL_OBJ_AT_BORDER: Int = key(
        -1,
        "Instances that touch the image's border are removed only if they also have fewer pixels "
        "than this; -1: as the others.",
        ge=-1,
    )
    DATA_REMOVE_BEFORE_MW: Bool = key(
        False,
        "Remove them before the seeds grow; True by default for a size DATA_REMOVE_SMALL_OBJ.",
    )
    SEED_MORPH_SEQUENCE: Annotated[tuple[Morphology, ...], BeforeValidator(to_tuple)] = key(
        (), "What is done to seeds in this order: 'erode', 'dilate'."
    )
    SEED_MORPH_RADIUS: Radii = key((), "Radius of each of these in pixels.")
    ERODE_AND_DILATE_FOREGROUND: Bool = key(False, "Erode, then dilate the area of growth.")
    FORE_EROSION_RADIUS: Int = key(5, "Radius of that erosion in pixels.", ge=0, le=1000)
    FORE_DILATION_RADIUS: Int = key(5, "Radius of that dilation in pixels.", ge=0, le=1000)
    DATA_CHECK_MW: Bool = key(False, "Save seeds, foreground and surface of the watershed.")
    WATERSHED_BY_2D_SLICES: Bool = key(False, "Make the instances of a volume slice by slice.")

    GENERATED_THRESHOLDS: Marks = key(
        (),
        "Values that Singula wrote into this file; tuned ones precede them, those that you change "
        "are yours.",
    )
    TUNED_THRESHOLDS: Marks = key(
        (), "Values that singula tune or the Tune page found; those that you change are yours."
    )


THRESHOLD_KEYS: dict[str, str] = {
    name: f"PROBLEM.INSTANCE_SEG.DATA_MW_{name}"
    for name in (
        "TH_TYPE",
        "TH_BINARY_MASK",
        "TH_CONTOUR",
        "TH_FOREGROUND",
        "TH_DISTANCE",
        "TH_DIST_FOREGROUND",
        "TH_POINTS",
    )
} | {"REMOVE_SMALL_OBJ": "PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE"}
"""Keys of the decoding thresholds by their names without prefix; unset keys may be automatic."""


class Problem(Section):
    """What is to be done."""

    TYPE: Annotated[Literal["INSTANCE_SEG"], AnyCase(), OnlyInstances] = key(
        "INSTANCE_SEG", "The workflow."
    )
    NDIM: Annotated[Literal["2D", "3D"], AnyCase()] = key("2D", "Dimensions of the images.")
    INSTANCE_SEG: InstanceSeg = section(InstanceSeg)


class Config(Section):
    """The configuration of a run; made by `load_config`, never changed afterwards."""

    SYSTEM: System = section(System)
    PROBLEM: Problem = section(Problem)
    DATA: Data = section(Data)
    AUGMENTOR: Augmentor = section(Augmentor)
    MODEL: Model = section(Model)
    LOSS: Loss = section(Loss)
    TRAIN: Train = section(Train)
    TEST: Test = section(Test)
    PATHS: Paths = section(Paths)
    LOG: Log = section(Log)

    @property
    def ndim(self) -> int:
        """Spatial dimensions, 2 or 3."""
        return 2 if self.PROBLEM.NDIM == "2D" else 3

    @property
    def tests_volumes(self) -> bool:
        """True if the test makes instances of volumes: of 3D images or of 2D images as a stack."""
        return self.ndim == 3 or self.TEST.ANALIZE_2D_IMGS_AS_3D_STACK

    @property
    def patch(self) -> tuple[int, ...]:
        """Spatial shape of a patch, (y, x) or (z, y, x)."""
        return self.DATA.PATCH_SIZE[:-1]

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.DATA.PATCH_SIZE[-1]

    @property
    def channel_count(self) -> int:
        """How many channels describe the instances."""
        return len(re.findall("Dv2|[BCDMP]", self.PROBLEM.INSTANCE_SEG.DATA_CHANNELS))

    @property
    def channel_weights(self) -> tuple[float, ...]:
        """Weight in the loss of each channel that describes instances."""
        return self.PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS[: self.channel_count]

    @property
    def class_weight(self) -> float:
        """Weight in the loss of the class head: one more entry of the weights, else 1."""
        rest = self.PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS[self.channel_count :]
        return rest[0] if rest else 1.0

    def dotted(self) -> dict[str, Any]:
        """Every key, dotted, with its value, in the order of the documentation."""
        return dict(_walk(self, ""))

    def written(self) -> dict[str, Any]:
        """Return every key with its value, without unset thresholds, which may be automatic."""
        unset = {key for key in THRESHOLD_KEYS.values() if not self.is_set(key)}
        return {name: value for name, value in self.dotted().items() if name not in unset}

    def to_yaml(self) -> str:
        """Write the configuration as a YAML file that loads to an equal `Config`.

        It contains every key except unset thresholds.
        """
        import yaml

        class Dumper(yaml.SafeDumper):
            pass

        def flow(dumper: yaml.SafeDumper, values: tuple[Any, ...]) -> yaml.Node:
            return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)

        def quoted(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
            # Only quotes protect separators of lines such as U+0085.
            style = None if text.isprintable() else '"'
            return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

        Dumper.add_representer(tuple, flow)
        Dumper.add_representer(str, quoted)
        tree = nested(self.written())
        text: str = yaml.dump(tree, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000)
        return text

    def is_set(self, name: str) -> bool:
        """Whether the file or an override gave the key a value; KeyError for an unknown key."""
        *sections, last = name.split(".")
        part: Any = self
        for step in sections:
            part = getattr(part, step, None) if isinstance(part, Section) else None
        if not isinstance(part, Section) or last not in type(part).model_fields:
            raise KeyError(name)
        return last in part.model_fields_set

    def path_overrides(self) -> dict[str, str]:
        """List the folders and files of PATHS and LOG that differ from the default.

        JOB_DIR and JOB_ID may still stand in them.
        """
        usual = Config().dotted()
        return {
            name: value
            for name, value in self.dotted().items()
            if name.startswith(("PATHS.", "LOG.")) and isinstance(value, str)
            if value != usual[name]
        }

    def replaced(self, values: Mapping[str, Any], *, mark_set: bool = False) -> Config:
        """Copy with some values, already checked, exchanged.

        Parameters
        ----------
        values : mapping
            By dotted key.
        mark_set : bool
            Count these keys as set; else `is_set` stays as it was.
        """
        return _replaced(self, nested(values), mark_set=mark_set)


def _walk(part: Section, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Section):
            yield from _walk(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into sections."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split(".")
        branch = tree
        for step in sections:
            branch = branch.setdefault(step, {})
        branch[last] = value
    return tree


def _replaced(part: S, changes: Mapping[str, Any], *, mark_set: bool) -> S:
    new = {
        name: _replaced(getattr(part, name), value, mark_set=mark_set)
        if isinstance(value, Mapping)
        else value
        for name, value in changes.items()
    }
    copy = part.model_copy(update=new)
    if mark_set:
        return copy
    copy.model_fields_set.intersection_update(part.model_fields_set)
    return copy

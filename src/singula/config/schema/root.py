"""The whole YAML tree: `Config` and the SYSTEM and PROBLEM sections.

The other sections are in the other modules of this package. Attributes have the names of the keys,
for example ``config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, create_model

from singula.config.schema.augmentor import Augmentor
from singula.config.schema.base import Section, key, section
from singula.config.schema.channels import (
    ChannelLoss,
    Channels,
    Codes,
    DecodingMethod,
    Options,
    OrCombination,
)
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
from singula.representations.base import Decoder
from singula.representations.channel import OptionValue
from singula.representations.channel_options import parse_options
from singula.representations.channel_table import CHANNELS
from singula.representations.table import (
    channel_groups,
    choose_method,
    find_decoder,
    split_channels,
)
from singula.representations.thresholds import THRESHOLDS, Threshold
from singula.util.views import augmented_views

S = TypeVar("S", bound=Section)

Morphology = Annotated[Literal["erode", "dilate"], AnyCase()]
OnlyInstances = Refuse(
    "only instance segmentation is supported",
    (
        "semantic_seg", "detection", "denoising", "super_resolution", "self_supervised",
        "classification", "image_to_image",
    ),
)  # fmt: skip


def _mark(text: str) -> str:
    """Validate an entry such as ``TH_CONTOUR=0.2``."""
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
    """Resources of the machine."""

    NUM_CPUS: Annotated[Int, OffOr(1, 100_000)] = key(-1, "Largest number of CPU cores; -1: all.")
    NUM_WORKERS: Annotated[Int, OffOr(0, 1000)] = key(
        5, "Number of processes that prepare patches; 0: only the main process; -1: automatic."
    )
    NUM_GPUS: Int = key(0, "Has no effect: --gpu or --gpus on the command line selects GPUs.", ge=0)
    DEVICE: Text = key("cpu", "Device if the command line selects no GPU.")
    SEED: Int = key(
        0,
        "Seed of all random numbers. If it is not set, each run id trains with another seed.",
        ge=0,
    )
    MAX_MEMORY: Bytes = key(
        0,
        "Memory for a test image, whole or in blocks, such as 4GB; 0: 60 % of the free memory.",
    )
    PIN_MEM: Bool = key(True, "Use pinned memory for a faster transfer to the GPU.")


class _ChannelKeys(Section):
    """The keys before the thresholds, in the order of the documentation."""

    DATA_CHANNELS: Annotated[Channels, AnyCase(), OrCombination()] = key(
        "BC",
        "Channels that the network learns: B (interior), C (contour), D (distance to the contour, "
        "inside), Dv2 (the same on both sides), M (interior and contour), P (center); or a list of "
        "codes of BiaPy 3.5 and later, see the page about channels.",
    )
    DATA_CHANNELS_EXTRA_OPTS: Options = key(
        (), "Options of the channels in a list, such as 'Db.norm=False'."
    )
    DECODER: Annotated[DecodingMethod, AnyCase()] = key(
        "auto", "Conversion of the channels into instances; auto: determined by the channels."
    )
    DATA_CHANNELS_LOSSES: Annotated[tuple[ChannelLoss, ...], BeforeValidator(to_tuple)] = key(
        (), "Loss of each channel; empty: cross entropy for probabilities, else absolute error."
    )
    DISTANCE_CHANNEL_MASK: Bool = key(
        True, "Compute the loss of distances only inside the foreground."
    )
    DATA_CHANNEL_WEIGHTS: Weights = key((1, 1), "Weight of each channel in the loss.")
    DATA_CONTOUR_MODE: Annotated[
        Literal["thick", "inner", "outer", "dense"], AnyCase(), NoSubpixel
    ] = key("thick", "Position of the contour; dense: every foreground pixel is B or C.")
    GROW_INTO_CONTOUR: Bool = key(
        False,
        "Let instances grow over their part of the contour, which B does not include; with BCM, "
        "let them grow in M.",
    )
    POINT_RADIUS: Int = key(3, "Radius of the points of channel P in pixels.", ge=0, le=1000)
    DATA_MW_TH_TYPE: Annotated[Literal["auto", "manual"], AnyCase()] = key(
        "auto",
        "Thresholds of binary channels by Otsu's method (auto) or from the keys (manual). If this "
        "key is not set, thresholds that are set are used, and the others are automatic.",
    )


def _threshold_key(threshold: Threshold) -> tuple[Any, Any]:
    """Return type and declaration of the key of a threshold."""
    return Float, key(threshold.default, f"{threshold.meaning}.", ge=0, le=threshold.high)


if TYPE_CHECKING:
    _ThresholdKeys = _ChannelKeys
else:
    _ThresholdKeys = create_model(
        "_ThresholdKeys",
        __base__=_ChannelKeys,
        **{f"DATA_MW_{name}": _threshold_key(each) for name, each in THRESHOLDS.items()},
    )


class InstanceSeg(_ThresholdKeys):
    """Channels of the network, and decoding of the instances."""

    DATA_REMOVE_SMALL_OBJ_BEFORE: Int = key(
        10, "Remove instances with fewer pixels than this.", ge=0
    )
    REMOVE_SMALL_OBJ_AT_BORDER: Int = key(
        -1,
        "Remove instances at the image border only if they also have fewer pixels than this; "
        "-1: the same size as for other instances.",
        ge=-1,
    )
    DATA_REMOVE_BEFORE_MW: Bool = key(
        False,
        "Remove small instances before the seeds grow; default True if DATA_REMOVE_SMALL_OBJ gives "
        "the size.",
    )
    SEED_MORPH_SEQUENCE: Annotated[tuple[Morphology, ...], BeforeValidator(to_tuple)] = key(
        (), "Operations on seeds, in this order: 'erode', 'dilate'."
    )
    SEED_MORPH_RADIUS: Radii = key((), "Radius of each operation in pixels.")
    ERODE_AND_DILATE_FOREGROUND: Bool = key(
        False, "Erode, then dilate the foreground in which instances grow."
    )
    FORE_EROSION_RADIUS: Int = key(
        5, "Radius of the erosion of the foreground in pixels.", ge=0, le=1000
    )
    FORE_DILATION_RADIUS: Int = key(
        5, "Radius of the dilation of the foreground in pixels.", ge=0, le=1000
    )
    SEED_CHANNELS: Codes = key((), "Channels that make the seeds; empty: all that can.")
    GROWTH_MASK_CHANNELS: Codes = key(
        (), "Channels in which instances grow; empty: the first that covers the instances."
    )
    TOPOGRAPHIC_SURFACE_CHANNEL: Text = key(
        "", "Channel that is flooded; empty: a distance, else a probability."
    )
    DATA_CHECK_MW: Bool = key(False, "Save the seeds, foreground and surface of the watershed.")
    WATERSHED_BY_2D_SLICES: Bool = key(False, "Decode the instances of a volume slice by slice.")

    GENERATED_THRESHOLDS: Marks = key(
        (),
        "Values that Singula wrote into this file. Tuned values take precedence; a value that you "
        "change counts as set by you.",
    )
    TUNED_THRESHOLDS: Marks = key(
        (),
        "Values from singula tune or the Tune page; a value that you change counts as set by you.",
    )


THRESHOLD_KEYS: dict[str, str] = {
    name: f"PROBLEM.INSTANCE_SEG.DATA_MW_{name}" for name in ("TH_TYPE", *THRESHOLDS)
} | {"REMOVE_SMALL_OBJ": "PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE"}
"""Keys of the decoding thresholds by name without prefix; unset thresholds may be automatic."""


class Problem(Section):
    """Task and dimensions."""

    TYPE: Annotated[Literal["INSTANCE_SEG"], AnyCase(), OnlyInstances] = key(
        "INSTANCE_SEG", "Workflow."
    )
    NDIM: Annotated[Literal["2D", "3D"], AnyCase()] = key("2D", "Dimensions of the images.")
    INSTANCE_SEG: InstanceSeg = section(InstanceSeg)


class Config(Section):
    """Configuration of a run, built by `load_config`; immutable."""

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
        """Number of spatial dimensions, 2 or 3."""
        return 2 if self.PROBLEM.NDIM == "2D" else 3

    @property
    def tests_volumes(self) -> bool:
        """True if the test decodes volumes: 3D images, or 2D images as a stack."""
        return self.ndim == 3 or self.TEST.ANALIZE_2D_IMGS_AS_3D_STACK

    @property
    def patch(self) -> tuple[int, ...]:
        """Spatial shape of a patch, (y, x) or (z, y, x)."""
        return self.DATA.PATCH_SIZE[:-1]

    @property
    def in_channels(self) -> int:
        """Number of channels of the images."""
        return self.DATA.PATCH_SIZE[-1]

    @property
    def decoder(self) -> Decoder:
        """Decoder of the channels."""
        keys = self.PROBLEM.INSTANCE_SEG
        return find_decoder(
            keys.DATA_CHANNELS,
            keys.SEED_CHANNELS,
            keys.GROWTH_MASK_CHANNELS,
            keys.TOPOGRAPHIC_SURFACE_CHANNEL,
            self.decoding_method,
        )

    @property
    def decoding_method(self) -> str:
        """Method of decoding: DECODER, or the one that the channels determine."""
        keys = self.PROBLEM.INSTANCE_SEG
        if keys.DECODER != "auto":
            return keys.DECODER
        return choose_method(split_channels(keys.DATA_CHANNELS), self.channel_options)

    @property
    def channel_count(self) -> int:
        """Number of codes in DATA_CHANNELS; a code can have several maps, as rays do."""
        return len(self.channel_groups)

    @property
    def channel_groups(self) -> tuple[tuple[str, ...], ...]:
        """Channel codes of each code in DATA_CHANNELS: several for a family, such as rays."""
        return channel_groups(self.PROBLEM.INSTANCE_SEG.DATA_CHANNELS)

    @property
    def view_count(self) -> int:
        """Number of flips and rotations over which TEST.AUGMENTATION averages."""
        planes = [CHANNELS[code] for group in self.channel_groups for code in group]
        rays = sum(plane.is_ray for plane in planes)
        return len(augmented_views(self.ndim, rays))

    @property
    def channel_options(self) -> dict[str, dict[str, OptionValue]]:
        """Options of the channels that are set, by code and name."""
        entries = self.PROBLEM.INSTANCE_SEG.DATA_CHANNELS_EXTRA_OPTS
        return parse_options(entries, "PROBLEM.INSTANCE_SEG.DATA_CHANNELS_EXTRA_OPTS")

    @property
    def channel_weights(self) -> tuple[float, ...]:
        """Weight of each code in DATA_CHANNELS in the loss."""
        return self.PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS[: self.channel_count]

    @property
    def class_weight(self) -> float:
        """Weight of the class channel in the loss: the entry after those of the channels, or 1."""
        rest = self.PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS[self.channel_count :]
        return rest[0] if rest else 1.0

    def dotted(self) -> dict[str, Any]:
        """Return all values by dotted key, in the order of the documentation."""
        return dict(_walk(self, ""))

    def written(self) -> dict[str, Any]:
        """Return all values by dotted key, without unset thresholds, which may be automatic."""
        unset = {key for key in THRESHOLD_KEYS.values() if not self.is_set(key)}
        return {name: value for name, value in self.dotted().items() if name not in unset}

    def to_yaml(self) -> str:
        """Return the text of a YAML file that loads to an equal `Config`.

        It contains all keys except unset thresholds.
        """
        import yaml

        class Dumper(yaml.SafeDumper):
            pass

        def flow(dumper: yaml.SafeDumper, values: tuple[Any, ...]) -> yaml.Node:
            return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)

        def quoted(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
            # Line separators such as U+0085 need quotes.
            style = None if text.isprintable() else '"'
            return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

        Dumper.add_representer(tuple, flow)
        Dumper.add_representer(str, quoted)
        tree = nested(self.written())
        text: str = yaml.dump(tree, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000)
        return text

    def is_set(self, name: str) -> bool:
        """Return True if the file or an override sets the key; raise KeyError if unknown."""
        *sections, last = name.split(".")
        part: Any = self
        for step in sections:
            part = getattr(part, step, None) if isinstance(part, Section) else None
        if not isinstance(part, Section) or last not in type(part).model_fields:
            raise KeyError(name)
        return last in part.model_fields_set

    def path_overrides(self) -> dict[str, str]:
        """Return the paths of PATHS and LOG that differ from the default, by dotted key.

        JOB_DIR and JOB_ID are not replaced in them.
        """
        defaults = Config().dotted()
        return {
            name: value
            for name, value in self.dotted().items()
            if name.startswith(("PATHS.", "LOG.")) and isinstance(value, str)
            if value != defaults[name]
        }

    def replaced(self, values: Mapping[str, Any], *, mark_set: bool = False) -> Config:
        """Return a copy with some values replaced; they are not validated.

        Parameters
        ----------
        values : mapping
            New values by dotted key.
        mark_set : bool
            Mark these keys as set; else `is_set` does not change.
        """
        return _replaced(self, nested(values), mark_set=mark_set)


def _walk(section: Section, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _walk(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Convert dotted keys to nested sections."""
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

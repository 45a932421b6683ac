"""Interface of the channels: targets that a network learns.

The configuration reads the declarations of channels, so this module imports no NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from singula.util.citation import Citation

Kind: TypeAlias = Literal["binary", "distance", "flow", "embedding"]
Activation: TypeAlias = Literal["sigmoid", "linear", "tanh", "fifth"]
Vector: TypeAlias = Literal["", "offset", "flow", "embedding"]
Reach: TypeAlias = Literal["contour", "radius", "instance", "neighbors", "image"]
KnownBy: TypeAlias = Literal[
    "pixel",
    "contour",
    "contour_distance",
    "instance",
    "nearness",
    "distance",
    "neighbors",
    "offset",
]
BlockTruth: TypeAlias = Literal["distance", "nearness", "disk"]
LossName: TypeAlias = Literal["bce", "l1", "mse", "embedding"]
OptionValue: TypeAlias = bool | int | float | str

_LOSSES: dict[Kind, tuple[LossName, Activation]] = {
    "binary": ("bce", "sigmoid"),
    "distance": ("l1", "linear"),
    "flow": ("mse", "fifth"),
    "embedding": ("embedding", "linear"),
}


@dataclass(frozen=True)
class Option:
    """Setting of a channel in ``DATA_CHANNELS_EXTRA_OPTS``.

    Parameters
    ----------
    name : str
        Key of the option.
    default : bool, int, float or str
        Value of the format, whose type is the type of the option.
    describe : str
        Meaning in one line, without a period.
    allowed : tuple of str
        Allowed values of a text; empty for numbers and switches.
    positive : bool
        0 is not allowed.
    bounds : tuple of int, optional
        Smallest and largest number; `default` is always allowed. By default, 0 to 1000.
    is_radius : bool
        The channel depends on the pixels within this number of in-plane pixels.
    """

    name: str
    default: OptionValue
    describe: str
    allowed: tuple[str, ...] = ()
    positive: bool = False
    is_radius: bool = False
    bounds: tuple[int, int] | None = None


MASKED = Option("mask_values", True, "compute the loss only inside of the instances")
NORMALIZED = Option("norm", True, "divide by the largest value of each instance")


@dataclass(frozen=True)
class Channel:
    """Target that a network learns.

    Encoding, loss, activation, decoding by watershed, validation and documentation are derived from
    this declaration.

    Parameters
    ----------
    code : str
        Name of the channel and of its map.
    describe : str
        Description in one line.
    kind : {'binary', 'distance', 'flow', 'embedding'}
        Binary channels are uint8 0 or 1 and learned with cross entropy; distances are float32 and
        learned with the absolute error; components of flows are float32 from -1 to 1 and five times
        their values are learned with the squared error; planes of an embedding are float32 and have
        one loss.
    encoder : str
        Function that computes the array from a `Source`, as ``module:name``; for a plane of a
        family, from a `Source` and the channel.
    reach : {'contour', 'radius', 'instance', 'neighbors', 'image'}
        Region whose labels determine a pixel: its neighbors; up to the contour of its instance; its
        whole instance; in addition, the nearest other instance; in addition, the nearest contour of
        all background pixels.
    citations : tuple of Citation
        Publications of the channel.
    listed_as : str, optional
        Code in lists with codes of BiaPy 3.5 or later, where it differs from `code`.
    options : tuple of Option
        Settings of the channel.
    final : str, optional
        Activation that converts the output of the network to the channel; by default, the one of
        the kind.
    component : int
        For a component of a vector, the axis from the end: 1 for x, 2 for y, 3 for z; else 0.
    vector : {'', 'offset', 'flow', 'embedding'}
        Vector of which the channel is a component.
    length : int
        For a length along an axis, the axis from the end; else 0.
    is_share : bool
        A distance from 0 to 1, unless the option ``norm`` is off, that can be learned as a
        probability.
    outside : int
        Value that pixels outside of a mask get, so that the watershed makes them background.
    foreground_only : bool
        By default, compute loss and scores only inside of instances.
    known_by : str
        Pixels that determine the channel if only some pixels are annotated: the pixel itself; its
        neighbors; the nearest contour; the whole instance, in the background the pixel itself; for
        ``nearness``, the nearest contour there; for ``distance``, the nearest instance there; for
        ``neighbors``, also the nearest other instance; for ``offset``, the pixel and the one at
        `offset`.
    inside : {'high', 'low'}, optional
        Values inside of instances, which the watershed selects; None if it cannot use the channel.
    seed_threshold, growth_threshold : str, optional
        Thresholds of the watershed's seeds and growth mask; None if it does not use the channel.
    surface_rank : int
        The channel of the smallest rank is flooded; 0 if none of its values can be flooded.
    family : str
        For a plane, the code of its `singula.representations.families.Family`. Its `listed_as` is
        the code with parameters, such as ``R32``.
    plane : int
        Number of the plane in its family.
    offset : tuple of int
        Offset in pixels of the other pixel of an affinity, in the order of the axes.
    block_truth : {'distance', 'nearness', 'disk'}, optional
        Way in which the blocks of an image compute the channel for its scores, if a pixel depends
        on more than its neighbors: from the distance to the contour; also from the largest distance
        in each instance; as a disk around the centroid. By default, such a channel has no scores.
    is_ray : bool
        Distance along a ray, whose direction differs between views of the image.
    needs_volume : bool
        The channel of a volume depends on the axis z, so that single annotated slices have no
        target.
    unit : float
        Value of the channel where the output of the network is 1. A network starts with outputs of
        about this size, and learns much larger or smaller values slowly.
    weight : float
        Weight in the loss that `singula init` writes: smaller for values above 1; for flows, as in
        Cellpose, which adds half of the mean error of the components.
    short : str
        Name for headers and titles; by default, `code`.
    """

    code: str
    describe: str
    kind: Kind
    encoder: str
    reach: Reach = "contour"
    citations: tuple[Citation, ...] = ()
    listed_as: str | None = None
    options: tuple[Option, ...] = ()
    final: Activation | None = None
    component: int = 0
    vector: Vector = ""
    length: int = 0
    is_share: bool = False
    outside: int = 0
    foreground_only: bool = False
    known_by: KnownBy = "pixel"
    inside: Literal["high", "low"] | None = None
    seed_threshold: str | None = None
    growth_threshold: str | None = None
    surface_rank: int = 0
    family: str = ""
    plane: int = 0
    offset: tuple[int, ...] = ()
    block_truth: BlockTruth | None = None
    is_ray: bool = False
    needs_volume: bool = False
    unit: float = 1.0
    weight: float = 1.0
    short: str = ""

    @property
    def title(self) -> str:
        """Short name for headers and titles."""
        return self.short or self.code

    @property
    def covers(self) -> bool:
        """True if the growth mask of the channel excludes the background."""
        background = "high" if self.outside > 0 else "low"
        return self.growth_threshold is not None and self.inside != background

    @property
    def loss(self) -> LossName:
        """Loss function of the channel."""
        return _LOSSES[self.kind][0]

    @property
    def activation(self) -> Activation:
        """Activation that converts the output of the network to the channel."""
        return self.final or _LOSSES[self.kind][1]

    def local_reach(self, options: Mapping[str, OptionValue]) -> float:
        """Return the distance in in-plane pixels that the options add to the neighbors.

        Parameters
        ----------
        options : mapping of str to object
            Values of all `options` by name.
        """
        radii = [option.name for option in self.options if option.is_radius]
        return max((float(options[name]) for name in radii if name in options), default=0.0)

    @property
    def options_code(self) -> str:
        """Code by which the options of the channel are given."""
        return self.family or self.code

    @property
    def list_code(self) -> str:
        """Code of the channel in a list with codes of BiaPy 3.5 or later."""
        return self.listed_as or self.code

    @property
    def defaults(self) -> dict[str, OptionValue]:
        """Values of the options by name, as in the format."""
        return {option.name: option.default for option in self.options}


def axis_of_neighbor(offset: Sequence[int]) -> int | None:
    """Return the axis of an offset to a direct neighbor; None for other offsets.

    Parameters
    ----------
    offset : sequence of int
        Steps in pixels, in the order of the axes.
    """
    if sum(abs(step) for step in offset) != 1:
        return None
    return next(axis for axis, step in enumerate(offset) if step)

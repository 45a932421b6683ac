"""Declarations of the thresholds of all decoders; importable without NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from singula.representations.channel import OptionValue
from singula.util.citation import Citation, Method


@dataclass(frozen=True)
class Otsu:
    """Automatic threshold: Otsu's threshold of a channel in the whole image, times a factor.

    Parameters
    ----------
    channel : str
    factor : float
    """

    channel: str
    factor: float = 1.0
    method: ClassVar[Method] = Method(
        "Otsu's method",
        (
            Citation(
                "otsu1979",
                "Otsu, N.",
                "A threshold selection method from gray-level histograms",
                "IEEE Transactions on Systems, Man, and Cybernetics",
                1979,
                "10.1109/TSMC.1979.4310076",
            ),
        ),
    )


@dataclass(frozen=True)
class Threshold:
    """Threshold of a decoder.

    The configuration key, its validation, the search of `singula tune`, the slider of the
    interface, the report and the documentation are derived from this declaration.

    Parameters
    ----------
    name : str
        Configuration key without the prefix ``DATA_MW_``, such as ``TH_CONTOUR``.
    label : str
        Text at the slider, in the words of a biologist.
    meaning : str
        Comparison that the threshold decides, without a period.
    larger : str
        Effect of a larger value on the objects.
    default : float
        Value of the format.
    example : float
        Value for the documentation, which differs from the default.
    channels : tuple of str
        Channels that are compared with the threshold.
    high : float, optional
        Largest value; 0 is the smallest. None for distances, which have no largest value.
    otsu : Otsu, optional
        Automatic value; None if the threshold is never automatic.
    otsu_into_contour : Otsu, optional
        Automatic value with GROW_INTO_CONTOUR, if the configuration has this channel.
    search_share : float
        Largest initial value of the search, as a fraction of `high` or of the largest distance.
    search_range : tuple of float, optional
        Smallest and largest value of the search and of the slider, if neither `high` nor the
        predicted distances determine them.
    is_integer : bool
        True for a number of steps.
    adapt : callable, optional
        ``options -> default`` for options of the first of `channels` that change its values.
    """

    name: str
    label: str
    meaning: str
    larger: str
    default: float
    example: float
    channels: tuple[str, ...]
    high: float | None = 1.0
    otsu: Otsu | None = None
    otsu_into_contour: Otsu | None = None
    search_share: float = 0.9
    search_range: tuple[float, float] | None = None
    is_integer: bool = False
    adapt: Callable[[Mapping[str, OptionValue]], float] | None = None

    @property
    def keyword(self) -> str:
        """Argument of `singula.decode`, such as ``contour_threshold`` for ``TH_CONTOUR``."""
        return f"{self.name.removeprefix('TH_').removesuffix('_MASK').lower()}_threshold"

    def automatic(self, channels: Collection[str], *, into_contour: bool) -> Otsu | None:
        """Return the rule of the automatic value.

        Parameters
        ----------
        channels : collection of str
            Channels of the configuration.
        into_contour : bool
            GROW_INTO_CONTOUR.
        """
        rule = self.otsu_into_contour
        if into_contour and rule and rule.channel in channels:
            return rule
        if self.otsu is None or self.otsu.channel in channels:
            return self.otsu
        others = [channel for channel in self.channels if channel in channels]
        return replace(self.otsu, channel=others[0]) if others else self.otsu


_SEED_DEPTH = math.atanh(0.9)


def _signed_depth(options: Mapping[str, OptionValue]) -> float:
    """Return the signed distance at the depth of seeds with the default options."""
    depth = _SEED_DEPTH / float(options["alpha"])
    return round(math.tanh(depth) if options["norm"] else depth, 4)


_ROWS = (
    Threshold(
        "TH_BINARY_MASK",
        label="Seeds: inside (B) above",
        meaning="Seeds: B, F or M above this",
        larger="smaller seeds: touching objects separate, faint objects are missed",
        default=0.5,
        example=0.6,
        channels=("B", "F", "M"),
        otsu=Otsu("B"),
    ),
    Threshold(
        "TH_CONTOUR",
        label="Seeds: contour (C) below",
        meaning="Seeds: C below this",
        larger="larger seeds: touching objects merge, fewer objects are split",
        default=0.1,
        example=0.2,
        channels=("C",),
        otsu=Otsu("C"),
    ),
    Threshold(
        "TH_CONTOUR_GROWTH",
        label="Growth: contour (C) below",
        meaning="Instances grow where C is below this, if no other channel covers them",
        larger="larger objects, fewer gaps between them",
        default=0.9,
        example=0.7,
        channels=("C",),
    ),
    Threshold(
        "TH_FOREGROUND",
        label="Growth: inside (B) or mask (M) above",
        meaning="Instances grow where B or F is above this; with GROW_INTO_CONTOUR, BCM uses M "
        "instead of B, and other sets with B do not use this key",
        larger="smaller objects",
        default=0.3,
        example=0.25,
        channels=("B", "M", "F"),
        otsu=Otsu("B", 0.5),
        otsu_into_contour=Otsu("M"),
    ),
    Threshold(
        "TH_DISTANCE",
        label="Seeds: distance above",
        meaning="Seeds: D above, or Dv2 below this",
        larger="D: smaller seeds, touching objects separate; Dv2: larger seeds",
        default=1.0,
        example=2.0,
        channels=("D", "Dv2"),
        high=None,
        search_share=0.7,
    ),
    Threshold(
        "TH_DIST_FOREGROUND",
        label="Growth: distance (D) above",
        meaning="Instances grow where D is above this; no effect with GROW_INTO_CONTOUR",
        larger="smaller objects",
        default=0.0,
        example=0.5,
        channels=("D",),
        high=None,
        search_share=0.3,
    ),
    Threshold(
        "TH_POINTS",
        label="Seeds: central point (P) above",
        meaning="Seeds: P above this",
        larger="smaller seeds: touching objects separate, faint objects are missed",
        default=0.5,
        example=0.4,
        channels=("P",),
        otsu=Otsu("P"),
    ),
    Threshold(
        "TH_BACKGROUND",
        label="Seeds and growth: background below",
        meaning="Seeds and instances: background (B in a list with new codes) below this",
        larger="larger objects",
        default=0.5,
        example=0.4,
        channels=("Bg",),
        otsu=Otsu("Bg"),
    ),
    Threshold(
        "TH_TOUCHING",
        label="Seeds: contact zone (T) below",
        meaning="Seeds: T below this",
        larger="larger seeds: touching objects merge, fewer objects are split",
        default=0.3,
        example=0.4,
        channels=("T",),
        otsu=Otsu("T"),
    ),
    Threshold(
        "TH_BORDER_DISTANCE",
        label="Seeds: distance to the border (Db) above",
        meaning="Seeds: Db above this, a fraction of the largest distance if Db is normalized",
        larger="smaller seeds: touching objects separate, faint objects are missed",
        default=0.4,
        example=0.5,
        channels=("Db",),
        high=None,
        search_share=0.8,
    ),
    Threshold(
        "TH_BORDER_GROWTH",
        label="Growth: distance to the border (Db) above",
        meaning="Instances grow where Db is above this, if no other channel covers them",
        larger="smaller objects",
        default=0.1,
        example=0.2,
        channels=("Db",),
        high=None,
        search_share=0.3,
    ),
    Threshold(
        "TH_CENTER_DISTANCE",
        label="Seeds: distance to the center (Dc) below",
        meaning="Seeds: Dc below this, a fraction of the largest distance if Dc is normalized",
        larger="larger seeds: touching objects merge, fewer objects are missed",
        default=0.3,
        example=0.4,
        channels=("Dc",),
        high=None,
        search_share=0.9,
    ),
    Threshold(
        "TH_CENTER_GROWTH",
        label="Growth: distance to the center (Dc) below",
        meaning="Instances grow where Dc is below this, if no other channel covers them",
        larger="larger objects, fewer gaps between them",
        default=0.9,
        example=0.8,
        channels=("Dc",),
        high=None,
    ),
    Threshold(
        "TH_SIGNED_DISTANCE",
        label="Seeds: signed distance (D) above",
        meaning="Seeds: signed distance (D in a list with new codes) above this; the default is "
        "1.5 pixels from the border, also if the options alpha and norm have other values",
        larger="smaller seeds: touching objects separate, faint objects are missed",
        default=0.9,
        example=0.8,
        channels=("Ds",),
        high=None,
        search_share=0.99,
        adapt=_signed_depth,
    ),
    Threshold(
        "TH_SIGNED_GROWTH",
        label="Growth: signed distance (D) above",
        meaning="Instances grow where the signed distance (D in a list with new codes) is above "
        "this, if no other channel covers them",
        larger="smaller objects",
        default=0.0,
        example=0.1,
        channels=("Ds",),
        high=None,
        search_share=0.3,
    ),
    Threshold(
        "TH_NEIGHBOR",
        label="Seeds: nearness to neighbors (Dn) below",
        meaning="Seeds: Dn below this",
        larger="larger seeds: touching objects merge, fewer objects are split",
        default=0.25,
        example=0.4,
        channels=("Dn",),
        high=None,
    ),
    Threshold(
        "TH_EDGES",
        label="Seeds: edges of the offsets (H, V, Z) below",
        meaning="Seeds: half of the largest fall of an offset to the next pixel below this",
        larger="larger seeds: touching objects merge, fewer objects are split",
        default=0.25,
        example=0.2,
        channels=("H", "V", "Z"),
    ),
    Threshold(
        "TH_PROBABILITY",
        label="Objects: probability above",
        meaning="Rays (R): a pixel proposes an object if Db, F or P is above this",
        larger="fewer objects: faint objects are missed",
        default=0.5,
        example=0.6,
        channels=("Db", "F", "P"),
    ),
    Threshold(
        "TH_NMS",
        label="Objects: overlap below",
        meaning="Rays (R): of two objects, the less probable one is removed if their overlap is "
        "more than this fraction of the smaller one",
        larger="more objects: touching objects separate, more objects are split",
        default=0.4,
        example=0.3,
        channels=(),
    ),
    Threshold(
        "TH_AFFINITY",
        label="Affinity (A) above",
        meaning="Two pixels belong to one instance if their affinity is above this, and to two if "
        "it is below; the most certain pairs decide first. Watershed: seeds and instances have "
        "smallest affinities to their neighbors above this",
        larger="more and smaller objects: touching objects separate, objects are split",
        default=0.5,
        example=0.4,
        channels=("A",),
    ),
    Threshold(
        "TH_CENTER_RADIUS",
        label="Centers: radius of the votes",
        meaning="Centers (H, V, Z in pixels): votes within this radius count together, in pixels "
        "of the finest axis",
        larger="fewer objects: near centers merge",
        default=3.0,
        example=5.0,
        channels=("H", "V", "Z"),
        high=None,
        search_range=(1.0, 10.0),
    ),
    Threshold(
        "TH_VOTES",
        label="Centers: share of votes above",
        meaning="Centers (H, V, Z in pixels): number of votes above this share of the pixels of a "
        "round object",
        larger="fewer objects: doubtful and long objects are missed",
        default=0.15,
        example=0.1,
        channels=("H", "V", "Z"),
    ),
    Threshold(
        "TH_FLOW_ERROR",
        label="Objects: error of the flows below",
        meaning="Flows (Gh, Gv, Gz): an object is removed if the mean squared difference between "
        "its flows and the predicted ones is above this; 0 removes none, and objects at the image "
        "border remain",
        larger="more objects: doubtful objects remain (except 0)",
        default=0.4,
        example=0.6,
        channels=("Gh", "Gv", "Gz"),
        high=None,
        search_range=(0.1, 2.0),
    ),
    Threshold(
        "TH_FLOW_STEPS",
        label="Flows: number of steps",
        meaning="Flows (Gh, Gv, Gz): each pixel moves by at most this many steps of about one "
        "pixel of the finest axis",
        larger="fewer fragments of long objects",
        default=200.0,
        example=400.0,
        channels=("Gh", "Gv", "Gz"),
        high=None,
        search_range=(20.0, 400.0),
        is_integer=True,
    ),
    Threshold(
        "TH_SEEDINESS",
        label="Seeds: seediness above",
        meaning="Embeddings (E): the first pixel of an instance has a seediness of at least this",
        larger="fewer objects: doubtful objects are missed",
        default=0.8,
        example=0.7,
        channels=(),
    ),
    Threshold(
        "TH_CLUSTER",
        label="Objects: seediness above",
        meaning="Embeddings (E): pixels with a seediness above this can belong to an instance",
        larger="smaller objects",
        default=0.5,
        example=0.4,
        channels=(),
    ),
)

THRESHOLDS: dict[str, Threshold] = {row.name: row for row in _ROWS}
"""Thresholds by name, in the order of the configuration keys."""

AUTOMATIC = tuple(name for name, threshold in THRESHOLDS.items() if threshold.otsu is not None)
"""Names of the thresholds that can be computed from the maps."""

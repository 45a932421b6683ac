"""Marker-controlled watershed: its configurations of channels, seeds, growth mask and flood.

Seeds and growth mask are conjunctions of comparisons of a map with a threshold, which a row lists
as data. The configuration reads the rows, so that NumPy and the kernels are imported in functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from singula.representations.base import (
    Decoder,
    IntermediateImages,
    Maps,
    SeedFilter,
    ThresholdValues,
)
from singula.util.citation import Citation, Method

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.decoders.settings import DecodeSettings

_RING = {"thick": 1, "inner": 1, "outer": 0, "dense": 2}
"""Width of the contour inside an object, in pixels."""
_STEPS = 2  # largest distance of pixels that a growth mask depends on
Background: TypeAlias = "Callable[[Maps, ThresholdValues, np.ndarray], np.ndarray]"


@dataclass(frozen=True)
class Term:
    """A comparison of a map with a threshold: above or below."""

    channel: str
    above: bool
    key: str

    def __str__(self) -> str:
        """Return the comparison as a formula."""
        return f"{self.channel} {'>' if self.above else '<'} {self.key}"

    def __call__(self, maps: Maps, thresholds: ThresholdValues) -> np.ndarray:
        """Return a mask of the pixels for which the comparison holds."""
        import numpy as np

        values, limit = maps[self.channel], thresholds[self.key]
        if values.dtype != np.float16:
            result: np.ndarray = values > limit if self.above else values < limit
            return result
        # Comparing half precision is slow: compare all 65,536 values once, then look them up.
        few = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
        table = few > limit if self.above else few < limit
        result = np.empty(values.shape, bool)
        for row, heights in zip(result, values, strict=True):
            np.take(table, heights.view(np.uint16), out=row, mode="clip")
        return result


@dataclass(frozen=True)
class Watershed(Decoder):
    """Marker-controlled watershed of one configuration of channels.

    Parameters
    ----------
    seeds : tuple of Term
        Pixels where all terms hold are seeds.
    growth : tuple of Term
        Seeds grow where all terms hold; everywhere if empty.
    whole : tuple of Term
        Growth terms with GROW_INTO_CONTOUR, if a channel covers the contour. If empty, ``B`` and
        ``C`` make the growth mask.
    surface : str
        Channel that is flooded.
    downhill : bool
        Flood from high to low values, as for a probability; otherwise from low to high.
    background : callable, optional
        ``(maps, thresholds, seed_mask) -> mask`` of a background seed, which grows like the others
        and is removed at the end.
    note : str, optional
        Notice about the result for the user.
    """

    seeds: tuple[Term, ...] = ()
    growth: tuple[Term, ...] = ()
    whole: tuple[Term, ...] = ()
    surface: str = "B"
    downhill: bool = True
    background: Background | None = None
    note: str | None = None
    supports_blocks: ClassVar[bool] = True
    removes_seeds: ClassVar[bool] = True
    method: ClassVar[Method | None] = Method(
        "a marker-controlled watershed",
        (
            Citation(
                "meyer1990",
                "Meyer, F.; Beucher, S.",
                "Morphological segmentation",
                "Journal of Visual Communication and Image Representation",
                1990,
                "10.1016/1047-3203(90)90014-M",
            ),
        ),
    )

    def growth_terms(self, *, into_contour: bool) -> tuple[Term, ...] | None:
        """Return the terms of the growth mask, or None if ``B`` and ``C`` make it.

        Parameters
        ----------
        into_contour : bool
            GROW_INTO_CONTOUR.
        """
        if not into_contour or not self.growth:
            return self.growth
        return self.whole or None

    def threshold_groups(self, *, into_contour: bool) -> tuple[tuple[str, ...], ...]:
        """Return the thresholds of the seeds, and those only of the growth mask."""
        seeds = tuple(dict.fromkeys(term.key for term in self.seeds))
        terms = self.growth_terms(into_contour=into_contour)
        growth = ["TH_BINARY_MASK"] if terms is None else [term.key for term in terms]
        return seeds, tuple(key for key in dict.fromkeys(growth) if key not in seeds)

    def decode(
        self,
        maps: Maps,
        thresholds: ThresholdValues,
        settings: DecodeSettings,
        *,
        spacing: Sequence[float] | None,
        seed_filter: SeedFilter | None,
        keep_parts: bool,
    ) -> tuple[np.ndarray, IntermediateImages | None]:
        """Decode an image; see `Decoder.decode`."""
        import numpy as np

        from singula.representations.decoders.components import inside, label_seeds
        from singula.representations.decoders.morphology import (
            compact_in_place,
            drop_small_in_place,
        )

        seed_mask, foreground = masks(self, maps, thresholds, settings, spacing)
        labels, count = label_seeds(seed_mask)
        del seed_mask  # limits the peak of memory
        if settings.remove_before:
            count = drop_small_in_place(
                labels, count, settings.remove_small, settings.min_border_pixels
            )
        if seed_filter is not None:
            inside(labels)[...] = seed_filter(np.ascontiguousarray(inside(labels)))
        parts = None
        if keep_parts:
            parts = IntermediateImages(
                inside(labels).astype(np.uint32), foreground, maps[self.surface]
            )
        background = _flood(self, maps, labels, count, foreground, settings)
        del foreground
        labels = compact_in_place(
            labels,
            count if background is None else background,
            min_size=0 if settings.remove_before else settings.remove_small,
            border_size=0 if settings.remove_before else settings.min_border_pixels,
            drop=background,
        )
        return labels, parts

    def reach(
        self, settings: DecodeSettings, spacing: Sequence[float] | None, ndim: int
    ) -> tuple[int, ...]:
        """Return the halo that the morphology of seeds and growth mask needs."""
        radius = sum(r for _, r in settings.seed_morph)
        radius += settings.fore_erosion + settings.fore_dilation
        sizes = (1.0,) * ndim if spacing is None else tuple(spacing)
        steps = len(settings.seed_morph) + 2 if radius else 0
        return tuple(math.ceil(radius * min(sizes) / size) + steps + _STEPS for size in sizes)

    @property
    def covering(self) -> frozenset[str]:
        """Channels of the growth mask."""
        return frozenset(term.channel for term in self.growth)

    @property
    def used_maps(self) -> frozenset[str]:
        """Maps of the seeds, the growth mask and the surface."""
        terms = (*self.seeds, *self.growth, *self.whole)
        return frozenset({self.surface, *(term.channel for term in terms)})

    @property
    def maps_of_contour_growth(self) -> frozenset[str]:
        """Maps that only the growth mask of GROW_INTO_CONTOUR uses."""
        others = {self.surface, *(term.channel for term in (*self.seeds, *self.growth))}
        return self.used_maps - others

    @property
    def used_channels(self) -> tuple[str, ...]:
        """Channels of the seeds, the growth mask and the surface."""
        return tuple(code for code in self.channels if code in self.used_maps)

    def notes(self, thresholds: ThresholdValues) -> tuple[str, ...]:
        """Return the notice of the row, and a warning about a threshold that selects all pixels."""
        notes = [] if self.note is None else [self.note]
        if self.surface == "Dv2" and thresholds["TH_DISTANCE"] >= 1:
            notes.append(
                f"TH_DISTANCE is {thresholds['TH_DISTANCE']}, but Dv2 ends at 1 on the contour: "
                "every pixel passes; values of about 0.6 to 0.9 separate objects"
            )
        return tuple(notes)


def masks(
    decoder: Watershed,
    maps: Maps,
    thresholds: ThresholdValues,
    settings: DecodeSettings,
    spacing: Sequence[float] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the seed mask and the growth mask.

    For decoders without a growth mask, the second is the complement of the background seed.
    """
    from singula.representations.decoders.morphology import morph

    seeds = _all_of(decoder.seeds, maps, thresholds)
    for operation, radius in settings.seed_morph:
        seeds = morph(seeds, operation, radius, spacing)
    foreground = _foreground(decoder, maps, thresholds, settings, seeds)
    foreground = morph(foreground, "erode", settings.fore_erosion, spacing)
    foreground = morph(foreground, "dilate", settings.fore_dilation, spacing)
    return seeds, foreground


def _all_of(terms: tuple[Term, ...], maps: Maps, thresholds: ThresholdValues) -> np.ndarray:
    """Return a mask of the pixels where all terms hold; `terms` must not be empty."""
    mask = terms[0](maps, thresholds)
    for term in terms[1:]:
        mask &= term(maps, thresholds)
    return mask


def _foreground(
    decoder: Watershed,
    maps: Maps,
    thresholds: ThresholdValues,
    settings: DecodeSettings,
    seed_mask: np.ndarray,
) -> np.ndarray:
    import numpy as np

    mask: np.ndarray
    if decoder.background is not None:
        mask = np.invert(decoder.background(maps, thresholds, seed_mask))
        return mask
    terms = decoder.growth_terms(into_contour=settings.grow_into_contour)
    if terms is None:
        mask = np.logical_or(_whole_objects(maps, thresholds, settings.contour_mode), seed_mask)
    elif terms:
        mask = _all_of(terms, maps, thresholds)
    else:
        mask = np.ones(seed_mask.shape, bool)
    return mask


def _whole_objects(maps: Maps, thresholds: ThresholdValues, contour_mode: str) -> np.ndarray:
    """Return the mask of the objects including their contour pixels.

    ``B + C`` covers the objects and, unless the contour is inside, one pixel around them, which is
    eroded. In contrast to a lower threshold of ``B``, blurred maps do not move the edge. Without
    ``C``, ``B`` is dilated by the width of the contour.
    """
    import numpy as np

    from singula.representations.decoders.morphology import step

    limit = thresholds["TH_BINARY_MASK"]
    if "C" in maps:
        whole = np.empty(maps["B"].shape, bool)
        for row, *values in zip(whole, maps["B"], maps["C"], strict=True):
            np.greater(np.add(*values, dtype=np.float32), limit, out=row)
        return whole if contour_mode == "inner" else step(whole, grow=False)
    whole = np.greater(maps["B"], limit)
    for _ in range(_RING[contour_mode]):
        whole = step(whole, grow=True)
    return whole


def _flood(
    decoder: Watershed,
    maps: Maps,
    labels: np.ndarray,
    count: int,
    foreground: np.ndarray,
    settings: DecodeSettings,
) -> int | None:
    """Grow seeds with a rim in place; return the id of the background seed, or None."""
    from singula.representations.decoders.components import inside
    from singula.representations.decoders.flood import flood_in_place

    if count == 0:
        return None
    background = None
    if decoder.background is not None:
        background = count + 1
        for row, allowed in zip(inside(labels), foreground, strict=True):
            row[~allowed & (row == 0)] = background
    flood_in_place(
        maps[decoder.surface],
        labels,
        foreground if decoder.growth else None,
        downhill=decoder.downhill,
        by_slices=settings.by_2d_slices,
    )
    return background


def _far_from_cells(maps: Maps, thresholds: ThresholdValues, seeds: np.ndarray) -> np.ndarray:
    from singula.representations.decoders.morphology import step

    cells = maps["B"] > thresholds["TH_BINARY_MASK"]
    cells |= maps["C"] > thresholds["TH_CONTOUR"]
    return ~step(cells, grow=True)


def _beyond_seeds(maps: Maps, thresholds: ThresholdValues, seeds: np.ndarray) -> np.ndarray:
    mask: np.ndarray = (maps["Dv2"] < thresholds["TH_DISTANCE"]) & ~seeds
    return mask


_B = Term("B", True, "TH_BINARY_MASK")
_C = Term("C", False, "TH_CONTOUR")
_D = Term("D", True, "TH_DISTANCE")
_P = Term("P", True, "TH_POINTS")
_DV2 = Term("Dv2", False, "TH_DISTANCE")
_IN_B = Term("B", True, "TH_FOREGROUND")
_IN_M = Term("M", True, "TH_FOREGROUND")
_IN_D = Term("D", True, "TH_DIST_FOREGROUND")

CONFIGURATIONS = (
    Watershed("BC", ("B", "C"), seeds=(_B, _C), growth=(_IN_B,)),
    Watershed("BP", ("B", "P"), seeds=(_P,), growth=(_IN_B,)),
    Watershed("BD", ("B", "D"), seeds=(_B, _D), growth=(_IN_B, _IN_D)),
    Watershed("BCM", ("B", "C", "M"), seeds=(_B, _C), growth=(_IN_B,), whole=(_IN_M,)),
    Watershed("BCD", ("B", "C", "D"), seeds=(_B, _D, _C), growth=(_IN_B, _IN_D)),
    Watershed(
        "BCDv2",
        ("B", "C", "Dv2"),
        seeds=(_B, _DV2, _C),
        surface="Dv2",
        downhill=False,
        background=_far_from_cells,
    ),
    Watershed(
        "BDv2",
        ("B", "Dv2"),
        seeds=(_B, _DV2),
        surface="Dv2",
        downhill=False,
        background=_beyond_seeds,
    ),
    Watershed(
        "Dv2",
        ("Dv2",),
        seeds=(_DV2,),
        surface="Dv2",
        downhill=False,
        note="Dv2 alone cannot tell background from objects: the whole image is divided; "
        "remove the background instances by hand",
    ),
)

"""The decoders, one row per configuration of channels.

Seeds and growth mask are conjunctions of comparisons of a map with a threshold, which a row lists
as data. To add a configuration, add a row here and its case in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from singula.representations.decoders.watershed import step

Maps = Mapping[str, np.ndarray]
Thresholds = Mapping[str, float]


@dataclass(frozen=True)
class Term:
    """A comparison of a map with a threshold: above or below."""

    channel: str
    above: bool
    key: str

    def __call__(self, maps: Maps, thresholds: Thresholds) -> np.ndarray:
        """Return a mask of the pixels for which the comparison holds."""
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
class Decoder:
    """Decoder of one configuration of channels.

    Parameters
    ----------
    name : str
        Name of the configuration, such as ``BCD``.
    needs : tuple of str
        Required channels.
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

    name: str
    needs: tuple[str, ...]
    seeds: tuple[Term, ...]
    growth: tuple[Term, ...] = ()
    whole: tuple[Term, ...] = ()
    surface: str = "B"
    downhill: bool = True
    background: Callable[[Maps, Thresholds, np.ndarray], np.ndarray] | None = None
    note: str | None = None

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


def all_of(terms: tuple[Term, ...], maps: Maps, thresholds: Thresholds) -> np.ndarray:
    """Return a mask of the pixels where all terms hold; `terms` must not be empty."""
    mask = terms[0](maps, thresholds)
    for term in terms[1:]:
        mask &= term(maps, thresholds)
    return mask


def _far_from_cells(maps: Maps, thresholds: Thresholds, seeds: np.ndarray) -> np.ndarray:
    cells = maps["B"] > thresholds["TH_BINARY_MASK"]
    cells |= maps["C"] > thresholds["TH_CONTOUR"]
    return ~step(cells, grow=True)


def _beyond_seeds(maps: Maps, thresholds: Thresholds, seeds: np.ndarray) -> np.ndarray:
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

DECODERS: dict[str, Decoder] = {
    row.name: row
    for row in (
        Decoder("BC", ("B", "C"), seeds=(_B, _C), growth=(_IN_B,)),
        Decoder("BP", ("B", "P"), seeds=(_P,), growth=(_IN_B,)),
        Decoder("BD", ("B", "D"), seeds=(_B, _D), growth=(_IN_B, _IN_D)),
        Decoder("BCM", ("B", "C", "M"), seeds=(_B, _C), growth=(_IN_B,), whole=(_IN_M,)),
        Decoder("BCD", ("B", "C", "D"), seeds=(_B, _D, _C), growth=(_IN_B, _IN_D)),
        Decoder(
            "BCDv2",
            ("B", "C", "Dv2"),
            seeds=(_B, _DV2, _C),
            surface="Dv2",
            downhill=False,
            background=_far_from_cells,
        ),
        Decoder(
            "BDv2",
            ("B", "Dv2"),
            seeds=(_B, _DV2),
            surface="Dv2",
            downhill=False,
            background=_beyond_seeds,
        ),
        Decoder(
            "Dv2",
            ("Dv2",),
            seeds=(_DV2,),
            surface="Dv2",
            downhill=False,
            note="Dv2 alone cannot tell background from objects: the whole image is divided; "
            "remove the background instances by hand",
        ),
    )
}

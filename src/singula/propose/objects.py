"""Choices that follow from the instances: channels, contour, decoding."""

from __future__ import annotations

from collections.abc import Sequence

from singula.propose.choice import Choice
from singula.propose.sizes import Sizes
from singula.survey import Machine, Survey
from singula.words import counted

_SEG = "PROBLEM.INSTANCE_SEG"
_MANY_LOST = 0.02
_MOST_LOST = 0.3
_ROUND = 0.85
_CROWDED = 0.25
_LONG = 4e8
"""Pixels of a long training; after 1.1e9 of them 0.1 was best on `dsb2018`, after 8e7 0.2."""


def channels(sizes: Sizes, machine: Machine) -> Choice:
    """What the network learns."""
    key, touch = f"{_SEG}.DATA_CHANNELS", f"{sizes.touching:.0%} of the objects touch others"
    if sizes.lost > _MOST_LOST and sizes.compact >= _ROUND:
        return Choice(
            key, "BP", f"{sizes.lost:.0%} of the objects consist of contour only: each gets a point"
        )
    if machine.gpus and sizes.touching >= _CROWDED and sizes.compact >= _ROUND:
        return Choice(key, "BCD", f"{touch} and are round: contour and distance separate them")
    if sizes.touching >= _CROWDED:
        return Choice(key, "BC", f"{touch}: the contour separates them; D takes a third longer")
    return Choice(key, "BC", f"{touch}: B and C suffice")


def weights(used: Sequence[str], classes: int) -> Choice:
    """Weight of each channel in the loss, and of the class head."""
    # Depths in pixels are larger than what else is learned.
    values = tuple(0.1 if code == "D" else 1 for code in used) + ((0.5,) if classes > 2 else ())
    note = "one per channel" + (", then the class head" if classes > 2 else "")
    return Choice(f"{_SEG}.DATA_CHANNEL_WEIGHTS", values, note=note)


def contour(sizes: Sizes, used: Sequence[str]) -> Choice:
    """Where the contour lies."""
    key = f"{_SEG}.DATA_CONTOUR_MODE"
    if "P" in used or sizes.lost > _MANY_LOST:
        return Choice(
            key,
            "outer",
            f"{sizes.lost:.1%} of the objects are too thin to have pixels inside their contour",
        )
    # An object that fills the image is nowhere near an outside: its box says how wide it is.
    across = min(2 * sizes.radius, *sizes.typical)
    return Choice(
        key, "thick", f"objects are thick enough, {counted(round(across), 'pixel')} across"
    )


def points(sizes: Sizes) -> Choice:
    """Radius of the points of channel P."""
    radius = max(1, min(3, round(sizes.thin / 2)))
    return Choice(
        f"{_SEG}.POINT_RADIUS", radius, f"thin objects have a radius of {sizes.thin:.1f} pixels"
    )


def growth() -> Choice:
    """Whether instances cover their contour."""
    return Choice(f"{_SEG}.GROW_INTO_CONTOUR", True, note="instances include their contour")


def thresholds(
    sizes: Sizes, used: Sequence[str], spacing: tuple[float, ...] | None, pixels: float
) -> list[Choice]:
    """Numbers for the watershed, which suit every image alike.

    Parameters
    ----------
    spacing : tuple of float, optional
        Size of a pixel, in whose unit the depth is.
    pixels : float
        Those that the network will have learned from, counted each time.
    """
    why = "fixed thresholds separate touching objects better than automatic ones"
    made = [
        Choice(f"{_SEG}.DATA_MW_TH_TYPE", "manual", why),
        Choice(f"{_SEG}.DATA_MW_TH_BINARY_MASK", 0.5, note="seeds: B above this"),
    ]
    if "C" in used:
        made.append(_contour_threshold(sizes, pixels))
    if "P" in used:
        made.append(Choice(f"{_SEG}.DATA_MW_TH_POINTS", 0.5, note="seeds: P above this"))
    if "D" in used:
        deep = round(max(1.0, sizes.thin / 5) * (min(spacing[-2:]) if spacing else 1.0), 6)
        made.append(
            Choice(
                f"{_SEG}.DATA_MW_TH_DISTANCE",
                deep,
                f"seeds: D above this; thin objects are {sizes.thin:.1f} pixels deep",
            )
        )
    grow = "instances grow where M is above this"
    if "M" not in used:
        grow = "no effect with GROW_INTO_CONTOUR; else instances grow where B is above this"
    return [*made, Choice(f"{_SEG}.DATA_MW_TH_FOREGROUND", 0.3, note=grow)]


def _contour_threshold(sizes: Sizes, pixels: float) -> Choice:
    """Below what chance of contour a seed may be.

    A network that has learned little sees some contour everywhere, and seeds fall into pieces. In
    volumes blur along z leaves bridges between neighbors, which are eroded instead; where few
    objects touch, there is little to separate.
    """
    key = f"{_SEG}.DATA_MW_TH_CONTOUR"
    if sizes.ndim == 3 and pixels < _LONG and sizes.touching < _CROWDED:
        why = f"seeds: C below this; only {sizes.touching:.0%} of the objects touch others, and "
        return Choice(key, 0.3, why + "0.2 would break objects after short training")
    if sizes.ndim == 3:
        return Choice(key, 0.2, "seeds: C below this; erosion separates what still touches")
    if pixels < _LONG:
        return Choice(key, 0.2, "seeds: C below this; 0.1 would break objects after short training")
    return Choice(key, 0.1, "seeds: C below this; separates most after long training")


def seeds(sizes: Sizes, used: Sequence[str]) -> list[Choice]:
    """Erosion of the seeds in volumes, whose blur along z joins them."""
    radius = min(2, int(sizes.thin / 3))
    if sizes.ndim == 2 or radius < 1 or "C" not in used:
        return []
    why = (
        f"{sizes.touching:.0%} of the objects touch others and blur joins seeds along z; thin ones "
        f"have a radius of {sizes.thin:.0f}"
    )
    return [
        Choice(f"{_SEG}.SEED_MORPH_SEQUENCE", ["erode"], why),
        Choice(f"{_SEG}.SEED_MORPH_RADIUS", [radius], note="pixels"),
    ]


def small(sizes: Sizes) -> list[Choice]:
    """Sizes below which an instance is removed: anywhere, and at the border of the image."""
    made = [
        Choice(
            f"{_SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE",
            int(sizes.least),
            "pixels; 99% of the complete objects have at least this many",
        )
    ]
    if sizes.cut:
        left = "half of each is left on average"
        if sizes.least_cut < sizes.least / 2:
            left = "80% of these have at least this many left"
        objects = counted(sizes.count, "object")
        why = f"pixels; the border cuts {sizes.cut} of {objects}, and {left}"
        made.append(Choice(f"{_SEG}.REMOVE_SMALL_OBJ_AT_BORDER", int(sizes.least_cut), why))
    return made


def dimensions(survey: Survey) -> Choice:
    """Images or volumes."""
    shape = survey.images[0].shape
    axes = "y, x" if survey.ndim == 2 else "z, y, x"
    return Choice("PROBLEM.NDIM", f"{survey.ndim}D", f"the files are ({axes}), for example {shape}")

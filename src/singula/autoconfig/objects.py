"""Choice of channels, contour and decoding from the instances."""

from __future__ import annotations

from collections.abc import Sequence

from singula.autoconfig.setting import Choice
from singula.autoconfig.sizes import Sizes
from singula.config.thresholds import KEYS
from singula.dataset.facts import Machine, Survey
from singula.dataset.facts.shapes import ShapeSummary
from singula.representations.base import Decoder
from singula.representations.channel_table import CHANNELS
from singula.representations.table import DECODERS, channel_groups, check_offsets, find_decoder
from singula.representations.thresholds import THRESHOLDS
from singula.util.arguments import text
from singula.util.format import counted

_SEG = "PROBLEM.INSTANCE_SEG"
_MANY_LOST = 0.02
_MAX_LOST = 0.3
_ROUND = 0.85
_DENSE, _LONG_OBJECTS, _CONVEX = 0.95, 3.0, 0.85  # between the sets of docs/results.md
_CROWDED = 0.25
_WIDE = 128  # encoding flows takes time that grows with the cube of the length of an object
# Pixels of a long training. On `dsb2018`, the best contour threshold was 0.2 after 8e7 pixels and
# 0.1 after 1.1e9 pixels.
_LONG = 4e8


def choose_channels(sizes: Sizes, machine: Machine) -> Choice:
    """Choose the channels that the network learns.

    Parameters
    ----------
    sizes : Sizes
        Statistics of the training instances.
    machine : Machine
        Machine that trains.
    """
    key, touch = f"{_SEG}.DATA_CHANNELS", f"{sizes.touching:.0%} of the objects touch others"
    if sizes.lost > _MAX_LOST and sizes.compact >= _ROUND:
        return Choice(
            key, "BP", f"{sizes.lost:.0%} of the objects consist of contour only: each gets a point"
        )
    if machine.gpus and sizes.touching >= _CROWDED and sizes.compact >= _ROUND:
        return Choice(key, "BCD", f"{touch} and are round: contour and distance separate them")
    shape, length = sizes.shape, max(sizes.large)
    large = counted(round(length), "pixel")
    if sizes.ndim == 2 and shape.density <= _DENSE and length < _WIDE:
        why = (
            "in 2D, flows to the centers (Gh, Gv) separate objects best, and encoding them is fast "
            f"below {_WIDE} pixels (large objects here: {large})"
        )
        return Choice(key, "F+Gh+Gv", why + _unsuitable(shape))
    why = f"{touch}: B and C suffice"
    if sizes.touching >= _CROWDED:
        why = f"{touch}: the contour separates them; BCD (also the distance) takes a third longer"
    if sizes.ndim == 2 and length >= _WIDE:
        why += f"; encoding flows (Gh, Gv) is slow from {_WIDE} pixels on (large objects: {large})"
    return Choice(key, "BC", why + _unsuitable(shape))


def _unsuitable(shape: ShapeSummary) -> str:
    """Return which other channels scored lower for objects of this shape; see docs/results.md."""
    if shape.density > _DENSE:
        return (
            f"; {shape.density:.0%} of the pixels are in objects: in such volumes, affinities (A), "
            "flows (Gh, Gv) and offsets (H, V) gave worse outlines"
        )
    if shape.elongation > _LONG_OBJECTS or shape.convexity < _CONVEX:
        return (
            f"; polygons (R) and offsets (H, V) suit objects less that are {shape.elongation:.1f} "
            f"times as long as wide and fill {shape.convexity:.0%} of their convex hull"
        )
    return ""


def check_channels(channels: str, ndim: int | None = None) -> None:
    """Raise an error if no decoder accepts a list of channels.

    Parameters
    ----------
    channels : str
        Channels that the user chose.
    ndim : {2, 3}, optional
        Number of spatial dimensions, if it is known.

    Raises
    ------
    UserError
        ``channels.unknown``, ``decode.missing_channel``.
    """
    decoder = find_decoder(text(channels, "channels (--data-channels)"))
    if ndim is not None:
        check_offsets(decoder.channels, channels, ndim)


def choose_channel_weights(channels: str, classes: int) -> Choice:
    """Choose the weights of the channels and of the class head in the loss.

    Parameters
    ----------
    channels : str
        Value of ``DATA_CHANNELS``; a code with several maps has one weight.
    classes : int
        Number of classes with the background.
    """
    groups = channel_groups(channels)
    weights = tuple(CHANNELS[group[0]].weight for group in groups)
    values = weights + ((0.5,) if classes > 2 else ())
    note = "one per channel" + (", then the class head" if classes > 2 else "")
    return Choice(f"{_SEG}.DATA_CHANNEL_WEIGHTS", values, note=note)


def has_disks(used: Sequence[str]) -> bool:
    """Return True if a channel is drawn as disks of the radius POINT_RADIUS."""
    return any(CHANNELS[code].block_truth == "disk" for code in used)


def choose_contour(sizes: Sizes, used: Sequence[str]) -> Choice:
    """Choose the position of the contour; see `choose_thresholds` for the parameters."""
    key = f"{_SEG}.DATA_CONTOUR_MODE"
    if has_disks(used) or sizes.lost > _MANY_LOST:
        return Choice(
            key,
            "outer",
            f"{sizes.lost:.1%} of the objects are too thin to have pixels inside their contour",
        )
    # The radius of an object that fills the image is too large, so the box limits the width.
    across = min(2 * sizes.radius, *sizes.typical)
    return Choice(
        key, "thick", f"objects are thick enough, {counted(round(across), 'pixel')} across"
    )


def choose_point_radius(sizes: Sizes) -> Choice:
    """Choose the radius of the points of channel P."""
    radius = max(1, min(3, round(sizes.thin / 2)))
    return Choice(
        f"{_SEG}.POINT_RADIUS", radius, f"thin objects have a radius of {sizes.thin:.1f} pixels"
    )


def choose_growth() -> Choice:
    """Choose to include the contour in the instances."""
    return Choice(f"{_SEG}.GROW_INTO_CONTOUR", True, note="instances include their contour")


def choose_thresholds(
    sizes: Sizes, decoder: Decoder, spacing: tuple[float, ...] | None, pixels: float
) -> list[Choice]:
    """Choose the thresholds of the decoder, the same for all images.

    Parameters
    ----------
    sizes : Sizes
        Statistics of the training instances.
    decoder : Decoder
        Decoder of the channels.
    spacing : tuple of float, optional
        Voxel size; distances are in its unit.
    pixels : float
        Number of pixels that the network trains on, over all epochs.
    """
    if decoder.name not in DECODERS:
        names = decoder.threshold_names(into_contour=True)
        return [_default(name) for name in THRESHOLDS if name in names]
    used = decoder.channels
    why = "fixed thresholds separate touching objects better than automatic ones"
    choices = [Choice(f"{_SEG}.DATA_MW_TH_TYPE", "manual", why)]
    seeds = {"TH_BINARY_MASK", *(CHANNELS[code].seed_threshold for code in used)}
    for name in (name for name in THRESHOLDS if name in seeds):
        if name == "TH_CONTOUR":
            choices.append(_contour_threshold(sizes, pixels))
        elif name == "TH_DISTANCE":
            choices.append(_distance_threshold(sizes, spacing))
        else:
            choices.append(_default(name))
    grow = "instances grow where M is above this"
    if "M" not in used:
        grow = "no effect with GROW_INTO_CONTOUR; else instances grow where B is above this"
    return [*choices, _default("TH_FOREGROUND", grow)]


def _default(name: str, note: str = "") -> Choice:
    """Choose the default of a threshold; by default, the comment is its meaning."""
    threshold = THRESHOLDS[name]
    meaning = threshold.meaning[0].lower() + threshold.meaning[1:]
    return Choice(KEYS[name], threshold.default, note=note or meaning)


def _contour_threshold(sizes: Sizes, pixels: float) -> Choice:
    """Choose the probability of contour below which pixels are seeds.

    After short training, the network predicts some contour everywhere, so that a low threshold
    would split seeds. In volumes, the blur along z joins neighbors; erosion of the seeds separates
    them. If few objects touch, the threshold can be higher.
    """
    key = f"{_SEG}.DATA_MW_TH_CONTOUR"
    if sizes.ndim == 3 and pixels < _LONG and sizes.touching < _CROWDED:
        why = f"seeds: C below this; only {sizes.touching:.0%} of the objects touch others, and "
        return Choice(key, 0.3, why + "0.2 would break objects after short training")
    if sizes.ndim == 3:
        return Choice(key, 0.2, "seeds: C below this; erosion separates seeds that still touch")
    if pixels < _LONG:
        return Choice(key, 0.2, "seeds: C below this; 0.1 would break objects after short training")
    return Choice(
        key, 0.1, "seeds: C below this; separates touching objects best after long training"
    )


def _distance_threshold(sizes: Sizes, spacing: tuple[float, ...] | None) -> Choice:
    """Choose the distance above which pixels are seeds, from the depth of thin objects."""
    depth = round(max(1.0, sizes.thin / 5) * (min(spacing[-2:]) if spacing else 1.0), 6)
    return Choice(
        f"{_SEG}.DATA_MW_TH_DISTANCE",
        depth,
        f"seeds: D above this; thin objects are {sizes.thin:.1f} pixels deep",
    )


def choose_seed_morphology(sizes: Sizes, used: Sequence[str]) -> list[Choice]:
    """Choose the erosion of seeds in volumes, where blur along z joins seeds."""
    radius = min(2, int(sizes.thin / 3))
    if sizes.ndim == 2 or radius < 1 or "C" not in used:
        return []
    why = (
        f"{sizes.touching:.0%} of the objects touch others and blur joins seeds along z; thin "
        f"objects have a radius of {sizes.thin:.0f} pixels"
    )
    return [
        Choice(f"{_SEG}.SEED_MORPH_SEQUENCE", ["erode"], why),
        Choice(f"{_SEG}.SEED_MORPH_RADIUS", [radius], note="pixels"),
    ]


def choose_min_size(sizes: Sizes) -> list[Choice]:
    """Choose the sizes below which instances are removed, everywhere and at the image border."""
    choices = [
        Choice(
            f"{_SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE",
            int(sizes.min_pixels),
            "pixels; 99% of the complete objects have at least this many",
        )
    ]
    if sizes.cut:
        cut_note = "half of each remains on average"
        if sizes.min_pixels_at_border < sizes.min_pixels / 2:
            cut_note = "80% of these have at least this many pixels"
        objects = counted(sizes.count, "object")
        why = f"pixels; the border cuts {sizes.cut} of {objects}, and {cut_note}"
        choices.append(
            Choice(f"{_SEG}.REMOVE_SMALL_OBJ_AT_BORDER", int(sizes.min_pixels_at_border), why)
        )
    return choices


def choose_dimensions(survey: Survey) -> Choice:
    """Choose between 2D and 3D."""
    shape = survey.images[0].shape
    axes = "y, x" if survey.ndim == 2 else "z, y, x"
    return Choice("PROBLEM.NDIM", f"{survey.ndim}D", f"the files are ({axes}), for example {shape}")

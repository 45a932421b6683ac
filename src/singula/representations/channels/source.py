"""Label images with intermediate results that several channels share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from singula.io.image import check_spacing
from singula.representations.channel import OptionValue, Reach
from singula.representations.channel_options import checked_options, default_options
from singula.representations.channel_table import CHANNELS
from singula.representations.channels.contour import check_contour_mode, find_contour
from singula.util.arguments import as_array, items, label_image, number, text
from singula.util.boxes import Box

Labels = NDArray[np.integer[Any]]
Furthest: TypeAlias = Mapping[Reach, float]
ChannelArray: TypeAlias = NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.float32]


@dataclass(frozen=True)
class EncodeSettings:
    """Settings of the conversion of labels to channels.

    Parameters
    ----------
    channels : tuple of str
        Channel codes, as returned by `parse_channels`.
    contour_mode : {'thick', 'inner', 'outer', 'dense'}
        Position of the contour; see `find_contour`.
    spacing : tuple of float, optional
        Voxel size along each axis, z first, which makes distances physical.
    point_radius : float
        Radius of the `P` disk, in units of the in-plane pixel. Next to codes of BiaPy 3.5 or later,
        the option ``dilation`` of `P` is the radius.
    options : mapping of str to mapping
        Options by channel code that differ from their defaults; see `Channel.options`.

    Raises
    ------
    TypeError, UserError
        A value is not allowed.
    """

    channels: tuple[str, ...] = ("B", "C")
    contour_mode: str = "thick"
    spacing: tuple[float, ...] | None = None
    point_radius: float = 3
    options: Mapping[str, Mapping[str, OptionValue]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        items(self.channels, "channels", text)
        check_contour_mode(self.contour_mode)
        if self.spacing is not None:
            sizes = as_array(self.spacing, "spacing", kinds="iuf")
            check_spacing(self.spacing, sizes.size)
        number(self.point_radius, "point_radius", at_least=0)
        object.__setattr__(self, "options", checked_options(self.options, "options"))

    @property
    def from_labels(self) -> bool:
        """True if patches are encoded after all random changes, and channels are not stored.

        The planes of a family are many, and a flip changes more than their positions.
        """
        return any(CHANNELS[code].family for code in self.channels)

    @property
    def has_gaps(self) -> bool:
        """True if channels have pixels without a target: those with a partner outside."""
        return any(CHANNELS[code].offset for code in self.channels)

    def scored(self) -> EncodeSettings | None:
        """Return the settings without planes of families, or None if no channel is left."""
        channels = tuple(code for code in self.channels if not CHANNELS[code].family)
        return replace(self, channels=channels) if channels else None

    def turned(self, turns: int) -> EncodeSettings:
        """Return the settings for an image after rotations by 90° in the last two axes."""
        if self.spacing is None or turns % 2 == 0:
            return self
        return replace(self, spacing=(*self.spacing[:-2], self.spacing[-1], self.spacing[-2]))

    def options_of(self, code: str) -> dict[str, OptionValue]:
        """Return all options of a channel, with the defaults of the others."""
        return {**default_options(code), **self.options.get(CHANNELS[code].options_code, {})}


class Source:
    """Validated label image with intermediate results that several channels share.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Instance ids, which may have gaps; 0 is background.
    settings : EncodeSettings
        Contour mode, spacing and point radius.
    furthest : mapping of str to float, optional
        Largest distances of a larger image; see `encode_with`.
    box : tuple of slice, optional
        Pixels whose channels are needed; see `encode_part`.

    Attributes
    ----------
    box : tuple of slice
        Pixels whose channels are needed.
    shared : dict
        Results that the planes of a family share, by the name of the family.

    Raises
    ------
    TypeError, UserError
        `labels` is not an integer image of 2 or 3 axes, or the spacing has another length.
    """

    def __init__(
        self,
        labels: NDArray[Any],
        settings: EncodeSettings,
        furthest: Furthest | None = None,
        box: Box | None = None,
    ) -> None:
        self.labels = label_image(labels, empty=False)
        self.furthest: Furthest = furthest or {}
        self.settings = settings
        self.shared: dict[str, NDArray[Any]] = {}
        self.spacing = check_spacing(settings.spacing, self.labels.ndim)
        self.box: Box = box or tuple(slice(0, side) for side in self.labels.shape)

    @cached_property
    def contour(self) -> NDArray[np.bool_]:
        """Mask of the contour."""
        return find_contour(self.labels, self.settings.contour_mode)

    @cached_property
    def foreground(self) -> NDArray[np.bool_]:
        """Mask of the instances."""
        return self.labels > 0

    @cached_property
    def index(self) -> Labels:
        """Labels as row numbers of a table, renumbered if they are too large."""
        # `bincount` of NumPy before 2.3 does not accept 64-bit unsigned integers.
        if self.labels.dtype.itemsize < 8 and self.labels.max() <= self.labels.size:
            return self.labels
        import fastremap

        return cast(Labels, fastremap.renumber(self.labels, preserve_zero=True)[0])

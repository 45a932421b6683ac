"""What all channels of one label image are computed from, each part at most once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from singula.io.image import check_spacing
from singula.representations.channels.contour import check_contour_mode, find_contour
from singula.util.arguments import as_array, items, label_image, number, text

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class EncodeSettings:
    """How labels become channels.

    Parameters
    ----------
    channels : tuple of str
        Channel codes, as `parse_channels` gives them.
    contour_mode : {'thick', 'inner', 'outer', 'dense'}
        See `find_contour`.
    spacing : tuple of float, optional
        Size of a pixel along each axis, z first. Distances are then physical.
    point_radius : float
        Radius of the `P` disk, in units of the in-plane pixel.

    Raises
    ------
    TypeError, UserError
        A value that is not allowed.
    """

    channels: tuple[str, ...] = ("B", "C")
    contour_mode: str = "thick"
    spacing: tuple[float, ...] | None = None
    point_radius: float = 3

    def __post_init__(self) -> None:
        items(self.channels, "channels", text)
        check_contour_mode(self.contour_mode)
        if self.spacing is not None:
            sizes = as_array(self.spacing, "spacing", kinds="iuf")
            check_spacing(self.spacing, sizes.size)
        number(self.point_radius, "point_radius", at_least=0)


class Source:
    """A checked label image with the parts that several channels share.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Instance ids, 0 is background; gaps are allowed. Never changed.
    settings : EncodeSettings
        Contour mode, spacing and point radius.
    furthest : float, optional
        Largest distance of the background to a contour, when it is known from a larger image.

    Raises
    ------
    TypeError, UserError
        Labels that are not an integer image of 2 or 3 axes, or a spacing of another length.
    """

    def __init__(
        self, labels: NDArray[Any], settings: EncodeSettings, furthest: float | None = None
    ) -> None:
        self.labels = label_image(labels, empty=False)
        self.furthest = furthest
        self.settings = settings
        self.spacing = check_spacing(settings.spacing, self.labels.ndim)

    @cached_property
    def contour(self) -> NDArray[np.bool_]:
        """The contour `K`."""
        return find_contour(self.labels, self.settings.contour_mode)

    @cached_property
    def foreground(self) -> NDArray[np.bool_]:
        """Pixels of instances."""
        return self.labels > 0

    @cached_property
    def index(self) -> Labels:
        """The labels as row numbers of a table: themselves, or renumbered if they are too large."""
        # NumPy before 2.3 does not count 64-bit unsigned numbers.
        if self.labels.dtype.itemsize < 8 and self.labels.max() <= self.labels.size:
            return self.labels
        import fastremap

        return cast(Labels, fastremap.renumber(self.labels, preserve_zero=True)[0])

"""Settings of the inspection of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from singula.util.arguments import flag, integer, items, text


@dataclass(frozen=True)
class InspectSettings:
    """Settings of the inspection of a data set.

    Parameters
    ----------
    ndim : {2, 3}, optional
        Number of spatial dimensions; by default, decided from the files.
    channels : int, optional
        Number of channels that images must have.
    gray : bool
        Also allow images with one channel.
    n_classes : int, optional
        Number of classes with the background; labels must then have a class channel. By default,
        the class channel is optional.
    patch : tuple of int, optional
        Spatial shape of a patch.
    reflect : bool
        Allow images smaller than the patch.
    scored : bool
        The test computes scores, so that training images in the test are a problem.
    smallest : int, optional
        Minimum number of pixels of an object; 3**ndim by default, because smaller objects have no
        pixels inside their contour.
    sized : tuple of str
        Names of the parts whose voxel size the user set.
    resampled : bool
        Images are resampled to one voxel size, so that files may have different ones.
    external_files : bool
        If the data set is given as a folder, allow image files that refer to other files.
    channel : str
        If the data set is given as a folder, name or number of the channel of images; empty for
        all.

    Raises
    ------
    TypeError
        A value has a wrong type.
    UserError
        A value is out of range.
    """

    ndim: int | None = None
    channels: int | None = None
    gray: bool = False
    n_classes: int | None = None
    patch: tuple[int, ...] | None = None
    reflect: bool = False
    scored: bool = True
    smallest: int | None = None
    sized: tuple[str, ...] = ()
    resampled: bool = False
    external_files: bool = False
    channel: str = ""

    def __post_init__(self) -> None:
        """Raise an error for values of other types."""
        if self.ndim is not None:
            integer(self.ndim, "ndim", at_least=2, at_most=3)
        for name in ("channels", "n_classes", "smallest"):
            if getattr(self, name) is not None:
                integer(getattr(self, name), name, at_least=0)
        if self.patch is not None:
            items(self.patch, "patch", partial(integer, at_least=1))
        for name in ("gray", "reflect", "scored", "resampled", "external_files"):
            flag(getattr(self, name), name)
        items(self.sized, "sized", text)
        text(self.channel, "channel")

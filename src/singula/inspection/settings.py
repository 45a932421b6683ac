"""Settings of the inspection of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from singula.arguments import flag, integer, items, text


@dataclass(frozen=True)
class InspectSettings:
    """What is known of a data set before looking.

    Parameters
    ----------
    ndim : {2, 3}, optional
        Found out by default.
    channels : int, optional
        That images must have.
    grey : bool
        Images of one channel are allowed too.
    n_classes : int, optional
        Background counted; then labels must have a class channel. By default they may.
    patch : tuple of int, optional
        Spatial shape of a patch.
    reflect : bool
        Images smaller than the patch are allowed.
    scored : bool
        The test gives scores, which the same images in training would spoil.
    smallest : int, optional
        Objects of fewer pixels are tiny; 3**ndim by default, of which a contour leaves nothing.
    sized : tuple of str
        Parts whose voxel size the user set.
    external_files : bool
        Image files of a data set that is given as a folder may refer to files outside.

    Raises
    ------
    TypeError, UserError
        A value of another type, or out of range.
    """

    ndim: int | None = None
    channels: int | None = None
    grey: bool = False
    n_classes: int | None = None
    patch: tuple[int, ...] | None = None
    reflect: bool = False
    scored: bool = True
    smallest: int | None = None
    sized: tuple[str, ...] = ()
    external_files: bool = False

    def __post_init__(self) -> None:
        """Refuse values of other types."""
        if self.ndim is not None:
            integer(self.ndim, "ndim", at_least=2, at_most=3)
        for name in ("channels", "n_classes", "smallest"):
            if getattr(self, name) is not None:
                integer(getattr(self, name), name, at_least=0)
        if self.patch is not None:
            items(self.patch, "patch", partial(integer, at_least=1))
        for name in ("grey", "reflect", "scored", "external_files"):
            flag(getattr(self, name), name)
        items(self.sized, "sized", text)

"""Record in a label image about the whole slide that was predicted."""

from __future__ import annotations

from singula.io.records.base import Count, PositiveNumber, StoredRecord


class SlideNote(StoredRecord):
    """Relation of a label image to the slide.

    Attributes
    ----------
    file : str
        File name of the slide.
    downsample : (float, float)
        Pixels of the finest level of the slide per pixel of the label image, along y and x.
    origin : (int, int)
        Position (y, x) of the label image in the slide, in pixels of the finest level. Coordinates
        in exports begin there, as in QuPath.
    tissue : float, optional
        Share of the area that was predicted; None if all of it was.
    """

    file: str
    downsample: tuple[PositiveNumber, PositiveNumber]
    origin: tuple[Count, Count] = (0, 0)
    tissue: float | None = None

"""Rows for pixels of an image, such as votes, that are joined over parts of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def merge_places(
    parts: Sequence[Mapping[str, np.ndarray]], operations: Mapping[str, np.ufunc]
) -> dict[str, np.ndarray]:
    """Join the rows of all parts at the same place.

    Parameters
    ----------
    parts : sequence of mapping of str to ndarray
        At least one: ``places``, positions in the flat image in any order, and other columns.
    operations : mapping of str to ufunc
        Function that joins two rows of each other column, such as ``np.add`` for numbers of pixels.

    Returns
    -------
    dict of str to ndarray
        Columns with one row for each place, in ascending order of the places.
    """

    def column(name: str) -> np.ndarray:
        return np.concatenate([part[name] for part in parts])[order]

    order = np.argsort(np.concatenate([part["places"] for part in parts]), kind="stable")
    places = column("places")
    first = np.flatnonzero(np.diff(places, prepend=-1))
    joined = {name: join.reduceat(column(name), first) for name, join in operations.items()}
    return {"places": places[first], **joined}

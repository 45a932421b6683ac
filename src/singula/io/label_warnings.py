"""What looks wrong in labels without being an error."""

from __future__ import annotations

import numpy as np

from singula.io.image import AnyArray


def ids_in_pieces(labels: AnyArray) -> list[int]:
    """Ids whose pixels do not all touch each other.

    Parameters
    ----------
    labels : ndarray of unsigned int
        (y, x) or (z, y, x), 0 for background; pixels touch at corners too.
    """
    import cc3d

    pieces = cc3d.connected_components(labels, connectivity=8 if labels.ndim == 2 else 26)
    places = np.flatnonzero(pieces)
    if not len(places):
        return []
    # The first pixel of each piece tells its id; an id that comes twice has two pieces.
    _, first = np.unique(pieces.ravel()[places], return_index=True)
    ids, counts = np.unique(labels.ravel()[places[first]], return_counts=True)
    return [int(number) for number in ids[counts > 1]]

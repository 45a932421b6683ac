"""Label images in which some pixels are not annotated: their value is -1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singula.util.arguments import as_array, label_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNANNOTATED = -1
"""Value of a pixel that is not annotated, in label images and in encoded channels."""


def is_sparse(labels: Any) -> bool:
    """Return True if a label image has pixels that are not annotated.

    Labels that are read from files have a signed type only in this case, so that other labels are
    not searched.

    Parameters
    ----------
    labels : array_like of int
        Label image of any shape; lazy arrays are read.
    """
    import numpy as np

    array = np.asarray(labels)
    return array.dtype.kind == "i" and int(array.min(initial=0)) == UNANNOTATED


def annotated_mask(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the mask of the annotated pixels of a label image."""
    import numpy as np

    if labels.dtype.kind == "i":
        mask: NDArray[np.bool_] = labels >= 0
        return mask
    return np.ones(labels.shape, bool)


def without_unannotated(labels: NDArray[Any]) -> NDArray[Any]:
    """Return a label image in which pixels that are not annotated are background.

    Parameters
    ----------
    labels : ndarray of int
        Label image of any shape.

    Returns
    -------
    ndarray
        `labels` itself if all pixels are annotated, else an unsigned copy.
    """
    if not is_sparse(labels):
        return labels
    return labels.clip(0).view(f"u{labels.dtype.itemsize}")


def without_annotation(labels: NDArray[Any], excluded: NDArray[np.bool_]) -> NDArray[Any]:
    """Return a label image in which excluded pixels are not annotated.

    Parameters
    ----------
    labels : ndarray of int, (y, x, c) or (z, y, x, c)
        Ids and, with classes, the class in a second channel.
    excluded : ndarray of bool, (y, x) or (z, y, x)
        Pixels that are not annotated.

    Returns
    -------
    ndarray
        `labels` itself if no pixel is excluded, else a copy of the smallest signed type.
    """
    import numpy as np

    if not excluded.any():
        return labels
    highest = int(labels.max(initial=0))
    signed = next(kind for kind in "bhiq" if highest <= np.iinfo(kind).max)
    result = labels.astype(signed)
    result[excluded] = 0
    result[..., 0][excluded] = UNANNOTATED
    return result


def sparse_label_image(value: object, name: str = "labels", **limits: Any) -> NDArray[Any]:
    """Return a label image in which -1 means "not annotated" if 0, the background, occurs too.

    Parameters
    ----------
    value, name, **limits
        As for `singula.util.arguments.label_image`.

    Returns
    -------
    ndarray
        The result of `label_image`; of a signed type if pixels are not annotated.

    Raises
    ------
    TypeError, UserError
        As `label_image`.
    """
    import numpy as np

    array = as_array(value, name)
    if not (array.dtype.kind == "i" and array.min(initial=0) == UNANNOTATED and (array == 0).any()):
        return label_image(value, name, **limits)
    label_image(array.clip(0), name, **limits)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))

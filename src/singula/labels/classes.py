"""Classes of instances in label images."""

from __future__ import annotations

from typing import Any

import numpy as np

from singula.labels.index import recode
from singula.util.arguments import as_array, label_image


def with_class_channel(
    labels: np.ndarray[Any, Any], ids: np.ndarray[Any, Any], classes: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return a label image with a second channel for the class of each instance.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Label image.
    ids : ndarray of int, shape (n,)
        Ids of all instances, ascending.
    classes : ndarray of int, shape (n,)
        Class of each instance.

    Returns
    -------
    ndarray of int, (y, x, 2) or (z, y, x, 2)
        Labels and classes. The class is 0 outside of instances.

    Raises
    ------
    TypeError, UserError
        Not a label image, ids that are not ascending, or a different number of classes.
    """
    labels = label_image(labels)
    classes = as_array(classes, "classes", ndim=1, kinds="iu", axes="(n,)")
    image = recode(labels, ids, classes)
    dtype = np.promote_types(labels.dtype, image.dtype)
    return np.stack([labels.astype(dtype), image.astype(dtype)], axis=-1)

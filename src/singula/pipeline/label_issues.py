"""Report of suspicious label images."""

from __future__ import annotations

import logging
from typing import Any

import numpy.typing as npt

from singula.dataset.facts.plausible import suspicion
from singula.labels.components import count_components
from singula.labels.index import index_labels
from singula.util.arguments import label_image
from singula.util.format import counted
from singula.util.sparse_labels import is_sparse

_log = logging.getLogger(__name__)


class LabelIssues:
    """Suspicious label images, which are not errors.

    Ids may have several connected components, the background may have an id, and ids may restart
    in each slice.
    """

    def __init__(self) -> None:
        self.split_ids: dict[str, list[int]] = {}
        self.suspicious: dict[str, str] = {}

    def add(self, name: str, ids: npt.NDArray[Any]) -> None:
        """Examine one label image.

        Parameters
        ----------
        name : str
            Name of the image.
        ids : ndarray of int, (y, x) or (z, y, x)
            Instance ids.
        """
        if is_sparse(ids):  # an object can continue where pixels are not annotated
            return
        reason = suspicion(ids)
        if reason is not None:
            self.suspicious[name] = reason
            return
        index, row_ids = index_labels(label_image(ids))
        split_ids = row_ids[count_components(index, len(row_ids)) > 1].tolist()
        if split_ids:
            self.split_ids[name] = split_ids

    def report(self, part: str) -> None:
        """Report each kind of issue in one line."""
        if self.suspicious:
            name, reason = next(iter(self.suspicious.items()))
            _log.warning(
                f"ATTENTION: {part}: {counted(len(self.suspicious), 'label image')} may not show "
                f"the objects, for example {name}: {reason}; run `singula check` on this "
                "configuration"
            )
        if self.split_ids:
            name, ids = next(iter(self.split_ids.items()))
            count = sum(len(split_ids) for split_ids in self.split_ids.values())
            _log.warning(
                f"{part}: {counted(count, 'id')} in "
                f"{counted(len(self.split_ids), 'label image')} with several connected components, "
                f"for example {ids[0]} in {name}; each counts as one object"
            )

"""Scores of a run, from ``metrics.csv``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from singula.io.record_tables import read_table
from singula.io.records.tables import MetricsRow
from singula.metrics.summary import MEAN, POOLED

Row = dict[str, float | None]


@dataclass
class Scores:
    """The scores in ``metrics.csv``.

    Parameters
    ----------
    rows : dict
        Scores by view, image and IoU threshold; the threshold is None for scores of channels only.
        The view of the instances of a class has the name that `class_view` returns.
    """

    rows: dict[str, dict[str, dict[float | None, Row]]] = field(default_factory=dict)

    def thresholds(self, view: str) -> list[float]:
        """Return the IoU thresholds of the matching; empty if no objects were matched."""
        images = self.rows.get(view, {}).values()
        return sorted({t for image in images for t in image if t is not None})

    def images(self, view: str) -> list[str]:
        """Return the names of the scored images; images without annotated pixels have no score."""
        return [name for name in self._names(view) if not self._is_unannotated(view, name)]

    def unannotated(self, view: str) -> list[str]:
        """Return the names of the images without annotated pixels."""
        return [name for name in self._names(view) if self._is_unannotated(view, name)]

    def _names(self, view: str) -> list[str]:
        return [name for name in self.rows.get(view, {}) if name not in (MEAN, POOLED, "mean")]

    def _is_unannotated(self, view: str, image: str) -> bool:
        return any(row.get("n_images") == 0 for row in self.rows[view][image].values())

    def row(self, view: str, image: str, threshold: float | None) -> Row:
        """Return the scores of an image; the images `MEAN` and `POOLED` are the whole test set.

        Without annotated pixels, there are none.
        """
        row = self.rows.get(view, {}).get(image, {}).get(threshold, {})
        return {} if row.get("n_images") == 0 else row

    def maps(self, view: str, image: str) -> Row:
        """Return the scores of the predicted channels."""
        rows = self.rows.get(view, {})
        of_image = rows.get(image) or (rows.get("mean") if image == MEAN else None) or {}
        first = next(iter(of_image.values()), {})
        return {k: v for k, v in first.items() if v is not None and re.search("_(iou|mae)_", k)}

    def classes(self, view: str) -> list[int]:
        """Return the classes whose instances were matched separately."""
        prefix = class_view(view, "")
        return sorted(int(v.removeprefix(prefix)) for v in self.rows if v.startswith(prefix))


def class_view(view: str, kind: int | str) -> str:
    """Return the name of the view of the instances of a class, in `Scores.rows`."""
    return f"{view} class {kind}"


def read_scores(path: Path) -> Scores:
    """Read ``metrics.csv``; names of images remain text, even if they are numbers.

    Raises
    ------
    UserError
        ``records.invalid_row``: a row has invalid values.
    """
    scores = Scores()
    hint = "test again, for example with TEST.REUSE_PREDICTIONS"
    for row in read_table(path, MetricsRow, hint):
        view = row.view if row.kind is None else class_view(row.view, int(row.kind))
        images = scores.rows.setdefault(view, {})
        images.setdefault(row.image, {})[row.threshold] = dict(row.__pydantic_extra__)
    return scores


def reference_threshold(thresholds: list[float]) -> float | None:
    """Return the IoU threshold by which images are ranked: 0.5, otherwise the middle one."""
    if 0.5 in thresholds:
        return 0.5
    return thresholds[len(thresholds) // 2] if thresholds else None


def rank_images(scores: Scores, view: str) -> list[str]:
    """Return the images of a view, the worst first.

    Images are sorted by F1 at the reference threshold, then by panoptic quality. If no objects were
    matched, they are sorted by the mean IoU of the predicted channels.
    """
    threshold = reference_threshold(scores.thresholds(view))

    def sort_key(image: str) -> tuple[float, float, str]:
        row: Mapping[str, float | None] = scores.row(view, image, threshold)
        if threshold is not None:
            return row.get("f1") or 0.0, row.get("panoptic_quality") or 0.0, image
        ious = [v for k, v in scores.maps(view, image).items() if "_iou_" in k and v is not None]
        return sum(ious) / len(ious) if ious else 0.0, 0.0, image

    return sorted(scores.images(view), key=sort_key)

"""Evaluation: agreement of maps, matching of objects, and associations."""

from __future__ import annotations

from singula.labels.overlap import Overlap, overlap, sum_overlaps
from singula.metrics.associations import color_associations, fp_columns, gt_columns
from singula.metrics.classes import overlap_among, winning_classes
from singula.metrics.iou import Ratio, iou, iou_sums, mae, mae_sums
from singula.metrics.matching import Match, Score, match, match_dataset, match_overlap
from singula.metrics.splits import Splits, splits
from singula.metrics.summary import score_row, score_rows

__all__ = [
    "Match",
    "Overlap",
    "Ratio",
    "Score",
    "Splits",
    "color_associations",
    "fp_columns",
    "gt_columns",
    "iou",
    "iou_sums",
    "mae",
    "mae_sums",
    "match",
    "match_dataset",
    "match_overlap",
    "overlap",
    "overlap_among",
    "score_row",
    "score_rows",
    "splits",
    "sum_overlaps",
    "winning_classes",
]

"""Scores as table rows: one per image and threshold, followed by those of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from singula.metrics.matching import COUNTS, RATES, Score, match_dataset
from singula.util.arguments import instance, items, of_class, text
from singula.util.citation import Citation, Method

F1_METHOD = Method(
    "F1",
    (
        Citation(
            "caicedo2019",
            "Caicedo, J. C.; others",
            "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl",
            "Nature Methods",
            2019,
            "10.1038/s41592-019-0612-7",
        ),
    ),
)
PQ_METHOD = Method(
    "panoptic quality",
    (
        Citation(
            "kirillov2019",
            "Kirillov, A.; He, K.; Girshick, R.; Rother, C.; Dollár, P.",
            "Panoptic segmentation",
            "CVPR",
            2019,
            "10.1109/CVPR.2019.00963",
        ),
    ),
)
COLUMNS = ("image", "threshold", "n_images", *COUNTS, *RATES)
MEAN = "mean over images"
POOLED = "pooled over objects"


def score_row(name: str, score: Score) -> dict[str, object]:
    """Return a table row: the name, then the fields of the score in the order of `COLUMNS`.

    Parameters
    ----------
    name : str
        Image name, or `MEAN` or `POOLED`.
    score : Score
        Scores at one threshold.

    Raises
    ------
    TypeError
        Not a name, or not a score.
    """
    name, score = text(name, "name"), instance(score, "score", Score)
    return {"image": name, **{column: getattr(score, column) for column in COLUMNS[1:]}}


def score_rows(matches: Mapping[str, Sequence[Score]]) -> list[dict[str, object]]:
    """Return the rows of all images, followed by the rows of the data set.

    Parameters
    ----------
    matches : mapping of str to sequence of Score
        Results of `match` by image name.

    Returns
    -------
    list of dict
        One row per image and threshold; then, for each threshold, the mean over images and the
        pooled score. The mean weights all images equally, the pooled score all objects.

    Raises
    ------
    TypeError, UserError
        Not a mapping of scores; see `match_dataset`.
    """
    matches = instance(matches, "matches", Mapping)  # type: ignore[type-abstract]
    items(matches.values(), "matches", partial(items, check=of_class(Score)))
    rows = [score_row(name, score) for name, image in matches.items() for score in image]
    if matches:
        rows += [score_row(MEAN, score) for score in match_dataset(matches.values(), by_image=True)]
        rows += [score_row(POOLED, score) for score in match_dataset(matches.values())]
    return rows

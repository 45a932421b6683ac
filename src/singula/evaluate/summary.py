"""Scores as table rows: one per image and threshold, then the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from singula.arguments import instance, items, of_class, text
from singula.evaluate.matching import COUNTS, RATES, Score, match_dataset

COLUMNS = ("image", "threshold", "n_images", *COUNTS, *RATES)
MEAN = "mean over images"
POOLED = "pooled over objects"


def score_row(name: str, score: Score) -> dict[str, object]:
    """One row: `name`, then the fields of the score in the order of `COLUMNS`.

    Parameters
    ----------
    name : str
    score : Score

    Raises
    ------
    TypeError
        Not a name, or not a score.
    """
    name, score = text(name, "name"), instance(score, "score", Score)
    return {"image": name, **{column: getattr(score, column) for column in COLUMNS[1:]}}


def score_rows(matches: Mapping[str, Sequence[Score]]) -> list[dict[str, object]]:
    """Rows of all images and, below them, of the data set.

    Parameters
    ----------
    matches : mapping of str to sequence of Score
        By image name, what `match` returned.

    Returns
    -------
    list of dict
        Per image and threshold; then per threshold the mean over images and the pooled score.
        Both are given because they answer different questions: the mean treats images alike,
        the pooled score objects.

    Raises
    ------
    TypeError, UserError
        Not a mapping of scores; as `match_dataset`.
    """
    matches = instance(matches, "matches", Mapping)  # type: ignore[type-abstract]
    items(matches.values(), "matches", partial(items, check=of_class(Score)))
    rows = [score_row(name, score) for name, image in matches.items() for score in image]
    if matches:
        rows += [score_row(MEAN, score) for score in match_dataset(matches.values(), by_image=True)]
        rows += [score_row(POOLED, score) for score in match_dataset(matches.values())]
    return rows

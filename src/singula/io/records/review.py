"""State of the review of a label image."""

from __future__ import annotations

from singula.io.records.base import Digest, Positive, StoredRecord


class ReviewRecord(StoredRecord):
    """Content of the JSON file next to a corrected label image.

    Attributes
    ----------
    prediction : str
        File name of the predicted label image.
    digest : str
        Digest of the predicted labels, to detect that they were predicted again.
    accepted, corrected : list of int
        Ids of the objects that the user accepted, and corrected or added.
    """

    prediction: str
    digest: Digest
    accepted: list[Positive]
    corrected: list[Positive]

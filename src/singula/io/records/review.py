"""State of the review of a label image, and scores of a model before fine-tuning."""

from __future__ import annotations

from singula.io.records.base import Count, Digest, Finite, Positive, StoredRecord


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


class BeforeRecord(StoredRecord):
    """Content of ``before.json``: scores of a model before it is fine-tuned with corrections.

    Attributes
    ----------
    model : str
        Name or path of the model.
    images : int
        Number of corrected images that are held out.
    f1 : float
        Mean F1 at IoU 0.5 of these images.
    """

    model: str
    images: Count
    f1: Finite

"""Folder of a prediction that the interface started, with objects to correct."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from singula.io.record_files import write_record
from singula.io.records.results import StartedPrediction
from singula.io.write import write_csv, write_tiff

LABELS = np.zeros((24, 40), np.uint8)
LABELS[2:10, 2:10], LABELS[2:10, 10:18], LABELS[14:22, 4:34] = 1, 2, 3
CONFIDENCE = {1: 0.9, 2: 0.4, 3: 0.6}
SQUARE = [(2.0, 25.0), (2.0, 30.0), (8.0, 30.0), (8.0, 25.0)]


def write_prediction(root: Path, depth: int = 0) -> Path:
    """Write a prediction of the interface: an image, its labels and their table."""
    labels = np.repeat(LABELS[None], depth, axis=0) if depth else LABELS
    axes = "ZYX" if depth else "YX"
    write_tiff(root / "in" / "a.tif", (labels > 0).astype(np.uint8) * 90, axes)
    write_tiff(root / "out" / "a.tif", labels, axes)
    table = {"label": list(CONFIDENCE), "confidence": list(CONFIDENCE.values())}
    write_csv(root / "out" / "a_stats.csv", pd.DataFrame(table))
    record = {"pid": 2**31 - 1, "created": 1, "began": 1, "images": str(root / "in")}
    write_record(root / "out" / "gui_predict.json", StartedPrediction.model_validate(record))
    return root / "out"

"""Write the files of a finished run, and parse a page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from singula.io.run_folder import ResultsTree
from singula.io.write import write_csv, write_json, write_tiff
from singula.metrics import match, score_rows

AXES = {2: "YX", 3: "ZYX"}
THRESHOLDS = (0.3, 0.5, 0.75)


def cells(ndim: int, rows: int = 4) -> np.ndarray:
    """Return a square lattice of cells with gaps and ids 1…rows²; a volume repeats it along z."""
    labels = np.zeros((rows * 12, rows * 12), np.uint16)
    for i in range(rows * rows):
        y, x = 12 * (i // rows) + 2, 12 * (i % rows) + 2
        labels[y : y + 8, x : x + 8] = i + 1
    return labels if ndim == 2 else np.stack([labels * 0, labels, labels, labels * (labels > 3)])


def without(labels: np.ndarray, *ids: int) -> np.ndarray:
    return np.where(np.isin(labels, ids), 0, labels)


@dataclass
class ExampleRun:
    """Writer of the files of a run: one image per entry of `pred`, with a lattice as ground truth.

    Parameters
    ----------
    folder : Path
        Images under ``data``, the run under ``job/results/job_1``.
    pred : dict of str to ndarray
        Predicted labels by image name.
    truth : bool
        Write the ground truth.
    post : dict of str to ndarray
        Labels after post-processing.
    classes : bool
        Class channel: odd ids 1, even ids 2.
    """

    folder: Path
    pred: dict[str, np.ndarray]
    truth: bool = True
    training: bool = True
    post: dict[str, np.ndarray] = field(default_factory=dict)
    classes: bool = False
    job: str = "job_1"
    keys: dict[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> Path:
        return self.folder / "job" / "results" / self.job

    @property
    def ndim(self) -> int:
        return next(iter(self.pred.values())).ndim

    def write(self) -> Path:
        tree = ResultsTree.of_run(self.run)
        rng = np.random.default_rng(0)
        lattice = cells(self.ndim)
        for name, labels in self.pred.items():
            noise = rng.normal(0, 5, lattice.shape)
            image = np.clip(60 + 100 * (lattice > 0) + noise, 0, 255).astype(np.uint8)
            write_tiff(self.folder / "data" / "x" / f"{name}.tif", image, AXES[self.ndim])
            if self.truth:
                self._labels(self.folder / "data" / "y" / f"{name}.tif", lattice)
            self._labels(tree.per_image_instances / f"{name}.tif", labels)
        for name, labels in self.post.items():
            self._labels(tree.per_image_post_processing / f"{name}.tif", labels)
        if self.truth:
            self._metrics(tree, lattice)
        if self.training:
            rows = [
                {"epoch": e, "lr": 0.1, "train_loss": 1 / e, "val_loss": 1.2 / e, "val_iou_B": 0.5}
                for e in range(1, 6)
            ]
            write_csv(tree.train_log, rows)
        write_json(tree.run_json, self._summary())
        return self.run

    def _labels(self, path: Path, labels: np.ndarray) -> None:
        axes = AXES[self.ndim]
        if self.classes:
            labels = np.stack([labels, np.where(labels > 0, 2 - labels % 2, 0)], axis=-1)
            axes += "C"
        write_tiff(path, labels.astype(np.uint16), axes)

    def _metrics(self, tree: ResultsTree, lattice: np.ndarray) -> None:
        rows = []
        for view, found in (("per_image", self.pred), ("per_image_post_processing", self.post)):
            matches = {name: match(lattice, labels, THRESHOLDS) for name, labels in found.items()}
            rows += [
                {"view": view, **row, "per_patch_iou_B": 0.8, "per_image_iou_B": 0.7}
                for row in score_rows(matches)
            ]
            if self.classes and matches:
                own = [
                    {"view": view, "class": kind, **row}
                    for kind in (1, 2)
                    for row in score_rows(
                        {
                            name: match(
                                np.where(lattice % 2 == kind % 2, lattice, 0),
                                np.where(labels % 2 == kind % 2, labels, 0),
                                THRESHOLDS,
                            )
                            for name, labels in found.items()
                        }
                    )
                ]
                rows += own
        write_csv(tree.metrics_csv, rows)

    def _summary(self) -> dict[str, Any]:
        final = {**self.pred, **self.post}
        configuration = {
            "PROBLEM.NDIM": f"{self.ndim}D",
            "PROBLEM.INSTANCE_SEG.DATA_CHANNELS": "BC",
            "PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "auto",
            "DATA.PATCH_SIZE": [16] * self.ndim + [1],
            "DATA.TEST.PATH": str(self.folder / "data" / "x"),
            "DATA.TEST.GT_PATH": str(self.folder / "data" / "y"),
            "DATA.TEST.LOAD_GT": self.truth,
            "DATA.TEST.RESOLUTION": [-1],
            "MODEL.N_CLASSES": 3 if self.classes else 2,
            "TEST.EVALUATE": True,
            "TEST.POST_PROCESSING.CLEAR_BORDER": bool(self.post),
            **self.keys,
        }
        summary: dict[str, Any] = {
            "versions": {"singula": "0.1.0", "python": "3.11"},
            "machine": {"device": "cpu"},
            "seed": 0,
            "precision": "32",
            "seconds": {"start": 1.0, "training": 3700.0, "test": 75.0, "scoring": 2.5},
            "peak_memory_mb": 2048.0,
            "peak_memory_mb_after": {"start": 100.0, "training": 1500.0, "test": 2048.0},
            "configuration": configuration,
            "test": {
                "instances": {n: len(np.unique(v)) - 1 for n, v in final.items()},
                "thresholds": {n: {"TH_CONTOUR": 0.25, "TH_POINTS": 0.5} for n in final},
                "threshold_sources": {"TH_CONTOUR": "tuned", "TH_BINARY_MASK": "user"},
            },
        }
        if self.training:
            summary["training"] = {"epochs": 5, "parameters": 12}
        return summary


def change_summary(run: Path, **changes: Any) -> None:
    """Replace parts of ``run.json``; None removes a part."""
    summary = json.loads((run / "run.json").read_text())
    summary.update(changes)
    kept = {key: value for key, value in summary.items() if value is not None}
    (run / "run.json").write_text(json.dumps(kept))


VOID = {"img", "meta", "br"}


class Page(HTMLParser):
    """Parsed page; an element closed at the wrong position is an error."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._value: str | None = None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attributes}
        assert len(values) == len(attributes), f"an attribute of {tag} stands twice"
        self.elements.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif tag == "data" and "table" in self.open:
            self._value = values["value"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"{tag} is closed but was never opened"
        assert self.open.pop() == tag
        if tag == "data":
            self._value = None
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(text)
        if "caption" in self.open:
            self._caption += text
        elif ("td" in self.open or "th" in self.open) and self._rows:
            # A number is kept with all its digits.
            self._rows[-1][-1] += self._value if self._value is not None else text

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def column(self, caption: str, head: str) -> list[str]:
        heads, *rows = self.tables[caption]
        return [row[heads.index(head)] for row in rows]

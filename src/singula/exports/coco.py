"""Export to COCO JSON: one file for all images, with run-length encoded masks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.io.write import write_text
from singula.labels.index import survey
from singula.runs.instances import Instances, Labels

_OBJECT = "object"


def run_lengths(labels: Labels) -> dict[int, list[int]]:
    """Return the masks of all instances of a plane as run lengths, as defined by COCO.

    Parameters
    ----------
    labels : ndarray of unsigned int
        Label image (y, x).

    Returns
    -------
    dict of int to list of int
        Run lengths of each id, by ascending id. The pixels are read column by column. Lengths of
        runs outside and inside of the instance alternate, starting outside; their sum is the number
        of pixels.

    Notes
    -----
    The pixels are read once; only the runs of equal ids are sorted.
    """
    flat = labels.ravel(order="F")
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    ends, ids = np.append(starts[1:], flat.size), flat[starts]
    order = np.argsort(ids, kind="stable")
    order = order[ids[order] > 0]
    ids, starts, ends = ids[order], starts[order], ends[order]
    bounds = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)]
    result = {}
    for a, b in pairwise(bounds) if len(ids) else ():
        edges = np.stack([starts[a:b], ends[a:b]], axis=-1).ravel()
        counts = np.diff(edges, prepend=0, append=flat.size).tolist()
        result[int(ids[a])] = counts if counts[-1] else counts[:-1]
    return result


def write_coco(items: Iterable[Instances], target: Path) -> None:
    """Write a COCO file with images, annotations and categories.

    ``label`` of an annotation is the id of the instance in the label image. Categories are the
    classes, or a single category ``object``. Instances without a class have category 0,
    ``unclassified``. ``objects`` of an image is `Instances.origin`.

    Parameters
    ----------
    items : iterable of Instances
        Label images (y, x).
    target : Path
        JSON file to write.

    Raises
    ------
    UserError
        ``export.volume``: a label image is a volume; COCO describes only planes. ``export.slide``:
        a label image of a slide.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    kinds: set[int] = set()
    classified = False
    for item in items:
        if item.ndim != 2:
            raise UserError(
                f"{item.name}: got a volume of shape {item.labels.shape}, expected a plane (y, x)",
                "export volumes as ome-zarr, imagej or csv: COCO describes only planes",
                "export.volume",
            )
        if item.slide is not None:
            raise UserError(
                f"{item.name}: got a label image of a slide, expected an image at its full "
                "resolution",
                "export slides as qupath, csv or ome-zarr",
                "export.slide",
            )
        classified = classified or item.classes is not None
        number = len(images) + 1
        height, width = item.labels.shape
        images.append({"id": number, "file_name": item.file_name, "height": height, "width": width})
        if item.origin:
            images[-1]["objects"] = item.origin
        for annotation in _annotations(item):
            kinds.add(annotation["category_id"])
            annotations.append({"id": len(annotations) + 1, "image_id": number, **annotation})
    names = {kind: f"class {kind}" for kind in kinds} | {0: "unclassified"}
    if not classified:
        names[1] = _OBJECT
    content = {
        "info": {"description": "instances found by Singula"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": kind, "name": names[kind]} for kind in sorted(kinds)],
    }
    write_text(target, json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")


def _annotations(item: Instances) -> Iterator[dict[str, Any]]:
    objects = survey(item.labels)
    rows = np.flatnonzero(objects.npixels)
    boxes = {
        int(objects.ids[r]): (objects.low[r], objects.high[r], int(objects.npixels[r]))
        for r in rows
    }
    for label, counts in run_lengths(item.labels).items():
        low, high, npixels = boxes[label]
        (y, x), (height, width) = low.tolist(), (high - low).tolist()
        yield {
            "category_id": 1 if item.classes is None else item.classes.get(label, 0),
            "label": label,
            "segmentation": {"counts": counts, "size": list(item.labels.shape)},
            "area": npixels,
            "bbox": [x, y, width, height],
            "iscrowd": 0,
        }

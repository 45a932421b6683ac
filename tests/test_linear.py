"""Work on the whole image does not depend on the number of instances: counted, not timed.

Two kinds are counted, for 10 and for 1,000 instances in images of one shape: calls of library
functions and compiled kernels that get a large array, and lines of ours that run while a large
array is at hand. A loop of whole-image comparisons over instances shows up in the second.
"""

import sys
from collections import Counter
from pathlib import Path

import cc3d
import edt
import fastremap
import numpy as np
import pytest

import singula
from singula.dataset.checks.correct import correct_labels
from singula.dataset.checks.labels import find_class_issues, find_object_issues
from singula.dataset.facts.objects import survey_objects
from singula.labels import clear_border, remove, remove_close_points, repair_large, voronoi
from singula.measure import Condition, measure_instances, removed_ids, select
from singula.metrics import color_associations, fp_columns, gt_columns, match
from singula.representations.channels import encode
from singula.representations.decoders import decode

HOME = str(Path(singula.__file__).parent)
SHAPES = {2: (300, 320), 3: (40, 60, 60)}
# So many that a stage that measures some instances, such as convex hulls, measures as many of both.
CELLS = {2: {216: (12, 18), 1000: (25, 40)}, 3: {216: (6, 6, 6), 1000: (10, 10, 10)}}
LIBRARY = (
    *((np, name) for name in ("unique", "take", "isin", "where", "bincount", "flatnonzero")),
    *((edt, name) for name in ("edt", "edtsq")),
    (cc3d, "connected_components"),
    *((fastremap, name) for name in ("unique", "renumber")),
)


def boxes(ndim, count):
    """Return boxes in a grid; boxes of a row touch each other."""
    labels = np.zeros(SHAPES[ndim], np.uint16)
    cells = CELLS[ndim][count]
    sizes = [whole // number for whole, number in zip(labels.shape, cells, strict=True)]
    gaps = [1] * (ndim - 1) + [0]
    for label, cell in enumerate(np.ndindex(*cells), 1):
        where = zip(cell, sizes, gaps, strict=True)
        labels[tuple(slice(at * size, (at + 1) * size - gap) for at, size, gap in where)] = label
    return labels


def maps_of(labels):
    return {code: values.astype(np.float32) for code, values in encode(labels, "BC").items()}


def match_with_tables(labels):
    found = match(labels, np.roll(labels, 1, -1), (0.3, 0.5, 0.75))
    return [(gt_columns(each), fp_columns(each)) for each in found]


def color(labels):
    moved = np.roll(labels, 1, -1)
    return color_associations(labels, moved, match(labels, moved, (0.5,))[0])


def remove_by_properties(labels):
    condition = Condition("npixels", "gt", float(np.median(np.bincount(labels.ravel())[1:])) - 1)
    return remove(labels, removed_ids(select(measure_instances(labels), [[condition]])))


def inspect_labels(labels):
    seen = survey_objects(labels)
    classes = (labels % 3).astype(np.uint8)
    found = find_class_issues(labels, classes, seen, 3)
    return find_object_issues(seen, 9, (64,) * labels.ndim), found


STAGES = {
    **{f"encode {c}": lambda labels, c=c: encode(labels, c) for c in ("BCM", "BCD", "Dv2", "BP")},
    "decode": lambda labels: decode(maps_of(labels), "BC"),
    "match": match_with_tables,
    "color": color,
    "measure": singula.measure,
    "remove by properties": remove_by_properties,
    "voronoi": lambda labels: voronoi(labels, np.ones(labels.shape, bool)),
    "repair": lambda labels: repair_large(labels, 20),
    "border": clear_border,
    "close points": lambda labels: remove_close_points(labels, 4),
    "inspect": inspect_labels,
    "correct": lambda labels: correct_labels(labels[..., None], 9),
}


class Counts:
    """Counter of operations on arrays of at least half the size of the image."""

    def __init__(self, monkeypatch, pixels):
        self.pixels = pixels
        self.calls, self.lines = Counter(), Counter()
        for module, name in LIBRARY:
            monkeypatch.setattr(module, name, self.counted(name, getattr(module, name)))
        for name, module in list(sys.modules.items()):
            if name.startswith("singula.") and hasattr(module, "compiled"):
                monkeypatch.setattr(module, "compiled", self.kernels(module.compiled))

    def large(self, value):
        return isinstance(value, np.ndarray) and 2 * value.size >= self.pixels

    def counted(self, name, function):
        def call(*args, **kwargs):
            self.calls[name] += any(map(self.large, [*args, *kwargs.values()]))
            return function(*args, **kwargs)

        return call

    def kernels(self, compiled):
        return lambda function: self.counted(function.__name__, compiled(function))

    def at_hand(self, value):
        inside = value if isinstance(value, dict) else getattr(value, "__dict__", {})
        return self.large(value) or any(map(self.large, inside.values()))

    def trace(self, frame, event, arg):
        file = frame.f_code.co_filename
        counter = frame.f_code.co_qualname.startswith("Counts.")  # counts calls already
        if counter or (not file.startswith(HOME) and file != __file__):
            return None
        if event == "line" and any(map(self.at_hand, list(frame.f_locals.values()))):
            self.lines[f"{Path(file).name}:{frame.f_lineno}"] += 1
        return self.trace

    def of(self, stage, labels):
        stage(labels)  # compiles
        self.calls.clear()
        self.lines.clear()
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            stage(labels)
        finally:
            sys.settrace(before)
        return Counter(self.calls), Counter(self.lines)


def growth(few, many):
    """Return operations that occur more often with many instances, except single new branches."""
    return {what: (few[what], n) for what, n in many.items() if n > max(few[what], 1)}


def compare(monkeypatch, ndim, stage):
    few, many = (boxes(ndim, count) for count in (216, 1000))
    counts = Counts(monkeypatch, few.size)
    calls, lines = zip(counts.of(stage, few), counts.of(stage, many), strict=True)
    assert lines[0].total() > 0
    return growth(*calls), growth(*lines)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_work_on_the_image_does_not_grow_with_instances(monkeypatch, ndim, stage):
    assert compare(monkeypatch, ndim, stage) == ({}, {})


def test_matching_sorts_pairs_instead_of_pixels(monkeypatch):
    columns = np.broadcast_to(np.arange(600) % 2 + 1, (500, 600)).astype(np.uint16)
    sizes = []
    for name in ("argsort", "sort", "lexsort", "unique"):
        function = getattr(np, name)

        def sized(values, *args, function=function, **kwargs):
            sizes.append(np.size(values))
            return function(values, *args, **kwargs)

        monkeypatch.setattr(np, name, sized)
    (found,) = match(columns, np.roll(columns, 1, 0), (0.5,))
    assert found.tp == 2
    assert 0 < max(sizes) < 10


def test_a_loop_over_instances_is_detected(monkeypatch):
    def slow(labels):
        sizes = []
        for label in range(1, int(labels.max()) + 1):
            sizes.append(np.count_nonzero(labels == label))
        return np.unique(labels), sizes

    calls, lines = compare(monkeypatch, 2, slow)
    assert calls == {}
    assert max(many for _, many in lines.values()) >= 1000

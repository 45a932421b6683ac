"""Post-processing of the instances of an image in blocks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.blocks.runner import Work
from singula.io.records.blocks import LayerNote
from singula.labels.border import Ids
from singula.labels.holes import Gaps, enclosed
from singula.labels.repair import Contacts, plan_repair
from singula.measure import (
    Intensities,
    Moments,
    Shapes,
    axis_ratio,
    intensity_columns,
    measurements,
)
from singula.pipeline.blocks import tasks
from singula.pipeline.blocks.context import FLOODED, GROWN, REPAIRED
from singula.pipeline.postprocess import apply_conditions
from singula.util.format import counted

if TYPE_CHECKING:
    import pandas as pd

    from singula.measure.select import Condition
    from singula.pipeline.blocks.image import BlockImage

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Processing:
    """What the steps of `process` changed.

    Parameters
    ----------
    phase : str
        Phase with the measurements of the instances after repair and growth.
    removed : ndarray of int, optional
        Ids of the instances that were removed at the border; None without this step.
    """

    phase: str = "instances"
    removed: Array | None = None


def process(image: BlockImage) -> Processing:
    """Repair, grow and clear the border of the decoded instances, in this order.

    The result is given by the note ``processed``, with the name of a label image in the job folder
    and of the table of the new labels.
    """
    post, phase = image.context.post, "instances"
    image.job.write_note("processed", LayerNote(layer=FLOODED, table="flood/numbers"))
    changed = False
    if post.repair_size is not None:
        changed |= _repair(image, post.repair_size)
    if post.voronoi_threshold is not None:
        if image.n_decoded:
            _report_uncertain(image, _change_pixels(image, "grow", tasks.grow, GROWN))
        changed = True
    if changed:
        phase = "changed"
        image.run_phase(phase, tasks.count_changed)
    removed = None
    if post.clear_border:
        removed = Ids.merge(tasks.unpack(Ids, "border", r) for r in image.records(phase)).ids
        remove_ids(image, removed)
    return Processing(phase, removed)


def _repair(image: BlockImage, size: int) -> bool:
    """Merge large instances with their main neighbors and fill their holes.

    Return True if there are large instances.
    """
    job = image.job
    measurements = (tasks.unpack(Shapes, "shapes", r) for r in image.records("instances"))
    merged = Shapes.merge(measurements)
    large = merged.ids[merged.npixels > size]
    if not len(large):
        return False
    job.save_table("repair", "large", large)
    image.run_phase("contacts", tasks.find_contacts)
    parts = (tasks.unpack(Contacts, "contacts", r) for r in image.records("contacts"))
    plan = plan_repair(merged, Contacts.merge(parts), size)
    numbers = np.array(job.open_table("flood", "numbers"))
    new_labels = np.arange(int(numbers.max(initial=0)) + 1, dtype=numbers.dtype)
    new_labels[plan.ids] = plan.targets
    job.save_table("repair", "numbers", new_labels[numbers])
    job.write_note("processed", LayerNote(layer=FLOODED, table="repair/numbers"))
    image.run_phase("gaps", tasks.find_gaps)
    gaps = Gaps.merge(tasks.unpack(Gaps, "gaps", r) for r in image.records("gaps"))
    holes = enclosed(gaps, plan.repaired)
    job.save_table("gaps", "pieces", holes.pieces)
    job.save_table("gaps", "ids", holes.ids)
    _change_pixels(image, "fill", tasks.fill_gaps, REPAIRED)
    return True


def _change_pixels(image: BlockImage, phase: str, do: Work, layer: str) -> int:
    """Run a step that writes a label image; return the number of uncertain pixels."""
    if not image.job.done(phase):
        kind = image.job.open_table("flood", "numbers").dtype
        image.create(image.job.path / layer, image.spec.shape, kind, kind="labels")
    image.run_phase(phase, do)
    image.job.write_note("processed", LayerNote(layer=layer, table=""))
    return sum(int(record.get("unproved", 0)) for record in image.records(phase))


def _report_uncertain(image: BlockImage, n_uncertain: int) -> None:
    if n_uncertain:
        _log.warning(
            f"  {image.spec.name}: the instance of {counted(n_uncertain, 'pixel')} is uncertain: "
            "an instance outside of the largest halo that fits into memory may be closer; raise "
            "SYSTEM.MAX_MEMORY to decide it"
        )


def remove_ids(image: BlockImage, removed: Array) -> None:
    """Remove instances from the image of the note ``processed``, by their ids."""
    note = image.job.read_note("processed", LayerNote)
    if note.table:
        phase, _, name = note.table.partition("/")
        numbers = np.array(image.job.open_table(phase, name))
    else:
        decoded = image.job.open_table("flood", "numbers")
        numbers = np.arange(int(decoded.max(initial=0)) + 1, dtype=decoded.dtype)
    numbers[np.isin(numbers, removed)] = 0
    image.job.save_table("processed", "numbers", numbers)
    image.job.write_note("processed", LayerNote(layer=note.layer, table="processed/numbers"))


class Measured:
    """Measurements of the instances of a phase, as tables of consecutive ids.

    Parameters
    ----------
    image : BlockImage
        Image with the records of the phase.
    phase : str
        Name of the phase.
    """

    def __init__(self, image: BlockImage, phase: str) -> None:
        self._parts = image.table_parts(Shapes, "shapes", phase)
        self._spacing = image.spec.spacing

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return (measurements(part, spacing=self._spacing) for part in self._parts)


@dataclass(frozen=True)
class Selected:
    """Results of `apply_conditions`, in the parts of the measurements.

    Parameters
    ----------
    image : BlockImage
        Image with decoded and, if configured, processed instances.
    processing : Processing
        Result of `process`.
    conditions : tuple of tuple of Condition
        Lists of conditions that remove instances.
    """

    image: BlockImage
    processing: Processing
    conditions: tuple[tuple[Condition, ...], ...]

    def __iter__(self) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, Array]]:
        phase, removed = self.processing.phase, self.processing.removed
        decoded = Measured(self.image, "instances")
        changed = repeat(None) if phase == "instances" else Measured(self.image, phase)
        for before, after in zip(decoded, changed, strict=False):
            kept = after
            if removed is not None:
                present = before if after is None else after
                kept = present[~present["label"].isin(removed)].reset_index(drop=True)
            yield apply_conditions(before, kept, self.conditions)


def with_additional_columns(
    image: BlockImage, tables: Iterable[pd.DataFrame], phase: str
) -> Iterator[pd.DataFrame]:
    """Append the columns of `singula.measure.additional_columns` from the records of a phase.

    Parameters
    ----------
    image : BlockImage
        Image with the records of the phase.
    tables : iterable of DataFrame
        Measurements in the parts of `BlockImage.table_parts`.
    phase : str
        Name of the phase.
    """
    all_moments = image.table_parts(Moments, "moments", phase)
    all_intensities = image.table_parts(Intensities, "intensities", phase)
    for table, moments, values in zip(tables, all_moments, all_intensities, strict=True):
        columns = {"axis_ratio": axis_ratio(moments, spacing=image.spec.spacing)}
        columns |= intensity_columns(values)
        rows = np.searchsorted(moments.ids, table["label"].to_numpy())
        yield table.assign(**{name: column[rows] for name, column in columns.items()})

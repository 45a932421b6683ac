"""Post-processing of the instances of an image in blocks."""

from __future__ import annotations

import logging
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
from singula.util.format import counted

if TYPE_CHECKING:
    import pandas as pd

    from singula.pipeline.blocks.image import BlockImage

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]


def process(image: BlockImage, decoded: pd.DataFrame) -> pd.DataFrame | None:
    """Repair, grow and clear the border, in this order.

    The result is given by the note ``processed``, with the name of a label image in the job folder
    and of the table of the new labels.

    Parameters
    ----------
    image : BlockImage
        Image with decoded instances.
    decoded : DataFrame
        Measurements of the decoded instances.

    Returns
    -------
    DataFrame, optional
        Measurements after these steps; None if no step changed an instance.
    """
    post, phase = image.context.post, "instances"
    image.job.write_note("processed", LayerNote(layer=FLOODED, table="flood/numbers"))
    changed = False
    if post.repair_size is not None:
        changed |= _repair(image, post.repair_size)
    if post.voronoi_threshold is not None:
        if len(decoded):
            _report_uncertain(image, _change_pixels(image, "grow", tasks.grow, GROWN))
        changed = True
    if changed:
        phase = "changed"
        image.run_phase(phase, tasks.count_changed)
    after = measured(image, phase) if changed else None
    if post.clear_border:
        removed = Ids.merge(tasks.unpack(Ids, "border", r) for r in image.records(phase)).ids
        after = decoded if after is None else after
        after = after[~after["label"].isin(removed)].reset_index(drop=True)
        remove_ids(image, removed)
    return after


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


def measured(image: BlockImage, phase: str) -> pd.DataFrame:
    """Return the table of measurements from the records of a phase."""
    parts = (tasks.unpack(Shapes, "shapes", record) for record in image.records(phase))
    return measurements(Shapes.merge(parts), spacing=image.spec.spacing)


def with_additional_columns(image: BlockImage, table: pd.DataFrame, phase: str) -> pd.DataFrame:
    """Append the columns of `singula.measure.additional_columns` from the records of a phase."""
    records = image.records
    moments = Moments.merge(tasks.unpack(Moments, "moments", r) for r in records(phase))
    parts = (tasks.unpack(Intensities, "intensities", r) for r in records(phase))
    columns = {"axis_ratio": axis_ratio(moments, spacing=image.spec.spacing)}
    columns |= intensity_columns(Intensities.merge(parts))
    rows = np.searchsorted(moments.ids, table["label"].to_numpy())
    return table.assign(**{name: column[rows] for name, column in columns.items()})

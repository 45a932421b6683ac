"""Steps after decoding, on an image in blocks: they change pixels, or only numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.io.records import LayerNote
from singula.measure import Shapes, measurements
from singula.postprocess.border import Ids
from singula.postprocess.holes import Gaps, enclosed
from singula.postprocess.repair import Contacts, plan_repair
from singula.scaleout.runner import Work
from singula.stages.chunks import work
from singula.stages.chunks.bench import FLOODED, GROWN, REPAIRED
from singula.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from singula.stages.chunks.image import ChunkImage

Array = npt.NDArray[Any]


def process(image: ChunkImage, decoded: pd.DataFrame) -> pd.DataFrame | None:
    """Repair, grow and clear the border, in this order.

    What the image is afterwards is in the note ``processed``: one of the job's layers, and the
    table of the new numbers of its instances.

    Parameters
    ----------
    image : ChunkImage
    decoded : DataFrame
        Measurements of the decoded instances.

    Returns
    -------
    DataFrame, optional
        Measurements afterwards; None where no step changed anything.
    """
    post, phase = image.bench.post, "instances"
    image.job.write_note("processed", LayerNote(layer=FLOODED, table="flood/numbers"))
    changed = False
    if post.repair_size is not None:
        changed |= _repair(image, post.repair_size)
    if post.voronoi_threshold is not None:
        if len(decoded):  # nothing can grow where nothing is
            _tell(image, _change_pixels(image, "grow", work.grow, GROWN))
        changed = True
    if changed:
        phase = "changed"
        image.run_phase(phase, work.count_changed)
    after = measured(image, phase) if changed else None
    if post.clear_border:
        gone = Ids.merge([work.unpack(Ids, "border", r) for r in image.records(phase)]).ids
        after = decoded if after is None else after
        after = after[~after["label"].isin(gone)].reset_index(drop=True)
        remove_ids(image, gone)
    return after


def _repair(image: ChunkImage, size: int) -> bool:
    """Merge large instances with their main neighbours and fill their holes, if there are any."""
    job = image.job
    found = Shapes.merge([work.unpack(Shapes, "shapes", r) for r in image.records("instances")])
    large = found.ids[found.npixels > size]
    if not len(large):
        return False
    job.save_table("repair", "large", large)
    image.run_phase("contacts", work.find_contacts)
    met = Contacts.merge([work.unpack(Contacts, "contacts", r) for r in image.records("contacts")])
    plan = plan_repair(found, met, size)
    numbers = np.array(job.open_table("flood", "numbers"))
    becomes = np.arange(int(numbers.max(initial=0)) + 1, dtype=numbers.dtype)
    becomes[plan.ids] = plan.targets
    job.save_table("repair", "numbers", becomes[numbers])
    job.write_note("processed", LayerNote(layer=FLOODED, table="repair/numbers"))
    image.run_phase("gaps", work.find_gaps)
    gaps = Gaps.merge([work.unpack(Gaps, "gaps", r) for r in image.records("gaps")])
    holes = enclosed(gaps, plan.repaired)
    job.save_table("gaps", "pieces", holes.pieces)
    job.save_table("gaps", "ids", holes.ids)
    _change_pixels(image, "fill", work.fill_gaps, REPAIRED)
    return True


def _change_pixels(image: ChunkImage, phase: str, do: Work, layer: str) -> int:
    """A step that writes a layer of its own; gives how many pixels are not certain."""
    if not image.job.done(phase):
        kind = image.job.open_table("flood", "numbers").dtype
        image.create(image.job.path / layer, image.plan.shape, kind, kind="labels")
    image.run_phase(phase, do)
    image.job.write_note("processed", LayerNote(layer=layer, table=""))
    return sum(int(record.get("unproved", 0)) for record in image.records(phase))


def _tell(image: ChunkImage, n_uncertain: int) -> None:
    if n_uncertain:
        image.notify(
            f"  {image.plan.name}: {counted(n_uncertain, 'pixel')} may be nearer to an instance "
            "that lies "
            "farther than memory allows to look; give more with SYSTEM.MAX_MEMORY"
        )


def remove_ids(image: ChunkImage, gone: Array) -> None:
    """Take instances out of the image that the note ``processed`` names."""
    note = image.job.read_note("processed", LayerNote)
    if note.table:
        phase, _, name = note.table.partition("/")
        numbers = np.array(image.job.open_table(phase, name))
    else:
        decoded = image.job.open_table("flood", "numbers")
        numbers = np.arange(int(decoded.max(initial=0)) + 1, dtype=decoded.dtype)
    numbers[np.isin(numbers, gone)] = 0
    image.job.save_table("processed", "numbers", numbers)
    image.job.write_note("processed", LayerNote(layer=note.layer, table="processed/numbers"))


def measured(image: ChunkImage, phase: str) -> pd.DataFrame:
    """The table of measurements from the records of a phase."""
    parts = [work.unpack(Shapes, "shapes", record) for record in image.records(phase)]
    return measurements(Shapes.merge(parts), spacing=image.plan.spacing)

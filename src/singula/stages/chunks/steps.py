"""Steps after decoding, on an image in blocks: they change pixels, or only numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.measure import Shapes, measurements
from singula.postprocess.border import Ids
from singula.scaleout.runner import Work
from singula.stages.chunks import work
from singula.stages.chunks.bench import FLOODED, GROWN

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
    post, phase, after = image.bench.post, "instances", None
    image.job.write_note("processed", {"layer": FLOODED, "table": "flood/numbers"})
    if post.voronoi_threshold is not None:
        kind = image.job.open_table("flood", "numbers").dtype
        _change_pixels(image, "grow", work.grow, GROWN, kind)
        phase, after = "changed", None
        image.run_phase(phase, work.count_changed)
        after = measured(image, phase)
    if post.clear_border:
        records = (work.unpack(Ids, "border", r) for r in image.records(phase))
        gone = Ids.merge(list(records)).ids
        after = decoded if after is None else after
        after = after[~after["label"].isin(gone)].reset_index(drop=True)
        remove_ids(image, gone)
    return after


def _change_pixels(image: ChunkImage, phase: str, do: Work, layer: str, kind: Any) -> None:
    """A step that writes a layer of its own."""
    if not image.job.done(phase):
        image.create(image.job.path / layer, image.plan.shape, kind, kind="labels")
    image.run_phase(phase, do)
    unproved = sum(int(record["unproved"]) for record in image.records(phase))
    if unproved:
        image.notify(
            f"  {image.plan.name}: {unproved} pixels may be nearer to an instance that lies "
            "farther than memory allows to look; give more with SYSTEM.MAX_MEMORY"
        )
    image.job.write_note("processed", {"layer": layer, "table": ""})


def remove_ids(image: ChunkImage, gone: Array) -> None:
    """Take instances out of the image that the note ``processed`` names."""
    note = image.job.read_note("processed") or {}
    if note["table"]:
        phase, _, name = note["table"].partition("/")
        numbers = np.array(image.job.open_table(phase, name))
    else:
        decoded = image.job.open_table("flood", "numbers")
        numbers = np.arange(int(decoded.max(initial=0)) + 1, dtype=decoded.dtype)
    numbers[np.isin(numbers, gone)] = 0
    image.job.save_table("processed", "numbers", numbers)
    image.job.write_note("processed", {**note, "table": "processed/numbers"})


def measured(image: ChunkImage, phase: str) -> pd.DataFrame:
    """The table of measurements from the records of a phase."""
    parts = [work.unpack(Shapes, "shapes", record) for record in image.records(phase)]
    return measurements(Shapes.merge(parts), spacing=image.plan.spacing)

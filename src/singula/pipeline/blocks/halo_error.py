"""Error of the maps of blocks that are predicted with a reduced halo."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singula.io.records.blocks import HaloErrorNote
from singula.pipeline.blocks.context import BlockContext, block_context
from singula.pipeline.blocks.tasks import Record
from singula.representations.channels import CHANNELS
from singula.util.boxes import Box, evenly_spaced
from singula.util.format import counted

if TYPE_CHECKING:
    from singula.pipeline.blocks.image import BlockImage

_log = logging.getLogger(__name__)
HALO_ERROR = "halo-error"
"""Name of the phase, and of the note with its result."""
_SAMPLES, _SIDE = 3, 8  # corners of blocks, and side in pixels of the box around each


def report_halo_error(image: BlockImage) -> None:
    """Measure, store and log the error of the reduced halo at corners of blocks.

    Pixels at a corner have the least context, because the halo of their block ends near them along
    all axes. The corners are those of the blocks with most foreground.

    Parameters
    ----------
    image : BlockImage
        Image with predicted maps.
    """
    job, note = image.job, image.job.find_note(HALO_ERROR, HaloErrorNote)
    if note is None:
        blocks = _sample_blocks(image)
        job.save_table(HALO_ERROR, "blocks", np.array(blocks, np.int64))
        image.run_phase(HALO_ERROR, measure_halo_error, len(blocks))
        records = [job.load(HALO_ERROR, number) for number in range(len(blocks))]
        measured = [record for record in records if record["probabilities"]]
        note = HaloErrorNote(
            corners=len(measured),
            difference=max((float(r["difference"]) for r in measured), default=0.0),
            changed=sum(int(r["changed"]) for r in measured),
            probabilities=sum(int(r["probabilities"]) for r in measured),
        )
        job.write_note(HALO_ERROR, note)
    if note.corners:
        _log.warning(
            f"  {image.spec.name}: at {counted(note.corners, 'corner')} of blocks, probabilities "
            f"differ by up to {note.difference:.2g} from those with the widest halo that fits into "
            f"memory; {note.changed} of {note.probabilities} are on the other side of 0.5"
        )


def _sample_blocks(image: BlockImage) -> list[int]:
    """Return the blocks with most foreground; without histograms, blocks at regular distances."""
    foreground = []
    for record in image.records("maps"):
        counts = [values for name, values in record.items() if name.startswith("levels.")]
        foreground.append(sum(int(values[len(values) // 2 :].sum()) for values in counts))
    if not any(foreground):
        return list(evenly_spaced(len(foreground), _SAMPLES))
    order = np.argsort(foreground, kind="stable")[::-1]
    return [int(number) for number in order[:_SAMPLES]]


def measure_halo_error(folder: Path, number: int) -> Record:
    """Compare stored maps at a corner of a block with a prediction with a wider halo."""
    from singula.pipeline.blocks.network import with_wider_halo

    context = block_context(folder)
    core = _corner(context, int(context.job.open_table(HALO_ERROR, "blocks")[number]))
    predictor, difference, changed, count = with_wider_halo(context, core), 0.0, 0, 0
    if predictor is not None:
        stored, maps = context.maps.read(core), predictor(core)
        for index, name in enumerate(context.names):
            if name in CHANNELS and CHANNELS[name].kind == "binary":
                in_blocks, expected = stored[..., index].astype(np.float32), maps[name]
                difference = max(difference, float(np.abs(in_blocks - expected).max()))
                changed += int(np.count_nonzero((in_blocks > 0.5) != (expected > 0.5)))
                count += in_blocks.size
    return {
        "difference": np.array(difference),
        "changed": np.array(changed),
        "probabilities": np.array(count),
    }


def _corner(context: BlockContext, number: int) -> Box:
    """Return a box around a corner of a block, or its center along axes without other blocks."""
    box = []
    for part, size in zip(context.box(number), context.shape, strict=True):
        inner = part.stop if part.stop < size else part.start
        at = inner if 0 < inner < size else (part.start + part.stop) // 2
        box.append(slice(max(0, at - _SIDE // 2), min(size, at + _SIDE // 2)))
    return tuple(box)

"""Everything that is opened to work on the blocks of an image, once in each process."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.boxes import Box, grown, local
from singula.config import Config
from singula.instances import DECODERS
from singula.instances.blockwise import Recipe
from singula.io.image import ArrayPlace
from singula.io.lazy import LazyImage
from singula.io.records import ScalingNote, ThresholdsNote
from singula.io.volume import BlockArray
from singula.postprocess import Block
from singula.postprocess.filters import median_halo
from singula.scaleout import JobFolder
from singula.stages import settings as from_config
from singula.stages.chunks.plan import Plan
from singula.stages.post import PostSettings, filter_maps, post_settings
from singula.stages.reading import mask_place, reader_for

if TYPE_CHECKING:
    from singula.data.normalize import Scaling
    from singula.stages.chunks.network import SparingPredictor

Array = npt.NDArray[Any]
Maps = dict[str, Array]
LEVELS, RECOUNT = "levels", "recount"
"""A phase, and the note that what was counted when maps were predicted no longer holds."""
SEEDS, FLOODED = "seeds.zarr", "flooded.zarr"
REPAIRED, GROWN = "repaired.zarr", "grown.zarr"


class Bench:
    """The files of one image, opened when they are first wanted.

    Parameters
    ----------
    job : JobFolder
        With a plan in it.
    plan : Plan
    """

    def __init__(self, job: JobFolder, plan: Plan) -> None:
        self.job, self.plan, self.grid = job, plan, plan.grid
        self.shape = plan.shape
        self._layers: dict[str, BlockArray] = {}

    @cached_property
    def config(self) -> Config:
        """The whole configuration."""
        from singula.config.load import config_from_text

        return config_from_text(self.plan.config, f"{self.job.path}: the stored configuration")

    @cached_property
    def post(self) -> PostSettings:
        """Steps before and after decoding."""
        return post_settings(self.config)

    @cached_property
    def image(self) -> LazyImage:
        """The image."""
        place = self.plan.image_place
        return reader_for(self.config, "TEST").open_image(
            Path(self.plan.image), None if place is None else ArrayPlace(*place)
        )

    @cached_property
    def truth(self) -> LazyImage | None:
        """Its labels, if it has any."""
        if not self.plan.label:
            return None
        place = self.plan.label_place
        return reader_for(self.config, "TEST").open_labels(
            Path(self.plan.label), None if place is None else ArrayPlace(*place)
        )

    @cached_property
    def mask(self) -> LazyImage | None:
        """What is looked at, if that is not everything."""
        from singula.io.lazy import open_image

        if not self.plan.mask:
            return None
        place = mask_place(self.config, Path(self.plan.mask), Path(self.plan.image))
        return open_image(self.plan.mask, len(self.shape), 1, arrays=place)

    @cached_property
    def maps(self) -> BlockArray:
        """Predicted channels, and the class as the last."""
        return BlockArray.open(self.plan.maps)

    def layer(self, name: str) -> BlockArray:
        """One of the job's own images."""
        return self.output(self.job.path / name)

    def output(self, path: Path | str) -> BlockArray:
        """An image that is written block by block."""
        key = str(path)
        if key not in self._layers:
            self._layers[key] = BlockArray.open(path)
        return self._layers[key]

    @property
    def growth_threshold(self) -> float:
        """Threshold of the foreground in which instances grow until they touch."""
        area = self.job.read_note("thresholds", ThresholdsNote).area
        if area is None:
            raise RuntimeError("the growth threshold is not known")
        return area

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Maps by name, in the order in which they are stored."""
        names = from_config.channel_names(self.config)
        return (*names, "class") if from_config.n_classes(self.config) else names

    @cached_property
    def halo_of_filters(self) -> tuple[int, ...]:
        """Pixels per axis that the filters on maps look at around a box."""
        halo = median_halo(self.post.z_size, self.post.yz_size)
        return halo if len(self.shape) == 3 else (0, 0)

    @property
    def filtered(self) -> bool:
        """Whether filters look beyond a block."""
        return any(self.halo_of_filters)

    @property
    def counted_in(self) -> str:
        """Name of the phase whose records hold the histograms of the maps."""
        again = self.filtered or self.job.has_note(RECOUNT)
        return LEVELS if again else "maps"

    def box(self, number: int) -> Box:
        """The pixels of a block."""
        return self.grid.box(number)

    def around(self, number: int, halo: int) -> tuple[Box, Block]:
        """A block with so many pixels around it, and where its own lie in there."""
        core = self.box(number)
        outer = grown(core, (halo,) * len(self.shape), self.shape)
        return outer, Block(local(core, outer), tuple(p.start for p in outer), self.shape)

    def read_maps(self, box: Box) -> Maps:
        """Maps of a box as decoding gets them: filtered, and within the mask."""
        outer = grown(box, self.halo_of_filters, self.shape)
        stored = self.maps.read(outer)
        half = from_config.in_half(self.config, self.shape)
        maps: Maps = {}
        for index, name in enumerate(self.names):
            kind: type[np.generic] = np.float32
            if name == "class":
                kind = np.uint16
            elif half and from_config.outputs(self.config)[index].activation == "sigmoid":
                kind = np.float16
            maps[name] = np.ascontiguousarray(stored[..., index], dtype=kind)
        return self.prepared(maps, outer, box)

    def prepared(self, maps: Mapping[str, Array], outer: Box, box: Box) -> Maps:
        """Maps of `outer` through the filters and the mask, cut to `box`."""
        mask = None if self.mask is None else self.mask.read(outer)[..., 0] > 0
        inner = local(box, outer)
        found = filter_maps(maps, self.post, mask)
        return {name: np.ascontiguousarray(values[inner]) for name, values in found.items()}

    def write_maps(self, box: Box, maps: Mapping[str, Array]) -> None:
        """Store predicted maps."""
        stored = [maps[name].astype(self.maps.dtype, copy=False) for name in self.names]
        self.maps.write(box, np.moveaxis(np.stack(stored), 0, -1))

    @cached_property
    def recipe(self) -> Recipe:
        """How maps become instances, with the thresholds that were settled on."""
        note = self.job.read_note("thresholds", ThresholdsNote)
        spacing = from_config.spacing(self.config, "TEST", len(self.shape))
        return Recipe(
            DECODERS[self.config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS],
            dict(note.values),
            from_config.decode_settings(self.config),
            spacing,
        )

    def read_seeds(self, box: Box) -> Array:
        """Seeds of a box by the numbers that they have in the whole image."""
        ids, offsets = self.seed_ids
        result = np.zeros([part.stop - part.start for part in box], ids.dtype)
        for number in self.grid.overlapping(box):
            first, last = int(offsets[number]), int(offsets[number + 1])
            if first == last:
                continue
            own = self.box(number)
            shared = tuple(
                slice(max(a.start, b.start), min(a.stop, b.stop))
                for a, b in zip(own, box, strict=True)
            )
            table = np.concatenate([np.zeros(1, ids.dtype), ids[first:last]])
            result[local(shared, box)] = table[self.layer(SEEDS).read(shared)]
        return result

    @cached_property
    def seed_ids(self) -> tuple[Array, Array]:
        """Id of each seed of each block, and where those of a block begin."""
        return self.job.open_table("seeds", "ids"), self.job.open_table("seeds", "offsets")

    def read_layer(self, layer: str, table: str, box: Box) -> Array:
        """Instances of a box: what a layer has there, by the numbers of a table.

        Parameters
        ----------
        layer : str
            Name of one of the job's own images.
        table : str
            ``PHASE/NAME`` of the new number of each of its numbers; empty to keep them.
        box : Box
        """
        values = self.layer(layer).read(box)
        if not table:
            return values
        phase, _, name = table.partition("/")
        found: Array = self.job.open_table(phase, name)[values]
        return found

    @cached_property
    def blocks(self) -> SparingPredictor:
        """The network, ready for any block."""
        from singula.stages.chunks.network import block_predictor

        return block_predictor(self)

    @cached_property
    def scaling(self) -> Scaling | None:
        """How the image is normalised, where that was counted over all blocks."""
        from singula.data.normalize import Scaling

        note = self.job.find_note("scaling", ScalingNote)
        if note is None:
            return None
        names = ("low", "high", "shift", "scale")
        return Scaling(**{name: np.array(getattr(note, name), np.float64) for name in names})


def bench(folder: Path) -> Bench:
    """What is opened in this process for a job."""
    job = JobFolder(folder)
    plan = Plan.load(job)
    if plan is None:
        raise RuntimeError(f"{folder} has no plan")
    return _opened(os.getpid(), Path(folder), plan, _stage(job))


def _stage(job: JobFolder) -> tuple[int, ...]:
    """Changes as soon as something is settled that later phases build on."""
    names = ("thresholds.json", "scaling.json", "seeds/ids.npy")
    paths = [job.path / name for name in names]
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


@functools.lru_cache(maxsize=1)
def _opened(process: int, folder: Path, plan: Plan, stage: tuple[int, ...]) -> Bench:
    return Bench(JobFolder(folder), plan)

"""Files, settings and network for the blocks of an image, opened once in each process."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.blocks import JobFolder
from singula.config import Config
from singula.io.block_array import BlockArray
from singula.io.image import ArrayPlace
from singula.io.lazy import LazyImage
from singula.io.lazy_array import LazyArray, iter_blocks
from singula.io.records.blocks import ScalingNote, ThresholdsNote
from singula.labels import Block
from singula.pipeline import from_config
from singula.pipeline.blocks.job_spec import JobSpec
from singula.pipeline.map_cache import map_dtypes
from singula.pipeline.postprocess import PostSettings, filter_maps, post_settings
from singula.pipeline.readers import mask_place, reader_for
from singula.prediction.median_filters import median_halo
from singula.representations.base import DecodePlan
from singula.representations.decoders.blockwise import block_decoder
from singula.representations.objects import ObjectDecoder
from singula.util.annotated_slices import annotated_slices, mark_slices
from singula.util.boxes import Box, grown, local, shared_box
from singula.util.locations import location

if TYPE_CHECKING:
    from singula.data.normalize import Scaling
    from singula.prediction import BlockPredictor
    from singula.prediction.blocks import ConstantKey
    from singula.prediction.ensemble import EnsembleBlockPredictor

Array = npt.NDArray[Any]
Maps = dict[str, Array]
LEVELS, RECOUNT = "levels", "recount"
"""Names of a phase, and of the note that requires the histograms of maps to be counted again."""
SEEDS, FLOODED = "seeds.zarr", "flooded.zarr"
REPAIRED, GROWN = "repaired.zarr", "grown.zarr"


@dataclass(frozen=True)
class BlockMember:
    """One of the models that predict the blocks.

    Parameters
    ----------
    checkpoint : Path
        File of the weights.
    config : Config
        Configuration of the prediction.
    halo : tuple of int
        Pixels around a block that are predicted with it.
    """

    checkpoint: Path
    config: Config
    halo: tuple[int, ...]


class BlockContext:
    """Files, settings and network of one image, each opened at its first use.

    Parameters
    ----------
    job : JobFolder
        Folder that contains the job specification.
    spec : JobSpec
        Specification of the job.

    Attributes
    ----------
    predictor : BlockPredictor or EnsembleBlockPredictor, optional
        The network, once it is loaded.
    constant_blocks : dict
        Box and record of one block with stored maps for each kind of constant block.
    """

    def __init__(self, job: JobFolder, spec: JobSpec) -> None:
        self.job, self.spec, self.grid = job, spec, spec.grid
        self.shape = spec.shape
        self._layers: dict[str, BlockArray] = {}
        self.predictor: BlockPredictor | EnsembleBlockPredictor | None = None
        self.constant_blocks: dict[ConstantKey, tuple[Box, Mapping[str, Array]]] = {}

    @cached_property
    def config(self) -> Config:
        """Configuration of the run."""
        from singula.config.load import config_from_text

        return config_from_text(self.spec.config, f"{self.job.path}: the stored configuration")

    @cached_property
    def members(self) -> tuple[BlockMember, ...]:
        """Models whose maps are averaged; the first is that of the configuration."""
        from singula.config.load import config_from_text

        others = [
            BlockMember(
                Path(member.checkpoint),
                config_from_text(member.config, member.checkpoint),
                member.halo,
            )
            for member in self.spec.others
        ]
        return (BlockMember(Path(self.spec.checkpoint), self.config, self.spec.halo), *others)

    @cached_property
    def post(self) -> PostSettings:
        """Settings of the steps before and after decoding."""
        return post_settings(self.config)

    @cached_property
    def image(self) -> LazyImage:
        """Test image."""
        place = self.spec.image_place
        return reader_for(self.config, "TEST").open_image(
            location(self.spec.image), None if place is None else ArrayPlace(*place)
        )

    @cached_property
    def glass(self) -> Array | None:
        """Color of the glass of a slide of which only tissue is predicted; else None."""
        from singula.io.formats.slide import find_tissue

        place = self.spec.image_place
        if place is None or not ArrayPlace(*place).tissue_only:
            return None
        return find_tissue(location(self.spec.image), ArrayPlace(*place).downsample).glass

    @cached_property
    def truth(self) -> LazyImage | None:
        """Ground truth of the image; None if it has no labels."""
        if not self.spec.label:
            return None
        place = self.spec.label_place
        return reader_for(self.config, "TEST").open_labels(
            location(self.spec.label), None if place is None else ArrayPlace(*place)
        )

    def marked(self, labels: Array, box: Box) -> Array:
        """Return the ground truth of a box, in which slices without annotation are -2.

        Parameters
        ----------
        labels : ndarray of int, (y, x) or (z, y, x)
            Ids of the ground truth in the box; -1 is not annotated.
        box : tuple of slice
            Box of the image.
        """
        return mark_slices(labels, self._annotated_slices[box[0]]) if self.spec.planar else labels

    @cached_property
    def _annotated_slices(self) -> npt.NDArray[np.bool_]:
        """True for each slice of the ground truth with annotated pixels."""
        slices = np.zeros(self.shape[0], bool)
        if self.truth is not None:
            for box, part in iter_blocks(LazyArray.of(self.truth)):
                slices[box[0]] |= annotated_slices(part[..., 0])
        return slices

    @cached_property
    def mask(self) -> LazyImage | None:
        """Mask of the pixels in which instances are kept; None to keep all."""
        from singula.io.lazy import open_image

        if not self.spec.mask:
            return None
        place = mask_place(self.config, location(self.spec.mask), location(self.spec.image))
        return open_image(self.spec.mask, len(self.shape), 1, arrays=place)

    @cached_property
    def maps(self) -> BlockArray:
        """Stored maps of all channels; the class map is the last channel."""
        return BlockArray.open(self.spec.maps)

    def layer(self, name: str) -> BlockArray:
        """Return an intermediate image of the job folder by its name."""
        return self.output(self.job.path / name)

    def output(self, path: Path | str) -> BlockArray:
        """Open an image that is written block by block, once per process."""
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
        """Names of the maps, in the order of the stored channels."""
        return tuple(self.map_dtypes)

    @cached_property
    def map_dtypes(self) -> dict[str, type[np.generic]]:
        """Data type of each map in memory, by name."""
        return map_dtypes(self.config, self.shape)

    @cached_property
    def halo_of_filters(self) -> tuple[int, ...]:
        """Radius of the filters on maps, in pixels per axis."""
        halo = median_halo(self.post.z_size, self.post.yz_size)
        return halo if len(self.shape) == 3 else (0, 0)

    @property
    def filtered(self) -> bool:
        """True if a filter reads pixels outside of the block."""
        return any(self.halo_of_filters)

    @property
    def counted_in(self) -> str:
        """Name of the phase whose records hold the histograms of the maps."""
        again = self.filtered or self.job.has_note(RECOUNT)
        return LEVELS if again else "maps"

    def box(self, number: int) -> Box:
        """Return the box of a block in the image."""
        return self.grid.box(number)

    def around(self, number: int, halo: int) -> tuple[Box, Block]:
        """Return the box of a block with a halo in pixels, and the place of the block in it."""
        core = self.box(number)
        outer = grown(core, (halo,) * len(self.shape), self.shape)
        return outer, Block(local(core, outer), tuple(p.start for p in outer), self.shape)

    def read_maps(self, box: Box) -> Maps:
        """Return the filtered and masked maps of a box, by name."""
        outer = grown(box, self.halo_of_filters, self.shape)
        stored = self.maps.read(outer)
        maps = {
            name: np.ascontiguousarray(stored[..., index], dtype=dtype)
            for index, (name, dtype) in enumerate(self.map_dtypes.items())
        }
        return self.prepared(maps, outer, box)

    def prepared(self, maps: Mapping[str, Array], outer: Box, box: Box) -> Maps:
        """Filter and mask the maps of `outer`, and crop them to `box`."""
        mask = None if self.mask is None else self.mask.read(outer)[..., 0] > 0
        inner = local(box, outer)
        filtered = filter_maps(maps, self.post, mask)
        return {name: np.ascontiguousarray(values[inner]) for name, values in filtered.items()}

    def write_maps(self, box: Box, maps: Mapping[str, Array]) -> None:
        """Store the predicted maps of a box."""
        stored = [maps[name].astype(self.maps.dtype, copy=False) for name in self.names]
        self.maps.write(box, np.moveaxis(np.stack(stored), 0, -1))

    @cached_property
    def decode_plan(self) -> DecodePlan:
        """Decoder with its settings and the stored thresholds."""
        note = self.job.read_note("thresholds", ThresholdsNote)
        ndim = len(self.shape)
        sizes = from_config.spacing(self.config, "TEST", ndim)
        return DecodePlan(
            block_decoder(self.config.decoder),
            dict(note.values),
            from_config.decode_settings(self.config),
            from_config.decoding_spacing(self.config, sizes, ndim),
        )

    @property
    def object_decoder(self) -> ObjectDecoder | None:
        """Decoder that collects and paints objects; None for the watershed."""
        decoder = self.config.decoder
        return decoder if isinstance(decoder, ObjectDecoder) else None

    def read_seeds(self, box: Box) -> Array:
        """Return the seeds of a box, with their ids in the whole image."""
        ids, offsets = self.seed_ids
        result = np.zeros([part.stop - part.start for part in box], ids.dtype)
        for number in self.grid.overlapping(box):
            first, last = int(offsets[number]), int(offsets[number + 1])
            if first == last:
                continue
            core = self.box(number)
            shared = shared_box(core, box)
            table = np.concatenate([np.zeros(1, ids.dtype), ids[first:last]])
            result[local(shared, box)] = table[self.layer(SEEDS).read(shared)]
        return result

    @cached_property
    def seed_ids(self) -> tuple[Array, Array]:
        """Ids of the seeds of all blocks, and the index of the first seed of each block."""
        return self.job.open_table("seeds", "ids"), self.job.open_table("seeds", "offsets")

    def read_layer(self, layer: str, table: str, box: Box) -> Array:
        """Return the labels of a layer in a box, relabeled by a table.

        Parameters
        ----------
        layer : str
            Name of an intermediate label image in the job folder.
        table : str
            ``PHASE/NAME`` of a stored array with the new label at the index of each label. Empty:
            do not relabel.
        box : Box
            Box in the image, in pixels.

        Returns
        -------
        ndarray of unsigned int
            Labels with the shape of the box.
        """
        values = self.layer(layer).read(box)
        if not table:
            return values
        phase, _, name = table.partition("/")
        labels: Array = self.job.open_table(phase, name)[values]
        return labels

    def scaling(self, number: int = 0) -> Scaling | None:
        """Return the scaling of the image for a model; None if it is not yet computed."""
        from singula.data.normalize import Scaling

        note = self.job.find_note(scaling_note(number), ScalingNote)
        if note is None:
            return None
        names = ("low", "high", "shift", "scale")
        return Scaling(**{name: np.array(getattr(note, name), np.float64) for name in names})


def scaling_note(number: int) -> str:
    """Return the name of the note with the scaling of the image for a model, from 0."""
    return "scaling" if number == 0 else f"scaling_{number}"


def block_context(folder: Path) -> BlockContext:
    """Return the context of a job in this process.

    The context of the last job is cached until a result that other phases depend on changes.
    """
    job = JobFolder(folder)
    spec = JobSpec.load(job)
    if spec is None:
        raise RuntimeError(f"{folder} has no specification")
    return _cached_context(os.getpid(), Path(folder), spec, _modification_times(job))


def _modification_times(job: JobFolder) -> tuple[int, ...]:
    """Return the modification times of the results that later phases depend on."""
    names = ("thresholds.json", "scaling.json", "seeds/ids.npy")
    paths = [job.path / name for name in names]
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


@functools.lru_cache(maxsize=1)
def _cached_context(
    process: int, folder: Path, spec: JobSpec, modified: tuple[int, ...]
) -> BlockContext:
    return BlockContext(JobFolder(folder), spec)

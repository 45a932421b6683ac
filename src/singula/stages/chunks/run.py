"""The test images, one after the other, each block by block."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from singula.config import Config
from singula.errors import StorageError, UserError, refuse_if_out_of_memory
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image
from singula.io.pairs import Pair
from singula.io.records import DeviceNote, FinishedNote, RecountNote, StoredPlace
from singula.io.results import ResultsTree
from singula.runtime import release_memory
from singula.scaleout import JobFolder
from singula.scaleout.runner import OneProcess, Runner
from singula.stages.chunks.bench import RECOUNT
from singula.stages.chunks.budget import block_budget, block_shape, memory_of
from singula.stages.chunks.finish import ChunkFinish
from singula.stages.chunks.image import ChunkImage
from singula.stages.chunks.network import DEVICE, cut_halo, halo_of
from singula.stages.chunks.plan import Plan
from singula.stages.chunks.told import as_bar, in_lines
from singula.stages.finish import Finish
from singula.stages.inputs import TestInputs, check_mask
from singula.stages.normalization import with_statistics
from singula.stages.post import post_settings
from singula.stages.progress import file_stamp, settings_fingerprint
from singula.stages.reading import mask_place
from singula.stages.stored import maps_fingerprint, set_results_aside
from singula.stages.thresholds import apply_tuned, threshold_lines
from singula.stages.weights import find_checkpoint
from singula.training.checkpoint import Checkpoint, load_checkpoint
from singula.words import counted

if TYPE_CHECKING:
    from singula.data.normalize import Normalizer
    from singula.training.device import Device

Notify = Callable[[str], None]
_DONE = "finished"
_LOCAL = "local:"


@dataclass
class ChunkRun:
    """One pass over test images that do not fit into memory.

    Parameters
    ----------
    config : Config
    tree : ResultsTree
    device : Device
    notify : callable
    resume : bool
        Leave images alone that are finished under the same weights and settings. What a killed run
        began goes on in any case.
    dask : str, optional
        Who works on the blocks, as ``--dask`` says; this process by default.
    live : bool
        Draw a bar instead of saying how far it is.
    pairs : list of Pair, optional
        The images, if they are not those that the configuration names.
    runner : Runner, optional
        Those who `dask` names, where they are there already.
    weights : Path, optional
        The checkpoint, if it is not that of the run.
    unit : str, optional
        Unit of the configured voxel size.
    """

    config: Config
    tree: ResultsTree
    device: Device
    notify: Notify
    resume: bool = False
    dask: str | None = None
    live: bool = False
    pairs: list[Pair] | None = None
    runner: Runner | None = None
    weights: Path | None = None
    unit: str | None = None
    failed: dict[str, str] = field(default_factory=dict)
    sources: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    finish: Finish = field(init=False)
    _known: dict[str, tuple[str, str]] = field(default_factory=dict, init=False)
    _told_halo: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Make the place where everything is gathered."""
        self.finish = Finish(self.config, self.tree, post_settings(self.config))

    def run(self) -> ChunkRun:
        """Predict, decode and score every test image."""
        inputs = TestInputs(self.config, self.notify, writes=False)
        inputs.reader = replace(inputs.reader, unit=self.unit)
        pairs = self.pairs
        if pairs is None:
            pairs, self.failed = inputs.find()
        self.sources = {p.name: (str(p.image), str(p.label) if p.label else None) for p in pairs}
        path = self.weights or find_checkpoint(self.config, self.tree)
        checkpoint = with_statistics(self.config, load_checkpoint(path, self.notify), self.notify)
        self.config, notices = apply_tuned(self.config, checkpoint.description)
        self.finish.config = self.config
        if self.pairs is None:  # `singula predict` reports them once for all images
            notices += threshold_lines(self.config)
        for line in notices:
            self.notify(line)
        normalizer = self._normalizer(checkpoint)
        self._set_aside(pairs, checkpoint, inputs)
        called: AbstractContextManager[Runner] = (
            nullcontext(self.runner)
            if self.runner
            else runner_for(self.dask, self.config, self.device, self.notify)
        )
        with called as runner:
            for number, pair in enumerate(pairs, 1):
                words = self._image(pair, checkpoint, normalizer, inputs, runner)
                if self.pairs is None:  # whoever gave the images says how each went
                    self.notify(f"[{number}/{len(pairs)}] {pair.name}: {words}")
        return self

    def _workers(self) -> int:
        """Processes among which this machine's memory is divided."""
        local = (self.dask or "").startswith(_LOCAL)
        return int((self.dask or "")[len(_LOCAL) :]) if local else 1

    def _normalizer(self, checkpoint: Checkpoint) -> Normalizer:
        from singula.stages.weights import network_from

        return network_from(self.config, checkpoint)[1]

    def _job(self, name: str) -> JobFolder:
        return JobFolder(self.tree.blocks / name)

    def _set_aside(self, pairs: list[Pair], checkpoint: Checkpoint, inputs: TestInputs) -> None:
        """Move what an earlier test left, unless this one goes on with it."""
        going_on = self.resume
        for pair in pairs:
            job = self._job(pair.name)
            plan = Plan.load(job)
            keys = self._keys(pair, checkpoint, inputs)
            if plan is not None and (plan.maps_key, plan.key) == keys:
                going_on |= not job.has_note(_DONE)
        if going_on:
            return
        keep = self.config.TEST.REUSE_PREDICTIONS
        if not keep:
            for folder in self.tree.blocks.glob("*"):
                if Plan.is_in(JobFolder(folder)):
                    shutil.rmtree(folder, ignore_errors=True)
        set_results_aside(self.tree, self.notify, keep_maps=keep)

    def _keys(self, pair: Pair, checkpoint: Checkpoint, inputs: TestInputs) -> tuple[str, str]:
        """What the maps of an image, and all of it, depend on; its files are looked at once."""
        if pair.name not in self._known:
            self._known[pair.name] = self._find_keys(pair, checkpoint, inputs)
        return self._known[pair.name]

    def _find_keys(self, pair: Pair, checkpoint: Checkpoint, inputs: TestInputs) -> tuple[str, str]:
        maps = [maps_fingerprint(self.config), checkpoint.fingerprint, file_stamp(pair.image)]
        maps.append(repr(_place(pair.arrays)))
        rest = [settings_fingerprint(self.config, None), inputs.stamp(pair)]
        one, two = (
            hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
            for parts in (maps, [*maps, *rest])
        )
        return one, two

    def _image(
        self,
        pair: Pair,
        checkpoint: Checkpoint,
        normalizer: Normalizer,
        inputs: TestInputs,
        runner: Runner,
    ) -> str:
        job = self._job(pair.name)
        try:
            with refuse_if_out_of_memory():
                plan = self._plan(pair, checkpoint, inputs)
                plan = self._take_up(job, plan)
                plan.save(job)
                device = (
                    "cuda" if self.dask and self.device.kind == "cuda" else str(self.device.torch)
                )
                job.write_note(DEVICE, DeviceNote(name=device))
                told = as_bar if self.live else in_lines(self.notify)
                image = ChunkImage(job, plan, runner, self.notify, self.finish.clock, told)
                done = ChunkFinish(image, self.finish)
                if not job.has_note(_DONE):
                    count = len(plan.grid)
                    self.notify(
                        f"  {pair.name}: {_sides(plan.shape)} pixels in "
                        f"{counted(count, 'block')} of {_sides(plan.block)}"
                    )
                    self._tell_halo(plan)
                    image.predict(normalizer)
                    if self.config.TEST.BY_CHUNKS.WORKFLOW_PROCESS.ENABLE:
                        done.instances()
                    done.outputs()
                    job.write_note(_DONE, done.summary())
                image.clean()
                release_memory()
                return done.restore(job.read_note(_DONE, FinishedNote))
        except StorageError:
            raise
        except UserError as error:
            self.failed[pair.name] = str(error)
            return f"FAILED: {self.failed[pair.name]}"

    def _tell_halo(self, plan: Plan) -> None:
        """Say once in a run that blocks are predicted with less than the network sees."""
        words = cut_halo(self.config, plan.shape, plan.block, plan.halo)
        if words is not None and not self._told_halo:
            self._told_halo = True
            self.notify(f"  {words}")

    def _plan(self, pair: Pair, checkpoint: Checkpoint, inputs: TestInputs) -> Plan:
        config, tree = self.config, self.tree
        image = inputs.reader.open_image(pair.image, pair.arrays)
        shape = image.spatial_shape
        asked = config.TEST.BY_CHUNKS.BLOCK_SHAPE
        own = self.pairs is None  # `singula predict` has no configuration file
        budget = block_budget(config, shape, pair.image, self._workers(), has_config_file=own)
        block = block_shape(budget, shape, asked)
        maps_key, key = self._keys(pair, checkpoint, inputs)
        mask = inputs.masks.get(pair.name)
        if mask is not None:
            place = mask_place(config, mask, pair.image)
            opened = open_image(mask, len(shape), 1, arrays=place)
            check_mask(mask, opened.spatial_shape, pair, shape)
        return Plan(
            name=pair.name,
            config=config.to_yaml(),
            image=str(pair.image.absolute()),
            label=str(pair.label.absolute()) if pair.label and inputs.has_truth else "",
            mask=str(mask.absolute()) if mask else "",
            checkpoint=str(checkpoint.path.absolute()),
            image_place=_place(pair.arrays),
            label_place=_place(pair.label_arrays),
            maps=str((tree.per_image / f"{pair.name}.zarr").absolute()),
            instances=str((tree.per_image_instances / f"{pair.name}.zarr").absolute()),
            processed=str((tree.per_image_post_processing / f"{pair.name}.zarr").absolute())
            if self.finish.post.has_own_result
            else "",
            shape=shape,
            block=block,
            spacing=image.spacing,
            unit=image.unit,
            most=budget.max_pixels,
            network=budget.network,
            halo=halo_of(config, shape, block, self.device.torch, budget.network),
            maps_key=maps_key,
            key=key,
        )

    def _take_up(self, job: JobFolder, plan: Plan) -> Plan:
        """Keep what was done under the same keys; gives the plan with the blocks of then."""
        before = Plan.load(job)
        if before is None or before.maps_key != plan.maps_key or not Path(before.maps).is_dir():
            if job.path.exists() and not Plan.is_in(job):
                raise UserError(
                    f"{job.path}: exists, but holds no work of an earlier test of {plan.name}",
                    "move it away",
                    "chunks.foreign_folder",
                )
            shutil.rmtree(job.path, ignore_errors=True)
            return plan
        if before.key != plan.key or self._lost(job, before):
            job.delete_all_except(("maps", "values", "scaling", "fill"))
            # Filters and masks, through which maps were counted, may be others now.
            job.write_note(RECOUNT, RecountNote())
        done = len(job.done("maps"))
        self.notify(
            f"  {plan.name}: {done} of {counted(len(before.grid), 'block')} predicted already"
        )
        return plan.model_copy(update={"block": before.block, "halo": before.halo})

    def _lost(self, job: JobFolder, plan: Plan) -> bool:
        """Whether the results of a finished image were moved aside, or deleted."""
        made = self.config.TEST.BY_CHUNKS.WORKFLOW_PROCESS.ENABLE
        results = [path for path in (plan.instances, plan.processed) if made and path]
        return job.has_note(_DONE) and not all(Path(p).is_dir() for p in results)


def runner_for(
    dask: str | None, config: Config, device: Device, notify: Notify
) -> AbstractContextManager[Runner]:
    """Who works on the blocks, as ``--dask`` says; this process by default.

    Raises
    ------
    UserError
        For words that are not understood, or workers that do not come.
    """
    if dask is None:
        return nullcontext(OneProcess())
    from singula.scaleout.dask_run import dask_runner
    from singula.training.device import present_gpus

    gpus = present_gpus() if device.kind == "cuda" else 0
    return dask_runner(dask, notify, memory=memory_of(config), gpus=gpus)


def _place(arrays: ArrayPlace | None) -> StoredPlace | None:
    return None if arrays is None else astuple(arrays)


def _sides(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))

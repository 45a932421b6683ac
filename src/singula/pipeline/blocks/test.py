"""Test of images that do not fit into memory, block by block."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from singula.blocks import JobFolder
from singula.blocks.runner import OneProcess, Runner
from singula.config import Config
from singula.errors import StorageError, UserError, refuse_if_out_of_memory
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image
from singula.io.pairing import Pair
from singula.io.records import DeviceNote, FinishedNote, RecountNote, StoredPlace
from singula.io.run_folder import ResultsTree
from singula.pipeline.blocks.context import RECOUNT
from singula.pipeline.blocks.image import ChunkImage
from singula.pipeline.blocks.job_spec import JobSpec
from singula.pipeline.blocks.memory import block_budget, block_shape, memory_of
from singula.pipeline.blocks.network import DEVICE, halo_notice, prediction_halo
from singula.pipeline.blocks.progress import log_progress, progress_bar
from singula.pipeline.blocks.results import ChunkFinish
from singula.pipeline.checkpoints import find_checkpoint
from singula.pipeline.map_cache import maps_fingerprint, set_results_aside
from singula.pipeline.normalization import with_statistics
from singula.pipeline.postprocess import post_settings
from singula.pipeline.progress import file_stamp, settings_fingerprint
from singula.pipeline.readers import mask_place
from singula.pipeline.results import TestResults
from singula.pipeline.test_inputs import TestInputs, check_mask
from singula.pipeline.thresholds import apply_tuned, threshold_lines
from singula.training.checkpoint import Checkpoint, load_checkpoint
from singula.util.format import counted
from singula.util.process import release_memory

if TYPE_CHECKING:
    from singula.data.normalize import Normalizer
    from singula.training.device import Device

Notify = Callable[[str], None]
_DONE = "finished"
_LOCAL = "local:"


@dataclass
class ChunkRun:
    """Test of images in blocks.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.
    device : Device
        Device of the network.
    notify : callable
        Receives lines of text for the user.
    resume : bool
        Skip images that are finished with the same weights and settings. An interrupted test is
        continued in any case.
    dask : str, optional
        Dask workers that process the blocks, as for ``--dask``. Default: this process.
    live : bool
        Draw a progress bar instead of reporting progress in lines.
    pairs : list of Pair, optional
        Files of the images. Default: the configured test images.
    runner : Runner, optional
        Runner to use if the workers of `dask` have already started.
    weights : Path, optional
        File of the weights. Default: the checkpoint of the run.
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
    results: TestResults = field(init=False)
    _keys_of: dict[str, tuple[str, str]] = field(default_factory=dict, init=False)
    _halo_reported: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Create the empty results."""
        self.results = TestResults(self.config, self.tree, post_settings(self.config))

    def run(self) -> ChunkRun:
        """Predict, decode and score all test images, and return the run."""
        inputs = TestInputs(self.config, self.notify, writes=False)
        inputs.reader = replace(inputs.reader, unit=self.unit)
        pairs = self.pairs
        if pairs is None:
            pairs, self.failed = inputs.find()
        self.sources = {p.name: (str(p.image), str(p.label) if p.label else None) for p in pairs}
        path = self.weights or find_checkpoint(self.config, self.tree)
        checkpoint = with_statistics(self.config, load_checkpoint(path, self.notify), self.notify)
        self.config, notices = apply_tuned(self.config, checkpoint.description)
        self.results.config = self.config
        if self.pairs is None:  # `singula predict` reports them once for all images
            notices += threshold_lines(self.config)
        for line in notices:
            self.notify(line)
        normalizer = self._normalizer(checkpoint)
        self._set_aside(pairs, checkpoint, inputs)
        opened: AbstractContextManager[Runner] = (
            nullcontext(self.runner)
            if self.runner
            else runner_for(self.dask, self.config, self.device, self.notify)
        )
        with opened as runner:
            for number, pair in enumerate(pairs, 1):
                message = self._image(pair, checkpoint, normalizer, inputs, runner)
                if self.pairs is None:  # the caller reports images that it passed
                    self.notify(f"[{number}/{len(pairs)}] {pair.name}: {message}")
        return self

    def _workers(self) -> int:
        """Return the number of processes that share the memory of this machine."""
        local = (self.dask or "").startswith(_LOCAL)
        return int((self.dask or "")[len(_LOCAL) :]) if local else 1

    def _normalizer(self, checkpoint: Checkpoint) -> Normalizer:
        from singula.pipeline.checkpoints import network_from

        return network_from(self.config, checkpoint)[1]

    def _job(self, name: str) -> JobFolder:
        return JobFolder(self.tree.blocks / name)

    def _set_aside(self, pairs: list[Pair], checkpoint: Checkpoint, inputs: TestInputs) -> None:
        """Move the results of an earlier test, unless this test continues it."""
        continued = self.resume
        for pair in pairs:
            job = self._job(pair.name)
            plan = JobSpec.load(job)
            keys = self._keys(pair, checkpoint, inputs)
            if plan is not None and (plan.maps_key, plan.key) == keys:
                continued |= not job.has_note(_DONE)
        if continued:
            return
        keep = self.config.TEST.REUSE_PREDICTIONS
        if not keep:
            for folder in self.tree.blocks.glob("*"):
                if JobSpec.is_in(JobFolder(folder)):
                    shutil.rmtree(folder, ignore_errors=True)
        set_results_aside(self.tree, self.notify, keep_maps=keep)

    def _keys(self, pair: Pair, checkpoint: Checkpoint, inputs: TestInputs) -> tuple[str, str]:
        """Return the fingerprints of everything that the maps and the results depend on."""
        if pair.name not in self._keys_of:
            self._keys_of[pair.name] = self._find_keys(pair, checkpoint, inputs)
        return self._keys_of[pair.name]

    def _find_keys(self, pair: Pair, checkpoint: Checkpoint, inputs: TestInputs) -> tuple[str, str]:
        maps = [maps_fingerprint(self.config), checkpoint.fingerprint, file_stamp(pair.image)]
        maps.append(repr(_place(pair.arrays)))
        rest = [settings_fingerprint(self.config, None), inputs.stamp(pair)]
        maps_key, key = (
            hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
            for parts in (maps, [*maps, *rest])
        )
        return maps_key, key

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
                plan = self._continue(job, plan)
                plan.save(job)
                device = (
                    "cuda" if self.dask and self.device.kind == "cuda" else str(self.device.torch)
                )
                job.write_note(DEVICE, DeviceNote(name=device))
                progress = progress_bar if self.live else log_progress(self.notify)
                image = ChunkImage(job, plan, runner, self.notify, self.results.clock, progress)
                steps = ChunkFinish(image, self.results)
                if not job.has_note(_DONE):
                    count = len(plan.grid)
                    self.notify(
                        f"  {pair.name}: {_sides(plan.shape)} pixels in "
                        f"{counted(count, 'block')} of {_sides(plan.block)}"
                    )
                    self._report_halo(plan)
                    image.predict(normalizer)
                    if self.config.TEST.BY_CHUNKS.WORKFLOW_PROCESS.ENABLE:
                        steps.instances()
                    steps.outputs()
                    job.write_note(_DONE, steps.summary())
                image.clean()
                release_memory()
                return steps.restore(job.read_note(_DONE, FinishedNote))
        except StorageError:
            raise
        except UserError as error:
            self.failed[pair.name] = str(error)
            return f"FAILED: {self.failed[pair.name]}"

    def _report_halo(self, plan: JobSpec) -> None:
        """Report once per run a halo that is smaller than the receptive field."""
        notice = halo_notice(self.config, plan.shape, plan.block, plan.halo)
        if notice is not None and not self._halo_reported:
            self._halo_reported = True
            self.notify(f"  {notice}")

    def _plan(self, pair: Pair, checkpoint: Checkpoint, inputs: TestInputs) -> JobSpec:
        config, tree = self.config, self.tree
        image = inputs.reader.open_image(pair.image, pair.arrays)
        shape = image.spatial_shape
        configured = config.TEST.BY_CHUNKS.BLOCK_SHAPE
        has_file = self.pairs is None  # `singula predict` has no configuration file
        budget = block_budget(config, shape, pair.image, self._workers(), has_config_file=has_file)
        block = block_shape(budget, shape, configured)
        maps_key, key = self._keys(pair, checkpoint, inputs)
        mask = inputs.masks.get(pair.name)
        if mask is not None:
            place = mask_place(config, mask, pair.image)
            opened = open_image(mask, len(shape), 1, arrays=place)
            check_mask(mask, opened.spatial_shape, pair, shape)
        return JobSpec(
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
            if self.results.post.has_own_result
            else "",
            shape=shape,
            block=block,
            spacing=image.spacing,
            unit=image.unit,
            most=budget.max_pixels,
            network=budget.network,
            halo=prediction_halo(config, shape, block, self.device.torch, budget.network),
            maps_key=maps_key,
            key=key,
        )

    def _continue(self, job: JobFolder, plan: JobSpec) -> JobSpec:
        """Keep records with the same keys; return the specification with the blocks of these."""
        before = JobSpec.load(job)
        if before is None or before.maps_key != plan.maps_key or not Path(before.maps).is_dir():
            if job.path.exists() and not JobSpec.is_in(job):
                raise UserError(
                    f"{job.path}: got a folder of other files, expected records of an earlier test "
                    f"of {plan.name}",
                    "move the folder to another place",
                    "chunks.foreign_folder",
                )
            shutil.rmtree(job.path, ignore_errors=True)
            return plan
        if before.key != plan.key or self._lost(job, before):
            job.delete_all_except(("maps", "values", "scaling", "fill"))
            # The histograms are those of maps after filters and masks, which may have changed.
            job.write_note(RECOUNT, RecountNote())
        done = len(job.done("maps"))
        self.notify(
            f"  {plan.name}: {done} of {counted(len(before.grid), 'block')} already predicted"
        )
        return plan.model_copy(update={"block": before.block, "halo": before.halo})

    def _lost(self, job: JobFolder, plan: JobSpec) -> bool:
        """Return True if the results of a finished image were moved or deleted."""
        decoded = self.config.TEST.BY_CHUNKS.WORKFLOW_PROCESS.ENABLE
        results = [path for path in (plan.instances, plan.processed) if decoded and path]
        return job.has_note(_DONE) and not all(Path(p).is_dir() for p in results)


def runner_for(
    dask: str | None, config: Config, device: Device, notify: Notify
) -> AbstractContextManager[Runner]:
    """Return a context manager of the runner that processes the blocks.

    Parameters
    ----------
    dask : str, optional
        Dask workers, as for ``--dask``. Default: this process.
    config : Config
        Configuration of the run, with the memory limit.
    device : Device
        Device of the network; GPUs are shared by the workers.
    notify : callable
        Receives lines of text for the user.

    Raises
    ------
    UserError
        `dask` is invalid, or the workers do not start.
    """
    if dask is None:
        return nullcontext(OneProcess())
    from singula.blocks.dask_run import dask_runner
    from singula.training.device import present_gpus

    gpus = present_gpus() if device.kind == "cuda" else 0
    return dask_runner(dask, notify, memory=memory_of(config), gpus=gpus)


def _place(arrays: ArrayPlace | None) -> StoredPlace | None:
    return None if arrays is None else astuple(arrays)


def _sides(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))

"""Test of images that do not fit into memory, block by block."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from singula.blocks import JobFolder
from singula.blocks.runner import OneProcess, Runner
from singula.config import Config
from singula.errors import UserError
from singula.io.image import ArrayPlace
from singula.io.lazy import find_unannotated, open_image
from singula.io.pairing import Pair
from singula.io.records.blocks import (
    DeviceNote,
    FinishedNote,
    MemberNote,
    RecountNote,
    StoredPlace,
)
from singula.pipeline.blocks.context import RECOUNT, scaling_note
from singula.pipeline.blocks.halo_error import HALO_ERROR, report_halo_error
from singula.pipeline.blocks.image import BlockImage
from singula.pipeline.blocks.job_spec import JobSpec
from singula.pipeline.blocks.map_scores import planar_truth
from singula.pipeline.blocks.memory import block_budget, block_shape
from singula.pipeline.blocks.network import DEVICE, halo_notice, prediction_halo
from singula.pipeline.blocks.tables import add_image, write_pyramids
from singula.pipeline.checkpoints import find_checkpoint, network_from
from singula.pipeline.ensemble import Member
from singula.pipeline.map_cache import maps_fingerprint
from singula.pipeline.memory import available_memory
from singula.pipeline.progress import file_stamp, restore_result, result_of, settings_fingerprint
from singula.pipeline.readers import mask_place
from singula.pipeline.score import result_text
from singula.pipeline.test_inputs import TestInputs, check_mask
from singula.pipeline.test_run import Messages, TestRun
from singula.representations.decoders.blockwise import block_decoder
from singula.training.checkpoint import Checkpoint
from singula.util.format import counted, shape_text
from singula.util.process import release_memory
from singula.util.progress import log_progress, progress_bar

if TYPE_CHECKING:
    from singula.blocks.memory import Budget
    from singula.data.normalize import Normalizer
    from singula.pipeline.results import TestResults
    from singula.training.device import Device

_log = logging.getLogger(__name__)
_DONE = "finished"
_LOCAL = "local:"


@dataclass
class BlockTest(TestRun):
    """Test of images in blocks.

    An interrupted test is continued with and without `resume`. The parameters not listed here are
    described in `TestRun`.

    Parameters
    ----------
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
    others : tuple of Member
        Other models, whose maps are averaged with those of the run.
    unit : str, optional
        Unit of the configured voxel size.
    additional_columns : bool
        Append the axis ratio and the intensities to the tables of measurements.
    """

    dask: str | None = None
    live: bool = False
    pairs: list[Pair] | None = None
    runner: Runner | None = None
    weights: Path | None = None
    others: tuple[Member, ...] = ()
    unit: str | None = None
    additional_columns: bool = False
    _keys_of: dict[str, tuple[str, str]] = field(default_factory=dict, init=False)
    _halo_reported: bool = field(default=False, init=False)

    def _open_inputs(self) -> TestInputs:
        inputs = TestInputs(self.config, writes=False)
        inputs.reader = replace(inputs.reader, unit=self.unit)
        return inputs

    @property
    def reports_images(self) -> bool:
        """False for `singula predict`, which reports the thresholds and images itself."""
        return self.pairs is None

    def _find_pairs(self) -> list[Pair]:
        return super()._find_pairs() if self.pairs is None else self.pairs

    def _load_checkpoint(self, pairs: Sequence[Pair]) -> Checkpoint:
        return self._load(self.weights or find_checkpoint(self.config, self.tree))

    def _prepare(self, pairs: list[Pair], checkpoint: Checkpoint | None) -> tuple[int, Messages]:
        if checkpoint is None:
            raise RuntimeError("a test in blocks needs a checkpoint")
        if self.config.TEST.BY_CHUNKS.WORKFLOW_PROCESS.ENABLE:  # fail before the prediction
            block_decoder(self.config.decoder)
        members = [Member(self.config, checkpoint), *self.others]
        normalizers = [network_from(m.config, m.checkpoint)[1] for m in members]
        self._keys_of = {pair.name: self._keys(pair, checkpoint) for pair in pairs}
        return len(pairs), self._test(pairs, checkpoint, normalizers)

    def _test(
        self, pairs: list[Pair], checkpoint: Checkpoint, normalizers: list[Normalizer]
    ) -> Messages:
        runner_context: AbstractContextManager[Runner] = (
            nullcontext(self.runner)
            if self.runner
            else runner_for(self.dask, self.config, self.device)
        )
        with runner_context as runner:
            for pair in pairs:
                image = partial(self._image, pair, checkpoint, normalizers, runner)
                yield pair.name, self._attempt(pair.name, image)

    def _workers(self) -> int:
        """Return the number of processes that share the memory of this machine."""
        local = (self.dask or "").startswith(_LOCAL)
        return int((self.dask or "")[len(_LOCAL) :]) if local else 1

    def _job(self, name: str) -> JobFolder:
        return JobFolder(self.tree.blocks / name)

    def _set_aside(self, pairs: Sequence[Pair]) -> None:
        if self.resume or any(self._is_interrupted(pair) for pair in pairs):
            return
        if not self.config.TEST.REUSE_PREDICTIONS:
            for folder in self.tree.blocks.glob("*"):
                if JobSpec.is_in(JobFolder(folder)):
                    shutil.rmtree(folder, ignore_errors=True)
        super()._set_aside(pairs)

    def _is_interrupted(self, pair: Pair) -> bool:
        """Return True if a test of the image with the same settings was interrupted."""
        job = self._job(pair.name)
        spec = JobSpec.load(job)
        if spec is None or (spec.maps_key, spec.key) != self._keys_of[pair.name]:
            return False
        return not job.has_note(_DONE)

    def _keys(self, pair: Pair, checkpoint: Checkpoint) -> tuple[str, str]:
        """Return the fingerprints of everything that the maps and the results depend on."""
        maps = [maps_fingerprint(self.config), checkpoint.fingerprint, file_stamp(pair.image)]
        maps.append(repr(_place(pair.arrays)))
        for member in self.others:
            maps += [maps_fingerprint(member.config), member.checkpoint.fingerprint]
        rest = [settings_fingerprint(self.config, None), self.inputs.stamp(pair)]
        rest += ["additional columns"] if self.additional_columns else []
        maps_key, key = (
            hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
            for parts in (maps, [*maps, *rest])
        )
        return maps_key, key

    def _image(
        self,
        pair: Pair,
        checkpoint: Checkpoint,
        normalizers: list[Normalizer],
        runner: Runner,
        results: TestResults,
    ) -> str:
        """Test an image, and return a description of the result."""
        job = self._job(pair.name)
        spec = self._reuse_records(job, self._job_spec(pair, checkpoint, runner))
        spec.save(job)
        device = "cuda" if self.dask and self.device.kind == "cuda" else str(self.device.torch)
        job.write_note(DEVICE, DeviceNote(name=device))
        progress = progress_bar if self.live else log_progress
        image = BlockImage(job, spec, runner, results.clock, progress)
        if not job.has_note(_DONE):
            count = len(spec.grid)
            _log.info(
                f"  {pair.name}: {shape_text(spec.shape)} pixels in "
                f"{counted(count, 'block')} of {shape_text(spec.block)}"
            )
            self._report_halo(spec)
            image.predict(normalizers)
            if self._halo_notice(spec) is not None:
                report_halo_error(image)
            note = FinishedNote()
            if self.config.TEST.BY_CHUNKS.WORKFLOW_PROCESS.ENABLE:
                add_image(image, results)
                note = FinishedNote(result=result_of(pair.name, results))
            # `singula predict` deletes maps and results before post-processing.
            write_pyramids(image, self.config, only_last=self.pairs is not None)
            job.write_note(_DONE, note)
        image.clean()
        release_memory()
        result = job.read_note(_DONE, FinishedNote).result
        if result is None:
            return "predicted"
        restore_result(pair.name, result, results)
        return result_text(results.instances[pair.name], results.scores, pair.name)

    def _report_halo(self, spec: JobSpec) -> None:
        """Warn once per run if the halo is smaller than the receptive field."""
        notice = self._halo_notice(spec)
        if notice is not None and not self._halo_reported:
            self._halo_reported = True
            _log.warning(f"  {notice}")

    def _halo_notice(self, spec: JobSpec) -> str | None:
        """Return the notice about the first model with a halo smaller than its receptive field."""
        halos = [spec.halo, *(member.halo for member in spec.others)]
        configs = [self.config, *(member.config for member in self.others)]
        notices = (
            halo_notice(config, spec.shape, spec.block, halo)
            for config, halo in zip(configs, halos, strict=True)
        )
        return next((notice for notice in notices if notice is not None), None)

    def _budget(self, pair: Pair, shape: tuple[int, ...], runner: Runner) -> Budget:
        """Return the blocks of an image for the memory of this machine or of the cluster."""
        is_cluster = self.dask is not None and not self.dask.startswith(_LOCAL)
        return block_budget(
            self.config,
            shape,
            pair.image,
            self._workers(),
            worker_memory=runner.memory if is_cluster else None,
            has_config_file=self.pairs is None,  # `singula predict` has no configuration file
        )

    def _job_spec(self, pair: Pair, checkpoint: Checkpoint, runner: Runner) -> JobSpec:
        config, tree, inputs = self.config, self.tree, self.inputs
        image = inputs.reader.open_image(pair.image, pair.arrays)
        shape = image.spatial_shape
        configured = config.TEST.BY_CHUNKS.BLOCK_SHAPE
        budget = self._budget(pair, shape, runner)
        block = block_shape(budget, shape, configured)
        maps_key, key = self._keys_of[pair.name]
        label_place, planar = pair.label_arrays, False
        if pair.label is not None and inputs.has_truth:
            label_place = find_unannotated(pair.label, len(shape), pair.label_arrays)
            planar = planar_truth(inputs.reader.open_labels(pair.label, label_place))
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
            label_place=_place(label_place),
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
            halo=self._halo(config, shape, block, budget),
            maps_key=maps_key,
            key=key,
            additional_columns=self.additional_columns,
            others=tuple(
                MemberNote(
                    checkpoint=str(member.checkpoint.path.absolute()),
                    config=member.config.to_yaml(),
                    halo=self._halo(member.config, shape, block, budget),
                )
                for member in self.others
            ),
            planar=planar,
        )

    def _halo(
        self, config: Config, shape: tuple[int, ...], block: tuple[int, ...], budget: Budget
    ) -> tuple[int, ...]:
        return prediction_halo(config, shape, block, self.device.torch, budget.network)

    def _reuse_records(self, job: JobFolder, spec: JobSpec) -> JobSpec:
        """Delete outdated records, and return the specification with the blocks of the others."""
        earlier = JobSpec.load(job)
        if (
            earlier is None
            or earlier.maps_key != spec.maps_key
            or not _has_same_maps(earlier, spec)
        ):
            if job.path.exists() and not JobSpec.is_in(job):
                raise UserError(
                    f"{job.path}: got a folder of other files, expected records of an earlier test "
                    f"of {spec.name}",
                    "move the folder to another place",
                    "chunks.foreign_folder",
                )
            shutil.rmtree(job.path, ignore_errors=True)
            return spec
        if earlier.key != spec.key or self._is_result_missing(job, earlier):
            scalings = [scaling_note(number) for number in range(1 + len(spec.others))]
            job.delete_all_except(("maps", "values", *scalings, "fill", HALO_ERROR))
            # The histograms depend on filters and masks, which may have changed.
            job.write_note(RECOUNT, RecountNote())
        done = len(job.done("maps"))
        _log.info(
            f"  {spec.name}: {done} of {counted(len(earlier.grid), 'block')} already predicted"
        )
        stored = {"block": earlier.block, "halo": earlier.halo, "others": earlier.others}
        return spec.model_copy(update=stored)

    def _is_result_missing(self, job: JobFolder, spec: JobSpec) -> bool:
        """Return True if the results of a finished image were moved or deleted."""
        decoded = self.config.TEST.BY_CHUNKS.WORKFLOW_PROCESS.ENABLE
        results = [path for path in (spec.instances, spec.processed) if decoded and path]
        return job.has_note(_DONE) and not all(Path(p).is_dir() for p in results)


def runner_for(dask: str | None, config: Config, device: Device) -> AbstractContextManager[Runner]:
    """Return a context manager of the runner that processes the blocks.

    Parameters
    ----------
    dask : str, optional
        Dask workers, as for ``--dask``. Default: this process.
    config : Config
        Configuration of the run, with the memory limit.
    device : Device
        Device of the network; GPUs are shared by the workers.

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
    return dask_runner(dask, memory=available_memory(config), gpus=gpus)


def _place(arrays: ArrayPlace | None) -> StoredPlace | None:
    return None if arrays is None else astuple(arrays)


def _has_same_maps(earlier: JobSpec, spec: JobSpec) -> bool:
    """Return True if the maps of an earlier test exist where this test stores its maps."""
    folder = Path(earlier.maps)
    return folder.is_dir() and folder.resolve() == Path(spec.maps).resolve()

"""Test of images in memory."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from singula.errors import StorageError, UserError, refuse_if_out_of_memory
from singula.io.lazy_array import constant_image_notices
from singula.io.pairing import Pair
from singula.io.run_folder import View
from singula.pipeline.checkpoints import find_checkpoint, predictor_from
from singula.pipeline.map_cache import StoredMaps
from singula.pipeline.memory import available_memory, needed_memory, warn_if_too_large
from singula.pipeline.overlap import Stages, end_if_stopped, finishing_threads, run_stages
from singula.pipeline.patches import PatchScores, truth_stamp
from singula.pipeline.predict_image import predict_maps, score_patches
from singula.pipeline.prediction_groups import ImagePrediction, PredictionGroups
from singula.pipeline.progress import Progress, settings_fingerprint
from singula.pipeline.score import result_text
from singula.pipeline.slice_stack import Loaded, refuse_gaps, stack_slices
from singula.pipeline.test_inputs import TestInputs
from singula.pipeline.test_run import Messages, Tested, TestRun
from singula.pipeline.whole_image import WholeImage
from singula.prediction import Predictor
from singula.training.checkpoint import Checkpoint
from singula.training.processes import share_from_main, world_and_rank
from singula.util.format import counted
from singula.util.messages import is_new

if TYPE_CHECKING:
    from singula.data.normalize import Normalizer
    from singula.io.image import Image
    from singula.pipeline.results import TestResults

_log = logging.getLogger(__name__)
Maps = dict[str, npt.NDArray[Any]]
STACK = "stack"


@dataclass(frozen=True)
class TestedImage(Tested):
    """Result of the test of an image in memory.

    The other parameters are described in `Tested`.

    Parameters
    ----------
    stack_slice : (maps, (image, truth, mask)), optional
        Slice of the volume of all images; None if the images are not a stack.
    """

    stack_slice: tuple[Maps, Loaded] | None = None


@dataclass
class WholeImageTest(TestRun):
    """Test of images that fit into memory.

    If there are several processes, each predicts a part of the images; the main process also
    decodes and writes the results.

    The other attributes and parameters are described in `TestRun`.

    Parameters
    ----------
    workers : int, optional
        Number of threads that decode and write while the network predicts; 0: one image after the
        other. By default, from the device and the number of cores.

    Attributes
    ----------
    stored_maps : StoredMaps
        Maps in the results folder.
    reused : set of (str, View)
        Image name and view of the stored maps that are not predicted again.
    stored_patches : dict of str to dict
        Stored scores of the patches, by image name.
    to_score_again : set of str
        Images with reused maps whose patches are predicted again for their scores.
    """

    workers: int | None = None
    stored_maps: StoredMaps = field(init=False)
    reused: set[tuple[str, View]] = field(default_factory=set, init=False)
    stored_patches: dict[str, dict[str, float]] = field(default_factory=dict, init=False)
    to_score_again: set[str] = field(default_factory=set, init=False)

    def _open_inputs(self) -> TestInputs:
        return TestInputs(self.config, writes=self.is_main, channels=self.tree.channels)

    def _find_pairs(self) -> list[Pair]:
        pairs = super()._find_pairs()
        if self.is_main and not self.config.TRAIN.ENABLE:  # otherwise reported before the training
            for line in warn_if_too_large(self.config, pairs):
                _log.warning(line)
        return pairs

    def _prepare(self, pairs: list[Pair], checkpoint: Checkpoint | None) -> tuple[int, Messages]:
        path = None if checkpoint is None else checkpoint.path
        progress, remaining = self._remaining(pairs, path)
        network = None
        if checkpoint is not None and not self._all_reused(remaining):
            network = predictor_from(self.config, checkpoint, self.device.torch)
            _log.info(f"predicting with {checkpoint.path}")
        return len(remaining), self._test(remaining, network, progress)

    def _test(
        self,
        remaining: list[Pair],
        network: tuple[Predictor, Normalizer] | None,
        progress: Progress | None,
    ) -> Messages:
        stacked: list[tuple[Maps, Loaded]] = []
        world, rank = world_and_rank()
        # In a group of images, each process predicts the image of its rank.
        groups = [remaining[first : first + world] for first in range(0, len(remaining), world)]
        of_rank = [group[rank] if rank < len(group) else None for group in groups]
        stages = Stages(
            self._read,
            PredictionGroups(partial(self._predict, network=network)).predict,
            partial(self._finish, progress=progress),
            self._size,
        )
        workers = finishing_threads(self.config, self.device.kind)
        outcomes = run_stages(
            remaining if self.is_main else of_rank,
            stages,
            workers=workers if self.workers is None else self.workers,
            memory=available_memory(self.config),
            repeat=world == 1,  # the other processes do not repeat an image
        )
        with closing(outcomes):
            for outcome in outcomes:
                if not self.is_main or outcome.item is None:
                    continue
                yield outcome.item.name, self._add(outcome.item.name, outcome.value, outcome.error)
                if outcome.value is not None and outcome.value.stack_slice:
                    stacked.append(outcome.value.stack_slice)
        self.inputs.close()
        if stacked:
            self._finish_stack(stacked)

    def _remaining(
        self, pairs: list[Pair], checkpoint: Path | None
    ) -> tuple[Progress | None, list[Pair]]:
        """Return the progress of an earlier run (in the main process), and the remaining images."""
        progress = None
        names = [p.name for p in pairs]
        if self.is_main:
            progress = Progress(
                self.tree.progress,
                settings_fingerprint(self.config, checkpoint),
                resume=self.resume,
            )
            names = [
                p.name
                for p in pairs
                if not progress.restore(p.name, self.inputs.stamp(p), self.results)
            ]
            if len(names) < len(pairs):
                _log.info(
                    f"{len(pairs) - len(names)} of {counted(len(pairs), 'image')} done already"
                )
        remaining = set(share_from_main(names))
        return progress, [p for p in pairs if p.name in remaining]

    def _size(self, pair: Pair | None) -> int:
        """Return the bytes to test an image; 0 if its header cannot be read."""
        try:
            return 0 if pair is None else needed_memory(self.config, self.inputs.reader, pair)
        except UserError:
            return 0

    def _read(self, pair: Pair | None) -> Loaded | None:
        return None if pair is None else self.inputs.read(pair)

    def _predict(
        self,
        pair: Pair,
        read: Callable[[], Loaded | None],
        network: tuple[Predictor, Normalizer] | None,
    ) -> ImagePrediction:
        """Predict all views of an image; return a `UserError` instead of raising it."""
        try:
            with refuse_if_out_of_memory():
                loaded = read()
                if loaded is None:
                    raise RuntimeError("no image to predict")
                predicted = ImagePrediction(loaded=loaded if self.is_main else None)
                for view in self._views():
                    predicted.maps[view] = self._maps(loaded, pair.name, view, network, predicted)
        except StorageError:
            raise
        except UserError as error:
            return ImagePrediction(error=error)
        return predicted

    def _finish(
        self, pair: Pair | None, predicted: ImagePrediction | None, progress: Progress | None
    ) -> TestedImage | None:
        """Store, decode and score a prediction, and record the image as finished."""
        if pair is None or predicted is None:
            return None
        if predicted.error is not None:
            raise predicted.error
        if predicted.loaded is None:
            raise RuntimeError("a prediction without its image")
        name, results = pair.name, self.results.empty()
        self._store(pair, predicted, predicted.loaded[0], results)
        if self.config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK:
            for view, maps in predicted.maps.items():
                WholeImage(results, name, view, *predicted.loaded).score(maps)
            part = predicted.maps[self._views()[-1]], predicted.loaded
            return TestedImage(results, "predicted", stack_slice=part)
        notices: list[str] = []
        original = self.inputs.original(pair)
        for view in self._views():
            maps = predicted.maps.pop(view)
            tested = WholeImage(results, name, view, *predicted.loaded, original=original)
            notices += tested.add(maps)
        if progress is not None:
            progress.add(name, self.inputs.stamp(pair), results, self._files(name))
        text = result_text(results.instances[name], results.scores, name)
        return TestedImage(results, text, notices)

    def _store(
        self, pair: Pair, predicted: ImagePrediction, image: Image, results: TestResults
    ) -> None:
        """Store the maps and the scores of the patches."""
        name = pair.name
        for line in constant_image_notices(pair.image, image.array):
            _log.warning(line)
        for view in predicted.new_views:
            self.stored_maps.write(name, view, predicted.maps[view], image, pair.image)
            end_if_stopped()
        if predicted.per_patch:
            results.scores.add_maps(name, "per_patch", predicted.per_patch)
        if predicted.has_new_patch_scores:
            stamp = truth_stamp(self.config, pair)
            self.stored_maps.add_patch_scores(name, "per_image", stamp, predicted.per_patch)
        results.seconds["prediction"] = predicted.seconds

    def _finish_stack(self, parts: list[tuple[Maps, Loaded]]) -> None:
        """Decode and score all images as the slices of one volume, ordered by name."""
        if self.failed:
            refuse_gaps(self.failed, with_reason=False)
        maps, loaded = stack_slices(parts, STACK)
        for notice in WholeImage(self.results, STACK, "as_3d_stack", *loaded).add(maps):
            if is_new(notice):
                _log.warning(f"{STACK}: {notice}")
        count = self.results.instances[STACK]
        text = result_text(count, self.results.scores, STACK, "as_3d_stack")
        _log.info(f"as 3D stack: {text}")

    def _files(self, name: str) -> list[Path]:
        files = [self.tree.instances(view) / f"{name}.tif" for view in self._views()]
        if self.results.post.has_own_result:
            files += [self.tree.post_processed(view) / f"{name}.tif" for view in self._views()]
        return files

    def _load_checkpoint(self, pairs: Sequence[Pair]) -> Checkpoint | None:
        try:
            path = find_checkpoint(self.config, self.tree)
        except UserError:
            self._find_stored_maps(pairs, None)
            if not self._all_reused(pairs):
                raise
            return None
        checkpoint = self._load(path)
        self._find_stored_maps(pairs, checkpoint)
        return checkpoint

    def _all_reused(self, pairs: Sequence[Pair]) -> bool:
        """Return True if the network is not needed for these images."""
        maps = all((p.name, view) in self.reused for p in pairs for view in self._views())
        return maps and not any(p.name in self.to_score_again for p in pairs)

    def _find_stored_maps(self, pairs: Sequence[Pair], checkpoint: Checkpoint | None) -> None:
        """Find the stored maps to reuse, and report the others."""
        fingerprint = checkpoint.fingerprint if checkpoint is not None else None
        self.stored_maps = StoredMaps(self.config, self.tree, fingerprint)
        if not self.config.TEST.REUSE_PREDICTIONS:
            return
        states = {
            (p.name, view): self.stored_maps.state(p.name, view, p.image)
            for p in pairs
            for view in self._views()
        }
        self.reused = {key for key, state in states.items() if state in ("current", "unknown")}
        count = Counter(states.values())
        _log.info(
            f"TEST.REUSE_PREDICTIONS: {len(self.reused)} of {counted(len(states), 'map')} reused"
        )
        if count["unknown"]:
            _log.warning(
                f"  {count['unknown']} of these have no record of the image and the weights"
            )
        if count["stale"]:
            _log.info(
                f"  {count['stale']} are predicted again: the image, the weights or the settings "
                "changed"
            )
        reused = [p for p in pairs if (p.name, "per_image") in self.reused]
        self._find_patch_scores(reused, has_weights=checkpoint is not None)

    def _find_patch_scores(self, pairs: Sequence[Pair], *, has_weights: bool) -> None:
        """Find the scores of patches that are stored with reused maps."""
        if not (self.inputs.has_truth and self.config.TEST.STATS.PER_PATCH):
            return
        n_missing = 0
        for pair in pairs:
            name, scores = pair.name, None
            current = self.stored_maps.state(name, "per_image", pair.image) == "current"
            if current:
                stamp = truth_stamp(self.config, pair)
                scores = self.stored_maps.patch_scores(name, "per_image", stamp)
            if scores is not None:
                self.stored_patches[name] = scores
            elif current and has_weights:
                self.to_score_again.add(name)
            else:
                n_missing += 1
        if self.to_score_again:
            _log.info(
                f"  patches of {counted(len(self.to_score_again), 'image')} are predicted again: "
                "their scores are not stored for these labels "
                "(TEST.STATS.PER_PATCH: False omits them)"
            )
        if n_missing:
            _log.info(
                f"  {counted(n_missing, 'image')} without scores per patch: they are not stored"
            )

    def _views(self) -> tuple[View, ...]:
        return ("per_image", "full_image") if self.config.TEST.FULL_IMG else ("per_image",)

    def _maps(
        self,
        loaded: Loaded,
        name: str,
        view: View,
        network: tuple[Predictor, Normalizer] | None,
        predicted: ImagePrediction,
    ) -> Maps:
        """Predict the maps of a view and add their scores to `predicted`, or read stored maps."""
        image, truth, _ = loaded
        start, patches = time.perf_counter(), None
        if view == "per_image" and truth is not None and self.config.TEST.STATS.PER_PATCH:
            patches = PatchScores(self.config, truth)
        reused = (name, view) in self.reused
        if reused and patches is not None and name not in self.to_score_again:
            predicted.per_patch, patches = self.stored_patches.get(name, {}), None
        if reused and patches is None:
            return self.stored_maps.read(name, view, image)
        if network is None:
            raise RuntimeError("prediction needs a network")
        if reused and patches is not None:
            score_patches(self.config, *network, image.array, patches)
            maps = self.stored_maps.read(name, view, image)
        else:
            maps = predict_maps(
                self.config,
                *network,
                image.array,
                whole=view == "full_image",
                patches=patches,
            )
            predicted.new_views.append(view)
        if patches is not None:
            predicted.per_patch, predicted.has_new_patch_scores = patches.mean(), True
        predicted.seconds += time.perf_counter() - start
        return maps

"""Test of images in memory."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
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
from singula.pipeline.memory import warn_if_too_large
from singula.pipeline.patches import PatchScores, truth_stamp
from singula.pipeline.predict_image import predict_maps, score_patches
from singula.pipeline.progress import Progress, settings_fingerprint
from singula.pipeline.score import result_text
from singula.pipeline.slice_stack import Loaded, refuse_gaps, stack_slices
from singula.pipeline.test_inputs import TestInputs
from singula.pipeline.test_run import Messages, TestRun
from singula.pipeline.whole_image import WholeImage
from singula.prediction import Predictor
from singula.training.checkpoint import Checkpoint
from singula.training.device import gather_to_main, share_from_main, world_and_rank
from singula.util.format import counted
from singula.util.messages import is_new

if TYPE_CHECKING:
    from singula.data.normalize import Normalizer

_log = logging.getLogger(__name__)
Maps = dict[str, npt.NDArray[Any]]
STACK = "stack"


@dataclass
class ImagePrediction:
    """Prediction of one image by a process, to be sent to the main process.

    Parameters
    ----------
    maps : dict
        For each view, its maps by name.
    new_views : list of View
        Views whose maps were predicted and are not stored yet.
    per_patch : dict of str to float
        Mean scores of the patches.
    has_new_patch_scores : bool
        True if the scores of the patches were computed and are not stored yet.
    seconds : float
        Duration of the prediction in seconds.
    error : str
        Message if the prediction failed; otherwise empty.
    loaded : tuple, optional
        Image, ground truth and mask; None outside of the main process.
    """

    maps: dict[View, Maps] = field(default_factory=dict)
    new_views: list[View] = field(default_factory=list)
    per_patch: dict[str, float] = field(default_factory=dict)
    has_new_patch_scores: bool = False
    seconds: float = 0.0
    error: str = ""
    loaded: Loaded | None = None


@dataclass
class WholeImageTest(TestRun):
    """Test of images that fit into memory.

    If there are several processes, each predicts a part of the images; the main process also
    decodes and writes the results.

    The other attributes and the parameters are described in `TestRun`.

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
        for first in range(0, len(remaining), world):
            group = remaining[first : first + world]
            local = self._predict(group[rank], network) if rank < len(group) else None
            for pair, predicted in zip(group, gather_to_main(local), strict=False):
                if predicted is None:
                    raise RuntimeError("a process returned no prediction")
                name = pair.name
                message = self._attempt(name, partial(self._receive, pair, predicted, stacked))
                if progress is not None and name in self.results.instances:
                    stamp = self.inputs.stamp(pair)
                    progress.add(name, stamp, self.results, self._files(name))
                yield name, message
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

    def _predict(
        self,
        pair: Pair,
        network: tuple[Predictor, Normalizer] | None,
    ) -> ImagePrediction:
        """Predict all views of an image; return the message of a `UserError` instead of raising."""
        try:
            with refuse_if_out_of_memory():
                loaded = self.inputs.read(pair)
                predicted = ImagePrediction(loaded=loaded if self.is_main else None)
                for view in self._views():
                    predicted.maps[view] = self._maps(loaded, pair.name, view, network, predicted)
        except StorageError:
            raise
        except UserError as error:
            return ImagePrediction(error=str(error))
        return predicted

    def _receive(
        self, pair: Pair, predicted: ImagePrediction, stacked: list[tuple[Maps, Loaded]]
    ) -> str:
        """Store, decode and score a prediction, and return a description of the result."""
        name, results = pair.name, self.results
        if predicted.error:
            raise UserError(predicted.error, None, "test.image_failed")
        loaded = predicted.loaded or self.inputs.read(pair)
        for line in constant_image_notices(pair.image, loaded[0].array):
            _log.warning(line)
        for view in predicted.new_views:
            self.stored_maps.write(name, view, predicted.maps[view], loaded[0], pair.image)
        if predicted.per_patch:
            results.scores.add_maps(name, "per_patch", predicted.per_patch)
        if predicted.has_new_patch_scores:
            stamp = truth_stamp(self.config, pair)
            self.stored_maps.add_patch_scores(name, "per_image", stamp, predicted.per_patch)
        results.seconds["prediction"] = results.seconds.get("prediction", 0.0) + predicted.seconds
        if self.config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK:
            for view, maps in predicted.maps.items():
                WholeImage(results, name, view, *loaded).score(maps)
            stacked.append((predicted.maps[self._views()[-1]], loaded))
            return "predicted"
        for view in self._views():
            self._add(name, view, predicted.maps.pop(view), loaded)
        return result_text(results.instances[name], results.scores, name)

    def _add(self, name: str, view: View, maps: Maps, loaded: Loaded) -> None:
        """Add an image to the results, and report each notice of the decoder once."""
        for notice in WholeImage(self.results, name, view, *loaded).add(maps):
            if is_new(notice):
                _log.warning(f"{name}: {notice}")

    def _finish_stack(self, parts: list[tuple[Maps, Loaded]]) -> None:
        """Decode and score all images as the slices of one volume, ordered by name."""
        if self.failed:
            refuse_gaps(self.failed, with_reason=False)
        self._add(STACK, "as_3d_stack", *stack_slices(parts, STACK))
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

"""Prediction, decoding and scoring of the test images."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from singula.config import Config
from singula.errors import StorageError, UserError, refuse_if_out_of_memory
from singula.io.lazy_array import constant_image_notices
from singula.io.pairing import Pair
from singula.io.run_folder import ResultsTree, View
from singula.pipeline.checkpoints import find_checkpoint, predictor_from
from singula.pipeline.map_cache import StoredMaps, set_results_aside
from singula.pipeline.memory import warn_if_too_large
from singula.pipeline.normalization import with_statistics
from singula.pipeline.patches import PatchScores, truth_stamp
from singula.pipeline.postprocess import post_settings
from singula.pipeline.predict_image import predict_maps, score_patches
from singula.pipeline.progress import Progress, remove_scores, settings_fingerprint
from singula.pipeline.results import TestResults
from singula.pipeline.score import result_text
from singula.pipeline.slice_stack import Loaded, refuse_gaps, stack_slices
from singula.pipeline.test_inputs import TestInputs
from singula.pipeline.thresholds import apply_tuned, threshold_lines
from singula.prediction import Predictor
from singula.training.checkpoint import Checkpoint, load_checkpoint
from singula.training.device import gather_to_main, share_from_main, world_and_rank
from singula.util.format import counted

if TYPE_CHECKING:
    from singula.data.normalize import Normalizer
    from singula.training.device import Device

Maps = dict[str, npt.NDArray[Any]]
Notify = Callable[[str], None]
STACK = "stack"


@dataclass
class Predicted:
    """Prediction of one image by a process, to be sent to the main process.

    Parameters
    ----------
    maps : dict
        Maps by name, for each view.
    fresh : list of View
        Views whose maps are computed and not stored yet.
    per_patch : dict of str to float
        Mean scores of the patches.
    patches_predicted : bool
        True if the scores of the patches are computed and not stored yet.
    seconds : float
        Seconds in the network.
    error : str
        Message if the prediction failed; otherwise empty.
    loaded : tuple, optional
        Image, ground truth and mask; None outside of the main process.
    """

    maps: dict[View, Maps] = field(default_factory=dict)
    fresh: list[View] = field(default_factory=list)
    per_patch: dict[str, float] = field(default_factory=dict)
    patches_predicted: bool = False
    seconds: float = 0.0
    error: str = ""
    loaded: Loaded | None = None


@dataclass
class TestRun:
    """Test of images that fit into memory.

    An image that cannot be read or does not fit into memory is recorded in `failed`, and the test
    continues with the next image. Errors of the results folder end the test.

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
        Skip images that an earlier run finished with the same weights and settings.
    """

    __test__ = False  # not a test case of pytest

    config: Config
    tree: ResultsTree
    device: Device
    notify: Notify
    resume: bool = False
    failed: dict[str, str] = field(default_factory=dict)
    results: TestResults = field(init=False)
    inputs: TestInputs = field(init=False)
    stored: StoredMaps = field(init=False)
    reused: set[tuple[str, View]] = field(default_factory=set)
    stored_patches: dict[str, dict[str, float]] = field(default_factory=dict)
    unscored: set[str] = field(default_factory=set)
    sources: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    weights: Checkpoint | None = None

    def __post_init__(self) -> None:
        """Create the inputs and the empty results."""
        self.inputs = TestInputs(
            self.config, self.notify, writes=self.main, channels=self.tree.channels
        )
        self.results = TestResults(self.config, self.tree, post_settings(self.config))

    def run(self) -> TestRun:
        """Predict, decode and score all test images, and return the run.

        If there are several processes, each predicts a part of the images; the main process also
        decodes and writes the results.
        """
        config = self.config
        pairs, self.failed = self.inputs.find()
        if self.main and not config.TRAIN.ENABLE:  # otherwise reported before the training
            for line in warn_if_too_large(config, pairs):
                self.notify(line)
        self.sources = {p.name: (str(p.image), str(p.label) if p.label else None) for p in pairs}
        checkpoint = self._checkpoint(pairs)
        self._use_tuned_thresholds()
        progress, remaining = self._remaining(pairs, checkpoint)
        network = None
        if self.weights is not None and not self._all_reused(remaining):
            network = self._load(self.weights)
        self.weights = None
        if self.main and not self.resume:  # after all checks that can raise a UserError
            set_results_aside(self.tree, self.notify, keep_maps=config.TEST.REUSE_PREDICTIONS)
        reported: set[str] = set()
        stacked: list[tuple[Maps, Loaded]] = []
        world, rank = world_and_rank()
        for first in range(0, len(remaining), world):
            group = remaining[first : first + world]
            local = self._predict(group[rank], network) if rank < len(group) else None
            for pair, predicted in zip(group, gather_to_main(local), strict=False):
                if predicted is None:
                    raise RuntimeError("a process predicted nothing")
                message = self._receive(pair, predicted, stacked, reported)
                if progress is not None and pair.name in self.results.instances:
                    stamp = self.inputs.stamp(pair)
                    progress.add(pair.name, stamp, self.results, self._files(pair.name))
                number = remaining.index(pair) + 1
                self.notify(f"[{number}/{len(remaining)}] {pair.name}: {message}")
        self.inputs.close()
        if stacked:
            self._finish_stack(stacked, reported)
        return self

    @property
    def main(self) -> bool:
        """True in the process that decodes and writes."""
        return world_and_rank()[1] == 0

    def _remaining(
        self, pairs: list[Pair], checkpoint: Path | None
    ) -> tuple[Progress | None, list[Pair]]:
        """Return the progress of an earlier run (in the main process), and the remaining images."""
        progress = None
        names = [p.name for p in pairs]
        if self.main:
            progress = Progress(
                self.tree.progress,
                settings_fingerprint(self.config, checkpoint),
                resume=self.resume,
                notify=self.notify,
            )
            names = [
                p.name
                for p in pairs
                if not progress.restore(p.name, self.inputs.stamp(p), self.results)
            ]
            if len(names) < len(pairs):
                self.notify(
                    f"{len(pairs) - len(names)} of {counted(len(pairs), 'image')} done already"
                )
        shared = set(share_from_main(names))
        return progress, [p for p in pairs if p.name in shared]

    def _predict(
        self,
        pair: Pair,
        network: tuple[Predictor, Normalizer] | None,
    ) -> Predicted:
        """Predict all views of an image; return an error of the user instead of raising it."""
        try:
            with refuse_if_out_of_memory():
                loaded = self.inputs.read(pair)
                predicted = Predicted(loaded=loaded if self.main else None)
                for view in self._views():
                    predicted.maps[view] = self._maps(loaded, pair.name, view, network, predicted)
        except StorageError:
            raise
        except UserError as error:
            return Predicted(error=str(error))
        return predicted

    def _receive(
        self,
        pair: Pair,
        predicted: Predicted,
        stacked: list[tuple[Maps, Loaded]],
        reported: set[str],
    ) -> str:
        """Store, decode and score a prediction, and return a description of the result."""
        try:
            with refuse_if_out_of_memory():
                if predicted.error:
                    raise UserError(predicted.error, code="test.image_failed")
                loaded = predicted.loaded or self.inputs.read(pair)
                for line in constant_image_notices(pair.image, loaded[0].array):
                    self.notify(line)
                for view in predicted.fresh:
                    self.stored.write(pair.name, view, predicted.maps[view], loaded[0], pair.image)
                if predicted.per_patch:
                    self.results.scores.add_maps(pair.name, "per_patch", predicted.per_patch)
                if predicted.patches_predicted:
                    stamp = truth_stamp(self.config, pair)
                    scores = predicted.per_patch
                    self.stored.add_patch_scores(pair.name, "per_image", stamp, scores)
                seconds = self.results.seconds
                seconds["prediction"] = seconds.get("prediction", 0.0) + predicted.seconds
                if self.config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK:
                    for view, maps in predicted.maps.items():
                        self.results.score_slice(pair.name, view, maps, *loaded[1:])
                    stacked.append((predicted.maps[self._views()[-1]], loaded))
                    return "predicted"
                return self._finish(pair.name, loaded, predicted.maps, reported)
        except StorageError:
            raise
        except UserError as error:
            self.failed[pair.name] = str(error)
            self.results.instances.pop(pair.name, None)
            remove_scores(self.results.scores, pair.name)
            return f"FAILED: {self.failed[pair.name]}"

    def _finish(
        self,
        name: str,
        loaded: Loaded,
        maps: dict[View, Maps],
        reported: set[str],
    ) -> str:
        image, truth, mask = loaded
        for view in self._views():
            notes = self.results.add_image(name, view, maps.pop(view), image, truth, mask)
            self._report_once(name, notes, reported)
        return result_text(self.results.instances[name], self.results.scores, name)

    def _report_once(self, name: str, notes: tuple[str, ...], reported: set[str]) -> None:
        for note in notes:
            if note not in reported:
                reported.add(note)
                self.notify(f"{name}: {note}")

    def _finish_stack(
        self,
        parts: list[tuple[Maps, Loaded]],
        reported: set[str],
    ) -> None:
        """Decode and score all images as the slices of one volume, in the order of their names."""
        if self.failed:
            refuse_gaps(self.failed, with_reason=False)
        maps, (image, truth, mask) = stack_slices(parts, STACK)
        notes = self.results.add_image(STACK, "as_3d_stack", maps, image, truth, mask)
        self._report_once(STACK, notes, reported)
        count = self.results.instances[STACK]
        text = result_text(count, self.results.scores, STACK, "as_3d_stack")
        self.notify(f"as 3D stack: {text}")

    def _files(self, name: str) -> list[Path]:
        files = [self.tree.instances(view) / f"{name}.tif" for view in self._views()]
        if self.results.post.has_own_result:
            files += [self.tree.post_processed(view) / f"{name}.tif" for view in self._views()]
        return files

    def _checkpoint(self, pairs: list[Pair]) -> Path | None:
        """Return the checkpoint to predict with; None if all predictions are reused."""
        try:
            path = find_checkpoint(self.config, self.tree)
        except UserError:
            self._find_stored_maps(pairs, None)
            if not self._all_reused(pairs):
                raise
            return None
        self._find_stored_maps(pairs, path)
        return path

    def _all_reused(self, pairs: list[Pair]) -> bool:
        """Return True if the network is not needed for these images."""
        maps = all((p.name, view) in self.reused for p in pairs for view in self._views())
        return maps and not any(p.name in self.unscored for p in pairs)

    def _find_stored_maps(self, pairs: list[Pair], checkpoint: Path | None) -> None:
        """Find the stored maps to reuse, and report the others."""
        self.weights = None
        if checkpoint is not None:
            self.weights = with_statistics(
                self.config, load_checkpoint(checkpoint, self.notify), self.notify
            )
        fingerprint = self.weights.fingerprint if self.weights is not None else None
        self.stored = StoredMaps(self.config, self.tree, fingerprint, notify=self.notify)
        if not self.config.TEST.REUSE_PREDICTIONS:
            return
        states = {
            (p.name, v): self.stored.state(p.name, v, p.image) for p in pairs for v in self._views()
        }
        self.reused = {key for key, state in states.items() if state in ("current", "unknown")}
        count = Counter(states.values())
        self.notify(
            f"TEST.REUSE_PREDICTIONS: {len(self.reused)} of {counted(len(states), 'map')} reused"
        )
        if count["unknown"]:
            self.notify(
                f"  {count['unknown']} of these have no record of the image and the weights"
            )
        if count["stale"]:
            self.notify(
                f"  {count['stale']} are predicted again: the image, the weights or the settings "
                "changed"
            )
        self._find_patch_scores([p for p in pairs if (p.name, "per_image") in self.reused])

    def _find_patch_scores(self, pairs: list[Pair]) -> None:
        """Find the scores of patches that are stored with reused maps."""
        if not (self.inputs.has_truth and self.config.TEST.STATS.PER_PATCH):
            return
        n_missing = 0
        for pair in pairs:
            name, scores = pair.name, None
            current = self.stored.state(name, "per_image", pair.image) == "current"
            if current:
                stamp = truth_stamp(self.config, pair)
                scores = self.stored.patch_scores(name, "per_image", stamp)
            if scores is not None:
                self.stored_patches[name] = scores
            elif current and self.weights is not None:
                self.unscored.add(name)
            else:
                n_missing += 1
        if self.unscored:
            self.notify(
                f"  patches of {counted(len(self.unscored), 'image')} are predicted again: their "
                "scores are not stored for these labels (TEST.STATS.PER_PATCH: False omits them)"
            )
        if n_missing:
            self.notify(
                f"  {counted(n_missing, 'image')} without scores per patch: they are not stored"
            )

    def _views(self) -> tuple[View, ...]:
        return ("per_image", "full_image") if self.config.TEST.FULL_IMG else ("per_image",)

    def _use_tuned_thresholds(self) -> None:
        """Use the thresholds saved with the weights, unless the configuration sets them."""
        description = self.weights.description if self.weights is not None else {}
        self.config, notices = apply_tuned(self.config, description)
        self.results.config = self.config
        for line in (*notices, *threshold_lines(self.config)):
            self.notify(line)

    def _load(self, checkpoint: Checkpoint) -> tuple[Predictor, Normalizer]:
        loaded = predictor_from(self.config, checkpoint, self.device.torch, self.notify)
        self.notify(f"predicting with {checkpoint.path}")
        return loaded

    def _maps(
        self,
        loaded: Loaded,
        name: str,
        view: View,
        network: tuple[Predictor, Normalizer] | None,
        predicted: Predicted,
    ) -> Maps:
        """Predict the maps of a view and add their scores to `predicted`, or read stored maps."""
        image, truth, _ = loaded
        start, patches = time.perf_counter(), None
        if view == "per_image" and truth is not None and self.config.TEST.STATS.PER_PATCH:
            patches = PatchScores(self.config, truth)
        reused = (name, view) in self.reused
        if reused and patches is not None and name not in self.unscored:
            predicted.per_patch, patches = self.stored_patches.get(name, {}), None
        if reused and patches is None:
            return self.stored.read(name, view, image)
        if network is None:
            raise RuntimeError("prediction needs a network")
        if reused and patches is not None:
            score_patches(self.config, *network, image.array, patches, notify=self.notify)
            maps = self.stored.read(name, view, image)
        else:
            maps = predict_maps(
                self.config,
                *network,
                image.array,
                whole=view == "full_image",
                patches=patches,
                notify=self.notify,
            )
            predicted.fresh.append(view)
        if patches is not None:
            predicted.per_patch, predicted.patches_predicted = patches.mean(), True
        predicted.seconds += time.perf_counter() - start
        return maps

"""Predict, decode and score the test images, one after the other."""

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
from singula.io.pairs import Pair
from singula.io.results import ResultsTree, View
from singula.prediction import Predictor
from singula.stages.finish import Finish
from singula.stages.inputs import TestInputs
from singula.stages.maps import predict_maps, score_patches
from singula.stages.normalization import with_statistics
from singula.stages.patches import PatchScores, truth_stamp
from singula.stages.post import post_settings
from singula.stages.progress import Progress, forget, settings_fingerprint
from singula.stages.room import notice_large
from singula.stages.score import result_words
from singula.stages.stack import Loaded, refuse_gaps, stack_slices
from singula.stages.stored import StoredMaps, set_results_aside
from singula.stages.thresholds import apply_tuned, threshold_lines
from singula.stages.weights import find_checkpoint, predictor_from
from singula.training.checkpoint import Checkpoint, load_checkpoint
from singula.training.device import gather_to_main, share_from_main, world_and_rank
from singula.words import counted

if TYPE_CHECKING:
    from singula.data.normalize import Normalizer
    from singula.training.device import Device

Maps = dict[str, npt.NDArray[Any]]
Notify = Callable[[str], None]
STACK = "stack"


@dataclass
class Predicted:
    """What a process found out about one image, small enough to be sent to the first one.

    Parameters
    ----------
    maps : dict
        View → maps by name.
    fresh : list of View
        Views whose maps were computed and are not stored yet.
    per_patch : dict
        Mean scores of the patches.
    patches_predicted : bool
        The scores of the patches are computed and not stored yet.
    seconds : float
        Time in the network.
    error : str
        Why there is nothing; empty when there is.
    loaded : tuple, optional
        Image, truth and mask, in the process that goes on with them.
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
    """One pass over the test images.

    An image that cannot be read or does not fit in memory does not stop the others: `failed`
    names it. A full disk does.

    Parameters
    ----------
    config : Config
    tree : ResultsTree
    device : Device
    notify : callable
    resume : bool
        Skip images that an earlier run finished under the same weights and settings.
    """

    __test__ = False  # not a test case, whatever its name says

    config: Config
    tree: ResultsTree
    device: Device
    notify: Notify
    resume: bool = False
    failed: dict[str, str] = field(default_factory=dict)
    finish: Finish = field(init=False)
    inputs: TestInputs = field(init=False)
    stored: StoredMaps = field(init=False)
    reused: set[tuple[str, View]] = field(default_factory=set)
    stored_patches: dict[str, dict[str, float]] = field(default_factory=dict)
    unscored: set[str] = field(default_factory=set)
    sources: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    weights: Checkpoint | None = None

    def __post_init__(self) -> None:
        """Make the place where everything is gathered."""
        self.inputs = TestInputs(
            self.config, self.notify, writes=self.main, channels=self.tree.channels
        )
        self.finish = Finish(self.config, self.tree, post_settings(self.config))

    def run(self) -> TestRun:
        """Predict, decode and score every test image.

        Several processes share the images among them; the first one decodes and writes everything,
        while the others go on predicting.
        """
        config = self.config
        pairs, self.failed = self.inputs.find()
        if self.main and not config.TRAIN.ENABLE:  # else it was said before the training
            for line in notice_large(config, pairs):
                self.notify(line)
        self.sources = {p.name: (str(p.image), str(p.label) if p.label else None) for p in pairs}
        checkpoint = self._checkpoint(pairs)
        self._use_tuned_thresholds()
        progress, waiting = self._waiting(pairs, checkpoint)
        network = None
        if self.weights is not None and not self._all_reused(waiting):
            network = self._load(self.weights)
        self.weights = None
        if self.main and not self.resume:  # all that a user can correct is checked by now
            set_results_aside(self.tree, self.notify, keep_maps=config.TEST.REUSE_PREDICTIONS)
        said: set[str] = set()
        stacked: list[tuple[Maps, Loaded]] = []
        world, rank = world_and_rank()
        for first in range(0, len(waiting), world):
            group = waiting[first : first + world]
            own = self._predict(group[rank], network) if rank < len(group) else None
            for pair, found in zip(group, gather_to_main(own), strict=False):
                if found is None:
                    raise RuntimeError("a process predicted nothing")
                words = self._receive(pair, found, stacked, said)
                if progress is not None and pair.name in self.finish.instances:
                    stamp = self.inputs.stamp(pair)
                    progress.add(pair.name, stamp, self.finish, self._files(pair.name))
                number = waiting.index(pair) + 1
                self.notify(f"[{number}/{len(waiting)}] {pair.name}: {words}")
        self.inputs.close()
        if stacked:
            self._finish_stack(stacked, said)
        return self

    @property
    def main(self) -> bool:
        """Whether this process decodes and writes."""
        return world_and_rank()[1] == 0

    def _waiting(
        self, pairs: list[Pair], checkpoint: Path | None
    ) -> tuple[Progress | None, list[Pair]]:
        """What is known of an earlier run (in the first process), and what is left to do."""
        progress = None
        left = [p.name for p in pairs]
        if self.main:
            progress = Progress(
                self.tree.progress,
                settings_fingerprint(self.config, checkpoint),
                resume=self.resume,
                notify=self.notify,
            )
            left = [
                p.name
                for p in pairs
                if not progress.restore(p.name, self.inputs.stamp(p), self.finish)
            ]
            if len(left) < len(pairs):
                self.notify(
                    f"{len(pairs) - len(left)} of {counted(len(pairs), 'image')} done already"
                )
        names = set(share_from_main(left))
        return progress, [p for p in pairs if p.name in names]

    def _predict(
        self,
        pair: Pair,
        network: tuple[Predictor, Normalizer] | None,
    ) -> Predicted:
        """Maps of an image in every view; what is wrong with it is kept, not raised."""
        try:
            with refuse_if_out_of_memory():
                loaded = self.inputs.read(pair)
                found = Predicted(loaded=loaded if self.main else None)
                for view in self._views():
                    found.maps[view] = self._maps(loaded, pair.name, view, network, found)
        except StorageError:
            raise
        except UserError as error:
            return Predicted(error=str(error))
        return found

    def _receive(
        self,
        pair: Pair,
        found: Predicted,
        stacked: list[tuple[Maps, Loaded]],
        said: set[str],
    ) -> str:
        """Store, decode and score what was predicted; gives the words that say how it went."""
        try:
            with refuse_if_out_of_memory():
                if found.error:
                    raise UserError(found.error)
                loaded = found.loaded or self.inputs.read(pair)
                for line in constant_image_notices(pair.image, loaded[0].array):
                    self.notify(line)
                for view in found.fresh:
                    self.stored.write(pair.name, view, found.maps[view], loaded[0], pair.image)
                if found.per_patch:
                    self.finish.scores.add_maps(pair.name, "per_patch", found.per_patch)
                if found.patches_predicted:
                    stamp = truth_stamp(self.config, pair)
                    self.stored.add_patch_scores(pair.name, "per_image", stamp, found.per_patch)
                seconds = self.finish.seconds
                seconds["prediction"] = seconds.get("prediction", 0.0) + found.seconds
                if self.config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK:
                    for view, maps in found.maps.items():
                        self.finish.score_slice(pair.name, view, maps, *loaded[1:])
                    stacked.append((found.maps[self._views()[-1]], loaded))
                    return "predicted"
                return self._finish(pair.name, loaded, found.maps, said)
        except StorageError:
            raise
        except UserError as error:
            self.failed[pair.name] = str(error)
            self.finish.instances.pop(pair.name, None)
            forget(self.finish.scores, pair.name)
            return f"FAILED: {self.failed[pair.name]}"

    def _finish(
        self,
        name: str,
        loaded: Loaded,
        maps: dict[View, Maps],
        said: set[str],
    ) -> str:
        image, truth, mask = loaded
        for view in self._views():
            notes = self.finish.finish(name, view, maps.pop(view), image, truth, mask)
            self._say_once(name, notes, said)
        return result_words(self.finish.instances[name], self.finish.scores, name)

    def _say_once(self, name: str, notes: tuple[str, ...], said: set[str]) -> None:
        for note in notes:
            if note not in said:
                said.add(note)
                self.notify(f"{name}: {note}")

    def _finish_stack(
        self,
        parts: list[tuple[Maps, Loaded]],
        said: set[str],
    ) -> None:
        """All images, in the order of their names, as the slices of one volume."""
        if self.failed:
            refuse_gaps(self.failed, with_reason=False)
        maps, (image, truth, mask) = stack_slices(parts, STACK)
        notes = self.finish.finish(STACK, "as_3d_stack", maps, image, truth, mask)
        self._say_once(STACK, notes, said)
        count = self.finish.instances[STACK]
        words = result_words(count, self.finish.scores, STACK, "as_3d_stack")
        self.notify(f"as 3D stack: {words}")

    def _files(self, name: str) -> list[Path]:
        files = [self.tree.instances(view) / f"{name}.tif" for view in self._views()]
        if self.finish.post.has_own_result:
            files += [self.tree.post_processed(view) / f"{name}.tif" for view in self._views()]
        return files

    def _checkpoint(self, pairs: list[Pair]) -> Path | None:
        """The checkpoint to predict with; None when every prediction is there to be reused."""
        try:
            path = find_checkpoint(self.config, self.tree)
        except UserError:
            self._look_for_maps(pairs, None)
            if not self._all_reused(pairs):
                raise
            return None
        self._look_for_maps(pairs, path)
        return path

    def _all_reused(self, pairs: list[Pair]) -> bool:
        """Return True if the network is not needed for these images."""
        maps = all((p.name, view) in self.reused for p in pairs for view in self._views())
        return maps and not any(p.name in self.unscored for p in pairs)

    def _look_for_maps(self, pairs: list[Pair], checkpoint: Path | None) -> None:
        """Find the stored maps that may be used again, and say what is made of the others."""
        self.weights = None
        if checkpoint is not None:
            self.weights = with_statistics(
                self.config, load_checkpoint(checkpoint, self.notify), self.notify
            )
        known = self.weights.fingerprint if self.weights is not None else None
        self.stored = StoredMaps(self.config, self.tree, known, notify=self.notify)
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
            self.notify(f"  {count['unknown']} of them are not known to be of these images")
        if count["stale"]:
            self.notify(
                f"  {count['stale']} are predicted anew: their image, the weights or settings "
                "are others now"
            )
        self._look_for_patch_scores([p for p in pairs if (p.name, "per_image") in self.reused])

    def _look_for_patch_scores(self, pairs: list[Pair]) -> None:
        """Find the scores of patches that are stored with reused maps of these images."""
        if not (self.inputs.has_truth and self.config.TEST.STATS.PER_PATCH):
            return
        lost = 0
        for pair in pairs:
            name, known = pair.name, None
            current = self.stored.state(name, "per_image", pair.image) == "current"
            if current:
                stamp = truth_stamp(self.config, pair)
                known = self.stored.patch_scores(name, "per_image", stamp)
            if known is not None:
                self.stored_patches[name] = known
            elif current and self.weights is not None:
                self.unscored.add(name)
            else:
                lost += 1
        if self.unscored:
            self.notify(
                f"  patches of {counted(len(self.unscored), 'image')} are predicted again: their "
                "scores are not stored for these labels (TEST.STATS.PER_PATCH: False omits them)"
            )
        if lost:
            self.notify(f"  {counted(lost, 'image')} without scores per patch: they are not stored")

    def _views(self) -> tuple[View, ...]:
        return ("per_image", "full_image") if self.config.TEST.FULL_IMG else ("per_image",)

    def _use_tuned_thresholds(self) -> None:
        """Take the thresholds that are saved with the weights, where the file gives none."""
        description = self.weights.description if self.weights is not None else {}
        self.config, notices = apply_tuned(self.config, description)
        self.finish.config = self.config
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
        found: Predicted,
    ) -> Maps:
        """Maps by name, predicted now (noted in `found`) or read from an earlier run."""
        image, truth, _ = loaded
        began, patches = time.perf_counter(), None
        if view == "per_image" and truth is not None and self.config.TEST.STATS.PER_PATCH:
            patches = PatchScores(self.config, truth)
        reused = (name, view) in self.reused
        if reused and patches is not None and name not in self.unscored:
            found.per_patch, patches = self.stored_patches.get(name, {}), None
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
            found.fresh.append(view)
        if patches is not None:
            found.per_patch, found.patches_predicted = patches.mean(), True
        found.seconds += time.perf_counter() - began
        return maps

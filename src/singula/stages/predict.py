"""Predict, decode and score the test images, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.channels import encode_with
from singula.config import Config
from singula.errors import StorageError, UserError
from singula.io.image import Image
from singula.io.pairs import Pair
from singula.io.read import read_image
from singula.io.results import ResultsTree, View
from singula.io.write import write_tiff
from singula.models import channels_last
from singula.prediction import Predictor, PredictSettings, whole_plan
from singula.stages import settings as from_config
from singula.stages.data import LabelNotes, channel_store, find_test_pairs, read_pair
from singula.stages.finish import Finish, Truth
from singula.stages.post import masks_by_name, post_settings
from singula.stages.progress import Progress, file_stamp, forget, settings_fingerprint
from singula.stages.reading import Reader, reader_for
from singula.stages.score import AXES, PatchScores
from singula.stages.stack import Loaded, stack_slices
from singula.stages.train import find_checkpoint, network_from
from singula.training.checkpoint import Checkpoint, load_checkpoint
from singula.training.device import gather_to_main, share_from_main, world_and_rank

if TYPE_CHECKING:
    import torch

    from singula.channels.store import ChannelStore
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
        Scores of the maps, patch by patch.
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
    reader: Reader = field(init=False)
    sources: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    label_notes: LabelNotes = field(default_factory=LabelNotes)

    def __post_init__(self) -> None:
        """Make the place where everything is gathered."""
        self.reader = reader_for(self.config, "TEST")
        self.finish = Finish(self.config, self.tree, post_settings(self.config))

    def run(self) -> TestRun:
        """Predict, decode and score every test image.

        Several processes share the images among them; the first one decodes and writes everything,
        while the others go on predicting.
        """
        config = self.config
        pairs, self.failed = find_test_pairs(config, self.notify, labels=self.has_truth)
        self.sources = {p.name: (str(p.image), str(p.label) if p.label else None) for p in pairs}
        masks = masks_by_name(self.finish.post, [p.name for p in pairs])
        checkpoint = None if self._all_stored(pairs) else find_checkpoint(config, self.tree)
        progress, waiting = self._waiting(pairs, masks, checkpoint)
        network = self._load(checkpoint) if checkpoint is not None and waiting else None
        store = self._store() if self.has_truth and self.main else None
        said: set[str] = set()
        stacked: list[tuple[Maps, Loaded]] = []
        world, rank = world_and_rank()
        for first in range(0, len(waiting), world):
            group = waiting[first : first + world]
            own = self._predict(group[rank], masks, store, network) if rank < len(group) else None
            for pair, found in zip(group, gather_to_main(own), strict=False):
                if found is None:
                    raise RuntimeError("a process predicted nothing")
                words = self._receive(pair, found, masks, store, stacked, said)
                if progress is not None and pair.name in self.finish.instances:
                    progress.add(
                        pair.name, _stamp(pair, masks), self.finish, self._files(pair.name)
                    )
                number = waiting.index(pair) + 1
                self.notify(f"[{number}/{len(waiting)}] {pair.name}: {words}")
        if store is not None:
            store.save()
        self.label_notes.tell("test", self.notify)
        if stacked:
            self._finish_stack(stacked, said)
        if self.main:
            self._close()
        return self

    @property
    def has_truth(self) -> bool:
        """Whether there are labels to score against."""
        keys = self.config.DATA.TEST
        return (keys.LOAD_GT or keys.USE_VAL_AS_TEST) and self.config.TEST.EVALUATE

    @property
    def main(self) -> bool:
        """Whether this process decodes and writes."""
        return world_and_rank()[1] == 0

    def _waiting(
        self, pairs: list[Pair], masks: dict[str, Path], checkpoint: Path | None
    ) -> tuple[Progress | None, list[Pair]]:
        """What is known of an earlier run (in the first process), and what is left to do."""
        progress = None
        left = [p.name for p in pairs]
        if self.main:
            progress = Progress(
                self.tree.progress,
                settings_fingerprint(self.config, checkpoint),
                resume=self.resume,
            )
            left = [
                p.name for p in pairs if not progress.restore(p.name, _stamp(p, masks), self.finish)
            ]
            if len(left) < len(pairs):
                self.notify(f"{len(pairs) - len(left)} of {len(pairs)} images are done already")
        names = set(share_from_main(left))
        return progress, [p for p in pairs if p.name in names]

    def _predict(
        self,
        pair: Pair,
        masks: dict[str, Path],
        store: ChannelStore | None,
        network: tuple[Predictor, Normalizer] | None,
    ) -> Predicted:
        """Maps of an image in every view; what is wrong with it is kept, not raised."""
        try:
            loaded = self._read(pair, masks, store)
            found = Predicted(loaded=loaded if self.main else None)
            for view in self._views():
                found.maps[view] = self._maps(loaded, pair.name, view, network, found)
        except StorageError:
            raise
        except (UserError, MemoryError) as error:
            return Predicted(error=_reason(error))
        return found

    def _receive(
        self,
        pair: Pair,
        found: Predicted,
        masks: dict[str, Path],
        store: ChannelStore | None,
        stacked: list[tuple[Maps, Loaded]],
        said: set[str],
    ) -> str:
        """Store, decode and score what was predicted; gives the words that say how it went."""
        try:
            if found.error:
                raise UserError(found.error)
            loaded = found.loaded or self._read(pair, masks, store)
            for view in found.fresh:
                self._store_maps(pair.name, view, found.maps[view], loaded[0])
            if found.per_patch:
                self.finish.scores.add_maps(pair.name, "per_patch", found.per_patch)
            seconds = self.finish.seconds
            seconds["prediction"] = seconds.get("prediction", 0.0) + found.seconds
            if self.config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK:
                stacked.append((found.maps["per_image"], loaded))
                return "predicted"
            return self._finish(pair.name, loaded, found.maps, said)
        except StorageError:
            raise
        except (UserError, MemoryError) as error:
            self.failed[pair.name] = _reason(error)
            self.finish.instances.pop(pair.name, None)
            forget(self.finish.scores, pair.name)
            return f"FAILED: {self.failed[pair.name]}"

    def _store(self) -> ChannelStore:
        """Where the channels of the test images' labels are kept: beside these labels."""
        folders = "TEST"
        if self.config.DATA.TEST.USE_VAL_AS_TEST:
            folders = "TRAIN" if self.config.DATA.VAL.FROM_TRAIN else "VAL"
        variant = self.reader.label_variant
        if variant:
            self.notify(f"DATA.PREPROCESS: results of the test images are as after {variant}")
        return channel_store(self.config, folders, self.notify, variant=variant, settings="TEST")

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
        words = f"{self.finish.instances[name]} instances"
        for scored, matches in self.finish.scores.matches.items():
            if name in matches and scored.startswith("per_image"):
                label = "" if scored == "per_image" else " post-processed"
                found = (f"F1 {m.f1:.3f} at {m.threshold:g}" for m in matches[name])
                words += f",{label} " + ", ".join(found)
        return words

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
        maps, (image, truth, mask) = stack_slices(parts, STACK)
        notes = self.finish.finish(STACK, "as_3d_stack", maps, image, truth, mask)
        self._say_once(STACK, notes, said)
        self.notify(f"as 3D stack: {self.finish.instances[STACK]} instances")

    def _close(self) -> None:
        if self.failed and not self.finish.instances:
            name, reason = next(iter(self.failed.items()))
            raise UserError(
                f"none of {len(self.failed)} test images could be done; {name}: {reason}"
            )

    def _files(self, name: str) -> list[Path]:
        files = [self.tree.instances(view) / f"{name}.tif" for view in self._views()]
        if self.finish.post.changes_instances:
            files += [self.tree.post_processed(view) / f"{name}.tif" for view in self._views()]
        return files

    def _all_stored(self, pairs: list[Pair]) -> bool:
        if not self.config.TEST.REUSE_PREDICTIONS:
            return False
        paths = [self._map_file(pair.name, view) for pair in pairs for view in self._views()]
        missing = sum(not path.is_file() for path in paths)
        if missing:
            self.notify(f"{missing} predictions are not there yet and will be made")
        return not missing

    def _views(self) -> tuple[View, ...]:
        return ("per_image", "full_image") if self.config.TEST.FULL_IMG else ("per_image",)

    def _map_file(self, image: str, view: View) -> Path:
        return self.tree.predictions(view) / f"{image}.tif"

    def _load(self, path: Path) -> tuple[Predictor, Normalizer]:
        loaded = predictor_from(self.config, load_checkpoint(path), self.device.torch)
        self.notify(f"predicting with {path}")
        return loaded

    def _read(self, pair: Pair, masks: dict[str, Path], store: ChannelStore | None) -> Loaded:
        """Image, truth and mask of a pair.

        The first process stores the encoded truth; the others, which write nothing, encode it anew.
        """
        config, name = self.config, pair.name
        truth = mask = None
        if self.has_truth:
            image, label = read_pair(self.reader, pair)
            ids = label[..., 0]
            if store is None:
                channels = encode_with(from_config.encode_settings(config, "TEST"), ids)
            else:
                if config.DATA.TEST.CHECK_DATA:
                    self.label_notes.add(name, ids)
                store.ensure(name, pair.image, lambda: ids, Path(str(pair.label)))
                channels = store.load(name)
            classes = label[..., 1] if label.shape[-1] > 1 else None
            truth = Truth(ids, classes, channels)
        else:
            image = self.reader.image(pair.image)
        if name in masks:
            mask = self.reader.resized(read_image(masks[name], config.ndim, 1).array)[..., 0] > 0
            if mask.shape != image.spatial_shape:
                raise UserError(
                    f"{masks[name]}: the mask has shape {mask.shape}, "
                    f"{pair.image} {image.spatial_shape}",
                    "give masks of their images' size in DATA.TEST.BINARY_MASKS",
                )
        return image, truth, mask

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
        began = time.perf_counter()
        path = self._map_file(name, view)
        if self.config.TEST.REUSE_PREDICTIONS and path.is_file():
            return self._stored_maps(path, image)
        if network is None:
            raise RuntimeError("prediction needs a network")
        predictor, normalizer = network
        plan = from_config.tile_plan(self.config, from_config.model_settings(self.config))
        batch = self.config.TRAIN.BATCH_SIZE
        patches = None
        if view == "full_image":
            plan, batch = whole_plan(image.spatial_shape, plan.multiple), 1
        elif truth is not None:
            patches = PatchScores(truth.maps, truth.foreground)
        keys = self.config.TEST
        maps = predictor.predict(
            image.array,
            normalizer.scaling(image.array),
            PredictSettings(
                plan,
                batch,
                keys.AUGMENTATION,
                half=keys.REDUCE_MEMORY,
                median_padding=self.config.DATA.TEST.MEDIAN_PADDING,
            ),
            patches.add if patches is not None else None,
        )
        if patches is not None:
            found.per_patch = patches.mean()
        found.fresh.append(view)
        found.seconds += time.perf_counter() - began
        return dict(maps)

    def _store_maps(self, name: str, view: View, maps: Maps, image: Image) -> None:
        stacked = np.stack([m.astype(np.float32, copy=False) for m in maps.values()], axis=-1)
        path = self._map_file(name, view)
        write_tiff(path, stacked, AXES[image.ndim] + "C", image.spacing, image.unit)

    def _stored_maps(self, path: Path, image: Image) -> Maps:
        names = from_config.channel_names(self.config)
        if from_config.n_classes(self.config):
            names = (*names, "class")
        stored = read_image(path, self.config.ndim, len(names)).array
        if stored.shape[:-1] != image.spatial_shape:
            raise UserError(
                f"{path}: the stored prediction has shape {stored.shape[:-1]}, "
                f"the image {image.spatial_shape}",
                "set TEST.REUSE_PREDICTIONS: False to predict again",
            )
        maps = {name: np.ascontiguousarray(stored[..., i]) for i, name in enumerate(names)}
        if "class" in maps:
            maps["class"] = maps["class"].astype(np.uint16)
        return maps


def predictor_from(
    config: Config, checkpoint: Checkpoint, device: torch.device
) -> tuple[Predictor, Normalizer]:
    """The configured network with a checkpoint's weights, ready to predict."""
    network, normalizer = network_from(config, checkpoint)
    predictor = Predictor(
        channels_last(network, config.ndim),
        from_config.outputs(config),
        from_config.n_classes(config),
        device,
    )
    return predictor, normalizer


def _reason(error: Exception) -> str:
    return str(error) or "not enough memory"


def _stamp(pair: Pair, masks: dict[str, Path]) -> str:
    return file_stamp(pair.image, pair.label, masks.get(pair.name))

"""Predict, decode and score the test images, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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
from singula.stages.train import find_checkpoint, network_from
from singula.training.checkpoint import Checkpoint, load_checkpoint

if TYPE_CHECKING:
    import torch

    from singula.channels.store import ChannelStore
    from singula.data.normalize import Normalizer
    from singula.training.device import Device

Maps = dict[str, npt.NDArray[Any]]
Notify = Callable[[str], None]
STACK = "stack"


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
        """Predict, decode and score every test image."""
        config = self.config
        keys = config.DATA.TEST
        has_truth = (keys.LOAD_GT or keys.USE_VAL_AS_TEST) and config.TEST.EVALUATE
        pairs, self.failed = find_test_pairs(config, self.notify, labels=has_truth)
        self.sources = {p.name: (str(p.image), str(p.label) if p.label else None) for p in pairs}
        masks = masks_by_name(self.finish.post, [p.name for p in pairs])
        checkpoint = None if self._all_stored(pairs) else find_checkpoint(config, self.tree)
        progress = Progress(
            self.tree.progress, settings_fingerprint(config, checkpoint), resume=self.resume
        )
        waiting = [p for p in pairs if not progress.restore(p.name, _stamp(p, masks), self.finish)]
        if len(waiting) < len(pairs):
            self.notify(f"{len(pairs) - len(waiting)} of {len(pairs)} images are done already")
        network = self._load(checkpoint) if checkpoint is not None and waiting else None
        store = self._store() if has_truth else None
        said: set[str] = set()
        views = self._views()
        stacked: list[tuple[Maps, Image, Truth | None, npt.NDArray[Any] | None]] = []
        for number, pair in enumerate(waiting, 1):
            try:
                loaded = self._read(pair, masks, store)
                maps = {view: self._maps(loaded, pair.name, view, network) for view in views}
                if config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK:
                    image, truth, mask = loaded
                    stacked.append((maps["per_image"], image, truth, mask))
                    words = "predicted"
                else:
                    words = self._finish(pair.name, loaded, maps, said)
                    progress.add(
                        pair.name, _stamp(pair, masks), self.finish, self._files(pair.name)
                    )
            except StorageError:
                raise
            except (UserError, MemoryError) as error:
                self.failed[pair.name] = str(error) or "not enough memory"
                forget(self.finish.scores, pair.name)
                words = f"FAILED: {self.failed[pair.name]}"
            self.notify(f"[{number}/{len(waiting)}] {pair.name}: {words}")
        if store is not None:
            store.save()
        self.label_notes.tell("test", self.notify)
        if stacked:
            self._finish_stack(stacked, said)
        self._close()
        return self

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
        loaded: tuple[Image, Truth | None, npt.NDArray[Any] | None],
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
        parts: list[tuple[Maps, Image, Truth | None, npt.NDArray[Any] | None]],
        said: set[str],
    ) -> None:
        """All images, in the order of their names, as the slices of one volume.

        Raises
        ------
        UserError
            Naming images of another size.
        """
        shapes = {image.name: image.spatial_shape for _, image, _, _ in parts}
        first = next(iter(shapes.values()))
        others = [f"{name} {shape}" for name, shape in shapes.items() if shape != first]
        if others:
            raise UserError(
                f"TEST.ANALIZE_2D_IMGS_AS_3D_STACK: images differ in size: the first is {first}, "
                f"but {', '.join(others[:5])}",
                "give images of one size, or set TEST.ANALIZE_2D_IMGS_AS_3D_STACK: False",
            )
        maps = {name: np.stack([m[name] for m, _, _, _ in parts]) for name in parts[0][0]}
        image = Image(np.stack([i.array for _, i, _, _ in parts]), name=STACK)
        truths = [t for _, _, t, _ in parts if t is not None]
        truth = _stack_truth(truths) if len(truths) == len(parts) else None
        masks = [m for _, _, _, m in parts if m is not None]
        mask = np.stack(masks) if masks else None
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

    def _read(
        self, pair: Pair, masks: dict[str, Path], store: ChannelStore | None
    ) -> tuple[Image, Truth | None, npt.NDArray[Any] | None]:
        """Image, truth and mask of a pair."""
        config, name = self.config, pair.name
        truth = mask = None
        if store is not None:
            image, label = read_pair(self.reader, pair)
            ids = label[..., 0]
            if config.DATA.TEST.CHECK_DATA:
                self.label_notes.add(name, ids)
            store.ensure(name, pair.image, lambda: ids, Path(str(pair.label)))
            classes = label[..., 1] if label.shape[-1] > 1 else None
            truth = Truth(ids, classes, store.load(name))
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
        loaded: tuple[Image, Truth | None, npt.NDArray[Any] | None],
        name: str,
        view: View,
        network: tuple[Predictor, Normalizer] | None,
    ) -> Maps:
        """Maps by name, predicted now or read from an earlier run."""
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
        stacked = np.stack([m.astype(np.float32, copy=False) for m in maps.values()], axis=-1)
        write_tiff(path, stacked, AXES[image.ndim] + "C", image.spacing, image.unit)
        if patches is not None:
            self.finish.scores.add_maps(name, "per_patch", patches.mean())
        self.finish.clock("prediction", began)
        return dict(maps)

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


def _stamp(pair: Pair, masks: dict[str, Path]) -> str:
    return file_stamp(pair.image, pair.label, masks.get(pair.name))


def _stack_truth(truths: list[Truth]) -> Truth:
    """One truth of several slices; ids are taken to go on from slice to slice."""
    classes = [t.classes for t in truths if t.classes is not None]
    return Truth(
        np.stack([t.labels for t in truths]),
        np.stack(classes) if len(classes) == len(truths) else None,
        {name: np.stack([t.maps[name] for t in truths]) for name in truths[0].maps},
    )

"""Measure patches per second of augmentation on one thread, also of installed libraries.

OMP_NUM_THREADS=1 python benchmarks/augmentation.py
OMP_NUM_THREADS=1 python benchmarks/augmentation.py --parts    # each change; ours and scipy

An image and its labels get a rotation by any angle, zoom 0.7–1.4, elastic deformation, brightness,
contrast and noise, all of them each time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from singula.config import config_from_dict
from singula.data.augment import Geometry, Patch, apply_augmentations, draw_geometry, sample_pair
from singula.data.augment.bend import draw_bend
from singula.data.augment.blur import median_of_squares
from singula.data.augment.geometry import turn
from singula.pipeline.augmentation import CHANGE_OF_KEY, augment_settings

SHAPES = ((256, 256), (16, 128, 128))
KEYS = {
    "ENABLE": True, "DA_PROB": 1.0, "RANDOM_ROT": True, "ZOOM": True, "ZOOM_RANGE": (0.7, 1.4),
    "ELASTIC": True, "E_ALPHA": (60, 60), "E_SIGMA": 8, "BRIGHTNESS": True, "CONTRAST": True,
    "GAUSSIAN_NOISE": True, "GAUSSIAN_NOISE_VAR": 0.001,
}  # fmt: skip
Step = Callable[[int], Any]


def pair(shape: tuple[int, ...], top: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and labels larger than the patch, channel first."""
    rng = np.random.default_rng(0)
    whole = (*shape[:-2], shape[-2] + 96, shape[-1] + 96)
    labels = np.kron(rng.integers(0, top, [n // 16 + 1 for n in whole]), np.ones([16] * len(whole)))
    labels = labels[tuple(slice(n) for n in whole)].astype(np.int64)
    return (labels % 7 / 7).astype(np.float32)[None], labels[None]


def crop(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the patch itself, which is the input of the other libraries."""
    index = (slice(None), *(slice(0, n) for n in shape[:-2]), slice(48, -48), slice(48, -48))
    image, labels = (a[index].copy() for a in pair(shape))
    return torch.from_numpy(image), torch.from_numpy(labels)


def ours(shape: tuple[int, ...]) -> Step:
    config = config_from_dict({"TRAIN.ENABLE": True, "AUGMENTOR": KEYS})
    settings = augment_settings(config)
    image, labels = (np.moveaxis(a, 0, -1) for a in pair(shape))
    image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels).astype(np.uint16)
    start = (*[0] * (len(shape) - 2), 48, 48)

    def step(seed: int) -> Any:
        rng = np.random.default_rng([0, 0, seed])
        geometry = draw_geometry(settings, shape, rng)
        patch = Patch(*sample_pair(image, labels, start, shape, geometry))
        return apply_augmentations(patch, settings, rng, lambda: patch)

    return step


def batchgeneratorsv2(shape: tuple[int, ...]) -> Step:
    from batchgeneratorsv2.transforms.intensity.brightness import (
        MultiplicativeBrightnessTransform,
    )
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

    transform = ComposeTransforms([
        SpatialTransform(
            shape, 0, random_crop=False, p_elastic_deform=1.0, elastic_deform_scale=(0.1, 0.1),
            elastic_deform_magnitude=(0.05, 0.05), p_rotation=1.0, rotation=(-np.pi, np.pi),
            p_scaling=1.0, scaling=(0.7, 1.4), bg_style_seg_sampling=False,
            mode_seg="nearest", padding_mode_image="reflection", border_mode_seg="reflection",
        ),
        GaussianNoiseTransform((0.0, 0.03), 1, True),
        MultiplicativeBrightnessTransform(BGContrast((0.9, 1.1)), False, 1),
        ContrastTransform(BGContrast((0.9, 1.1)), True, False, 1),
    ])  # fmt: skip
    image, labels = crop(shape)
    return lambda seed: transform(image=image.clone(), segmentation=labels.to(torch.int16))


def kornia(shape: tuple[int, ...]) -> Step:
    import kornia.augmentation as K  # noqa: N812

    if len(shape) == 3:
        raise NotImplementedError("no elastic deformation in 3D")
    transform = K.AugmentationSequential(
        K.RandomAffine(180.0, scale=(0.7, 1.4), p=1.0, padding_mode="reflection"),
        K.RandomElasticTransform(
            (33, 33), (8.0, 8.0), (0.1, 0.1), p=1.0, padding_mode="reflection"
        ),
        K.RandomBrightness((0.9, 1.1), p=1.0),
        K.RandomContrast((0.9, 1.1), p=1.0),
        K.RandomGaussianNoise(0.0, 0.03, p=1.0),
        data_keys=["image", "mask"],  # masks take the nearest pixel by default
    )
    image, labels = crop(shape)

    def step(seed: int) -> Any:
        torch.manual_seed(seed)
        return transform(image[None], labels[None].float())

    return step


def monai(shape: tuple[int, ...]) -> Step:
    import monai.transforms as M  # noqa: N812

    both, modes = ["image", "label"], ["bilinear", "nearest"]
    shared = {"mode": modes, "padding_mode": "reflection", "prob": 1.0}
    if len(shape) == 2:
        geometry = M.Rand2DElasticd(
            both, spacing=(14, 14), magnitude_range=(1, 2), rotate_range=np.pi,
            scale_range=(-0.3, 0.4), **shared
        )  # fmt: skip
    else:
        geometry = M.Rand3DElasticd(
            both, sigma_range=(8, 8), magnitude_range=(60, 60), rotate_range=(np.pi, 0, 0),
            scale_range=(0, (-0.3, 0.4), (-0.3, 0.4)), **shared
        )  # fmt: skip
    transform = M.Compose([
        geometry,
        M.RandShiftIntensityd("image", 0.1, prob=1.0),
        M.RandAdjustContrastd("image", prob=1.0),
        M.RandGaussianNoised("image", prob=1.0, std=0.03),
    ])  # fmt: skip
    image, labels = crop(shape)

    def step(seed: int) -> Any:
        transform.set_random_state(seed)
        return transform({"image": image, "label": labels})

    return step


def rate(step: Step, seconds: float = 3.0) -> float:
    """Return calls per second of CPU time."""
    for seed in range(3):
        step(seed)
    start, calls = time.process_time(), 0
    while time.process_time() - start < seconds:
        step(calls)
        calls += 1
    return calls / (time.process_time() - start)


def one_change(key: str, shape: tuple[int, ...]) -> Step:
    """Return the change of one key with default settings and probability 1."""
    keys = {"ENABLE": True, "DA_PROB": 1.0, key: True}
    settings = augment_settings(config_from_dict({"TRAIN.ENABLE": True, "AUGMENTOR": keys}))
    image, labels = (np.ascontiguousarray(np.moveaxis(a, 0, -1)) for a in pair(shape))
    place = tuple(slice(n) for n in shape)
    patch = Patch(image[place].copy(), labels[place].astype(np.uint16))

    def step(seed: int) -> Any:
        return apply_augmentations(patch, settings, np.random.default_rng(seed), lambda: patch)

    return step


def beside_scipy() -> dict[str, tuple[Step, Step]]:
    """Return our functions and those of scipy.ndimage, on a plane of 256²."""
    from scipy import ndimage

    shape, start = SHAPES[0], (48, 48)
    image, labels = (np.ascontiguousarray(np.moveaxis(a, 0, -1)) for a in pair(shape))
    labels = labels.astype(np.uint16)
    geometry = Geometry(turn(0.5), np.zeros(2))
    y, x = np.mgrid[: shape[0], : shape[1]] - 127.5
    places = np.tensordot(turn(0.5), np.stack([y, x]), 1) + 127.5 + 48

    def resample(seed: int) -> Any:
        return [
            ndimage.map_coordinates(array[..., 0], places, order=order, mode="mirror")
            for array, order in ((image, 1), (labels, 0))
        ]

    def smooth(seed: int) -> Any:
        noise = 2 * np.random.default_rng(seed).random((2, *shape), np.float32) - 1
        return 14 * ndimage.gaussian_filter(noise, (0, 4, 4))

    plane = image[:256, :256].astype(np.float32)
    return {
        "resampling": (lambda s: sample_pair(image, labels, start, shape, geometry), resample),
        "elastic field": (lambda s: draw_bend(shape, 14, 4, np.random.default_rng(s)), smooth),
        "median of 5": (
            lambda s: median_of_squares(plane, 5),
            lambda s: ndimage.median_filter(plane[..., 0], 5, mode="nearest"),
        ),
    }


def print_parts() -> None:
    """Print milliseconds of the parts, ours and scipy, and of each change."""
    for name, steps in beside_scipy().items():
        mine, theirs = (1e3 / rate(step, 1.0) for step in steps)
        print(f"{name}: {mine:.2f} ms, scipy {theirs:.2f} ms, {theirs / mine:.1f} times as long")
    for key in CHANGE_OF_KEY:
        found = [f"{1e3 / rate(one_change(key, shape), 0.5):.2f}" for shape in SHAPES]
        print(f"{key}: {found[0]} ms for {SHAPES[0]}, {found[1]} ms for {SHAPES[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", action="store_true", help="each change; ours beside scipy")
    torch.set_num_threads(1)
    if parser.parse_args().parts:
        print_parts()
        return
    for shape in SHAPES:
        base = 0.0
        for make in (ours, batchgeneratorsv2, kornia, monai):
            try:
                found = rate(make(shape))
            except (ImportError, NotImplementedError) as error:
                print(f"{shape} {make.__name__}: {error}")
                continue
            base = base or found
            print(f"{shape} {make.__name__}: {found:.1f} patches/s, {found / base:.2f} of ours")


if __name__ == "__main__":
    main()

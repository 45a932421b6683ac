"""Augmentation of training patches, as configured in AUGMENTOR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from singula.config import Config
from singula.config.schema.augmentor import Augmentor
from singula.data.augment import Augmentation, AugmentSettings, in_order
from singula.data.augment.blur import CutBlur, GaussianBlur, MedianBlur, MotionBlur
from singula.data.augment.intensity import (
    Background,
    Brightness,
    ChannelShuffle,
    Contrast,
    Gamma,
    Grayscale,
    Invert,
)
from singula.data.augment.noise import CutNoise, Dropout, GaussianNoise, PoissonNoise, SaltAndPepper
from singula.data.augment.regions import CutMix, Cutout, GridMask, MissingSections

CHANGE_OF_KEY: dict[str, Callable[[Augmentor], Augmentation]] = {
    "CUTMIX": lambda k: CutMix(k.CMIX_SIZE),
    "GRAYSCALE": lambda k: Grayscale(),
    "CHANNEL_SHUFFLE": lambda k: ChannelShuffle(),
    "INVERT": lambda k: Invert(),
    "BACKGROUND": lambda k: Background(k.BACKGROUND_STRENGTH),
    "BRIGHTNESS": lambda k: Brightness(
        k.BRIGHTNESS_FACTOR, per_slice=k.BRIGHTNESS_MODE == "2D"
    ),
    "BRIGHTNESS_EM": lambda k: Brightness(
        k.BRIGHTNESS_EM_FACTOR, relative=False, per_slice=k.BRIGHTNESS_EM_MODE == "2D"
    ),
    "CONTRAST": lambda k: Contrast(k.CONTRAST_FACTOR, per_slice=k.CONTRAST_MODE == "2D"),
    "CONTRAST_EM": lambda k: Contrast(
        k.CONTRAST_EM_FACTOR, about_mean=False, per_slice=k.CONTRAST_EM_MODE == "2D"
    ),
    "GAMMA_CONTRAST": lambda k: Gamma(k.GC_GAMMA),
    "G_BLUR": lambda k: GaussianBlur(k.G_SIGMA),
    "MEDIAN_BLUR": lambda k: MedianBlur(k.MB_KERNEL),
    "MOTION_BLUR": lambda k: MotionBlur(k.MOTB_K_RANGE),
    "CUTBLUR": lambda k: CutBlur(k.CBLUR_SIZE, k.CBLUR_DOWN_RANGE, k.CBLUR_INSIDE),
    "POISSON_NOISE": lambda k: PoissonNoise(),
    "GAUSSIAN_NOISE": lambda k: GaussianNoise(
        k.GAUSSIAN_NOISE_MEAN,
        k.GAUSSIAN_NOISE_VAR,
        k.GAUSSIAN_NOISE_USE_INPUT_IMG_MEAN_AND_VAR,
    ),
    "CUTNOISE": lambda k: CutNoise(k.CNOISE_SCALE, k.CNOISE_NB_ITERATIONS, k.CNOISE_SIZE),
    "SALT": lambda k: SaltAndPepper(k.SALT_AMOUNT, salt=1.0),
    "PEPPER": lambda k: SaltAndPepper(k.PEPPER_AMOUNT, salt=0.0),
    "SALT_AND_PEPPER": lambda k: SaltAndPepper(
        k.SALT_AND_PEPPER_AMOUNT, k.SALT_AND_PEPPER_PROP
    ),
    "DROPOUT": lambda k: Dropout(k.DROP_RANGE),
    "MISSING_SECTIONS": lambda k: MissingSections(k.MISSP_ITERATIONS),
    "GRIDMASK": lambda k: GridMask(k.GRID_RATIO, k.GRID_D_RANGE, k.GRID_ROTATE, k.GRID_INVERT),
    "CUTOUT": lambda k: Cutout(
        k.COUT_NB_ITERATIONS, k.COUT_SIZE, k.COUT_CVAL, k.COUT_APPLY_TO_MASK
    ),
}  # fmt: skip
"""Augmentation that each key of AUGMENTOR enables."""


def augment_settings(config: Config) -> AugmentSettings | None:
    """Return the configured augmentation of training patches; None if it is disabled."""
    keys = config.AUGMENTOR
    if not keys.ENABLE:
        return None

    def pair(enabled: bool, values: Any) -> tuple[float, float] | None:
        return (float(values[0]), float(values[1])) if enabled else None

    return AugmentSettings(
        probability=keys.DA_PROB,
        rotation=pair(keys.RANDOM_ROT, keys.RANDOM_ROT_RANGE),
        zoom=pair(keys.ZOOM, keys.ZOOM_RANGE),
        shift=pair(keys.SHIFT, keys.SHIFT_RANGE),
        shear=pair(keys.SHEAR, keys.SHEAR_RANGE),
        mode=keys.AFFINE_MODE,
        elastic_alpha=pair(keys.ELASTIC, keys.E_ALPHA),
        elastic_sigma=float(keys.E_SIGMA),
        elastic_mode=keys.E_MODE,
        misalignment=keys.MS_DISPLACEMENT if keys.MISALIGNMENT else None,
        misalignment_turns=keys.MS_ROTATE_RATIO,
        rot90=keys.ROT90,
        vflip=keys.VFLIP,
        hflip=keys.HFLIP,
        zflip=keys.ZFLIP,
        changes=in_order(
            change(keys) for key, change in CHANGE_OF_KEY.items() if getattr(keys, key)
        ),
    )

"""From the configuration to the small settings that each room understands.

Here, and nowhere else, a key of the YAML file meets the argument that it sets.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from singula.channels import EncodeSettings, parse_channels
from singula.channels.table import CHANNELS
from singula.config import Config
from singula.data.normalize import Normalizer
from singula.data.patches import TilePlan
from singula.instances import DecodeSettings
from singula.models import ModelSettings, downsampling

if TYPE_CHECKING:
    from singula.data.dataset import PatchSettings
    from singula.training.fit import FitSettings
    from singula.training.losses import Output
    from singula.training.optimise import OptimiserSettings


def channel_names(config: Config) -> tuple[str, ...]:
    """Names of the channels in the network's order."""
    return parse_channels(config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS)


def n_classes(config: Config) -> int:
    """Classes of the second head, background included; 0 without one."""
    count = int(config.MODEL.N_CLASSES)
    return count if count > 2 else 0


def model_settings(config: Config) -> ModelSettings:
    """The network."""
    model = config.MODEL
    return ModelSettings(
        ndim=config.ndim,
        in_channels=config.in_channels,
        out_channels=len(channel_names(config)),
        n_classes=n_classes(config),
        architecture=model.ARCHITECTURE.lower(),
        feature_maps=tuple(int(f) for f in model.FEATURE_MAPS),
        dropout=tuple(float(d) for d in model.DROPOUT_VALUES),
        z_down=tuple(int(z) for z in model.Z_DOWN),
        batch_norm=model.BATCH_NORMALIZATION,
        kernel=model.KERNEL_SIZE,
        upsample=model.UPSAMPLE_LAYER.lower(),
        activation=model.ACTIVATION,
    )


def outputs(config: Config) -> tuple[Output, ...]:
    """What each channel of the network's output means."""
    from singula.training.losses import Output

    problem = config.PROBLEM.INSTANCE_SEG
    names = channel_names(config)
    # Dv2 describes the background as well, so only D can be confined to the instances.
    return tuple(
        Output(
            name,
            CHANNELS[name].loss,
            CHANNELS[name].activation,
            weight,
            foreground_only=problem.DISTANCE_CHANNEL_MASK and name == "D",
        )
        for name, weight in zip(names, config.channel_weights, strict=True)
    )


def spacing(config: Config, part: str) -> tuple[float, ...] | None:
    """Size of a pixel along each axis, as configured; None counts pixels."""
    sizes: tuple[float, ...] | None = getattr(config.DATA, part).spacing
    return sizes


def encode_settings(config: Config, part: str) -> EncodeSettings:
    """How the labels of TRAIN, VAL or TEST become channels."""
    problem = config.PROBLEM.INSTANCE_SEG
    return EncodeSettings(
        channels=channel_names(config),
        spacing=spacing(config, part),
        contour_mode=problem.DATA_CONTOUR_MODE,
        point_radius=problem.POINT_RADIUS,
    )


def normalizer(config: Config) -> Normalizer:
    """How images are normalised, before any statistics are known."""
    keys = config.DATA.NORMALIZATION
    given = keys.TYPE == "custom" and keys.CUSTOM_STD > 0
    statistics: dict[str, tuple[float, ...]] | None = None
    if given:
        statistics = {"mean": (keys.CUSTOM_MEAN,), "std": (keys.CUSTOM_STD,)}
    return Normalizer(
        kind=keys.TYPE,
        per_image=keys.APPLICATION_MODE == "image",
        clip=(keys.PERC_LOWER, keys.PERC_UPPER) if keys.PERC_CLIP else None,
        statistics=statistics,
    )


def patch_settings(config: Config, part: str) -> PatchSettings:
    """How patches of TRAIN or VAL are cut."""
    from singula.data.dataset import PatchSettings

    keys = getattr(config.DATA, part)
    return PatchSettings(
        shape=config.patch,
        overlap=tuple(float(o) for o in keys.OVERLAP),
        padding=tuple(int(p) for p in keys.PADDING),
        random=config.DATA.EXTRACT_RANDOM_PATCH and part == "TRAIN",
    )


def tile_plan(config: Config, model: ModelSettings) -> TilePlan:
    """How test images are cut."""
    keys = config.DATA.TEST
    return TilePlan(
        patch=config.patch,
        overlap=tuple(float(o) for o in keys.OVERLAP),
        padding=tuple(int(p) for p in keys.PADDING),
        multiple=downsampling(model),
    )


def optimiser_settings(config: Config) -> OptimiserSettings:
    """Optimiser and learning-rate schedule."""
    from singula.training.optimise import OptimiserSettings

    keys, schedule = config.TRAIN, config.TRAIN.LR_SCHEDULER
    return OptimiserSettings(
        name=keys.OPTIMIZER,
        lr=keys.LR,
        weight_decay=keys.W_DECAY,
        betas=(keys.OPT_BETAS[0], keys.OPT_BETAS[1]),
        schedule=schedule.NAME,
        min_lr=schedule.MIN_LR,
        warmup_epochs=schedule.WARMUP_COSINE_DECAY_EPOCHS,
        plateau_factor=schedule.REDUCEONPLATEAU_FACTOR,
        plateau_patience=schedule.REDUCEONPLATEAU_PATIENCE,
    )


def fit_settings(config: Config, *, workers: int, live: bool) -> FitSettings:
    """Epochs, batches and what else the training loop needs."""
    from singula.training.fit import FitSettings

    keys = config.TRAIN
    return FitSettings(
        epochs=keys.EPOCHS,
        batch_size=keys.BATCH_SIZE,
        accumulate=keys.ACCUM_ITER,
        workers=workers,
        clip=keys.GRADIENT_CLIP,
        seed=config.SYSTEM.SEED,
        shuffle=config.AUGMENTOR.SHUFFLE_TRAIN_DATA_EACH_EPOCH,
        shuffle_validation=config.AUGMENTOR.SHUFFLE_VAL_DATA_EACH_EPOCH,
        pin_memory=config.SYSTEM.PIN_MEM,
        live=live,
    )


def decode_settings(config: Config) -> DecodeSettings:
    """Thresholds and steps from maps to instances."""
    return DecodeSettings.from_keys(decode_keys(config))


def decode_keys(config: Config) -> dict[str, Any]:
    """The keys of ``PROBLEM.INSTANCE_SEG`` that steer decoding."""
    keys = config.PROBLEM.INSTANCE_SEG
    return {name: getattr(keys, name) for name in type(keys).model_fields if name in _DECODE_KEYS}


_DECODE_KEYS = frozenset(
    (
        "DATA_MW_TH_TYPE",
        "DATA_MW_TH_BINARY_MASK",
        "DATA_MW_TH_CONTOUR",
        "DATA_MW_TH_FOREGROUND",
        "DATA_MW_TH_DISTANCE",
        "DATA_MW_TH_DIST_FOREGROUND",
        "DATA_MW_TH_POINTS",
        "DATA_REMOVE_SMALL_OBJ_BEFORE",
        "DATA_REMOVE_BEFORE_MW",
        "SEED_MORPH_SEQUENCE",
        "SEED_MORPH_RADIUS",
        "ERODE_AND_DILATE_FOREGROUND",
        "FORE_EROSION_RADIUS",
        "FORE_DILATION_RADIUS",
        "WATERSHED_BY_2D_SLICES",
        "DATA_CONTOUR_MODE",
        "GROW_INTO_CONTOUR",
    )
)


def describe(config: Config, model: ModelSettings, fitted: Normalizer) -> dict[str, Any]:
    """What a checkpoint carries, so that it can predict without the YAML file; plain types."""
    from singula import __version__

    return {
        "version": __version__,
        "model": model.to_dict(),
        "channels": config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS,
        "outputs": [asdict(o) for o in outputs(config)],
        "normalizer": fitted.to_dict(),
        "config": config.to_yaml(),
    }

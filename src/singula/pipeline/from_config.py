"""Settings of the other packages, from the configuration.

Only this module maps keys of the YAML file to arguments of other packages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from singula.config import Config
from singula.config.thresholds import KEYS, resolve_sources
from singula.data.normalize import Normalizer
from singula.data.patches import TilePlan
from singula.models import ModelSettings, TransformerSettings, downsampling, receptive_radius
from singula.models.settings import LayoutSettings
from singula.pipeline.outputs import channel_names as channel_names
from singula.pipeline.outputs import outputs as outputs
from singula.pipeline.readers import decoding_spacing as decoding_spacing
from singula.pipeline.readers import n_classes as n_classes
from singula.pipeline.readers import read_reference
from singula.pipeline.readers import spacing as spacing
from singula.representations.channel_table import CHANNELS
from singula.representations.channels import EncodeSettings
from singula.representations.decoders import DecodeSettings
from singula.representations.thresholds import AUTOMATIC

if TYPE_CHECKING:
    from singula.data.dataset import PatchSettings
    from singula.prediction import PredictSettings
    from singula.training.fit import FitSettings
    from singula.training.losses import InstanceLoss
    from singula.training.optimizer import OptimizerSettings


def model_settings(config: Config, trained: Mapping[str, Any] | None = None) -> ModelSettings:
    """Return the settings of the network.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    trained : mapping, optional
        Settings of the network in a checkpoint whose weights will be loaded. The patch shape of
        UNETR is taken from it, because the position embedding depends on the patch shape, and so
        are the arrangement of the layers, for the same architecture, and the units of the outputs,
        for the same number of channels.
    """
    model = config.MODEL
    same = trained is not None and trained.get("architecture") == model.ARCHITECTURE.lower()
    layout = trained.get("layout") if trained is not None and same else None
    names = channel_names(config)
    units = tuple(CHANNELS[name].unit for name in names)
    if trained is not None and trained.get("out_channels") == len(names):
        units = tuple(trained.get("units", ()))
    return ModelSettings(
        ndim=config.ndim,
        in_channels=config.in_channels,
        out_channels=len(names),
        n_classes=n_classes(config),
        architecture=model.ARCHITECTURE.lower(),
        feature_maps=tuple(int(f) for f in model.FEATURE_MAPS),
        dropout=tuple(float(d) for d in model.DROPOUT_VALUES),
        z_down=tuple(int(z) for z in model.Z_DOWN),
        batch_norm=model.BATCH_NORMALIZATION,
        kernel=model.KERNEL_SIZE,
        upsample=model.UPSAMPLE_LAYER.lower(),
        activation=model.ACTIVATION,
        transformer=_transformer_settings(config, trained or {}),
        layout=LayoutSettings(**(layout or {})),
        units=units if set(units) != {1.0} else (),
    )


def _transformer_settings(config: Config, trained: Mapping[str, Any]) -> TransformerSettings:
    """Return the settings of UNETR; for other architectures, the defaults."""
    model = config.MODEL
    if model.ARCHITECTURE != "unetr":
        return TransformerSettings()
    learned = trained.get("transformer", {}).get("patch")
    return TransformerSettings(
        **model.vit._asdict(),
        eps=model.VIT_NORM_EPS,
        every=model.UNETR_VIT_HIDD_MULT,
        filters=model.UNETR_VIT_NUM_FILTERS,
        activation=model.UNETR_DEC_ACTIVATION,
        kernel=model.UNETR_DEC_KERNEL_SIZE,
        patch=tuple(learned or config.patch),
    )


def instance_loss(config: Config) -> InstanceLoss:
    """Return the loss function of the training."""
    from singula.training.losses import BinaryLoss, InstanceLoss

    keys, classes = config.LOSS, n_classes(config)
    balance: str | tuple[float, ...] = keys.CLASS_REBALANCE
    if keys.CLASS_REBALANCE == "manual":
        balance = keys.CLASS_WEIGHTS
    entropy, dice, focal = {
        "CE": (1.0, 0.0, 0.0),
        "DICE": (0.0, 1.0, 0.0),
        "W_CE_DICE": (keys.WEIGHTS[0], keys.WEIGHTS[1], 0.0),
        "FOCAL": (0.0, 0.0, 1.0),
    }[keys.TYPE]
    # Weights of several classes do not apply to binary channels.
    binary_balance = "none" if classes and not isinstance(balance, str) else balance
    binary = BinaryLoss(
        entropy,
        dice,
        focal,
        smooth=keys.DICE_SMOOTH,
        gamma=keys.FOCAL_GAMMA,
        alpha=keys.FOCAL_ALPHA if keys.FOCAL_ALPHA >= 0 else None,
        balance=binary_balance
        if isinstance(binary_balance, str)
        else (binary_balance[0], binary_balance[1]),
    )
    size = spacing(config, "TRAIN", config.ndim)
    return InstanceLoss(
        outputs(config),
        classes,
        config.class_weight,
        binary=binary,
        class_balance=balance,
        voxel_size=size and tuple(length / min(size) for length in size),
    )


def encode_settings(config: Config, part: str) -> EncodeSettings:
    """Return the settings for encoding the labels of TRAIN, VAL or TEST."""
    problem = config.PROBLEM.INSTANCE_SEG
    return EncodeSettings(
        channels=channel_names(config),
        spacing=spacing(config, part),
        contour_mode=problem.DATA_CONTOUR_MODE,
        point_radius=problem.POINT_RADIUS,
        options=config.channel_options,
    )


def normalizer(config: Config) -> Normalizer:
    """Return the normalization of images, without statistics of the training set."""
    keys = config.DATA.NORMALIZATION
    has_moments = keys.TYPE == "custom" and keys.CUSTOM_STD > 0
    statistics: dict[str, tuple[float, ...]] | None = None
    if has_moments:
        statistics = {"mean": (keys.CUSTOM_MEAN,), "std": (keys.CUSTOM_STD,)}
    return Normalizer(
        kind=keys.TYPE,
        per_image=keys.APPLICATION_MODE == "image",
        clip=(keys.PERC_LOWER, keys.PERC_UPPER) if keys.PERC_CLIP else None,
        statistics=statistics,
    )


def patch_settings(config: Config, part: str) -> PatchSettings:
    """Return the settings for cropping patches of TRAIN or VAL."""
    from singula.data.dataset import PatchSettings

    data, training = config.DATA, part == "TRAIN"
    keys = getattr(data, part)
    random = data.EXTRACT_RANDOM_PATCH and training
    return PatchSettings(
        shape=config.patch,
        overlap=tuple(float(o) for o in keys.OVERLAP),
        padding=tuple(int(p) for p in keys.PADDING),
        random=random,
        weights=(data.W_FOREGROUND, data.W_BACKGROUND) if random and data.PROBABILITY_MAP else None,
        min_foreground=max(0.0, data.TRAIN.MINIMUM_FOREGROUND_PER) if training else 0.0,
        replicate=max(1, data.TRAIN.REPLICATE) if training else 1,
    )


def tile_plan(config: Config, model: ModelSettings) -> TilePlan:
    """Return the plan for dividing test images into blended tiles.

    A tile has the shape of a patch. It is larger if the patch without padding is smaller than the
    downsampling factor of the network.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    model : ModelSettings
        Settings of the network.
    """
    keys = config.DATA.TEST
    padding = tuple(int(p) for p in keys.PADDING)
    multiple = downsampling(model)
    tile = tuple(
        length + max(0, math.ceil((step - (length - 2 * pad)) / step) * step)
        for length, pad, step in zip(config.patch, padding, multiple, strict=True)
    )
    return TilePlan(
        patch=tile,
        overlap=tuple(float(o) for o in keys.OVERLAP),
        padding=padding,
        multiple=multiple,
    )


def patch_of_tiles(config: Config) -> tuple[int, ...]:
    """Return the minimum spatial shape of a tile."""
    return tile_plan(config, model_settings(config)).patch


# Number of pixels above which the probabilities of an image are stored in half precision
_LARGE = 64_000_000


def in_half(config: Config, shape: Sequence[int]) -> bool:
    """Return True if the probabilities of an image of this shape are stored in half precision."""
    return config.TEST.REDUCE_MEMORY or math.prod(shape) > _LARGE


def predict_settings(
    config: Config,
    shape: Sequence[int],
    *,
    augment: bool | None = None,
    memory: int | None = None,
    halvings: int = 0,
) -> PredictSettings:
    """Return the tiles and settings to predict an image of this spatial shape.

    The tiles are chosen for speed, unless the configuration requires tiles of the patch shape or
    with overlap. A network whose receptive field is the whole tile also uses the patch shape, on
    which it was trained.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    shape : sequence of int
        Spatial shape of the image.
    augment : bool, optional
        Use test-time augmentation. Default: as configured.
    memory : int, optional
        Bytes of free memory of the GPU.
    halvings : int
        Number of out-of-memory errors so far; each halves the number of pixels at once.

    Raises
    ------
    MemoryError
        No tile fits into memory.
    """
    from singula.prediction import PredictSettings, max_tile_pixels, plan_tiles

    model, keys = model_settings(config), config.TEST
    plan, tiles = tile_plan(config, model), None
    reach = receptive_radius(model)
    # Convolutions of a batch of one float32 volume use a slower algorithm than batches of two.
    batch = 2 if model.ndim == 3 else 1
    if keys.TILE_SIZE == "auto" and reach is not None and not any(plan.overlap):
        width = model.pixel_width
        batch_pixels = max_tile_pixels(
            model.ndim, width, reduce_memory=keys.REDUCE_MEMORY, memory=memory
        )
        max_pixels = (batch_pixels >> halvings) // batch
        tiles = plan_tiles(shape, plan.padding, reach, plan.multiple, plan.patch, max_pixels)
    if tiles is None:
        batch = _batch_of_patches(config, plan.patch, halvings)
    return PredictSettings(
        plan if tiles is None else tiles,
        batch,
        keys.AUGMENTATION if augment is None else augment,
        half=in_half(config, shape),
        median_padding=config.DATA.TEST.MEDIAN_PADDING,
    )


def patch_prediction(
    config: Config, *, augment: bool | None = None, halvings: int = 0
) -> PredictSettings:
    """Return the settings to predict each configured patch separately.

    Raises
    ------
    MemoryError
        The memory does not suffice for one patch.
    """
    from singula.prediction import PredictSettings

    plan = tile_plan(config, model_settings(config))
    return PredictSettings(
        replace(plan, patch=config.patch),
        _batch_of_patches(config, config.patch, halvings),
        config.TEST.AUGMENTATION if augment is None else augment,
        median_padding=config.DATA.TEST.MEDIAN_PADDING,
    )


def _batch_of_patches(config: Config, patch: tuple[int, ...], halvings: int) -> int:
    batch = config.TRAIN.BATCH_SIZE >> halvings
    if batch < 1:
        raise MemoryError(
            f"not enough memory to predict a single patch of {patch}: use a smaller "
            "DATA.PATCH_SIZE or MODEL.FEATURE_MAPS, or another device (--gpu cpu)"
        )
    return batch


def optimizer_settings(config: Config) -> OptimizerSettings:
    """Return the settings of the optimizer and of the learning-rate schedule."""
    from singula.training.optimizer import OptimizerSettings

    keys, schedule = config.TRAIN, config.TRAIN.LR_SCHEDULER
    return OptimizerSettings(
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


def fit_settings(config: Config, seed: int, *, workers: int, live: bool) -> FitSettings:
    """Return the settings of the training loop."""
    from singula.training.fit import FitSettings

    keys = config.TRAIN
    return FitSettings(
        epochs=keys.EPOCHS,
        batch_size=keys.BATCH_SIZE,
        accumulate=keys.ACCUM_ITER,
        workers=workers,
        clip=keys.GRADIENT_CLIP,
        seed=seed,
        shuffle=config.AUGMENTOR.SHUFFLE_TRAIN_DATA_EACH_EPOCH,
        shuffle_validation=config.AUGMENTOR.SHUFFLE_VAL_DATA_EACH_EPOCH,
        pin_memory=config.SYSTEM.PIN_MEM,
        live=live,
        compile=keys.COMPILE,
    )


def decode_settings(config: Config) -> DecodeSettings:
    """Return the thresholds and settings for decoding; see `singula.config.thresholds`."""
    thresholds = resolve_sources(config)
    manual = frozenset(name for name in AUTOMATIC if thresholds[name].source != "automatic")
    all_manual = len(manual) == len(AUTOMATIC)
    return replace(
        DecodeSettings.from_keys(decode_keys(config)),
        th_type="manual" if all_manual else "auto",
        manual_keys=frozenset() if all_manual else manual,
    )


def decode_keys(config: Config) -> dict[str, Any]:
    """Return the keys of ``PROBLEM.INSTANCE_SEG`` that affect decoding."""
    keys = config.PROBLEM.INSTANCE_SEG
    return {name: getattr(keys, name) for name in type(keys).model_fields if name in _DECODE_KEYS}


_DECODE_KEYS = frozenset(
    (
        *(key.rpartition(".")[2] for key in KEYS.values()),
        "REMOVE_SMALL_OBJ_AT_BORDER",
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
    """Return the description in a checkpoint, with which it predicts without the YAML file.

    Parameters
    ----------
    config : Config
        Configuration of the training.
    model : ModelSettings
        Settings of the network.
    fitted : Normalizer
        Normalization with the statistics of the training set.

    Returns
    -------
    dict
        Values of plain types.
    """
    from singula import __version__

    reference = read_reference(config)
    return {
        "version": __version__,
        "model": model.to_dict(),
        "channels": config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS,
        "outputs": [asdict(o) for o in outputs(config)],
        "normalizer": fitted.to_dict(),
        "config": config.to_yaml(),
        "reference": reference.to_dict() if reference is not None else None,
    }

"""Records in checkpoints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from singula.io.records.base import (
    MAX_INT,
    Count,
    Digest,
    Finite,
    Ignorable,
    NotNaN,
    Part,
    Positive,
    PositiveNumber,
    StoredRecord,
)


class TransformerRecord(Part):
    """Settings of the transformer of UNETR; see `singula.models.TransformerSettings`."""

    model_config = ConfigDict(**{**StoredRecord.model_config, "extra": "forbid"})
    token: Positive = 16
    width: Positive = 768
    layers: Positive = 12
    heads: Positive = 12
    mlp_ratio: Finite = 4.0
    eps: Finite = 1e-6
    every: Positive = 3
    filters: Positive = 16
    activation: str = "relu"
    kernel: Positive = 3
    patch: list[Positive] = Field(default_factory=list)


class LayoutRecord(Part):
    """Arrangement of the layers of a network; see `singula.models.LayoutSettings`."""

    model_config = ConfigDict(**{**StoredRecord.model_config, "extra": "forbid"})
    program: Literal["singula", "biapy"] = "singula"
    per_instance: bool = False
    wide_ends: bool = False
    plain_bottom: bool = False


class NetworkRecord(Part):
    """Settings of a network; see `singula.models.ModelSettings`."""

    model_config = ConfigDict(**{**StoredRecord.model_config, "extra": "forbid"})
    ndim: Literal[2, 3]
    in_channels: Positive
    out_channels: Positive
    n_classes: Count = 0
    architecture: str = "unet"
    feature_maps: list[Positive] = Field(default_factory=list)
    dropout: list[Finite] = Field(default_factory=list)
    z_down: list[Count] = Field(default_factory=list)
    batch_norm: bool = True
    kernel: Positive = 3
    upsample: str = ""
    activation: str = ""
    transformer: TransformerRecord = TransformerRecord()
    layout: LayoutRecord = LayoutRecord()
    units: list[PositiveNumber] = Field(default_factory=list)


class NormalizerRecord(Part):
    """Normalization of the images; see `singula.data.normalize.Normalizer`."""

    kind: Literal["div", "scale_range", "custom"]
    per_image: bool
    clip: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None
    statistics: dict[str, Annotated[list[NotNaN], Field(min_length=1)]] | None


class ReferenceRecord(Part):
    """Distribution of values of the reference images, per channel."""

    values: list[list[Finite]]
    quantiles: list[list[Finite]]


class TunedRecord(Part):
    """Thresholds that `singula tune` found, and their scores."""

    thresholds: dict[str, Finite | Literal["auto", "manual"]]
    metric: str = ""
    iou: Finite | None = None
    before: float | None = None
    after: float | None = None

    @field_validator("thresholds")
    @classmethod
    def _check_types(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Accept text for TH_TYPE, and numbers for all other thresholds."""
        for name, value in values.items():
            if isinstance(value, str) != (name == "TH_TYPE"):
                raise ValueError(f"{name} has another type")
        return values


class VoxelSizeRecord(Part):
    """Voxel size of the training images, z first."""

    spacing: Annotated[list[PositiveNumber], Field(min_length=2, max_length=3)]
    unit: str | None = None


class BestEpoch(Part):
    """Best epoch of a training."""

    best: Finite | None
    best_epoch: Annotated[int, Field(ge=-1, le=MAX_INT)]
    bad_epochs: Count
    monitor: str | None = None


class OptimizerRecord(Part):
    """Optimizer and schedule of a training."""

    name: str
    lr: Finite
    weight_decay: Finite
    betas: Annotated[list[Finite], Field(min_length=2, max_length=2)]
    schedule: str


class EpochHistory(Part):
    """Losses and scores of an epoch."""

    model_config = ConfigDict(**{**StoredRecord.model_config, "extra": "allow"})
    __pydantic_extra__: dict[str, float]
    epoch: Positive
    lr: float
    train_loss: float


class PartialEpoch(Part):
    """Steps of an epoch in which a training was interrupted.

    Attributes
    ----------
    patches : int
        Patches of these steps, of all processes.
    sums : list of list of float
        Sums of the losses and scores of the training patches, of each process.
    """

    patches: Positive
    sums: Annotated[list[list[float]], Field(min_length=1)]


class TrainingState(Part):
    """State of a training, without weights.

    Attributes
    ----------
    partial : PartialEpoch, optional
        Steps after the last epoch of the history; None if the epoch was finished.
    """

    history: list[EpochHistory]
    progress: BestEpoch
    optimiser: OptimizerRecord | None = None
    schedule: dict[str, Any]
    partial: PartialEpoch | None = None


class CheckpointInfo(StoredRecord):
    """Description of the weights in a checkpoint.

    Attributes
    ----------
    digest : str, optional
        Hash of all other content of the file.
    config : str, optional
        Configuration of the training, as YAML.
    object_size : list of float, optional
        Median equivalent diameter of the training objects along each axis, in pixels of the images
        that the network sees.
    object_range : list of float, optional
        5th and 95th percentile of the median diameters of the training images, along x.
    voxel_size : VoxelSizeRecord, optional
        Voxel size of the images that the network sees.
    ensembles : dict of str to TunedRecord
        Thresholds of ensembles with this model, by `singula.pipeline.ensemble.ensemble_key`.
    """

    digest: Digest | None = None
    version: Ignorable[str] = ""
    model: NetworkRecord | None = None
    channels: str | None = None
    outputs: Ignorable[list[dict[str, Any]]] = Field(default_factory=list)
    normalizer: NormalizerRecord | None = None
    config: str | None = None
    reference: ReferenceRecord | None = None
    object_size: Ignorable[
        Annotated[list[PositiveNumber], Field(min_length=2, max_length=3)] | None
    ] = None
    object_range: Ignorable[
        Annotated[list[PositiveNumber], Field(min_length=2, max_length=2)] | None
    ] = None
    voxel_size: Ignorable[VoxelSizeRecord | None] = None
    tuned: Ignorable[TunedRecord | None] = None
    ensembles: Ignorable[dict[str, TunedRecord]] = Field(default_factory=dict)
    training: TrainingState | None = None


class TrainerState(StoredRecord):
    """Progress of the training of a checkpoint."""

    epoch: Annotated[int, Field(ge=-1, le=MAX_INT)] = -1
    global_step: Count = 0


class PackageInfo(StoredRecord):
    """Description of the network in a model package.

    Attributes
    ----------
    weights : str
        Name of the file of the weights in the package.
    epoch : int
        Epoch of the weights, from 0.
    checkpoint : dict
        Description of the weights, as in a checkpoint; see `CheckpointInfo`.
    """

    weights: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
    epoch: Annotated[int, Field(ge=-1, le=MAX_INT)] = -1
    checkpoint: dict[str, Any]

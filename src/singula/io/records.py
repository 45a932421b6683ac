"""Formats of the files that Singula writes and reads back, one model each.

`singula.io.record_files` reads and writes them. A field that is declared `Ignorable` is left out,
with a warning, if its value is invalid; any other invalid field is an error.
"""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
IGNORABLE = "ignored if invalid"
Ignorable = Annotated[T, IGNORABLE]
_LARGEST = 2**63 - 1
Count = Annotated[int, Field(ge=0, le=_LARGEST)]
Positive = Annotated[int, Field(ge=1, le=_LARGEST)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNaN = Annotated[float, Field(ge=-inf)]  # limits of values may be infinite
Digest = Annotated[str, Field(pattern="^[0-9a-f]{16,64}$")]


class StoredRecord(BaseModel):
    """A JSON document, or a line of a file with one document per line.

    Attributes
    ----------
    newest : int
        Version of the format that this version of Singula writes; later ones are refused.
    format : int
        Version of the format; files without it have version 1.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="ignore",
        ser_json_inf_nan="constants",
        protected_namespaces=(),
    )
    newest: ClassVar[int] = 1
    format: Positive = 1


class _Part(BaseModel):
    model_config = StoredRecord.model_config


# Lock files: `singula.io.run_lock`.


class LockRecord(StoredRecord):
    """Process that holds a lock.

    Parameters
    ----------
    task : str
        What the process does: ``run``, ``tune``, ``export`` …; empty if it is not known.
    pid : int
        Number of the process; 0 if it is not known.
    host : str
        Name of its computer.
    command : str
        Its command line.
    started : str
        Time at which it took the lock, UTC.
    """

    task: str = ""
    pid: Count = 0
    host: str = ""
    command: str = ""
    started: str = ""


# Checkpoints: the description next to the weights.


class TransformerRecord(_Part):
    """Settings of UNETR's transformer; see `singula.models.TransformerSettings`."""

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
    patch: list[Positive] = []


class NetworkRecord(_Part):
    """Settings of a network; see `singula.models.ModelSettings`."""

    model_config = ConfigDict(**{**StoredRecord.model_config, "extra": "forbid"})
    ndim: Literal[2, 3]
    in_channels: Positive
    out_channels: Positive
    n_classes: Count = 0
    architecture: str = "unet"
    feature_maps: list[Positive] = []
    dropout: list[Finite] = []
    z_down: list[Count] = []
    batch_norm: bool = True
    kernel: Positive = 3
    upsample: str = ""
    activation: str = ""
    transformer: TransformerRecord = TransformerRecord()


class NormalizerRecord(_Part):
    """Normalization of the images; see `singula.data.normalize.Normalizer`."""

    kind: Literal["div", "scale_range", "custom"]
    per_image: bool
    clip: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None
    statistics: dict[str, Annotated[list[NotNaN], Field(min_length=1)]] | None


class ReferenceRecord(_Part):
    """Distribution of values of the reference images, per channel."""

    values: list[list[Finite]]
    quantiles: list[list[Finite]]


class TunedRecord(_Part):
    """Thresholds that `singula tune` found, and their scores."""

    thresholds: dict[str, Finite | Literal["auto", "manual"]]
    metric: str = ""
    iou: Finite | None = None
    before: float | None = None
    after: float | None = None


class BestEpoch(_Part):
    """The best epoch so far."""

    best: Finite | None
    best_epoch: Annotated[int, Field(ge=-1, le=_LARGEST)]
    bad_epochs: Count
    monitor: str | None = None


class OptimizerRecord(_Part):
    """Optimizer and schedule with which a training began."""

    name: str
    lr: Finite
    weight_decay: Finite
    betas: Annotated[list[Finite], Field(min_length=2, max_length=2)]
    schedule: str


class EpochHistory(_Part):
    """Losses and scores of an epoch."""

    model_config = ConfigDict(**{**StoredRecord.model_config, "extra": "allow"})
    __pydantic_extra__: dict[str, float]
    epoch: Positive
    lr: float
    train_loss: float


class TrainingState(_Part):
    """State of a training, without weights."""

    history: list[EpochHistory]
    progress: BestEpoch
    optimiser: OptimizerRecord | None = None
    schedule: dict[str, Any]


class CheckpointInfo(StoredRecord):
    """Description of the weights in a checkpoint.

    Attributes
    ----------
    digest : str, optional
        Hash of everything else in the file.
    config : str, optional
        Configuration of the training, as YAML.
    """

    digest: Digest | None = None
    version: Ignorable[str] = ""
    model: NetworkRecord | None = None
    channels: str | None = None
    outputs: Ignorable[list[dict[str, Any]]] = []
    normalizer: NormalizerRecord | None = None
    config: str | None = None
    reference: ReferenceRecord | None = None
    tuned: Ignorable[TunedRecord | None] = None
    training: TrainingState | None = None


class TrainerState(StoredRecord):
    """How far the training of a checkpoint is."""

    epoch: Annotated[int, Field(ge=-1, le=_LARGEST)] = -1
    global_step: Count = 0

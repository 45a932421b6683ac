"""Files in the folder of a run and in folders of stored channels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from singula.io.records.base import Count, Finite, Ignorable, Part, StoredRecord


class ScoreRecord(Part):
    """Scores at one IoU threshold; see `singula.metrics.Score`."""

    threshold: Finite
    tp: Count
    fp: Count
    fn: Count
    n_true: Count
    n_pred: Count
    precision: float
    recall: float
    accuracy: float
    f1: float
    panoptic_quality: float
    mean_matched_score: float
    mean_true_score: float
    n_images: Count


class ImageResult(StoredRecord):
    """Result of the test of an image.

    Attributes
    ----------
    instances : int
    thresholds, maps : dict
        Thresholds that were used; scores of the predicted channels.
    overlay : str
        Picture of the image with outlines.
    matches : dict
        Scores by view.
    classes : dict
        Scores by view and class, ``per_image/2``.
    """

    instances: Count
    thresholds: dict[str, float]
    overlay: str
    maps: dict[str, float]
    matches: dict[str, list[ScoreRecord]]
    classes: dict[Annotated[str, Field(pattern=r"^.+/\d{1,6}$")], list[ScoreRecord]]


class ProgressLine(ImageResult):
    """Line of ``progress.jsonl``: an image whose test is complete."""

    image: str
    fingerprint: str
    stamp: str
    files: list[str]


class PatchScores(Part):
    """Scores of the patches of an image, with a stamp of the ground truth."""

    truth: str
    scores: dict[str, float]


class PredictionLine(StoredRecord):
    """Line of ``predictions.jsonl``: stored maps, and stamps of what they were predicted from."""

    file: str
    stamp: str
    image: str
    settings: str
    weights: str | None
    patches: PatchScores | None = None


class ChannelFile(Part):
    """File that Singula wrote into a folder of stored channels.

    Attributes
    ----------
    fingerprint : str
        What it was made from: settings and content.
    content : str
        Hash of the pixels it was made from.
    origin : list, optional
        Identity of the file with those pixels, see `singula.data.owned_folder.identity`.
    ndim : int
        Spatial axes.
    stamp : list of int, optional
        Size and time of the file as it was written; a file with another stamp is not Singula's.
    """

    fingerprint: str = ""
    content: str = ""
    origin: list[str | int] | None = None
    ndim: Annotated[int, Field(ge=0, le=3)] = 0
    stamp: list[int] | None = None


class ChannelManifest(StoredRecord):
    """Content of ``fingerprints.json``; each file is checked by itself."""

    files: dict[str, Any]


ImageFiles = Annotated[list[str | None], Field(min_length=2, max_length=2)]


class JobSummary(Part):
    """Name and place of a run."""

    id: str | None = None
    paths: dict[str, str] = Field(default_factory=dict)
    started_in: str = ""


class TrainingSummary(Part):
    """Size and result of a training."""

    epochs: Count | None = None
    patches_per_epoch: Count | None = None
    parameters: Count | None = None
    last_epoch: Ignorable[dict[str, float | None]] = Field(default_factory=dict)
    model: str = ""


class TestSummary(Part):
    """Results of a test, by image.

    Attributes
    ----------
    files : dict
        Image and label file.
    """

    instances: dict[str, Count] = Field(default_factory=dict)
    thresholds: Ignorable[dict[str, dict[str, float | None]]] = Field(default_factory=dict)
    threshold_sources: Ignorable[dict[str, str]] = Field(default_factory=dict)
    failed: dict[str, str] = Field(default_factory=dict)
    files: dict[str, ImageFiles] = Field(default_factory=dict)


class RunSummary(StoredRecord):
    """Content of ``run.json``: versions, machine, times, memory, configuration and results."""

    model_config = ConfigDict(**{**StoredRecord.model_config, "ser_json_inf_nan": "null"})
    job: JobSummary = JobSummary()
    finished: Ignorable[str] = ""
    versions: Ignorable[dict[str, str]] = Field(default_factory=dict)
    machine: Ignorable[dict[str, str | int | float | None]] = Field(default_factory=dict)
    seed: Ignorable[int | None] = None
    precision: Ignorable[str] = ""
    seconds: Ignorable[dict[str, Finite]] = Field(default_factory=dict)
    peak_memory_mb: Ignorable[Finite | None] = None
    peak_memory_mb_after: Ignorable[dict[str, Finite]] = Field(default_factory=dict)
    configuration: dict[str, Any] = Field(default_factory=dict)
    training: Ignorable[TrainingSummary | None] = None
    test: TestSummary | None = None
    scores: Ignorable[dict[str, Any]] = Field(default_factory=dict)


class Started(StoredRecord):
    """A process that was started.

    Attributes
    ----------
    pid : int
        It leads its own group.
    created : float
        When it began; distinguishes it from a later process with the same number.
    began : float
        Time of the start, seconds since 1970.
    stopped : bool
        The user asked it to stop.
    """

    pid: Annotated[int, Field(ge=1, lt=2**31)]
    created: Finite
    began: Finite
    stopped: bool = False


class StartedRun(Started):
    """Content of ``gui_run.json``: how the interface started a run."""

    command: list[str]
    config: str
    result_dir: str
    name: str
    run_id: Count
    gpu: str | None = None
    resume: bool = False


class StartedSearch(Started):
    """Content of ``gui_search.json``: how the interface started a search for thresholds."""

    metric: Literal["pq", "f1"]
    iou: Annotated[float, Field(gt=0, le=1)]

"""Files in the folder of a run and in folders of stored channels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from singula.io.records.base import Count, Digest, Finite, Ignorable, Part, Positive, StoredRecord


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
        Number of instances.
    thresholds, maps : dict
        Thresholds of the decoding; scores of the predicted channels.
    overlay : str
        Picture of the image with outlines.
    matches : dict
        Scores by view.
    classes : dict
        Scores by view and class, such as ``per_image/2``.
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
    """Line of ``predictions.jsonl``: stored maps, and stamps of their image and network."""

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
        Hash of the settings and of the source.
    content : str
        Hash of the pixels of the source.
    origin : list, optional
        Identity of the source, see `singula.data.owned_folder.identity`.
    ndim : int
        Number of spatial axes.
    stamp : list of int, optional
        Size and time of the written file; a file with another stamp belongs to the user.
    """

    fingerprint: str = ""
    content: str = ""
    origin: list[str | int] | None = None
    ndim: Annotated[int, Field(ge=0, le=3)] = 0
    stamp: list[int] | None = None


class ChannelManifest(StoredRecord):
    """Content of ``fingerprints.json``; each file is validated separately."""

    files: dict[str, Any]


ImageFiles = Annotated[list[str | None], Field(min_length=2, max_length=2)]


class JobSummary(Part):
    """Name and folders of a run."""

    id: str | None = None
    paths: dict[str, str] = Field(default_factory=dict)
    started_in: str = ""
    processes: Ignorable[Positive] = 1
    dask: Ignorable[str | None] = None
    resumed: Ignorable[bool] = False


class TrainingSummary(Part):
    """Size and result of a training.

    Attributes
    ----------
    annotated : float, optional
        Share of the pixels of the training images that are annotated.
    """

    epochs: Count | None = None
    patches_per_epoch: Count | None = None
    parameters: Count | None = None
    images: Count | None = None
    validation_images: Count | None = None
    smallest_image: list[Count] = Field(default_factory=list)
    largest_image: list[Count] = Field(default_factory=list)
    annotated: Ignorable[Annotated[float, Field(ge=0, le=1)] | None] = None
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


class ModelFile(Part):
    """Checkpoint that a run reads but does not train.

    Attributes
    ----------
    path : str
        Absolute path, or the name of a built-in model.
    sha256 : str
        Digest of the file.
    """

    path: str
    sha256: Digest


class RunSummary(StoredRecord):
    """Content of ``run.json``: versions, machine, times, memory, configuration and results.

    Attributes
    ----------
    data : dict
        Digest of each image, by the configuration key of its folder and its name.
    first_model : ModelFile, optional
        Checkpoint with which the training began, or of a test without training.
    """

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
    data: Ignorable[dict[str, dict[str, str]]] = Field(default_factory=dict)
    first_model: Ignorable[ModelFile | None] = None


class Started(StoredRecord):
    """Process that the interface started.

    Attributes
    ----------
    pid : int
        Number of the process, which leads a process group.
    created : float
        Time of creation; distinguishes it from a later process with the same number.
    began : float
        Time of the start, seconds since 1970.
    stopped : bool
        True if the user stopped it.
    """

    pid: Annotated[int, Field(ge=1, lt=2**31)]
    created: Finite
    began: Finite
    stopped: bool = False


class StartedRun(Started):
    """Content of ``gui_run.json``: a run that the interface started."""

    command: list[str]
    config: str
    result_dir: str
    name: str
    run_id: Count
    gpu: str | None = None
    resume: bool = False


class QueuedJob(StoredRecord):
    """Job that starts when the jobs before it have ended.

    Attributes
    ----------
    queued : float
        Time at which the user started it, seconds since 1970.
    """

    queued: Finite


class QueuedRun(QueuedJob):
    """Content of ``gui_queue.json``: a run that waits."""

    config: str
    result_dir: str
    name: str
    run_id: Count
    gpu: str | None = None
    resume: bool = False


class QueuedPrediction(QueuedJob):
    """Content of ``gui_predict_queue.json``: a prediction that waits.

    Attributes
    ----------
    resume : bool
        True to skip images with results.
    """

    resume: bool = False


class QueuedSearch(QueuedJob):
    """Content of ``gui_search_queue.json``: a search for thresholds that waits."""

    metric: Literal["pq", "f1"]
    iou: Annotated[float, Field(gt=0, le=1)]


class RunNotes(StoredRecord):
    """Content of ``gui_notes.json``: title and note of a run, which the user wrote.

    Attributes
    ----------
    title : str
        Name that the interface shows; empty for the name of the folder.
    note : str
        Text of the user.
    archived : bool
        True if the run is listed separately.
    """

    title: str = ""
    note: str = ""
    archived: bool = False


class DeletedRun(StoredRecord):
    """Content of ``deleted.json``: a run that the interface moved to the trash.

    Attributes
    ----------
    name : str
        Name of the folder of the run.
    deleted : float
        Time, seconds since 1970.
    """

    name: str
    deleted: Finite


class StartedSearch(Started):
    """Content of ``gui_search.json``: a search for thresholds that the interface started."""

    metric: Literal["pq", "f1"]
    iou: Annotated[float, Field(gt=0, le=1)]


class StartedPrediction(Started):
    """Content of ``gui_predict.json``: a prediction that the interface started.

    Attributes
    ----------
    images : str
        Image or folder of images.
    model : str
        Name of a built-in model, or folder of a run; empty for the choice by the kind of each
        image.
    channel : str
        Name or number of the channel; empty for all.
    """

    images: str
    model: str = ""
    channel: str = ""

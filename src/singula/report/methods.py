"""Paragraph about the methods of a run for a publication, with the publications to cite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singula.config import Config
from singula.config.thresholds import KEYS, SIZE
from singula.errors import UserError
from singula.io.lazy import LazyImage, open_labels
from singula.io.units import in_microns
from singula.metrics.summary import F1_METHOD, MEAN, POOLED, PQ_METHOD
from singula.report.html import Markup, collapsible, section, tag
from singula.report.libraries import LIBRARIES
from singula.report.loss_text import describe_loss
from singula.representations.channel_table import describe_channels
from singula.representations.thresholds import Otsu
from singula.runs.run import Run
from singula.util.citation import Citation, Method
from singula.util.format import counted

_NORMALIZATIONS = {
    "div": "divided by the largest value of their data type",
    "scale_range": "scaled to the range from 0 to 1",
    "custom": "normalized by their mean and standard deviation",
}
_PRECISIONS = {"32": "32-bit floating point", "bf16": "bfloat16", "16": "16-bit floating point"}
_SOURCES = {
    "user": "set by the user",
    "tuned": "found on the validation images by a search for the best score",
    "generated": "proposed by Singula from the training labels",
    "default": "the default of Singula",
}
_PREPROCESSING = {
    "RESIZE": "resized",
    "GAUSSIAN_BLUR": "smoothed with a Gaussian",
    "MEDIAN_BLUR": "smoothed with a median filter",
    "MATCH_HISTOGRAM": "matched to the histogram of reference images",
    "CLAHE": "equalized locally (CLAHE)",
    "CANNY": "replaced by their edges",
}
_POST_PROCESSING = (
    ("YZ_FILTERING", "a median filter along y and z was applied to the predicted maps"),
    ("Z_FILTERING", "a median filter along z was applied to the predicted maps"),
    ("APPLY_MASK", "objects outside of a mask were removed"),
    ("REMOVE_CLOSE_POINTS", "close seed points were merged"),
    ("VORONOI_ON_MASK", "objects were expanded in the foreground until they touched"),
    ("CLEAR_BORDER", "objects that touch the image border were removed"),
    (
        "MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES.ENABLE",
        "objects were removed by their size or shape",
    ),
)
_POST = "TEST.POST_PROCESSING"


@dataclass(frozen=True)
class Methods:
    """Text about the methods of a run.

    Parameters
    ----------
    paragraph : str
        Sentences with the numbers of the publications in square brackets.
    citations : list of Citation
        The publications in the order of their numbers.
    """

    paragraph: str
    citations: list[Citation]

    def references(self) -> list[str]:
        """Return the entries of the list of publications."""
        return [f"[{n}] {citation.text()}" for n, citation in enumerate(self.citations, 1)]

    def bibtex(self) -> str:
        """Return the publications as a BibTeX file."""
        return "\n".join(citation.bibtex() for citation in self.citations)


class _References:
    """Publications that were cited so far."""

    def __init__(self) -> None:
        self.citations: list[Citation] = []

    def cite(self, citations: Sequence[Citation]) -> str:
        """Return the numbers of publications, with a space before them; empty without any."""
        self.citations += [c for c in citations if c not in self.citations]
        numbers = ", ".join(str(self.citations.index(c) + 1) for c in citations)
        return f" [{numbers}]" if numbers else ""

    def name(self, method: Method) -> str:
        """Return the name of a method and the numbers of its publications."""
        return method.name + self.cite(method.citations)


def describe_methods(run: Run) -> Methods:
    """Return a paragraph about the methods of a run, from the facts that the run recorded.

    Parameters
    ----------
    run : Run
        Finished run.
    """
    references = _References()
    sentences = [
        _software(run, references),
        *_data(run),
        _network(run, references),
        *_training(run, references),
        *_prediction(run),
        *_decoding(run, references),
        *_scores(run, references),
    ]
    return Methods(" ".join(sentences), references.citations)


def methods_section(run: Run) -> Markup:
    """Return the section of the report with the paragraph, the publications and BibTeX."""
    methods = describe_methods(run)
    return section(
        "methods",
        "Methods, for a publication",
        tag("p", "A click selects a text to copy. Check it, and add what only you know."),
        tag("p", methods.paragraph, class_="copy"),
        tag("p", "\n".join(methods.references()), class_="copy list"),
        collapsible("BibTeX", tag("pre", methods.bibtex(), class_="copy list")),
    )


def _software(run: Run, references: _References) -> str:
    versions = run.summary.versions
    revision, _, changed = versions.get("singula commit", "").partition("-")
    commit = revision[:10] + (" with changes" if changed else "")
    parts = [f"Python {versions['python']}"] if "python" in versions else []
    parts += [
        f"{method.name} {versions[name]}{references.cite(method.citations)}"
        for name, method in LIBRARIES.items()
        if name in versions
    ]
    version = f"Singula {versions['singula']}" if "singula" in versions else "Singula"
    details = "; ".join(filter(None, [f"commit {commit}" if commit else "", ", ".join(parts)]))
    return f"Objects were segmented with {version}{f' ({details})' if details else ''}."


def _data(run: Run) -> Iterator[str]:
    config, training = run.config, run.summary.training
    tested = len(run.test.files) or len(run.test.instances)
    parts = []
    if training is not None and training.images is not None:
        parts.append(f"{counted(training.images, 'training image')}")
        if training.validation_images:
            parts.append(f"{counted(training.validation_images, 'validation image')}")
    if tested:
        parts.append(f"{counted(tested, 'test image')}")
    if parts:
        verb = "was" if parts == ["1 test image"] else "were"
        yield f"There {verb} {_listed(parts)} in {config.PROBLEM.NDIM}."
    if training is not None and config.DATA.VAL.CROSS_VAL and config.DATA.VAL.FROM_TRAIN:
        keys = config.DATA.VAL
        yield (
            f"The validation images were fold {keys.CROSS_VAL_FOLD} of {keys.CROSS_VAL_NFOLD} of a "
            "cross-validation."
        )
    if config.DATA.TEST.USE_VAL_AS_TEST and tested:
        yield "The test images were the validation images."
    unit = "pixels (y × x)" if run.ndim == 2 else "voxels (z × y × x)"
    if training is not None and training.smallest_image:
        low, high = _sides(training.smallest_image), _sides(training.largest_image)
        yield f"The training images had {low if low == high else f'{low} to {high}'} {unit}."
    size, pixel = _pixel_size(run), "pixel" if run.ndim == 2 else "voxel"
    if size and not config.DATA.PREPROCESS.SPACING:
        yield f"The {pixel} size was {size}."
    annotated = None if training is None else training.annotated
    if annotated is not None and annotated < 1:
        yield (
            f"Of the {pixel}s of the training images, {annotated:.1%} were annotated; the others "
            "were excluded from the loss."
        )
    if config.DATA.TEST.IGNORE_PATH and run.main_stages:
        yield f"{pixel.capitalize()}s of the test images that a mask excludes were not scored."


def _pixel_size(run: Run) -> str:
    """Return the configured pixel size, or that of the first test image; empty if unknown."""
    spacing = run.config.DATA.TEST.spacing or run.config.DATA.TRAIN.spacing
    if spacing is not None:
        return _sides(spacing)
    image = _first_labels(run)
    if image is None or not image.spacing:
        return ""
    return f"{_sides(image.spacing)} {image.unit or ''}".strip()


def _first_labels(run: Run) -> LazyImage | None:
    """Return the instances of the first test image; None if they cannot be read."""
    with suppress(UserError):
        for stage in run.main_stages:
            for source in run.label_images(stage):
                return open_labels(source.path, source.ndim, source.classes)
    return None


def _network(run: Run, references: _References) -> str:
    from singula.models.variants import network_method

    config, training = run.config, run.summary.training
    method = network_method(config.MODEL.ARCHITECTURE, run.ndim)
    article = "An" if method.name[0] in "AEIO" else "A"
    network = f"{article} {references.name(method)}"
    widths = ", ".join(f"{width:g}" for width in config.MODEL.FEATURE_MAPS)
    sizes = [] if config.MODEL.ARCHITECTURE == "unetr" else [f"feature maps {widths}"]
    if training is not None and training.parameters is not None:
        sizes.append(f"{training.parameters:,} parameters")
    size = f" ({'; '.join(sizes)})" if sizes else ""
    names = [
        f"{describe} ({code}){references.cite(citations)}"
        for code, describe, citations in describe_channels(config.decoder.channels)
    ]
    if run.has_classes:
        names.append(f"the class of each pixel ({config.MODEL.N_CLASSES - 1} classes)")
    return f"{network}{size} predicted for each pixel: {_listed(names)}."


def _training(run: Run, references: _References) -> Iterator[str]:
    from singula.training.optimizer import OPTIMIZERS, SCHEDULES

    config, training, first = run.config, run.summary.training, run.summary.first_model
    if training is None:
        if first is not None:
            yield f"Its weights were those of {_model_name(first.path)} (SHA-256 {first.sha256})."
        return
    keys = config.TRAIN
    start = "from scratch" if first is None else f"from the weights of {_model_name(first.path)}"
    loss = describe_loss(config, references.name)
    yield (
        f"It was trained {start} to minimize the {loss} with "
        f"{references.name(OPTIMIZERS[keys.OPTIMIZER][1])} (learning rate {keys.LR:g}, "
        f"{references.name(SCHEDULES[keys.LR_SCHEDULER.NAME])}; weight decay {keys.W_DECAY:g})."
    )
    processes = run.summary.job.processes
    batch = keys.BATCH_SIZE * keys.ACCUM_ITER * processes
    number = training.patches_per_epoch
    patches = counted(number, "patch", "patches") if number else "patches"
    length = counted(training.epochs, "epoch") if training.epochs is not None else "epochs"
    yield (
        f"It was trained for {length} of {patches} of {_sides(config.patch)} "
        f"{'pixels' if run.ndim == 2 else 'voxels'}, in batches of {batch}, in "
        f"{_PRECISIONS.get(run.summary.precision, run.summary.precision)} arithmetic, with seed "
        f"{run.summary.seed}."
    )
    yield from _augmentation(config)
    monitor = keys.CHECKPOINT_MONITOR
    named = "lowest validation loss" if monitor == "val_loss" else f"best {monitor}"
    yield f"The weights of the epoch with the {named} were used."
    machine, seconds = run.summary.machine, run.summary.seconds.get("training")
    device = machine.get("gpu") or machine.get("processor") or machine.get("device")
    count = f"{processes} × " if processes > 1 else ""
    threads = machine.get("threads")
    if "gpu" not in machine and isinstance(threads, int):
        device = f"{device} ({counted(threads, 'thread')})"
    if seconds and device and not run.summary.job.resumed:
        yield f"The training took {_duration(seconds)} on {count}{device}."


def _augmentation(config: Config) -> Iterator[str]:
    keys = config.AUGMENTOR
    fields = type(keys).model_fields
    first = list(fields).index("ROT90")  # switches before it are not changes of patches
    switches = [name for name in list(fields)[first:] if getattr(keys, name) is True]
    details = ("_INSIDE", "_APPLY_TO_MASK", "_INVERT", "_USE_INPUT_IMG_MEAN_AND_VAR")
    switches = [name for name in switches if not name.endswith(details)]
    if keys.ENABLE and switches:
        texts = [(fields[name].description or name).rstrip(".") for name in switches]
        names = _listed([text[0].lower() + text[1:] for text in texts])
        yield (
            f"Training patches were changed at random, each change with a probability of "
            f"{keys.DA_PROB:g}: {names}."
        )


def _prediction(run: Run) -> Iterator[str]:
    config = run.config
    steps, keys = config.DATA.PREPROCESS, config.DATA.NORMALIZATION
    if steps.SPACING:
        image, pixel = _first_labels(run), "pixel" if config.ndim == 2 else "voxel"
        unit = "" if image is None else in_microns(image.spacing, image.unit)[1] or ""
        size = f"{_sides(steps.SPACING)} {unit}".strip()
        yield (
            f"Images were resampled to a {pixel} size of {size}, and labels by nearest neighbor; "
            "predicted objects were resampled back to the size of the images."
        )
    changes = [text for name, text in _PREPROCESSING.items() if getattr(steps, name).ENABLE]
    if changes and (steps.TRAIN or steps.TEST):
        yield f"Images were {_listed(changes)} before normalization."
    clip = f"clipped to percentiles {keys.PERC_LOWER:g} and {keys.PERC_UPPER:g} and "
    scope = ", separately for each image" if keys.APPLICATION_MODE == "image" else ""
    scope = "" if keys.TYPE == "div" else scope
    yield f"Images were {clip if keys.PERC_CLIP else ''}{_NORMALIZATIONS[keys.TYPE]}{scope}."
    if run.summary.test is None:
        return
    views = config.view_count
    way = "in overlapping tiles whose result equals that of the whole image"
    if config.TEST.BY_CHUNKS.ENABLE:
        way = "in blocks"
    elif config.TEST.FULL_IMG:
        way += ", and whole"
    elif config.TEST.TILE_SIZE == "patch" or any(config.DATA.TEST.OVERLAP):
        way = f"in tiles of {_sides(config.patch)}, overlapping and blended"
    is_mean = config.TEST.AUGMENTATION and views > 1
    average = f" and averaged over {views} flips and rotations" if is_mean else ""
    yield f"Test images were predicted {way}{average}."


def _decoding(run: Run, references: _References) -> Iterator[str]:
    config = run.config
    used, sources = run.test.thresholds, run.test.threshold_sources
    if not used:
        return
    method = config.decoder.method
    start = "Objects were decoded from the predicted maps"
    start += f" by {references.name(method)}" if method is not None else ""
    groups: dict[str, list[str]] = {}
    for name, source in sources.items():
        values = [v for image in used.values() if (v := image.get(name)) is not None]
        if name == SIZE:
            values = [config.dotted()[KEYS[SIZE]]]
        if values:
            low, high = float(np.min(values)), float(np.max(values))
            number = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
            title = "minimum size" if name == SIZE else name
            unit = (" pixels" if run.ndim == 2 else " voxels") if name == SIZE else ""
            groups.setdefault(source, []).append(f"{title} {number}{unit}")
    texts = []
    for source, values_of_source in groups.items():
        origin = _SOURCES.get(source, source)
        if source == "automatic":
            origin = f"from each image by {references.name(Otsu.method)}"
        texts.append(f"{_listed(values_of_source)} ({origin})")
    yield f"{start}, with the thresholds {'; '.join(texts)}." if texts else f"{start}."
    values_of_keys = config.dotted()
    steps = [text for key, text in _POST_PROCESSING if values_of_keys[f"{_POST}.{key}"]]
    if values_of_keys[f"{_POST}.REPARE_LARGE_BLOBS_SIZE"] > 0:
        steps.append("large objects were merged with their neighbors")
    if steps:
        yield f"Afterwards, {_listed(steps)}."


def _scores(run: Run, references: _References) -> Iterator[str]:
    if not run.stages:
        return
    stage = run.final_stage
    threshold = run.threshold(stage)
    mean, pooled = (run.scores.row(stage.key, name, threshold) for name in (MEAN, POOLED))
    unannotated = len(run.scores.unannotated(stage.key))
    if threshold is None or not pooled:
        if unannotated:
            yield "The prediction was not scored, because no test image is annotated."
        return
    count = len(run.scores.images(stage.key))
    annotated = "annotated " if unannotated else ""
    yield (
        "A predicted and a true object match if their intersection over union (IoU) is at least "
        f"{threshold:g}; each object has at most one match."
    )
    yield (
        f"{references.name(F1_METHOD)}, twice the number of matches divided by the number of true "
        "and predicted objects, was "
        f"{pooled['f1']:.3f} over all {round(pooled['n_true'] or 0):,} true objects of "
        f"{counted(count, f'{annotated}test image')} and {mean['f1']:.3f} as the mean over images; "
        f"the {references.name(PQ_METHOD)}, F1 times the mean IoU of the matches, was "
        f"{pooled['panoptic_quality']:.3f}."
    )


def _model_name(path: str) -> str:
    """Return the name of a checkpoint; files of the same name are named by their folder."""
    file = Path(path)
    if not file.is_absolute():
        return f"the built-in model {path}"
    return f"{file.parent.name}/{file.name}" if file.stem == "model" else file.name


def _listed(texts: Sequence[str]) -> str:
    """Return texts with commas and a final "and"."""
    return " and ".join(part for part in (", ".join(texts[:-1]), texts[-1]) if part)


def _sides(sizes: Sequence[float]) -> str:
    """Return sizes with multiplication signs; an axis is in the order of the array."""
    return " × ".join(f"{size:g}" for size in sizes)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""Start of a training from a model, if it finds objects of the data set."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from singula.autoconfig import Choice
from singula.autoconfig.sizes import Sizes
from singula.autoconfig.start import Start
from singula.config import Config
from singula.dataset.facts import PartFacts, Survey
from singula.errors import UserError
from singula.inference import Model, find_model, load
from singula.io.read import read_image, read_labels
from singula.metrics import match_overlap, overlap
from singula.util.boxes import evenly_spaced
from singula.util.format import counted
from singula.util.sparse_labels import annotated_mask
from singula.zoo.models import portable_name

MIN_F1 = 0.1
"""F1 at IoU 0.5 below which the images do not resemble those of the model."""
_IMAGES = 8  # labeled images of the first score
_SIDE = {2: 1024, 3: 128}  # maximum side in pixels of the scored part of an image
_KEYS = (
    "MODEL.ARCHITECTURE", "MODEL.FEATURE_MAPS", "MODEL.DROPOUT_VALUES", "MODEL.Z_DOWN",
    "MODEL.BATCH_NORMALIZATION", "MODEL.KERNEL_SIZE", "MODEL.UPSAMPLE_LAYER", "MODEL.ACTIVATION",
    "DATA.TEST.PADDING", "PROBLEM.INSTANCE_SEG.DATA_CONTOUR_MODE", "DATA.NORMALIZATION.TYPE",
    "DATA.NORMALIZATION.APPLICATION_MODE", "DATA.NORMALIZATION.PERC_CLIP",
    "DATA.NORMALIZATION.PERC_LOWER", "DATA.NORMALIZATION.PERC_UPPER",
)  # fmt: skip
_SECTIONS = ("MODEL.", "DATA.NORMALIZATION.", "DATA.PREPROCESS.", "DATA.FORCE_RGB")


def model_keys(config: Config) -> list[str]:
    """Return the keys that a training from the weights of a model takes from the model.

    These are the keys of the network, and those of the preprocessing and normalization that differ
    from the defaults.

    Parameters
    ----------
    config : Config
        Configuration of the model.
    """
    values, defaults = config.dotted(), Config().dotted()
    others = [
        name
        for name, value in values.items()
        if name.startswith(_SECTIONS) and "CHECKPOINT" not in name and value != defaults[name]
    ]
    return list(dict.fromkeys((*_KEYS, *others)))


def find_start(survey: Survey, path: Path) -> Start:
    """Score a model on labeled images, and return the choices for a training from its weights.

    Network, channels and normalization are those of the model. If its F1 is below `MIN_F1`, the
    training starts from random weights.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    path : Path
        Folder of a run, a checkpoint, or the name of a built-in model.

    Raises
    ------
    UserError
        ``init.other_model``: the dimensions, channels or classes of the images differ from those of
        the model.
    """
    model = load(path)
    _check(survey, model, path)
    train = survey.part("train")
    if train is None:
        raise RuntimeError("a data set without training images")
    f1, count = _score(model, train)
    why = f"{path} finds objects with F1 {f1:.2f} at IoU 0.5 in {counted(count, 'training image')}"
    if model.objects.size is not None:
        width = Sizes.of(survey).typical[-1]
        why += f"; its objects are {model.objects.size[-1]:.0f} pixels wide, these {width:.0f}"
    if f1 < MIN_F1:
        why += f", expected at least {MIN_F1:g}: the training starts from random weights"
        return Start(None, (Choice("MODEL.LOAD_CHECKPOINT", False, why),))
    values = model.config.dotted()
    choices = [Choice(key, values[key]) for key in model_keys(model.config)]
    choices += [
        Choice("PROBLEM.INSTANCE_SEG.DATA_CHANNELS", model.channels, "those of the model"),
        Choice("DATA.PATCH_SIZE", tuple(model.config.DATA.PATCH_SIZE), note="as for the model"),
        Choice("MODEL.LOAD_CHECKPOINT", True, why),
        Choice(
            "PATHS.CHECKPOINT_FILE", portable_name(find_model(path)), note="start of the training"
        ),
    ]
    return Start(model.channels, tuple(choices))


def _check(survey: Survey, model: Model, path: Path) -> None:
    classes = max(survey.classes, default=1)
    trained = model.config.MODEL.N_CLASSES - 1
    given = (survey.ndim, survey.channels, classes)
    expected = (model.ndim, model.config.in_channels, trained)
    if given == expected:
        return
    images, trained_on = (
        f"{n}D images with {counted(c, 'channel')} and {counted(k, 'class', 'classes')}"
        for n, c, k in (given, expected)
    )
    raise UserError(
        f"--from: got {path}, a model for {trained_on}, expected a model for {images}",
        "omit --from to train from random weights, or name another model",
        "init.other_model",
    )


def _score(model: Model, train: PartFacts) -> tuple[float, int]:
    """Return the mean F1 at IoU 0.5 of some training images, and their number."""
    labeled = [pair for pair in train.pairs if pair.label is not None]
    scores = []
    for number in evenly_spaced(len(labeled), _IMAGES):
        pair = labeled[number]
        if pair.label is None:
            continue
        channels, classes = model.config.in_channels, model.config.MODEL.N_CLASSES > 2
        image = read_image(pair.image, model.ndim, channels, arrays=pair.arrays).array
        truth = read_labels(pair.label, model.ndim, classes, arrays=pair.label_arrays).array
        box = tuple(
            slice(max(0, (size - _SIDE[model.ndim]) // 2), (size + _SIDE[model.ndim]) // 2)
            for size in image.shape[: model.ndim]
        )
        ids = truth[box][..., 0]
        if annotated_mask(ids).any():
            table = overlap(ids, model.predict(image[box]))
            scores.append(match_overlap(table, (0.5,))[0].f1)
    return (fmean(scores) if scores else 0.0), len(scores)

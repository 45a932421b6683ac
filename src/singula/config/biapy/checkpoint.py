"""Translation of the configuration in a checkpoint of BiaPy, for predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from singula.config.biapy.translate import translate
from singula.config.keys import key_table
from singula.config.load import ConfigError, examine_values
from singula.config.schema.root import Config
from singula.config.yaml_source import Problem, from_mapping
from singula.errors import UserError
from singula.representations.channel_table import planes_in
from singula.representations.families import FAMILIES
from singula.representations.flows import FlowDecoder
from singula.util.format import list_lines

_SOURCE = "cfg"
_READ = (
    "PROBLEM.NDIM",
    "PROBLEM.TYPE",
    "PROBLEM.INSTANCE_SEG.",
    "DATA.PATCH_SIZE",
    "DATA.NORMALIZATION.",
    "DATA.PREPROCESS.",
    "DATA.TRAIN.RESOLUTION",
    "DATA.TEST.RESOLUTION",
    "TEST.AUGMENTATION",
    "TEST.POST_PROCESSING.",
)
"""Beginning of the keys that affect predictions; those of the network are given."""
_NEEDED = (
    "PROBLEM.NDIM",
    "PROBLEM.TYPE",
    "PROBLEM.INSTANCE_SEG.DATA_CHANNELS:",
    "DATA.",
    "MODEL.",
)
"""Beginning of the messages about keys that determine the maps."""
_OPTIONS = (
    "PROBLEM.INSTANCE_SEG.DATA_CHANNELS_EXTRA_OPTS",
    "PROBLEM.INSTANCE_SEG.DATA_CONTOUR_MODE",
)
"""Beginning of the messages about options of the channels."""
_LISTED = ("TEST.", "PROBLEM.INSTANCE_SEG.DATA_CHANNELS_EXTRA_OPTS:")
"""Beginning of the keys without effect that are listed; files contain all others, too."""


def config_for_prediction(
    cfg: Mapping[str, Any], network: Mapping[str, Any]
) -> tuple[Config, list[str]]:
    """Return the configuration with which a checkpoint of BiaPy predicts.

    Parameters
    ----------
    cfg : mapping
        Sections and keys of BiaPy, all with a value.
    network : mapping
        Keys of MODEL for Singula.

    Returns
    -------
    config : Config
        Configuration without paths.
    notices : list of str
        A line for each key whose value has no effect.

    Raises
    ------
    UserError
        ``checkpoint.biapy_channels``: an option of a channel, which determines the meaning of its
        map, has no equivalent, or a family of channels differs; ``config.invalid``: another key
        that determines the maps has none.
    """
    read = {key: value for key, value in _dotted(cfg) if key.startswith(_READ)}
    work = translate(from_mapping(read, _SOURCE))
    values = {key: entry.value for key, entry in work.entries.items() if key in key_table()}
    config, errors, _ = examine_values({**values, **network, "TEST.ENABLE": True})
    problems = [*work.problems, *(Problem(f"{key}: {text}", "") for key, text in errors.items())]
    needed = [p for p in problems if p.text.startswith(_NEEDED)]
    needed += [
        Problem(f"{text}, which is not supported and changes the maps", "config.unsupported")
        for text in work.idle
        if text.startswith(_NEEDED)
    ]
    if needed:
        raise ConfigError(needed, _SOURCE)
    options = [p.text for p in problems if p.text.startswith(_OPTIONS)]
    options += [
        f"PROBLEM.INSTANCE_SEG.DATA_CHANNELS: got {family.code} in {config.ndim}D: "
        f"{family.describe}"
        for family in FAMILIES.values()
        if config.ndim in family.differs_from_biapy
        and planes_in(config.decoder.channels, family.code)
    ]
    if options:
        raise UserError(
            f"the channels of this network have another meaning in BiaPy:{list_lines(options)}",
            "train again with Singula, or use a checkpoint with other channels",
            "checkpoint.biapy_channels",
        )
    notices = [f"{problem.text}; the value has no effect" for problem in problems]
    notices += [f"{text} has no effect" for text in work.idle if text.startswith(_LISTED)]
    return config, [*notices, *_other_distances(read, config), *_scaled_objects(read, config)]


def _other_distances(read: Mapping[str, Any], config: Config) -> Iterator[str]:
    """Yield a notice for signed distances of BiaPy 3.7, which have no divisors."""
    options = read.get("PROBLEM.INSTANCE_SEG.DATA_CHANNELS_EXTRA_OPTS")
    first = options[0] if isinstance(options, list) and options else options
    given = first.get("D") if isinstance(first, Mapping) else None
    if "Ds" in config.decoder.channels and not {"alpha", "beta"} & set(given or ()):
        yield (
            "PROBLEM.INSTANCE_SEG.DATA_CHANNELS: D of BiaPy 3.7 is a share of the largest distance "
            "in each instance, and -1 outside: its thresholds in the file apply, but its maps "
            "cannot be compared with signed distances of Singula"
        )


def _scaled_objects(read: Mapping[str, Any], config: Config) -> Iterator[str]:
    """Yield a notice for flows, which BiaPy learns from objects of one size."""
    key = "PROBLEM.INSTANCE_SEG.CELLPOSE.DIAM_MEAN"
    if config.decoding_method == FlowDecoder.method_name and read.get(key):
        yield (
            f"{key}: {read[key]} has no effect: BiaPy scales images to objects of {read[key]:g} "
            "pixels; scale other images with --scale"
        )


def _dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of nested sections by their dotted names."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{key}.")
        else:
            yield key, value

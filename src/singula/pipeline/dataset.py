"""Validation of the images and labels of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from singula.config import Config
from singula.dataset.checks import Inspection, InspectSettings, inspect_dataset
from singula.dataset.checks.findings import KINDS, Finding
from singula.dataset.facts import Folders
from singula.errors import UserError
from singula.pipeline.load_data import replaced_sizes
from singula.pipeline.readers import n_classes, pair_shapes, places_for, spacing
from singula.util.locations import location

Report = Callable[[str], None]


def configured_folders(config: Config) -> list[Folders]:
    """Return the folders of the training, validation and test data."""
    data, folders = config.DATA, []
    if config.TRAIN.ENABLE:
        folders.append(_folders(config, "TRAIN", labels=True))
        if not data.VAL.FROM_TRAIN:
            folders.append(_folders(config, "VAL", labels=True))
    if config.TEST.ENABLE and not data.TEST.USE_VAL_AS_TEST:
        folders.append(_folders(config, "TEST", labels=data.TEST.LOAD_GT))
    return folders


def _folders(config: Config, part: str, *, labels: bool) -> Folders:
    keys, places = getattr(config.DATA, part), places_for(config, part)
    places = replace(places, together=places.together and labels)
    return Folders(
        part.lower(),
        location(keys.PATH),
        location(keys.GT_PATH) if labels else None,
        places,
        config.DATA.PAIR_BY_SORTED_ORDER,
        keys.IGNORE_PATH if labels else "",
    )


def inspect_settings(config: Config) -> InspectSettings:
    """Return the properties of the data that the configuration requires."""
    steps = config.DATA.PREPROCESS
    resized = bool(steps.SPACING) or (
        steps.RESIZE.ENABLE and (steps.TRAIN or steps.VAL or steps.TEST)
    )
    return InspectSettings(
        ndim=config.ndim,
        channels=config.in_channels,
        gray=config.DATA.FORCE_RGB,
        n_classes=n_classes(config) or None,
        # Resized images do not have the sizes in the files.
        patch=None if resized else config.patch,
        reflect=config.DATA.REFLECT_TO_COMPLETE_SHAPE,
        scored=config.TEST.EVALUATE,
        resampled=bool(steps.SPACING),
        # An outer contour does not shrink objects: a single pixel suffices.
        smallest=1 if config.PROBLEM.INSTANCE_SEG.DATA_CONTOUR_MODE == "outer" else None,
        sized=tuple(
            part.lower()
            for part in ("TRAIN", "VAL", "TEST")
            if spacing(config, part, config.ndim) is not None
        ),
    )


def inspect_config(config: Config, *, report_progress: Report | None = None) -> Inspection:
    """Validate the images and labels of a configuration.

    Parameters
    ----------
    config : Config
        Configuration with the folders of the data.
    report_progress : callable, optional
        Receives lines of text about the progress.

    Raises
    ------
    UserError
        A folder does not exist or contains no image.
    """
    inspection = inspect_dataset(
        configured_folders(config), inspect_settings(config), report_progress=report_progress
    )
    replaced = [replaced_sizes(config, part.name.upper(), part.pairs) for part in inspection.parts]
    notes = (line for line in replaced if line is not None)
    findings = (*_without_voxel_size(config, inspection), *inspection.findings)
    order = list(KINDS)
    return replace(
        inspection,
        notes=(*inspection.notes, *notes),
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.kind))),
    )


def _without_voxel_size(config: Config, inspection: Inspection) -> Iterator[Finding]:
    """Yield the images that cannot be resampled to DATA.PREPROCESS.SPACING."""
    for part in inspection.parts if config.DATA.PREPROCESS.SPACING else ():
        for pair in part.pairs:
            try:
                pair_shapes(config, part.name.upper(), [pair])
            except UserError as error:
                if error.code in ("data.no_voxel_size", "data.voxel_size_range"):
                    text = error.message.removeprefix(f"{pair.image}: ")
                    yield Finding(
                        "voxel_size",
                        text,
                        part=part.name,
                        file=pair.image,
                        image=pair.image,
                        label=pair.label,
                        arrays=pair.arrays,
                        label_arrays=pair.label_arrays,
                    )

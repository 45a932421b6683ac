"""Filters of maps before decoding and post-processing of instances, as configured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.errors import UserError
from singula.labels import (
    clear_border,
    growth_area,
    remove,
    remove_close_points,
    repair_large,
    voronoi,
)
from singula.measure import (
    CORRECT,
    REMOVED,
    Condition,
    conditions_from_lists,
    measure_instances,
    removed_ids,
    select,
)
from singula.prediction.median_filters import median_yz, median_z
from singula.representations.channel_table import CHANNELS
from singula.util.locations import location

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
Spacing = tuple[float, ...] | None


@dataclass(frozen=True)
class PostSettings:
    """Settings of the steps after the network. None or False disables a step.

    Parameters
    ----------
    z_size, yz_size : int, optional
        Sides of the median filters on the maps, in pixels. None if the test has no volumes.
    masks : Path, optional
        Folder of masks; pixels outside of a mask become background.
    close_radius : float, optional
        Distance below which only the larger of two seeds is kept (`BP`).
    repair_size : int, optional
        Size in pixels above which instances are merged with their neighbors.
    voronoi_threshold : float, optional
        Threshold of the foreground in which instances grow until they touch. 0: Otsu's threshold.
    clear_border : bool
        Remove instances that touch the border of the image.
    measure : bool
        Write the tables of measurements.
    conditions : tuple of tuple of Condition
        Lists of conditions that remove instances.
    """

    z_size: int | None = None
    yz_size: int | None = None
    masks: Path | None = None
    close_radius: float | None = None
    repair_size: int | None = None
    voronoi_threshold: float | None = None
    clear_border: bool = False
    measure: bool = False
    conditions: tuple[tuple[Condition, ...], ...] = ()

    @property
    def has_own_result(self) -> bool:
        """True if post-processed instances are written.

        This includes a test with median filters only. They are applied before decoding, so the
        post-processed instances are then equal to the decoded instances.
        """
        return bool(
            self.z_size is not None
            or self.yz_size is not None
            or self.repair_size is not None
            or self.voronoi_threshold is not None
            or self.clear_border
            or self.conditions
        )


def post_settings(config: Config) -> PostSettings:
    """Return the configured steps."""
    keys, volumes = config.TEST.POST_PROCESSING, config.tests_volumes
    properties = keys.MEASURE_PROPERTIES
    removal = properties.REMOVE_BY_PROPERTIES
    conditions: tuple[tuple[Condition, ...], ...] = ()
    if removal.ENABLE:
        conditions = conditions_from_lists(removal.PROPS, removal.VALUES, removal.SIGN)
    radius = keys.REMOVE_CLOSE_POINTS_RADIUS[0] if keys.REMOVE_CLOSE_POINTS_RADIUS else -1
    return PostSettings(
        z_size=keys.Z_FILTERING_SIZE if keys.Z_FILTERING and volumes else None,
        yz_size=keys.YZ_FILTERING_SIZE if keys.YZ_FILTERING and volumes else None,
        masks=location(config.DATA.TEST.BINARY_MASKS) if keys.APPLY_MASK else None,
        close_radius=float(radius) if keys.REMOVE_CLOSE_POINTS else None,
        repair_size=keys.REPARE_LARGE_BLOBS_SIZE if keys.REPARE_LARGE_BLOBS_SIZE > 0 else None,
        voronoi_threshold=keys.VORONOI_TH if keys.VORONOI_ON_MASK else None,
        clear_border=keys.CLEAR_BORDER,
        measure=properties.ENABLE or removal.ENABLE,
        conditions=conditions,
    )


def filter_maps(
    maps: Mapping[str, Array], settings: PostSettings, mask: Array | None
) -> dict[str, Array]:
    """Apply the median filters along z, then over y and z, and then the mask.

    The filters change neither the class map nor images without a z axis.

    Parameters
    ----------
    maps : mapping of str to ndarray, (y, x) or (z, y, x)
        Predicted maps by name.
    settings : PostSettings
        Settings of the filters.
    mask : ndarray of bool, optional
        Pixels outside of it become background.
    """
    result = dict(maps)
    for name, values in maps.items():
        changed = values
        if name != "class" and values.ndim == 3:
            if settings.z_size is not None:
                changed = median_z(changed, settings.z_size)
            if settings.yz_size is not None:
                changed = median_yz(changed, settings.yz_size)
        if mask is not None:
            outside = CHANNELS[name].outside if name in CHANNELS else 0
            changed = np.where(mask, changed, np.asarray(outside, changed.dtype))
        result[name] = changed
    return result


def seed_filter(settings: PostSettings, spacing: Spacing) -> Callable[[Array], Array] | None:
    """Return a function that removes close seeds; None if the step is disabled."""
    radius = settings.close_radius
    if radius is None:
        return None
    return lambda seeds: remove_close_points(seeds, radius, spacing=spacing)


@dataclass(frozen=True)
class Processed:
    """Instances after all steps, with tables of measurements.

    Parameters
    ----------
    labels : ndarray of int, optional
        Instance ids, which may have gaps. None if post-processing writes no result.
    full : DataFrame, optional
        Measurements of the decoded instances, with the result of the conditions.
    filtered : DataFrame, optional
        Measurements of the instances in `labels`.
    """

    labels: Array | None
    full: pd.DataFrame | None
    filtered: pd.DataFrame | None


def process_instances(
    labels: Array, maps: Mapping[str, Array], settings: PostSettings, spacing: Spacing
) -> Processed:
    """Post-process and measure the instances.

    The steps are, in this order: repair, growth, removal at the border, removal by properties.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Decoded instances.
    maps : mapping of str to ndarray
        Predicted maps by name, each with the shape of `labels`.
    settings : PostSettings
        Settings of the steps.
    spacing : tuple of float, optional
        Voxel size per axis.
    """
    changed = labels
    if settings.repair_size is not None:
        changed = repair_large(changed, settings.repair_size)
    if settings.voronoi_threshold is not None:
        area, _ = growth_area(maps, settings.voronoi_threshold)
        changed = voronoi(changed, area, spacing=spacing)
    if settings.clear_border:
        changed = clear_border(changed)
    full = filtered = None
    if settings.measure:
        after = measure_instances(changed, spacing=spacing) if changed is not labels else None
        decoded = measure_instances(labels, spacing=spacing)
        full, filtered, removed = apply_conditions(decoded, after, settings.conditions)
        changed = remove(changed, removed)
    if not settings.has_own_result:
        return Processed(None, full, None)
    return Processed(changed, full, filtered)


def apply_conditions(
    decoded: pd.DataFrame,
    changed: pd.DataFrame | None,
    conditions: tuple[tuple[Condition, ...], ...],
) -> tuple[pd.DataFrame, pd.DataFrame, Array]:
    """Evaluate the conditions on the measurements of the instances.

    Conditions apply to the measurements after the other steps. For an instance that one of these
    steps removed, they apply to the measurements after decoding.

    Parameters
    ----------
    decoded : DataFrame
        Measurements of the decoded instances.
    changed : DataFrame, optional
        Measurements after the other steps, if a step changed an instance.
    conditions : tuple of tuple of Condition
        Lists of conditions that remove instances.

    Returns
    -------
    full : DataFrame
        Measurements of all decoded instances, with the result of the conditions.
    filtered : DataFrame
        Measurements of the remaining instances after the other steps.
    removed : ndarray of int
        Ids of the instances that the conditions remove.
    """
    full = selected = select(decoded, conditions)
    if changed is not None:
        selected = select(changed, conditions)
    removed = removed_ids(selected)
    filtered = selected[~selected["label"].isin(removed)].reset_index(drop=True)
    if changed is not None:
        results = dict(zip(selected["label"], selected["conditions"], strict=True))
        columns = zip(full["label"], full["conditions"], strict=True)
        merged = [results.get(label, decoded_result) for label, decoded_result in columns]
        remains = full["label"].isin(filtered["label"])
        full = full.assign(
            comment=np.where(remains, CORRECT, REMOVED).astype(object),
            conditions=np.array(merged, object),
        )
    return full, filtered, removed


def masks_by_name(settings: PostSettings, names: list[str]) -> dict[str, Path]:
    """Return the mask file of each image.

    Parameters
    ----------
    settings : PostSettings
        Settings with the folder of the masks.
    names : list of str
        Names of the images.

    Raises
    ------
    UserError
        ``masks.missing``: images without a mask.
    """
    if settings.masks is None:
        return {}
    from singula.io.formats.table import stem_of
    from singula.io.list_images import list_images

    files = {stem_of(path): path for path in list_images(settings.masks, "DATA.TEST.BINARY_MASKS")}
    missing = [name for name in names if name not in files]
    if missing:
        shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        raise UserError(
            f"DATA.TEST.BINARY_MASKS: got no mask for {shown} in {settings.masks}, expected one "
            "mask per image",
            "add masks with the names of the images, or set TEST.POST_PROCESSING.APPLY_MASK: False",
            "masks.missing",
        )
    return files

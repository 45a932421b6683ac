"""What is done to maps before and to instances after decoding, as the configuration says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.errors import UserError
from singula.measure import (
    CORRECT,
    REMOVED,
    Condition,
    conditions_from_lists,
    measure,
    removed_ids,
    select,
)
from singula.postprocess import (
    clear_border,
    growth_area,
    median_yz,
    median_z,
    remove,
    remove_close_points,
    repair_large,
    voronoi,
)

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
Spacing = tuple[float, ...] | None


@dataclass(frozen=True)
class PostSettings:
    """Steps after the network; None or False switches one off.

    Parameters
    ----------
    z_size, yz_size : int, optional
        Median filters on the maps of volumes; None if the test has no volumes.
    masks : Path, optional
        Folder of masks outside which nothing is predicted.
    close_radius : float, optional
        Seeds nearer than this are one (`BP`).
    repair_size : int, optional
        Instances above it are merged with their neighbours.
    voronoi_threshold : float, optional
        Instances grow until they touch where the foreground is above it; 0 for Otsu's.
    clear_border : bool
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

        A median filter alone counts too. It comes before decoding, so these instances are then
        the decoded ones.
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
    """The steps that a configuration asks for."""
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
        masks=Path(config.DATA.TEST.BINARY_MASKS) if keys.APPLY_MASK else None,
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
    """Median filters along z, then over y and z, then the mask, on every map but the class.

    Images without a z axis are left alone by the filters.
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
            # Nothing outside the mask: a distance to the nearest contour is largest there.
            outside = 1 if name == "Dv2" else 0
            changed = np.where(mask, changed, np.asarray(outside, changed.dtype))
        result[name] = changed
    return result


def seed_filter(settings: PostSettings, spacing: Spacing) -> Callable[[Array], Array] | None:
    """What is done to the seeds before they grow."""
    radius = settings.close_radius
    if radius is None:
        return None
    return lambda seeds: remove_close_points(seeds, radius, spacing=spacing)


@dataclass(frozen=True)
class Processed:
    """Instances after all steps, with their tables.

    Parameters
    ----------
    labels : ndarray, optional
        None if post-processing has no result of its own. Ids stay, so they may have gaps.
    full, filtered : DataFrame, optional
        Measurements of the decoded instances with what the conditions say of each, and of those
        that remain in `labels`.
    """

    labels: Array | None
    full: pd.DataFrame | None
    filtered: pd.DataFrame | None


def process_instances(
    labels: Array, maps: Mapping[str, Array], settings: PostSettings, spacing: Spacing
) -> Processed:
    """Repair, grow, clear the border and remove by properties, in this order; then measure."""
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
        after = measure(changed, spacing=spacing) if changed is not labels else None
        full, filtered, gone = judge(measure(labels, spacing=spacing), after, settings.conditions)
        changed = remove(changed, gone)
    if not settings.has_own_result:
        return Processed(None, full, None)
    return Processed(changed, full, filtered)


def judge(
    decoded: pd.DataFrame,
    changed: pd.DataFrame | None,
    conditions: tuple[tuple[Condition, ...], ...],
) -> tuple[pd.DataFrame, pd.DataFrame, Array]:
    """Tables of measurements with what the conditions say, and the ids that are to go.

    Conditions are judged on the instance as the steps after decoding left it; an instance that one
    of those steps took away keeps its own.

    Parameters
    ----------
    decoded : DataFrame
        Measurements of the decoded instances.
    changed : DataFrame, optional
        Those after the other steps, if there were any.
    conditions : tuple of tuple of Condition

    Returns
    -------
    full, filtered : DataFrame
        All decoded instances with what became of each; those that remain, as they then are.
    gone : ndarray of int
    """
    full = judged = select(decoded, conditions)
    if changed is not None:
        judged = select(changed, conditions)
    gone = removed_ids(judged)
    filtered = judged[~judged["label"].isin(gone)].reset_index(drop=True)
    if changed is not None:
        verdicts = dict(zip(judged["label"], judged["conditions"], strict=True))
        told = [
            verdicts.get(label, own)
            for label, own in zip(full["label"], full["conditions"], strict=True)
        ]
        left = full["label"].isin(filtered["label"])
        full = full.assign(
            comment=np.where(left, CORRECT, REMOVED).astype(object),
            conditions=np.array(told, object),
        )
    return full, filtered, gone


def masks_by_name(settings: PostSettings, names: list[str]) -> dict[str, Path]:
    """The mask file of each image.

    Raises
    ------
    UserError
        Naming the images without a mask.
    """
    if settings.masks is None:
        return {}
    from singula.io.formats import stem_of
    from singula.io.listing import list_images

    found = {stem_of(path): path for path in list_images(settings.masks, "DATA.TEST.BINARY_MASKS")}
    missing = [name for name in names if name not in found]
    if missing:
        shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        raise UserError(
            f"DATA.TEST.BINARY_MASKS: {settings.masks} has no mask for {shown}",
            "give one mask per image under the same name, or set "
            "TEST.POST_PROCESSING.APPLY_MASK: False",
        )
    return found

"""Notes about an image that is tested block by block."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from singula.io.records.base import Count, Finite, NotNaN, Positive, StoredRecord
from singula.io.records.results import ImageResult

Sides = Annotated[tuple[Positive, ...], Field(min_length=2, max_length=3)]
_OldPlace = tuple[str, str | None, int | None, int | None, str, str]
StoredPlace = tuple[str, str | None, int | None, int | None, str, str, bool] | _OldPlace
"""The fields of an `ArrayPlace`; plans of an earlier version lack the last one."""


class PlanNote(StoredRecord):
    """How an image is tested block by block, and from which files.

    Attributes
    ----------
    name : str
        Of the image.
    config : str
        The whole configuration, as YAML.
    image, label, mask, checkpoint : str
        Files; empty for none.
    image_place, label_place : tuple, optional
        The fields of `singula.io.image.ArrayPlace`.
    maps, instances, processed : str
        Folders of the results; the last is empty where no step follows decoding.
    shape, block : tuple of int
        Spatial shapes of the image and of a block.
    spacing : tuple of float, optional
        Size of a pixel as configured, else as in the file.
    unit : str, optional
    most : int
        Pixels of a box that may be decoded at once.
    network : int
        Bytes that a forward pass may take on a CPU.
    halo : tuple of int
        Pixels around a block that are predicted with it, the same in all processes.
    maps_key, key : str
        Hashes of what the maps, and everything else, were made from: files, weights and settings.
    additional_columns : bool
        Measure the axis ratio and the intensities of the instances.
    """

    name: str
    config: str
    image: str
    label: str
    mask: str
    checkpoint: str
    image_place: StoredPlace | None
    label_place: StoredPlace | None
    maps: str
    instances: str
    processed: str
    shape: Sides
    block: Sides
    spacing: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] | None
    unit: str | None
    most: Count
    network: Count
    halo: tuple[Count, ...]
    maps_key: str
    key: str
    additional_columns: bool = False


class DeviceNote(StoredRecord):
    """Device on which blocks are predicted."""

    name: str


class RecountNote(StoredRecord):
    """Histograms that were counted when maps were predicted are no longer valid."""


class FillNote(StoredRecord):
    """Value of each channel outside of the image."""

    values: list[Finite]


class ScalingNote(StoredRecord):
    """Normalization of the image, per channel; see `singula.data.normalize.Scaling`."""

    low: list[NotNaN]
    high: list[NotNaN]
    shift: list[Finite]
    scale: list[Finite]


class ThresholdsNote(StoredRecord):
    """Thresholds of the whole image.

    Attributes
    ----------
    area : float, optional
        Threshold of the foreground in which instances grow.
    """

    values: dict[str, Finite]
    notes: list[str]
    area: Finite | None = None


class HaloNote(StoredRecord):
    """Pixels around a block that are decoded with it."""

    pixels: Annotated[list[Positive], Field(min_length=2, max_length=3)]


class LayerNote(StoredRecord):
    """Layer of the instances, and the table of their new numbers; empty to keep the numbers."""

    layer: str
    table: str


class ClassesNote(LayerNote):
    """Table of the class of each instance, and the image in which both are written."""

    classes: str
    target: str


class PyramidNote(StoredRecord):
    """Image and number of the coarser level that is being written."""

    path: str
    level: Positive


class ColorNote(StoredRecord):
    """Files of the matches, the instances and the picture that is being painted."""

    match: str
    instances: str
    picture: str


class FinishedNote(StoredRecord):
    """Result of a finished image; none if only its maps were wanted."""

    result: ImageResult | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_first_version(cls, values: Any) -> Any:
        """Accept the fields of the result without a name around them."""
        flat = isinstance(values, dict) and "instances" in values
        return {"result": values} if flat else values


BlockIndex = list[tuple[Count, list[tuple[str, str, list[Count]]]]]
"""Index of a file of blocks: number of each block; name, type and shape of each of its arrays."""

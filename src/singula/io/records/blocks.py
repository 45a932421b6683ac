"""Records of an image that is tested in blocks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from singula.io.records.base import Count, Finite, NotNaN, Part, Positive, StoredRecord
from singula.io.records.results import ImageResult

Sides = Annotated[tuple[Positive, ...], Field(min_length=2, max_length=3)]
_FirstPlace = tuple[str, str | None, int | None, int | None, str, str]
_SecondPlace = tuple[str, str | None, int | None, int | None, str, str, bool]
_ThirdPlace = tuple[str, str | None, int | None, int | None, str, str, bool, float, bool, str]
_FourthPlace = tuple[
    str, str | None, int | None, int | None, str, str, bool, float, bool, str, str, bool
]
StoredPlace = (
    tuple[
        str,
        str | None,
        int | None,
        int | None,
        str,
        str,
        bool,
        float,
        bool,
        str,
        str,
        bool,
        int | None,
    ]
    | _FourthPlace
    | _ThirdPlace
    | _SecondPlace
    | _FirstPlace
)
"""The fields of an `ArrayPlace`; plans of earlier versions lack the last ones."""


class MemberNote(Part):
    """Another model of an ensemble that predicts the blocks.

    Attributes
    ----------
    checkpoint : str
        File of the weights.
    config : str
        Its configuration, as YAML.
    halo : tuple of int
        Pixels around a block that are predicted with it.
    """

    checkpoint: str
    config: str
    halo: tuple[Count, ...]


class PlanNote(StoredRecord):
    """Settings and files of the test of an image in blocks.

    Attributes
    ----------
    name : str
        Name of the image.
    config : str
        The whole configuration, as YAML.
    image, label, mask, checkpoint : str
        Files; empty for none.
    image_place, label_place : tuple, optional
        The fields of `singula.io.image.ArrayPlace`.
    maps, instances, processed : str
        Folders of the results; the last is empty if there is no post-processing.
    shape, block : tuple of int
        Spatial shapes of the image and of a block.
    spacing : tuple of float, optional
        Voxel size of the configuration, else of the file.
    unit : str, optional
        Unit of `spacing`.
    most : int
        Largest number of pixels of a box that is decoded at once.
    network : int
        Largest memory of a forward pass on a CPU, bytes.
    halo : tuple of int
        Pixels around a block that are predicted with it, the same in all processes.
    maps_key, key : str
        Hashes of the files, weights and settings of the maps, and of all other results.
    additional_columns : bool
        Measure the axis ratio and the intensities of the instances.
    others : tuple of MemberNote
        Other models of an ensemble.
    planar : bool
        Only single slices of the ground truth are annotated.
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
    others: tuple[MemberNote, ...] = ()
    planar: bool = False


class DeviceNote(StoredRecord):
    """Device on which blocks are predicted."""

    name: str


class RecountNote(StoredRecord):
    """Mark that the histograms of the prediction are no longer valid."""


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


class HaloErrorNote(StoredRecord):
    """Error of the maps of blocks that are predicted with a reduced halo.

    Parameters
    ----------
    corners : int
        Number of corners of blocks where it was measured.
    difference : float
        Largest difference of a probability from that with a wider halo.
    changed, probabilities : int
        Number of probabilities on the other side of 0.5, and of all that were compared.
    """

    corners: Count
    difference: Finite
    changed: Count
    probabilities: Count


class LayerNote(StoredRecord):
    """Layer of the instances, and the table of their new ids; empty if the ids do not change."""

    layer: str
    table: str


class ClassesNote(LayerNote):
    """Table of the class of each instance, and the image in which both are written."""

    classes: str
    target: str


class PyramidNote(StoredRecord):
    """Image and number of the pyramid level that is written."""

    path: str
    level: Positive


class ColorNote(StoredRecord):
    """Files of the matches, the instances and the picture that is drawn."""

    match: str
    instances: str
    picture: str


class FinishedNote(StoredRecord):
    """Result of a finished image; None if only its maps were predicted."""

    result: ImageResult | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_first_version(cls, values: Any) -> Any:
        """Accept the fields of the result at the top level."""
        flat = isinstance(values, dict) and "instances" in values
        return {"result": values} if flat else values


BlockIndex = list[tuple[Count, list[tuple[str, str, list[Count]]]]]
"""Index of a file of blocks: number of each block; name, data type and shape of its arrays."""

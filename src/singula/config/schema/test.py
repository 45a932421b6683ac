"""The TEST section: prediction, scores and post-processing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from singula.config.schema.base import Section, key, section
from singula.config.schema.data import ArrayFiles
from singula.config.values import (
    AnyCase,
    Bool,
    Float,
    Int,
    NumberLists,
    OffOr,
    Pixels,
    Spacings,
    Thresholds,
    to_tuple,
)

Property = Annotated[
    Literal[
        "circularity", "elongation", "npixels", "area", "diameter", "perimeter", "sphericity"
    ],
    AnyCase(),
]  # fmt: skip
Sign = Annotated[Literal["lt", "le", "gt", "ge"], AnyCase()]
_AsTuple = BeforeValidator(to_tuple)
PropertyLists = Annotated[tuple[Annotated[tuple[Property, ...], _AsTuple], ...], _AsTuple]
SignLists = Annotated[tuple[Annotated[tuple[Sign, ...], _AsTuple], ...], _AsTuple]


class WorkflowProcess(Section):
    """Decoding after a prediction in blocks."""

    ENABLE: Bool = key(True, "Decode instances after the prediction.")
    TYPE: Annotated[Literal["chunk_by_chunk", "entire_pred"], AnyCase()] = key(
        "chunk_by_chunk", "Has no effect: blocks have the same instances as the whole prediction."
    )


class ByChunks(ArrayFiles):
    """Prediction of images that are larger than memory."""

    ENABLE: Bool = key(False, "Read, predict and write images in blocks.")
    FORMAT: Annotated[Literal["H5", "Zarr"], AnyCase()] = key("H5", "Format of the prediction.")
    SAVE_OUT_TIF: Bool = key(False, "Also write the prediction as TIFF.")
    BLOCK_SHAPE: Pixels = key(
        (), "Shape of a block, z first, without channels; (): as large as memory allows."
    )
    FLUSH_EACH: Int = key(
        100, "Has no effect: each block is written as soon as it is predicted.", ge=1
    )
    WORKFLOW_PROCESS: WorkflowProcess = section(WorkflowProcess)


class RemoveByProperties(Section):
    """Removal of instances by their properties."""

    ENABLE: Bool = key(
        False,
        "Remove instances that meet all conditions of any list; enabled if the lists are set.",
    )
    PROPS: PropertyLists = key((), "Lists of properties, for example [['area'], ['npixels']].")
    VALUES: NumberLists = key((), "Lists of limits, with the shape of PROPS.")
    SIGN: SignLists = key(
        (), "Lists of comparisons, with the shape of PROPS: lt (<), le (≤), gt (>), ge (≥)."
    )


class MeasureProperties(Section):
    """Measurement of the properties of instances."""

    ENABLE: Bool = key(False, "Measure each instance and write a table.")
    REMOVE_BY_PROPERTIES: RemoveByProperties = section(RemoveByProperties)


class PostProcessing(Section):
    """Post-processing of predictions and instances."""

    YZ_FILTERING: Bool = key(
        False, "Median filter over y and z on the prediction of a volume or a stack."
    )
    YZ_FILTERING_SIZE: Int = key(5, "Size of the filter over y and z in pixels.", ge=1, le=999)
    Z_FILTERING: Bool = key(
        False, "Median filter along z on the prediction of a volume or a stack."
    )
    Z_FILTERING_SIZE: Int = key(5, "Size of the filter along z in pixels.", ge=1, le=999)
    APPLY_MASK: Bool = key(
        False, "Set instances outside of the masks of DATA.TEST.BINARY_MASKS to background."
    )
    MEASURE_PROPERTIES: MeasureProperties = section(MeasureProperties)
    VORONOI_ON_MASK: Bool = key(False, "Expand instances in the foreground until they touch.")
    VORONOI_TH: Float = key(
        0.0, "Threshold of the foreground for VORONOI_ON_MASK; 0: by Otsu.", ge=0, le=1
    )
    REPARE_LARGE_BLOBS_SIZE: Annotated[Int, OffOr(1)] = key(
        -1,
        "Merge instances with more pixels than this into their neighbors, and fill holes; -1: off.",
    )
    CLEAR_BORDER: Bool = key(False, "Remove instances that touch the image border.")
    REMOVE_CLOSE_POINTS: Bool = key(
        False, "Merge seed points that are close to each other (only with seeds of P, as BP)."
    )
    REMOVE_CLOSE_POINTS_RADIUS: Spacings = key((-1.0,), "Distance below which points are merged.")


class Stats(Section):
    """Additional scores."""

    PER_PATCH: Bool = key(
        True,
        "Score the prediction of each patch if there are labels; needs a second prediction if "
        "tiles differ from patches.",
    )


class Test(Section):
    """Prediction, instances and scores of test images."""

    __test__ = False  # not a test class for pytest

    ENABLE: Bool = key(False, "Predict the test images.")
    REDUCE_MEMORY: Bool = key(
        False,
        "Store probability maps in 16 bits, with errors below 0.001; distances remain in 32 bits.",
    )
    BY_CHUNKS: ByChunks = section(ByChunks)
    VERBOSE: Bool = key(True, "Has no effect: the test always prints a line for each image.")
    TILE_SIZE: Annotated[Literal["auto", "patch"], AnyCase()] = key(
        "auto",
        "Size of the predicted tiles: the fastest without visible seams (auto), or "
        "DATA.PATCH_SIZE.",
    )
    PRECISION: Annotated[Literal["32", "bf16"], AnyCase()] = key(
        "32", "Arithmetic of prediction: 32-bit, or bfloat16, which is faster and less accurate."
    )
    BACKEND: Annotated[Literal["auto", "torch", "openvino"], AnyCase()] = key(
        "auto",
        "Library for prediction on a CPU; auto: OpenVINO if it is installed and useful, else "
        "torch.",
    )
    AUGMENTATION: Bool = key(False, "Average over 8 (2D) or 16 (3D) flips and rotations.")
    EVALUATE: Bool = key(True, "Compute scores if there are labels.")
    ANALIZE_2D_IMGS_AS_3D_STACK: Bool = key(
        False,
        "Decode all 2D images as one volume; with FULL_IMG, from predictions of whole images.",
    )
    REUSE_PREDICTIONS: Bool = key(False, "Use stored predictions instead of the network.")
    FULL_IMG: Bool = key(False, "Predict whole images instead of tiles.")
    STATS: Stats = section(Stats)
    MATCHING_STATS: Bool = key(True, "Match instances with the labels and score them.")
    MATCHING_STATS_THS: Thresholds = key(
        (0.3, 0.5, 0.75),
        "Smallest overlaps (IoU) at which an instance counts as a true positive.",
        min_length=1,
        max_length=100,
    )
    MATCHING_STATS_THS_COLORED_IMG: Thresholds = key(
        (0.3,), "Overlaps (IoU) for which a picture of true positives and errors is written."
    )
    POST_PROCESSING: PostProcessing = section(PostProcessing)

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
    """What follows a prediction by chunks."""

    ENABLE: Bool = key(True, "Make instances after the prediction.")
    TYPE: Annotated[Literal["chunk_by_chunk", "entire_pred"], AnyCase()] = key(
        "chunk_by_chunk", "Has no effect: blocks give the same instances as the whole prediction."
    )


class ByChunks(ArrayFiles):
    """Prediction of images that do not fit into memory."""

    ENABLE: Bool = key(False, "Read, predict and write in chunks.")
    FORMAT: Annotated[Literal["H5", "Zarr"], AnyCase()] = key("H5", "Format of the prediction.")
    SAVE_OUT_TIF: Bool = key(False, "Write the prediction as TIFF too.")
    BLOCK_SHAPE: Pixels = key(
        (), "Shape of a block, z first, without channels; (): as large as memory allows."
    )
    FLUSH_EACH: Int = key(100, "Has no effect: each block is written when it is done.", ge=1)
    WORKFLOW_PROCESS: WorkflowProcess = section(WorkflowProcess)


class RemoveByProperties(Section):
    """Removal of instances by their measurements."""

    ENABLE: Bool = key(
        False,
        "Remove instances that meet any of the lists of conditions; setting the lists enables it.",
    )
    PROPS: PropertyLists = key((), "Lists of measurements, for example [['area'], ['npixels']].")
    VALUES: NumberLists = key((), "Lists of limits, shaped as PROPS.")
    SIGN: SignLists = key((), "Lists of comparisons, shaped as PROPS: < lt, ≤ le, > gt, ≥ ge.")


class MeasureProperties(Section):
    """Measurements of each instance."""

    ENABLE: Bool = key(False, "Measure each instance and write a table.")
    REMOVE_BY_PROPERTIES: RemoveByProperties = section(RemoveByProperties)


class PostProcessing(Section):
    """What is done to predictions and instances afterwards."""

    YZ_FILTERING: Bool = key(
        False, "Median filter over y and z on the prediction of a volume or a stack."
    )
    YZ_FILTERING_SIZE: Int = key(5, "Size of that filter in pixels.", ge=1, le=999)
    Z_FILTERING: Bool = key(
        False, "Median filter along z on the prediction of a volume or a stack."
    )
    Z_FILTERING_SIZE: Int = key(5, "Size of that filter in pixels.", ge=1, le=999)
    APPLY_MASK: Bool = key(False, "Keep only what lies in the masks of DATA.TEST.BINARY_MASKS.")
    MEASURE_PROPERTIES: MeasureProperties = section(MeasureProperties)
    VORONOI_ON_MASK: Bool = key(False, "Let instances grow until they touch, in the foreground.")
    VORONOI_TH: Float = key(0.0, "Threshold of that foreground; 0: by Otsu.", ge=0, le=1)
    REPARE_LARGE_BLOBS_SIZE: Annotated[Int, OffOr(1)] = key(
        -1, "Merge instances larger than so many pixels with their neighbours, fill holes."
    )
    CLEAR_BORDER: Bool = key(False, "Remove instances that touch the image border.")
    REMOVE_CLOSE_POINTS: Bool = key(False, "Merge seed points that are close (BP only).")
    REMOVE_CLOSE_POINTS_RADIUS: Spacings = key((-1.0,), "Distance below which points are one.")


class Stats(Section):
    """Scores beyond those of joined images."""

    PER_PATCH: Bool = key(
        True,
        "Score the prediction of each patch by itself, where labels are given; takes a second "
        "prediction where tiles are not the patches.",
    )


class Test(Section):
    """Prediction, instances and scores of the test images."""

    __test__ = False  # not a test class for pytest

    ENABLE: Bool = key(False, "Predict the test images.")
    REDUCE_MEMORY: Bool = key(
        False, "Keep maps of probabilities in 16 bits, within 0.001; distances stay in 32."
    )
    BY_CHUNKS: ByChunks = section(ByChunks)
    VERBOSE: Bool = key(True, "Has no effect: the test always has a line for each image.")
    TILE_SIZE: Annotated[Literal["auto", "patch"], AnyCase()] = key(
        "auto",
        "Tiles that are predicted: what is fastest and shows no seams, or DATA.PATCH_SIZE.",
    )
    PRECISION: Annotated[Literal["32", "bf16"], AnyCase()] = key(
        "32", "Arithmetic of prediction: 32-bit, or bfloat16, which is faster and less exact."
    )
    BACKEND: Annotated[Literal["auto", "torch", "openvino"], AnyCase()] = key(
        "auto", "What computes the network on a CPU: OpenVINO where installed and of use, or torch."
    )
    AUGMENTATION: Bool = key(False, "Average over 8 (2D) or 16 (3D) flips and turns.")
    EVALUATE: Bool = key(True, "Compute scores where labels are given.")
    ANALIZE_2D_IMGS_AS_3D_STACK: Bool = key(
        False,
        "Make instances of all 2D images as one volume; with FULL_IMG from whole predictions.",
    )
    REUSE_PREDICTIONS: Bool = key(False, "Take stored predictions instead of the network.")
    FULL_IMG: Bool = key(False, "Predict whole images instead of patches.")
    STATS: Stats = section(Stats)
    MATCHING_STATS: Bool = key(True, "Match instances with the labels and score them.")
    MATCHING_STATS_THS: Thresholds = key(
        (0.3, 0.5, 0.75),
        "Overlaps (IoU) from which an instance counts as found.",
        min_length=1,
        max_length=100,
    )
    MATCHING_STATS_THS_COLORED_IMG: Thresholds = key(
        (0.3,), "Overlaps for which a picture of hits and misses is made."
    )
    POST_PROCESSING: PostProcessing = section(PostProcessing)

"""The DATA section: images, labels, patches, normalization."""

from __future__ import annotations

from typing import Annotated, Literal

from singula.config.schema.base import Section, key, section
from singula.config.values import (
    AnyCase,
    Axes,
    Bool,
    Float,
    Folder,
    Int,
    Kernels,
    NameOrNumber,
    OffOr,
    OptionalFloat,
    OptionalInt,
    OptionalSizes,
    Overlaps,
    Pixels,
    Sizes,
    Spacings,
    Text,
)

Percentile = Annotated[Float, OffOr(0, 100)]


class Normalization(Section):
    """Scaling of the values of images to a common range."""

    PERC_CLIP: Bool = key(False, "Clip values to the two percentiles before normalization.")
    PERC_LOWER: Percentile = key(-1.0, "Lower percentile of the clipping.")
    PERC_UPPER: Percentile = key(-1.0, "Upper percentile of the clipping.")
    TYPE: Annotated[Literal["div", "scale_range", "custom"], AnyCase()] = key(
        "div",
        "div: divide by the largest value of the data type, floats by one number for all images; "
        "scale_range: scale minimum and maximum to 0 and 1; "
        "custom: subtract the mean and divide by the standard deviation.",
    )
    APPLICATION_MODE: Annotated[Literal["image", "dataset"], AnyCase()] = key(
        "image", "Compute statistics of each image separately, or of the whole training set."
    )
    CUSTOM_MEAN: Float = key(
        -1.0, "Mean for TYPE custom; -1 for both this and CUSTOM_STD: measure it."
    )
    CUSTOM_STD: Annotated[Float, OffOr(1e-12)] = key(
        -1.0, "Standard deviation for TYPE custom; -1 for both this and CUSTOM_MEAN: measure it."
    )


class ArrayFiles(Section):
    """Images and labels inside Zarr, HDF5 and N5 files."""

    INPUT_ZARR_MULTIPLE_DATA: Bool = key(
        False, "The Zarr, HDF5 or N5 files of PATH contain the labels too; GT_PATH is not read."
    )
    INPUT_ZARR_MULTIPLE_DATA_RAW_PATH: Text = key(
        "", "Path of the image inside Zarr, HDF5 and N5 files; empty: the only image of the file."
    )
    INPUT_ZARR_MULTIPLE_DATA_GT_PATH: Text = key(
        "", "Path of the labels inside Zarr, HDF5 and N5 files; empty: the only labels of the file."
    )
    INPUT_IMG_AXES_ORDER: Axes = key(
        "TZCYX",
        "Axes of images in Zarr, HDF5 and N5 files, one letter each; TZCYX: from the metadata of "
        "the file, else from the shape.",
    )
    INPUT_MASK_AXES_ORDER: Axes = key(
        "TZCYX",
        "Axes of labels in Zarr, HDF5 and N5 files, one letter each; TZCYX: from the metadata of "
        "the file, else from the shape.",
    )


class Split(Section):
    """Keys of training, validation and test data."""

    OVERLAP: Overlaps = key((0, 0), "Overlap of neighboring patches per axis, as a fraction.")
    PADDING: Pixels = key(
        (0, 0), "Margin of each patch per axis whose prediction is discarded, pixels."
    )
    RESOLUTION: Spacings = key((-1,), "Pixel size per axis, z first; -1 for unknown.")

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Pixel size per axis, z first; None if it is not set."""
        return None if -1 in self.RESOLUTION else self.RESOLUTION


class TrainData(Split, ArrayFiles):
    """Training images and labels."""

    CHECK_DATA: Bool = key(
        True, "Search the labels for ids with several connected components before training."
    )
    IN_MEMORY: Bool = key(
        True, "Keep all training images in memory; else read them for each patch."
    )
    PATH: Folder = key("user_data/train/x", "Folder of the training images.")
    GT_PATH: Folder = key("user_data/train/y", "Folder of the training labels.")
    IGNORE_PATH: Folder = key(
        "",
        "Folder of masks whose nonzero pixels are not annotated in the labels of the same name; "
        "empty: no masks.",
    )
    INSTANCE_CHANNELS_DIR: Folder = key(
        "user_data/train/x_BC",
        "Folder of images that are stored with their channels; derived from PATH if unset.",
    )
    INSTANCE_CHANNELS_MASK_DIR: Folder = key(
        "user_data/train/y_BC",
        "Folder of channels that are made from labels; derived from GT_PATH if unset.",
    )
    REPLICATE: Int = key(
        0,
        "Number of times that each training patch is used in an epoch; each time it is "
        "augmented at random again.",
        ge=0,
        le=10_000,
    )
    MINIMUM_FOREGROUND_PER: Annotated[Float, OffOr(0, 1)] = key(
        -1.0, "Skip training patches with a smaller fraction of foreground; -1: skip none."
    )


class ValData(Split, ArrayFiles):
    """Validation images and labels."""

    DIST_EVAL: Bool = key(
        True, "Has no effect: the validation is always shared among all processes."
    )
    FROM_TRAIN: Bool = key(True, "Take validation data from the training data.")
    CROSS_VAL: Bool = key(
        False, "Cross-validate: use one fold of the training data for validation."
    )
    CROSS_VAL_NFOLD: Int = key(5, "Number of folds.", ge=2, le=10_000)
    CROSS_VAL_FOLD: Int = key(1, "Fold for validation, from 1.", ge=1)
    SPLIT_TRAIN: Float = key(0.1, "Fraction of the training data for validation.", ge=0, le=1)
    RANDOM: Bool = key(True, "Select the validation data at random; else use the last images.")
    IN_MEMORY: Bool = key(
        True, "Keep all validation images in memory; else read them for each patch."
    )
    PATH: Folder = key("user_data/val/x", "Folder of the validation images.")
    GT_PATH: Folder = key("user_data/val/y", "Folder of the validation labels.")
    IGNORE_PATH: Folder = key(
        "",
        "Folder of masks whose nonzero pixels are not annotated in the labels of the same name; "
        "empty: no masks.",
    )
    INSTANCE_CHANNELS_DIR: Folder = key(
        "user_data/val/x_BC",
        "Folder of images that are stored with their channels; derived from PATH if unset.",
    )
    INSTANCE_CHANNELS_MASK_DIR: Folder = key(
        "user_data/val/y_BC",
        "Folder of channels that are made from labels; derived from GT_PATH if unset.",
    )


class TestData(Split):
    """Test images and, for scores, their labels."""

    __test__ = False  # not a test class for pytest

    CHECK_DATA: Bool = key(
        True, "Search the test labels for ids with several connected components."
    )
    IN_MEMORY: Bool = key(False, "Has no effect: test images are read when needed.")
    LOAD_GT: Bool = key(False, "The test images have labels: score the predictions.")
    USE_VAL_AS_TEST: Bool = key(False, "Test on the validation images and score with their labels.")
    PATH: Folder = key("user_data/test/x", "Folder of the test images.")
    GT_PATH: Folder = key("user_data/test/y", "Folder of the test labels.")
    IGNORE_PATH: Folder = key(
        "",
        "Folder of masks whose nonzero pixels are not annotated in the labels of the same name; "
        "empty: no masks.",
    )
    INSTANCE_CHANNELS_DIR: Folder = key(
        "user_data/test/x_BC",
        "Folder of images that are stored with their channels; derived from PATH if unset.",
    )
    INSTANCE_CHANNELS_MASK_DIR: Folder = key(
        "user_data/test/y_BC",
        "Folder of channels that are made from labels; derived from GT_PATH if unset.",
    )
    MEDIAN_PADDING: Bool = key(False, "Pad test images by their median instead of by reflection.")
    BINARY_MASKS: Folder = key(
        "user_data/test/bin_mask", "Folder of masks for TEST.POST_PROCESSING.APPLY_MASK."
    )
    ARGMAX_TO_OUTPUT: Bool = key(True, "Has no effect: the most probable class is always stored.")


class Resize(Section):
    """Resize images to one size."""

    ENABLE: Bool = key(
        False, "Resize images, and labels by nearest neighbor; results have the new size."
    )
    OUTPUT_SHAPE: Sizes = key((512, 512), "New size per axis.")
    ORDER: Int = key(1, "Order of the interpolation, 0 nearest to 5 quintic.", ge=0, le=5)
    MODE: Annotated[Literal["constant", "edge", "symmetric", "reflect", "wrap"], AnyCase()] = key(
        "reflect", "Padding beyond the edge."
    )
    CVAL: Float = key(0.0, "Value beyond the edge for MODE constant.")
    CLIP: Bool = key(True, "Clip the result to the range of the input.")
    PRESERVE_RANGE: Bool = key(True, "Preserve the range of the values.")
    ANTI_ALIASING: Bool = key(False, "Smooth images before they are reduced in size.")


class GaussianBlur(Section):
    """Smooth images."""

    ENABLE: Bool = key(False, "Smooth images with a Gaussian.")
    SIGMA: Float = key(1, "Standard deviation in pixels.", ge=0, le=1000)
    MODE: Annotated[Literal["reflect", "constant", "nearest", "mirror", "wrap"], AnyCase()] = key(
        "nearest", "Padding beyond the edge."
    )
    CHANNEL_AXIS: OptionalInt = key(None, "Has no effect: channels are always smoothed separately.")


class MedianBlur(Section):
    """Replace each pixel by the median of its neighborhood."""

    ENABLE: Bool = key(False, "Apply a median filter to images.")
    KERNEL_SIZE: Kernels = key((3,), "Odd size of the filter in pixels, one or one per axis.")


class MatchHistogram(Section):
    """Match the histograms of images to those of reference images."""

    ENABLE: Bool = key(False, "Match the histogram of images to that of the reference images.")
    REFERENCE_PATH: Folder = key("user_data/test/x", "Folder of the reference images.")


class Clahe(Section):
    """Contrast-limited adaptive histogram equalization."""

    ENABLE: Bool = key(False, "Equalize the histogram locally.")
    KERNEL_SIZE: OptionalSizes = key(None, "Size of a region; None: an eighth of the image.")
    CLIP_LIMIT: Float = key(0.01, "Limit of the contrast.", ge=0, le=1)


class Canny(Section):
    """Replace images by their edges."""

    ENABLE: Bool = key(False, "Replace images by their edges, volumes slice by slice.")
    LOW_THRESHOLD: OptionalFloat = key(None, "Lower threshold of the hysteresis.")
    HIGH_THRESHOLD: OptionalFloat = key(None, "Upper threshold of the hysteresis.")


class Preprocess(Section):
    """Changes to images before normalization."""

    TRAIN: Bool = key(False, "Preprocess the training images.")
    VAL: Bool = key(False, "Preprocess the validation images.")
    TEST: Bool = key(False, "Preprocess the test images.")
    SPACING: Spacings = key(
        (),
        "Voxel size, z first, to which all images are resampled, in µm if the files give a unit; "
        "results have the size of the stored images. Empty: not resampled.",
    )
    RESIZE: Resize = section(Resize)
    GAUSSIAN_BLUR: GaussianBlur = section(GaussianBlur)
    MEDIAN_BLUR: MedianBlur = section(MedianBlur)
    MATCH_HISTOGRAM: MatchHistogram = section(MatchHistogram)
    CLAHE: Clahe = section(Clahe)
    CANNY: Canny = section(Canny)


class Data(Section):
    """Images, labels and patches."""

    CHECK_GENERATORS: Bool = key(
        False, "Save every training patch of the first epoch and its targets."
    )
    PATCH_SIZE: Sizes = key(
        (256, 256, 1),
        "Shape of a training patch: (y, x, channels) or (z, y, x, channels).",
        min_length=3,
        max_length=4,
    )
    EXTRACT_RANDOM_PATCH: Bool = key(
        False, "Draw training patches at random positions of the image."
    )
    PROBABILITY_MAP: Bool = key(
        False, "Draw the centers of random patches with the weights W_FOREGROUND and W_BACKGROUND."
    )
    W_FOREGROUND: Float = key(0.94, "Weight of foreground pixels.", ge=0, le=1)
    W_BACKGROUND: Float = key(0.06, "Weight of background pixels.", ge=0, le=1)
    REFLECT_TO_COMPLETE_SHAPE: Bool = key(
        False, "Pad images that are smaller than a patch by reflection; else they are an error."
    )
    PAIR_BY_SORTED_ORDER: Bool = key(
        False,
        "Pair images and labels in sorted order even if nothing in their names confirms it.",
    )
    CHANNEL: NameOrNumber = key(
        "",
        "Channel of images with several channels, by its name or its number from 0; empty: all "
        "channels. Labels are not affected.",
    )
    EXTERNAL_FILES: Bool = key(
        False,
        "Read image files that refer to other files: external storage and links in HDF5, links "
        "that leave a Zarr or N5. Only for files whose author you trust.",
    )
    NORMALIZATION: Normalization = section(Normalization)
    FORCE_RGB: Bool = key(False, "Convert images with one channel to three equal channels.")
    TRAIN: TrainData = section(TrainData)
    PREPROCESS: Preprocess = section(Preprocess)
    TEST: TestData = section(TestData)
    VAL: ValData = section(ValData)

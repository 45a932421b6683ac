"""The AUGMENTOR section: random changes to training patches."""

from __future__ import annotations

from typing import Annotated, Literal

from singula.config.schema.base import Section, key
from singula.config.values import (
    AnglePair,
    AnyCase,
    Bool,
    ChangePair,
    CountPair,
    FactorPair,
    Float,
    FractionPair,
    Int,
    KernelPair,
    Pair,
    SigmaPair,
    StrengthPair,
)

Beyond = Annotated[Literal["reflect", "symmetric", "constant", "nearest", "wrap"], AnyCase()]
Mode = Annotated[Literal["2D", "3D"], AnyCase()]


class Augmentor(Section):
    """Random changes to training patches."""

    ENABLE: Bool = key(False, "Change training patches at random.")
    DA_PROB: Float = key(0.5, "Probability of each change, independent of the others.", ge=0, le=1)
    AUG_SAMPLES: Bool = key(True, "Save examples of changed patches.")
    DRAW_GRID: Bool = key(True, "Draw a grid over the examples, which shows deformations.")
    AUG_NUM_SAMPLES: Int = key(10, "Number of examples.", ge=0, le=10_000)
    SHUFFLE_TRAIN_DATA_EACH_EPOCH: Bool = key(True, "Shuffle training patches in every epoch.")
    SHUFFLE_VAL_DATA_EACH_EPOCH: Bool = key(False, "Shuffle validation patches in every epoch.")

    ROT90: Bool = key(False, "Rotate by a multiple of 90 degrees in the y-x plane.")
    RANDOM_ROT: Bool = key(False, "Rotate by any angle in the y-x plane.")
    RANDOM_ROT_RANGE: Pair = key((-180, 180), "Angles in degrees.")
    SHEAR: Bool = key(False, "Shear in the y-x plane.")
    SHEAR_RANGE: AnglePair = key((-20, 20), "Shear in degrees.")
    ZOOM: Bool = key(False, "Enlarge or shrink in the y-x plane.")
    ZOOM_RANGE: FactorPair = key((0.8, 1.2), "Factor; above 1 enlarges.")
    SHIFT: Bool = key(False, "Move along y and x.")
    SHIFT_RANGE: ChangePair = key((0.1, 0.2), "Distance as a fraction of the patch.")
    AFFINE_MODE: Beyond = key(
        "reflect", "Padding beyond the image's edge after a rotation, shear, zoom or shift."
    )
    VFLIP: Bool = key(False, "Mirror along y.")
    HFLIP: Bool = key(False, "Mirror along x.")
    ZFLIP: Bool = key(False, "Mirror along z (3D only).")
    ELASTIC: Bool = key(False, "Deform elastically.")
    E_ALPHA: StrengthPair = key(
        (12, 16), "Strength of the deformation; pixels move by about E_ALPHA / (6 E_SIGMA)."
    )
    E_SIGMA: Float = key(4, "Smoothness of the deformation, pixels.", ge=0.5, le=1000)
    E_MODE: Beyond = key("constant", "Padding beyond the edge after a deformation.")

    G_BLUR: Bool = key(False, "Blur with a Gaussian.")
    G_SIGMA: SigmaPair = key((1.0, 2.0), "Standard deviation in pixels.")
    MEDIAN_BLUR: Bool = key(False, "Blur with a median filter.")
    MB_KERNEL: KernelPair = key((3, 7), "Size of the median filter.")
    MOTION_BLUR: Bool = key(False, "Blur as if the camera moved.")
    MOTB_K_RANGE: CountPair = key((8, 12), "Length of the movement in pixels.")
    GAMMA_CONTRAST: Bool = key(False, "Raise values, scaled to the patch's range, to a power.")
    GC_GAMMA: FactorPair = key((1.25, 1.75), "Exponent; above 1 darkens.")
    INVERT: Bool = key(False, "Exchange black and white.")
    BACKGROUND: Bool = key(False, "Add light that changes smoothly along y and x.")
    BACKGROUND_STRENGTH: FractionPair = key(
        (0, 0.3), "Brightest value of this light as a fraction of the range from black to white."
    )
    BRIGHTNESS: Bool = key(False, "Add a constant.")
    BRIGHTNESS_FACTOR: ChangePair = key((-0.1, 0.1), "Constant as a fraction of the range.")
    BRIGHTNESS_MODE: Mode = key("3D", "One constant for the volume (3D) or for each slice (2D).")
    CONTRAST: Bool = key(False, "Scale values around their mean.")
    CONTRAST_FACTOR: ChangePair = key((-0.1, 0.1), "Relative change of the distance to the mean.")
    CONTRAST_MODE: Mode = key("3D", "One factor for the volume (3D) or for each slice (2D).")
    BRIGHTNESS_EM: Bool = key(False, "Add a constant, as for electron microscopy.")
    BRIGHTNESS_EM_FACTOR: ChangePair = key((-0.1, 0.1), "Constant in normalized units.")
    BRIGHTNESS_EM_MODE: Mode = key("3D", "One constant for the volume (3D) or each slice (2D).")
    CONTRAST_EM: Bool = key(False, "Multiply values, as for electron microscopy.")
    CONTRAST_EM_FACTOR: ChangePair = key((-0.1, 0.1), "Number that is added to the factor 1.")
    CONTRAST_EM_MODE: Mode = key("3D", "One factor for the volume (3D) or each slice (2D).")
    DROPOUT: Bool = key(False, "Set random pixels to zero.")
    DROP_RANGE: FractionPair = key((0, 0.2), "Fraction of pixels that are set to zero.")

    CUTOUT: Bool = key(False, "Fill rectangles with a constant.")
    COUT_NB_ITERATIONS: CountPair = key((1, 3), "Number of rectangles.")
    COUT_SIZE: FractionPair = key((0.05, 0.3), "Size of a rectangle as a fraction of the patch.")
    COUT_CVAL: Float = key(0.0, "Value inside the rectangles.", ge=-1e6, le=1e6)
    COUT_APPLY_TO_MASK: Bool = key(False, "Remove the labels inside the rectangles too.")
    CUTBLUR: Bool = key(False, "Blur a rectangle.")
    CBLUR_SIZE: FractionPair = key((0.2, 0.4), "Size of the rectangle as a fraction of the patch.")
    CBLUR_DOWN_RANGE: CountPair = key(
        (2, 8), "Factor by which the resolution of the rectangle is reduced."
    )
    CBLUR_INSIDE: Bool = key(
        True, "Blur inside the rectangle only; else, half of the time, outside of it."
    )
    CUTMIX: Bool = key(False, "Replace a rectangle of image and labels by that of another patch.")
    CMIX_SIZE: FractionPair = key((0.2, 0.4), "Size of the rectangle as a fraction of the patch.")
    CUTNOISE: Bool = key(False, "Add noise inside rectangles.")
    CNOISE_SCALE: FractionPair = key((0.05, 0.1), "Noise as a fraction of the patch's range.")
    CNOISE_NB_ITERATIONS: CountPair = key((1, 3), "Number of rectangles.")
    CNOISE_SIZE: FractionPair = key((0.2, 0.4), "Size of a rectangle as a fraction of the patch.")
    MISALIGNMENT: Bool = key(False, "Shift or rotate all slices after a random one (3D only).")
    MS_DISPLACEMENT: Int = key(16, "Largest shift of a slice in pixels.", ge=0, le=1000)
    MS_ROTATE_RATIO: Float = key(0.5, "Fraction of misalignments that are rotations.", ge=0, le=1)
    MISSING_SECTIONS: Bool = key(False, "Blacken a band in some slices.")
    MISSP_ITERATIONS: CountPair = key((10, 30), "Pixels by which the band is widened to each side.")
    GRAYSCALE: Bool = key(False, "Convert color images to gray.")
    CHANNEL_SHUFFLE: Bool = key(False, "Permute the channels.")
    GRIDMASK: Bool = key(False, "Blacken a grid of squares.")
    GRID_RATIO: Float = key(0.6, "Fraction of the area that remains.", ge=0, le=1)
    GRID_D_RANGE: FractionPair = key(
        (0.4, 1), "Size of a grid cell as a fraction of the patch's side."
    )
    GRID_ROTATE: Float = key(1.0, "Largest rotation of the grid; 1 is 360 degrees.", ge=0, le=1)
    GRID_INVERT: Bool = key(False, "Invert the grid.")

    GAUSSIAN_NOISE: Bool = key(False, "Add Gaussian noise.")
    GAUSSIAN_NOISE_MEAN: Float = key(0.0, "Mean of the noise in normalized units.", ge=-1e6, le=1e6)
    GAUSSIAN_NOISE_VAR: Float = key(
        0.05, "Variance of the noise in normalized units.", ge=0, le=1e6
    )
    GAUSSIAN_NOISE_USE_INPUT_IMG_MEAN_AND_VAR: Bool = key(
        False, "Use the mean and variance of the patch for the noise."
    )
    POISSON_NOISE: Bool = key(False, "Add Poisson (photon) noise.")
    SALT: Bool = key(False, "Set random values to white: 1, or the maximum of the patch.")
    SALT_AMOUNT: Float = key(0.05, "Fraction of the values that are set.", ge=0, le=1)
    PEPPER: Bool = key(False, "Set random values to black: 0, or the minimum of the patch.")
    PEPPER_AMOUNT: Float = key(0.05, "Fraction of the values that are set.", ge=0, le=1)
    SALT_AND_PEPPER: Bool = key(False, "Set random values to white or black.")
    SALT_AND_PEPPER_AMOUNT: Float = key(0.05, "Fraction of the values that are set.", ge=0, le=1)
    SALT_AND_PEPPER_PROP: Float = key(
        0.5, "Fraction of these values that become white.", ge=0, le=1
    )

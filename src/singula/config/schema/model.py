"""The MODEL, LOSS and TRAIN sections."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from singula.config.schema.base import Section, key, section
from singula.config.values import (
    AnyCase,
    Betas,
    Bool,
    Float,
    Fractions,
    Int,
    OffOr,
    Refuse,
    Steps,
    Text,
    Weights,
    Widths,
)

EpochsOrOff = Annotated[Int, OffOr(1, 1_000_000)]
Activation = Literal[
    "ELU", "RELU", "LEAKY_RELU", "LEAKYRELU", "SILU", "SWISH", "GELU", "SELU", "PRELU", "TANH",
    "SOFTPLUS",
]  # fmt: skip
Architecture = Literal[
    "unet", "resunet", "resunet++", "attention_unet", "seunet", "resunet_se", "multiresunet",
    "unetr", "unet_light", "unext_v1",
]  # fmt: skip
OnlySegmentation = Refuse(
    "that network is for another workflow; only instance segmentation is supported",
    (
        "edsr", "rcan", "dfcan", "wdsr", "mae", "vit", "simple_cnn",
        *(f"efficientnet_b{number}" for number in range(8)),
    ),
)  # fmt: skip
NetworkOfBiaPy = Refuse(
    "this network of BiaPy is not available; choose another, and train it",
    (
        "unext_v2", "nafnet", "stunet", "hrnet",
        *(f"hrnet{width}" for width in ("18", "32", "48", "64", "2x20")),
    ),
)  # fmt: skip


class VitSize(NamedTuple):
    """Size of a transformer.

    Attributes
    ----------
    token : int
        Side of a token in pixels.
    width : int
        Length of the embedding of a token.
    layers, heads : int
        Number of layers, and of attention heads per layer.
    mlp_ratio : float
        Width of the dense layers divided by `width`.
    """

    token: int
    width: int
    layers: int
    heads: int
    mlp_ratio: float


VIT_SIZES = {
    "vit_base_patch16": VitSize(16, 768, 12, 12, 4.0),
    "vit_large_patch16": VitSize(16, 1024, 24, 16, 4.0),
    "vit_huge_patch16": VitSize(16, 1280, 32, 16, 4.0),
}


class Zoo(Section):
    """Model of the BioImage Model Zoo."""

    SOURCE_MODEL_DOI: Text = key("", "Has no effect: networks are not loaded from the zoo.")


class Model(Section):
    """The network."""

    SOURCE: Annotated[Literal["biapy", "singula", "bmz", "torchvision"], AnyCase()] = key(
        "biapy", "Source of the network; only biapy and singula, which build it, are supported."
    )
    BMZ: Zoo = section(Zoo)
    TORCHVISION_MODEL_NAME: Text = key(
        "", "Has no effect: networks are not loaded from torchvision."
    )
    ARCHITECTURE: Annotated[Architecture, AnyCase(), OnlySegmentation, NetworkOfBiaPy] = key(
        "unet", "Architecture of the network."
    )
    FEATURE_MAPS: Widths = key(
        (16, 32, 64, 128, 256),
        "Number of feature maps of each level, from the finest.",
        min_length=2,
        max_length=16,
    )
    DROPOUT_VALUES: Fractions = key(
        (0.0, 0.0, 0.0, 0.0, 0.0),
        "Dropout of each level; one value, or equal values, for all levels.",
    )
    BATCH_NORMALIZATION: Bool = key(True, "Batch normalization after each convolution.")
    KERNEL_SIZE: Int = key(3, "Kernel size of the convolutions, odd.", ge=1, le=99)
    UPSAMPLE_LAYER: Annotated[Literal["convtranspose", "upsampling"], AnyCase()] = key(
        "convtranspose", "Upsampling between levels: transposed convolution or interpolation."
    )
    ACTIVATION: Annotated[Activation, AnyCase()] = key("ELU", "Activation inside the network.")
    LAST_ACTIVATION: Annotated[Literal["sigmoid", "softmax", "linear"], AnyCase()] = key(
        "sigmoid", "Has no effect: the activation follows from the kind of each channel."
    )
    N_CLASSES: Int = key(
        2,
        "Number of classes with the background; above 2, classes are learned from the second "
        "channel of the labels.",
        ge=2,
        le=1000,
    )
    Z_DOWN: Steps = key(
        (0, 0, 0, 0), "Downsampling along z between levels; 0 for the default of 2.", max_length=16
    )
    LOAD_CHECKPOINT: Bool = key(False, "Start from the stored checkpoint.")
    LOAD_CHECKPOINT_ONLY_WEIGHTS: Bool = key(
        True, "Load only the weights, not the state of the training."
    )
    LOAD_CHECKPOINT_EPOCH: Annotated[Literal["best_on_val", "last_on_train"], AnyCase()] = key(
        "best_on_val", "Checkpoint that is loaded if PATHS.CHECKPOINT_FILE is empty."
    )
    SAVE_CKPT_FREQ: EpochsOrOff = key(
        -1, "Number of epochs between additional checkpoints; -1: none."
    )
    VIT_MODEL: Annotated[
        Literal["custom", "vit_base_patch16", "vit_large_patch16", "vit_huge_patch16"], AnyCase()
    ] = key("custom", "Size of the transformer; custom: from the VIT keys.")
    VIT_TOKEN_SIZE: Int = key(16, "Side of a token in pixels, a power of two.", ge=2, le=1024)
    VIT_EMBED_DIM: Int = key(768, "Width of the transformer.", ge=1, le=10_000)
    VIT_NUM_LAYERS: Int = key(12, "Layers of the transformer.", ge=1, le=100)
    VIT_NUM_HEADS: Int = key(12, "Attention heads per layer.", ge=1, le=10_000)
    VIT_MLP_RATIO: Float = key(
        4.0, "Width of the dense layers divided by VIT_EMBED_DIM.", ge=0.01, le=100
    )
    VIT_NORM_EPS: Float = key(1e-6, "Smallest variance in the layer normalization.", ge=1e-12, le=1)
    UNETR_VIT_HIDD_MULT: Int = key(
        3, "Number of transformer layers between two skip connections.", ge=1, le=1000
    )
    UNETR_VIT_NUM_FILTERS: Int = key(16, "Width of the first decoder level.", ge=1, le=10_000)
    UNETR_DEC_ACTIVATION: Annotated[Literal[Activation, "relu"], AnyCase()] = key(
        "relu", "Activation of the decoder."
    )
    UNETR_DEC_KERNEL_SIZE: Int = key(
        3, "Kernel size of the decoder's convolutions, odd.", ge=1, le=99
    )

    @property
    def vit(self) -> VitSize:
        """Size of the transformer, from its name or the VIT keys."""
        custom = VitSize(
            self.VIT_TOKEN_SIZE,
            self.VIT_EMBED_DIM,
            self.VIT_NUM_LAYERS,
            self.VIT_NUM_HEADS,
            self.VIT_MLP_RATIO,
        )
        return VIT_SIZES.get(self.VIT_MODEL, custom)


class Loss(Section):
    """Loss function of the training."""

    TYPE: Annotated[Literal["CE", "DICE", "W_CE_DICE", "FOCAL"], AnyCase()] = key(
        "CE",
        "Loss of binary channels: cross entropy, soft Dice, their weighted sum, or focal loss; "
        "distances always use L1, classes cross entropy.",
    )
    WEIGHTS: Weights = key(
        (0.66, 0.34),
        "Weights of cross entropy and Dice in TYPE W_CE_DICE.",
        min_length=2,
        max_length=2,
    )
    CLASS_REBALANCE: Annotated[Literal["none", "auto", "manual"], AnyCase()] = key(
        "none",
        "Weights of pixels in cross entropy; auto: each class of a batch has the same total "
        "weight, manual: CLASS_WEIGHTS.",
    )
    CLASS_WEIGHTS: Weights = key(
        (),
        "For CLASS_REBALANCE manual: weights of background and foreground of binary channels, or "
        "with MODEL.N_CLASSES above 2 of each class.",
    )
    DICE_SMOOTH: Float = key(
        1.0, "Number of pixels added to numerator and denominator of the Dice ratio.", gt=0
    )
    FOCAL_GAMMA: Float = key(
        2.0,
        "Exponent that reduces the focal loss of correct pixels; 0: no reduction.",
        ge=0,
        le=100,
    )
    FOCAL_ALPHA: Annotated[Float, OffOr(0, 1)] = key(
        -1.0, "Weight of foreground in focal loss; background has 1 minus this; -1: equal weights."
    )


class Scheduler(Section):
    """Schedule of the learning rate."""

    NAME: Annotated[Literal["", "warmupcosine", "reduceonplateau", "onecycle"], AnyCase()] = key(
        "", "Schedule of the learning rate; '' keeps it constant."
    )
    MIN_LR: Annotated[Float, OffOr(0)] = key(
        -1.0, "Lowest learning rate of warmupcosine and reduceonplateau."
    )
    REDUCEONPLATEAU_FACTOR: Float = key(0.5, "Factor of each reduction.", gt=0, lt=1)
    REDUCEONPLATEAU_PATIENCE: EpochsOrOff = key(
        -1, "Epochs without improvement before a reduction."
    )
    WARMUP_COSINE_DECAY_EPOCHS: EpochsOrOff = key(
        -1, "Number of epochs during which the rate increases."
    )


class Train(Section):
    """Training of the network."""

    ENABLE: Bool = key(False, "Train the network.")
    VERBOSE: Bool = key(False, "Has no effect: the output of training is always the same.")
    OPTIMIZER: Annotated[Literal["SGD", "ADAM", "ADAMW"], AnyCase()] = key("SGD", "Optimizer.")
    LR: Float = key(1e-4, "Learning rate.", gt=0)
    W_DECAY: Float = key(0.02, "Weight decay.", ge=0)
    OPT_BETAS: Betas = key(
        (0.9, 0.999), "Decay of the averages of gradient and squared gradient for ADAM and ADAMW."
    )
    BATCH_SIZE: Int = key(2, "Patches per step and process.", ge=1, le=100_000)
    ACCUM_ITER: Int = key(
        1, "Steps whose gradients are added up before an update.", ge=1, le=1_000_000
    )
    EPOCHS: Int = key(360, "Passes over the training data.", ge=1, le=1_000_000)
    PATIENCE: EpochsOrOff = key(
        -1, "Number of epochs without improvement after which training stops; -1: never."
    )
    PRECISION: Annotated[Literal["auto", "32", "bf16", "16"], AnyCase()] = key(
        "auto",
        "Arithmetic of training: 32-bit, bfloat16, half (GPU only), or automatic.",
    )
    COMPILE: Bool = key(
        False, "Compile the network (torch.compile): slow start, faster steps on some machines."
    )
    GRADIENT_CLIP: Annotated[Float, OffOr(0, above=True)] = key(
        -1.0, "Largest norm of the gradient; -1: no limit."
    )
    LR_SCHEDULER: Scheduler = section(Scheduler)
    CHECKPOINT_MONITOR: Text = key(
        "val_loss",
        "Score of the best checkpoint: val_ or train_ with loss, iou, iou_B, mae_D and so on.",
    )

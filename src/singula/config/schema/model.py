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
    "unetr", "unext_v1",
]  # fmt: skip
OnlySegmentation = Refuse(
    "that network is for another workflow; only instance segmentation is done here",
    (
        "edsr", "rcan", "dfcan", "wdsr", "mae", "vit", "simple_cnn",
        *(f"efficientnet_b{number}" for number in range(8)),
    ),
)  # fmt: skip


class VitSize(NamedTuple):
    """Size of a transformer: pixels along a token, width, layers, heads, dense over width."""

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
    """A model of the BioImage Model Zoo."""

    SOURCE_MODEL_DOI: Text = key(
        "", "Has no effect: networks are built here, none is loaded from the zoo."
    )


class Model(Section):
    """The network."""

    SOURCE: Annotated[Literal["biapy", "singula", "bmz", "torchvision"], AnyCase()] = key(
        "biapy", "Where the network comes from: built here (biapy, singula) or loaded."
    )
    BMZ: Zoo = section(Zoo)
    TORCHVISION_MODEL_NAME: Text = key(
        "", "Has no effect: networks are built here, none comes from torchvision."
    )
    ARCHITECTURE: Annotated[Architecture, AnyCase(), OnlySegmentation] = key(
        "unet", "Kind of network."
    )
    FEATURE_MAPS: Widths = key(
        (16, 32, 64, 128, 256), "Width of each level, from the finest.", min_length=2, max_length=16
    )
    DROPOUT_VALUES: Fractions = key(
        (0.0, 0.0, 0.0, 0.0, 0.0),
        "Dropout of each level; one value, or equal values, for all levels.",
    )
    BATCH_NORMALIZATION: Bool = key(True, "Normalise over the batch after each convolution.")
    KERNEL_SIZE: Int = key(3, "Odd size of the convolutions.", ge=1, le=99)
    UPSAMPLE_LAYER: Annotated[Literal["convtranspose", "upsampling"], AnyCase()] = key(
        "convtranspose", "How a level is enlarged: learned or by interpolation."
    )
    ACTIVATION: Annotated[Activation, AnyCase()] = key("ELU", "Activation inside the network.")
    LAST_ACTIVATION: Annotated[Literal["sigmoid", "softmax", "linear"], AnyCase()] = key(
        "sigmoid", "Has no effect: each channel has the activation of its kind."
    )
    N_CLASSES: Int = key(
        2,
        "Classes with the background; above 2 the label's second channel is learned.",
        ge=2,
        le=1000,
    )
    Z_DOWN: Steps = key(
        (0, 0, 0, 0), "Shrinking along z between levels; 0 for the usual 2.", max_length=16
    )
    LOAD_CHECKPOINT: Bool = key(False, "Start from the stored checkpoint.")
    LOAD_CHECKPOINT_ONLY_WEIGHTS: Bool = key(
        True, "Load the weights only, not the state of the training."
    )
    LOAD_CHECKPOINT_EPOCH: Annotated[Literal["best_on_val", "last_on_train"], AnyCase()] = key(
        "best_on_val", "Which checkpoint is loaded when PATHS.CHECKPOINT_FILE is empty."
    )
    SAVE_CKPT_FREQ: EpochsOrOff = key(-1, "Save a further checkpoint every so many epochs.")
    VIT_MODEL: Annotated[
        Literal["custom", "vit_base_patch16", "vit_large_patch16", "vit_huge_patch16"], AnyCase()
    ] = key("custom", "Size of the transformer; custom: as the VIT keys say.")
    VIT_TOKEN_SIZE: Int = key(16, "Side of a token in pixels, a power of two.", ge=2, le=1024)
    VIT_EMBED_DIM: Int = key(768, "Width of the transformer.", ge=1, le=10_000)
    VIT_NUM_LAYERS: Int = key(12, "Layers of the transformer.", ge=1, le=100)
    VIT_NUM_HEADS: Int = key(12, "Attention heads per layer.", ge=1, le=10_000)
    VIT_MLP_RATIO: Float = key(
        4.0, "Width of the dense layers over VIT_EMBED_DIM.", ge=0.01, le=100
    )
    VIT_NORM_EPS: Float = key(1e-6, "Smallest variance in the layer normalisation.", ge=1e-12, le=1)
    UNETR_VIT_HIDD_MULT: Int = key(
        3, "Every so many transformer layers feed a skip.", ge=1, le=1000
    )
    UNETR_VIT_NUM_FILTERS: Int = key(16, "Width of the first decoder level.", ge=1, le=10_000)
    UNETR_DEC_ACTIVATION: Annotated[Literal[Activation, "relu"], AnyCase()] = key(
        "relu", "Activation of the decoder."
    )
    UNETR_DEC_KERNEL_SIZE: Int = key(3, "Odd size of the decoder's convolutions.", ge=1, le=99)

    @property
    def vit(self) -> VitSize:
        """Size of the transformer, by its name or by the VIT keys."""
        own = VitSize(
            self.VIT_TOKEN_SIZE,
            self.VIT_EMBED_DIM,
            self.VIT_NUM_LAYERS,
            self.VIT_NUM_HEADS,
            self.VIT_MLP_RATIO,
        )
        return VIT_SIZES.get(self.VIT_MODEL, own)


class Loss(Section):
    """What training makes small."""

    TYPE: Annotated[Literal["CE", "DICE", "W_CE_DICE", "FOCAL"], AnyCase()] = key(
        "CE",
        "Loss of binary channels: cross entropy, soft Dice, their weighted sum, or focal loss; "
        "distances always have L1, classes cross entropy.",
    )
    WEIGHTS: Weights = key(
        (0.66, 0.34),
        "Weights of cross entropy and Dice in TYPE W_CE_DICE.",
        min_length=2,
        max_length=2,
    )
    CLASS_REBALANCE: Annotated[Literal["none", "auto", "manual"], AnyCase()] = key(
        "none",
        "Weigh pixels in cross entropy: auto gives each class of a batch the same share, manual "
        "takes CLASS_WEIGHTS.",
    )
    CLASS_WEIGHTS: Weights = key(
        (),
        "For CLASS_REBALANCE manual: weights of background and foreground of binary channels, or "
        "with MODEL.N_CLASSES above 2 of each class.",
    )
    DICE_SMOOTH: Float = key(
        1.0, "Pixels added to both sides of the Dice ratio, which then is defined for none.", gt=0
    )
    FOCAL_GAMMA: Float = key(2.0, "How much focal loss spares what is right; 0: not.", ge=0, le=100)
    FOCAL_ALPHA: Annotated[Float, OffOr(0, 1)] = key(
        -1.0, "Weight of foreground in focal loss, background has the rest; -1: both alike."
    )


class Scheduler(Section):
    """How the learning rate changes."""

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
    WARMUP_COSINE_DECAY_EPOCHS: EpochsOrOff = key(-1, "Epochs during which the rate rises.")


class Train(Section):
    """Training."""

    ENABLE: Bool = key(False, "Train the network.")
    VERBOSE: Bool = key(False, "Has no effect: training always says the same.")
    OPTIMIZER: Annotated[Literal["SGD", "ADAM", "ADAMW"], AnyCase()] = key("SGD", "Optimiser.")
    LR: Float = key(1e-4, "Learning rate.", gt=0)
    W_DECAY: Float = key(0.02, "Weight decay.", ge=0)
    OPT_BETAS: Betas = key((0.9, 0.999), "Averaging of gradient and square, ADAM and ADAMW.")
    BATCH_SIZE: Int = key(2, "Patches per step and process.", ge=1, le=100_000)
    ACCUM_ITER: Int = key(
        1, "Steps whose gradients are added up before an update.", ge=1, le=1_000_000
    )
    EPOCHS: Int = key(360, "Passes over the training data.", ge=1, le=1_000_000)
    PATIENCE: EpochsOrOff = key(-1, "Stop after so many epochs without improvement.")
    PRECISION: Annotated[Literal["auto", "32", "bf16", "16"], AnyCase()] = key(
        "auto",
        "Arithmetic of training: 32-bit, bfloat16, half (GPU only), or what suits the machine.",
    )
    COMPILE: Bool = key(
        False, "Compile the network (torch.compile): slow start, faster steps on some machines."
    )
    GRADIENT_CLIP: Annotated[Float, OffOr(0, above=True)] = key(
        -1.0, "Largest norm of the gradient."
    )
    LR_SCHEDULER: Scheduler = section(Scheduler)
    CHECKPOINT_MONITOR: Text = key(
        "val_loss",
        "What decides which checkpoint is the best: loss, iou, iou_B, mae_D and so on, after val_ "
        "or train_.",
    )

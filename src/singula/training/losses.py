"""Loss functions of the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Tensor, nn

from singula.training.device import has_float64
from singula.training.embedding_loss import embedding_loss
from singula.util.citation import Citation, Method

_DICE = Citation(
    "milletari2016",
    "Milletari, F.; Navab, N.; Ahmadi, S.-A.",
    "V-Net: fully convolutional neural networks for volumetric medical image segmentation",
    "International Conference on 3D Vision",
    2016,
    "10.1109/3DV.2016.79",
)
_FOCAL = Citation(
    "lin2017",
    "Lin, T.-Y.; Goyal, P.; Girshick, R.; He, K.; Dollár, P.",
    "Focal loss for dense object detection",
    "ICCV",
    2017,
    "10.1109/ICCV.2017.324",
)
LOSSES = {
    "CE": Method("binary cross-entropy"),
    "DICE": Method("soft Dice loss", (_DICE,)),
    "W_CE_DICE": Method("weighted sum of binary cross-entropy and soft Dice loss", (_DICE,)),
    "FOCAL": Method("focal loss", (_FOCAL,)),
}
"""Losses of binary channels by ``LOSS.TYPE``: name in a text, and citations."""
_ERRORS: dict[str, Callable[..., Tensor]] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "huber": F.huber_loss,
}
_FACTORS = {"fifth": 5.0}
"""Ratio of the output of the network and the channel, by activation."""
_NO_CLASS = -100  # pixels of this class do not count in the cross entropy


@dataclass(frozen=True)
class Output:
    """Loss and activation of an output channel of the network.

    Parameters
    ----------
    name : str
        Code of the channel, such as ``B``.
    loss : {'bce', 'l1', 'mse', 'huber'}
        Binary cross entropy of logits, or absolute, squared or Huber's error.
    activation : {'sigmoid', 'linear', 'tanh', 'fifth'}
        Function from the output of the network to the value of the channel; 'fifth': the fifth of
        the output, whose error is computed before the division.
    weight : float
        Weight of the channel in the loss.
    foreground_only : bool
        Compute the loss only on pixels of instances.
    component : int
        Axis from the end of a component of a vector: 1 for x; else 0.
    length : int
        Axis from the end of a length along an axis; else 0.
    offset : tuple of int
        Offset of the other pixel of an affinity.
    group : str
        Name of a group of adjacent outputs, such as the rays, that have one loss and one weight.
    is_ray : bool
        Distance along a ray.
    """

    name: str
    loss: str
    activation: str
    weight: float = 1.0
    foreground_only: bool = False
    component: int = 0
    length: int = 0
    offset: tuple[int, ...] = ()
    group: str = ""
    is_ray: bool = False


@dataclass(frozen=True)
class BinaryLoss:
    """Weighted sum of cross entropy, Dice loss and focal loss of a binary channel.

    Cross entropy and focal loss are means over the pixels of the batch. The Dice loss is computed
    once over all pixels of the batch, so that a patch without foreground does not dominate it.

    Parameters
    ----------
    cross_entropy, dice, focal : float
        Weights of the three terms; 0 omits a term.
    smooth : float
        Pixels added to the numerator and denominator of the Dice loss, above 0.
    gamma : float
        Exponent of the focal loss.
    alpha : float, optional
        Weight of the foreground in the focal loss; the background has ``1 - alpha``. None weights
        neither.
    balance : {'none', 'auto'} or tuple of float
        Weights of background and foreground pixels in the cross entropy. ``auto``: background and
        foreground of the batch have equal total weight; a batch with only one of them is not
        weighted.

    References
    ----------
    See `LOSSES`.
    """

    cross_entropy: float = 1.0
    dice: float = 0.0
    focal: float = 0.0
    smooth: float = 1.0
    gamma: float = 2.0
    alpha: float | None = None
    balance: str | tuple[float, float] = "none"

    def __call__(self, logits: Tensor, truth: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the scalar loss of a channel.

        Parameters
        ----------
        logits : Tensor
            Output of the network.
        truth : Tensor
            Ground truth of the same shape, 0 or 1.
        known : Tensor of bool, optional
            Pixels with a ground truth; the others have no influence. Default: all.
        """
        if known is not None:
            # A selection waits for a GPU, and a product with 0 keeps infinite values.
            logits, truth = (torch.where(known, values, 0) for values in (logits, truth))
        total = logits.new_zeros(())
        if self.cross_entropy:
            weights = pixel_weights(truth, self.balance, known)
            if known is None:
                entropy = F.binary_cross_entropy_with_logits(logits, truth, weights)
            else:
                values = F.binary_cross_entropy_with_logits(
                    logits, truth, weights, reduction="none"
                )
                entropy = _masked_mean(values, known)
            total = total + self.cross_entropy * entropy
        if self.dice:
            total = total + self.dice * soft_dice_loss(logits, truth, self.smooth, known)
        if self.focal:
            total = total + self.focal * focal_loss(logits, truth, self.gamma, self.alpha, known)
        return total


def soft_dice_loss(
    logits: Tensor, truth: Tensor, smooth: float = 1.0, known: Tensor | None = None
) -> Tensor:
    """Return ``1 − (2 Σ p t + s) / (Σ p + Σ t + s)`` with ``p = sigmoid(logits)``.

    Parameters
    ----------
    logits : Tensor
        Output of the network.
    truth : Tensor
        Ground truth t of the same shape, 0 or 1.
    smooth : float
        Pixels s added to the numerator and the denominator.
    known : Tensor of bool, optional
        Pixels that are summed. Default: all.
    """
    probability = torch.sigmoid(logits)
    if known is not None:
        probability = probability * known
        truth = truth * known
    overlap, size = (probability * truth).sum(), probability.sum() + truth.sum()
    return 1 - (2 * overlap + smooth) / (size + smooth)


def focal_loss(
    logits: Tensor,
    truth: Tensor,
    gamma: float = 2.0,
    alpha: float | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """Return the mean of ``−α (1 − q)^γ log q``, where q is the probability of the true class.

    Parameters
    ----------
    logits : Tensor
        Output of the network.
    truth : Tensor
        Ground truth of the same shape, 0 or 1.
    gamma, alpha : float
        Exponent and weight; see `BinaryLoss`.
    known : Tensor of bool, optional
        Pixels of the mean. Default: all.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    # 1 − q as a sigmoid has full precision and a finite gradient for q near 1.
    wrong = torch.sigmoid(logits * (1 - 2 * truth))
    value = wrong.clamp_min(1e-12) ** gamma * entropy
    if alpha is not None:
        value = value * (alpha * truth + (1 - alpha) * (1 - truth))
    return _masked_mean(value, known)


def pixel_weights(
    truth: Tensor, balance: str | tuple[float, float], known: Tensor | None = None
) -> Tensor | None:
    """Return the weight of each pixel; None for equal weights.

    Whether the batch has background and foreground is decided on its device, so that a training
    step does not wait for a GPU.

    Parameters
    ----------
    truth : Tensor
        Ground truth, 0 or 1.
    balance : 'none', 'auto' or tuple of float
        Weights of background and foreground; see `BinaryLoss`.
    known : Tensor of bool, optional
        Pixels from which ``auto`` is computed. Default: all.
    """
    if balance == "none":
        return None
    if isinstance(balance, tuple):
        return balance[0] + (balance[1] - balance[0]) * truth
    fraction = _masked_mean(truth, known)
    weights: Tensor = 0.5 * truth / fraction + 0.5 * (1 - truth) / (1 - fraction)
    return torch.where((fraction > 0) & (fraction < 1), weights, 1.0)


def grouped(outputs: Sequence[Output]) -> list[tuple[int, int, Output]]:
    """Return the first output, the end and the declaration of each group of outputs.

    Parameters
    ----------
    outputs : sequence of Output
        Outputs in the order of the network. Those without a `group` are groups of one output.
    """
    starts = [
        index
        for index, output in enumerate(outputs)
        if not (index and output.group and output.group == outputs[index - 1].group)
    ]
    stops = [*starts[1:], len(outputs)]
    return [(start, stop, outputs[start]) for start, stop in zip(starts, stops, strict=True)]


class InstanceLoss(nn.Module):
    """Weighted sum of one loss per channel and the cross entropy of the class head.

    The loss of each channel is a mean over its pixels, so that the weights do not depend on areas.

    Parameters
    ----------
    outputs : sequence of Output
        Channels in the order of the network.
    n_classes : int
        Classes after the channels, 0 for none.
    class_weight : float
        Weight of the class head.
    binary : BinaryLoss, optional
        Loss of the channels with ``bce``; cross entropy by default.
    class_balance : 'none', 'auto' or tuple of float
        Weight of each class in the cross entropy of the class head; ``auto``: all classes in the
        batch have equal total weight.
    voxel_size : sequence of float, optional
        Voxel size per axis relative to the smallest one, for embeddings.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        n_classes: int = 0,
        class_weight: float = 1.0,
        *,
        binary: BinaryLoss | None = None,
        class_balance: str | tuple[float, ...] = "none",
        voxel_size: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.voxel_size = voxel_size
        self.outputs = tuple(outputs)
        self.n_classes = n_classes
        self.class_weight = class_weight
        self.binary = binary or BinaryLoss()
        self.class_balance = class_balance
        # A buffer is copied to a GPU once, and not in each step.
        given = torch.tensor(class_balance) if isinstance(class_balance, tuple) else None
        self.register_buffer("class_weights", given, persistent=False)
        self.class_weights: Tensor | None

    def forward(self, prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Return the scalar loss of a batch.

        Parameters
        ----------
        prediction : Tensor, (N, channels + classes, [z,] y, x)
            Output of the network.
        batch : dict of Tensor
            Batch of `PatchDataset`: ``target``, ``foreground`` and, with classes, ``classes``.
            Pixels outside of ``known`` have no target.
        """
        prediction = prediction.float()
        target, foreground = batch["target"], batch["foreground"][:, 0]
        annotated = batch.get("known")
        total = prediction.new_zeros(())
        for start, stop, output in grouped(self.outputs):
            if output.weight == 0:
                continue
            logits, truth = prediction[:, start:stop], target[:, start:stop]
            mask = None if annotated is None else annotated[:, start:stop]
            if output.foreground_only:
                inside = foreground[:, None].expand_as(truth)
                mask = inside if mask is None else inside & mask
            if output.loss == "bce":
                value = self.binary(logits, truth, mask)
            elif output.loss == "embedding":
                has_target = None if mask is None else mask[:, 0]
                value = embedding_loss(
                    logits, truth, batch["instances"], has_target, self.voxel_size
                )
            else:
                factor = _FACTORS.get(output.activation, 1)
                error = _ERRORS[output.loss](
                    factor * activate(logits, output.activation), factor * truth, reduction="none"
                )
                value = _masked_mean(error, mask)
            total = total + output.weight * value
        if self.n_classes:
            logits, classes = prediction[:, len(self.outputs) :], batch["classes"]
            if annotated is not None:
                classes = torch.where(annotated[:, -1], classes, _NO_CLASS)
            weights = self.class_weights
            if self.class_balance == "auto":
                weights = balanced_class_weights(classes, self.n_classes).to(logits)
            if annotated is None:
                value = F.cross_entropy(logits, classes, weights)
            else:
                value = _known_cross_entropy(logits, classes, weights)
            total = total + self.class_weight * value
        return total


def _known_cross_entropy(logits: Tensor, classes: Tensor, weights: Tensor | None) -> Tensor:
    """Return the weighted mean of the cross entropy over the pixels with a class; 0 without any."""
    total = F.cross_entropy(logits, classes, weights, ignore_index=_NO_CLASS, reduction="sum")
    has_class = classes != _NO_CLASS
    count = has_class.sum()
    if weights is not None:
        count = torch.where(has_class, weights[classes.clamp_min(0)], 0).sum()
    return total / torch.where(count > 0, count, 1)


def balanced_class_weights(classes: Tensor, count: int) -> Tensor:
    """Return the inverse frequency of each class in a batch, with which all have equal weight.

    Parameters
    ----------
    classes : Tensor of int, (N, [z,] y, x)
        Class of each pixel.
    count : int
        Number of classes.
    """
    # `torch.bincount` waits for a GPU.
    pixels = torch.stack([(classes == number).sum() for number in range(count)])
    pixels = pixels.double() if has_float64(classes.device) else pixels.float()
    # The weight of an absent class has no effect; clamping avoids a division by zero.
    return pixels.sum() / pixels.clamp_min(1) / (pixels > 0).sum().clamp_min(1)


def _masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.mean()
    weight = mask.to(values.dtype)
    return torch.where(mask, values, 0).sum() / weight.sum().clamp_min(1.0)


def activate(logits: Tensor, activation: str) -> Tensor:
    """Return the values of a channel: sigmoid, hyperbolic tangent, a fifth, or unchanged."""
    if activation == "linear":
        return logits
    if activation == "fifth":
        return logits / _FACTORS[activation]
    return torch.sigmoid(logits) if activation == "sigmoid" else torch.tanh(logits)

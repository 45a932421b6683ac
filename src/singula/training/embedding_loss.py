"""Loss of spatial embeddings: pixels point to a region around the center of their instance.

The planes of an axis are the offset to the center, in pixels of the finest axis, and the bandwidth:
the logarithm of the radius of the region, relative to `UNIT_RADIUS`. A last plane is the seediness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from singula.representations.families import UNIT_RADIUS

# Weights of the terms as in the publication; its bandwidth is 5 times smaller than this one.
_INSTANCE, _VARIANCE, _SEED = 1.0, 0.4, 1.0
_FOREGROUND = 10.0  # weight of the instances in the seed term: most pixels are background
_MAX_BANDWIDTH = 5.0
_MAX_VALUES = 1 << 22  # instances times pixels that are computed at once


def lovasz_weights(errors: Tensor, mask: Tensor) -> Tensor:
    """Return the weights of the errors of pixels in the Lovász hinge loss, a surrogate of 1 - IoU.

    Parameters
    ----------
    errors : Tensor of float, (..., n)
        1 - logit for pixels of the mask, 1 + logit for other pixels.
    mask : Tensor of bool, (..., n)
        Ground truth.

    Returns
    -------
    Tensor
        Array of the same shape; the loss is the sum of the positive errors times their weights.

    References
    ----------
    M. Berman, A. Triki, M. Blaschko, *The Lovász-softmax loss*, CVPR 2018, algorithm 1.
    """
    order = torch.argsort(errors, dim=-1, descending=True)
    inside = mask.gather(-1, order)
    truth = inside.to(errors)
    total, wrong = truth.sum(-1, keepdim=True), (1 - truth).cumsum(-1)
    # Increase of 1 - IoU by each pixel, if the pixels before it are wrong
    missed = 1 / (total + wrong).clamp_min(1)
    added = (total - truth.cumsum(-1)) / (total + wrong - 1).clamp_min(1) * missed
    return torch.zeros_like(errors).scatter(-1, order, torch.where(inside, missed, added))


def embedding_loss(
    prediction: Tensor,
    target: Tensor,
    ids: Tensor,
    annotated: Tensor | None = None,
    sizes: Sequence[float] | None = None,
) -> Tensor:
    """Return the mean loss of the embeddings of a batch.

    Parameters
    ----------
    prediction : Tensor of float, (N, 2 * ndim + 1, [z,] y, x)
        Output of the network: offsets and bandwidths per axis, and the logit of the seediness.
    target : Tensor of float, in the same shape
        Ideal planes, of which the offsets are used: they give the centers of the instances.
    ids : Tensor of int, (N, [z,] y, x)
        Instances; pixels of 0 or less are background.
    annotated : Tensor of bool, (N, [z,] y, x), optional
        Pixels with a target; all by default.
    sizes : sequence of float, optional
        Voxel size per axis relative to the smallest one.

    Returns
    -------
    Tensor
        Scalar.

    References
    ----------
    D. Neven et al., *Instance segmentation by jointly optimizing spatial embeddings and clustering
    bandwidth*, CVPR 2019; M. Lalit, P. Tomancak, F. Jug, *EmbedSeg*, Medical Image Analysis 2022.
    """
    ndim = ids.ndim - 1
    grid = _grid(ids.shape[1:], sizes, prediction)
    total = prediction.new_zeros(())
    for index in range(len(prediction)):
        planes, labels = prediction[index].flatten(1), ids[index].flatten()
        ideal = target[index, :ndim].flatten(1)
        if annotated is not None:
            # A selection waits for a GPU, and a product with 0 keeps infinite values.
            has_target = annotated[index].flatten()
            planes, ideal = (torch.where(has_target, values, 0) for values in (planes, ideal))
            labels = torch.where(has_target, labels.clamp_min(0), -1)
        else:
            labels = labels.clamp_min(0)
        total = total + _loss_of_image(planes, grid, grid + ideal, labels)
    return total / max(1, len(prediction))


def _grid(shape: Sequence[int], sizes: Sequence[float] | None, like: Tensor) -> Tensor:
    """Return the position of each pixel, (ndim, pixels), in pixels of the finest axis."""
    steps = (1.0,) * len(shape) if sizes is None else sizes
    axes = [
        torch.arange(length, device=like.device, dtype=like.dtype) * size
        for length, size in zip(shape, steps, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)


def _loss_of_image(planes: Tensor, positions: Tensor, ideal: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of an image.

    Parameters
    ----------
    planes : Tensor, (2 * ndim + 1, pixels)
    positions, ideal : Tensor, (ndim, pixels)
        Positions of the pixels, and of the centers of their instances.
    labels : Tensor of int, (pixels,)
        Instances; 0 for background, -1 for pixels without a target.
    """
    ndim = len(positions)
    numbers, rows = torch.unique(labels, return_inverse=True)
    n_other = int((numbers <= 0).sum())
    count = len(numbers) - n_other
    rows = rows - n_other + 1  # 1 and more for instances
    has_target, inside = labels >= 0, labels > 0
    seediness = torch.sigmoid(planes[2 * ndim])
    expected = torch.zeros_like(seediness)
    loss = planes.new_zeros(())
    if count:
        bandwidths = planes[ndim : 2 * ndim].clamp(-_MAX_BANDWIDTH, _MAX_BANDWIDTH)
        rows = torch.where(inside, rows, 0)
        sizes = planes.new_zeros(count + 1).index_add(0, rows, torch.ones_like(seediness))
        means = _row_means(bandwidths, rows, sizes)
        spread = ((bandwidths - means.detach()[:, rows]) ** 2).mean(0) / sizes[rows]
        variance = torch.where(inside, spread, 0).sum()
        hinges, expected = _InstanceLoss.apply(  # type: ignore[no-untyped-call]
            positions + planes[:ndim],
            _row_means(ideal, rows, sizes)[:, 1:],
            math.log(2) / UNIT_RADIUS**2 * torch.exp(-2 * means[:, 1:]),
            torch.where(has_target, rows, -1),
        )
        loss = (_INSTANCE * hinges + _VARIANCE * variance) / count
    weights = torch.where(inside, _FOREGROUND, 1.0) * has_target
    seed = (weights * (seediness - expected) ** 2).sum() / has_target.sum().clamp_min(1)
    return loss + _SEED * seed


def _row_means(values: Tensor, rows: Tensor, sizes: Tensor) -> Tensor:
    """Return the mean of the values of each row.

    Parameters
    ----------
    values : Tensor, (axes, pixels)
    rows : Tensor of int, (pixels,)
    sizes : Tensor, (rows,)
        Pixels per row.
    """
    mean = values.new_zeros(len(values), len(sizes))
    for _ in range(2):  # the second sum is that of small differences, without rounding errors
        rest = values - mean[:, rows]
        mean = mean + torch.zeros_like(mean).index_add(1, rows, rest) / sizes.clamp_min(1)
    return mean


class _InstanceLoss(torch.autograd.Function):
    """Sum of the Lovász hinge losses of instances, and the score of each pixel for its instance.

    The forward pass computes the gradients as well, so that no array of instances times pixels is
    stored.
    """

    @staticmethod
    def forward(
        ctx: Any, embedded: Tensor, centers: Tensor, precision: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        arrays = embedded.detach(), centers.detach(), precision.detach()
        if embedded.device.type == "cpu" and embedded.dtype == torch.float32:
            loss, scores, *slopes = _compiled_losses(*arrays, index)
        else:
            loss, scores, *slopes = hinge_losses(*arrays, index)
        ctx.save_for_backward(*slopes)
        ctx.mark_non_differentiable(scores)
        return loss, scores

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        embedded, precision = ctx.saved_tensors
        return gradients[0] * embedded, None, gradients[0] * precision, None


def _compiled_losses(
    embedded: Tensor, centers: Tensor, precision: Tensor, index: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the results of `hinge_losses`, computed on a CPU."""
    from singula.training import embedding_kernel

    loss, scores, *slopes = embedding_kernel.hinge_losses(
        embedded.contiguous().numpy(),
        centers.contiguous().numpy(),
        precision.contiguous().numpy(),
        index.to(torch.int32).numpy(),
    )
    by_embedded, by_precision = map(torch.from_numpy, slopes)
    return embedded.new_tensor(loss), torch.from_numpy(scores), by_embedded, by_precision


def hinge_losses(
    embedded: Tensor, centers: Tensor, precision: Tensor, index: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the sum of the losses, the scores of the pixels of instances, and the gradients.

    The function does not wait for a GPU. See `embedding_kernel.hinge_losses`, which is faster on a
    CPU, for the parameters.
    """
    n_pixels, count = len(index), centers.shape[1]
    loss, scores = embedded.new_zeros(()), embedded.new_zeros(n_pixels)
    embedded_slope, precision_slope = torch.zeros_like(embedded), torch.zeros_like(precision)
    step = max(1, _MAX_VALUES // max(1, n_pixels))
    for start in range(0, count, step):
        some = slice(start, min(start + step, count))
        numbers = torch.arange(some.start + 1, some.stop + 1, device=index.device)
        delta, scale = embedded[:, None] - centers[:, some, None], precision[:, some, None]
        distance = (delta**2 * scale).sum(0)
        near = torch.exp(-distance)
        mask = index == numbers[:, None]
        errors = 2 * torch.where(mask, -torch.expm1(-distance), near)
        errors = torch.where(index >= 0, errors, -1)  # after all pixels with a target
        weights = torch.where(errors > 0, lovasz_weights(errors, mask), 0)
        loss += (errors * weights).sum()
        scores += torch.where(mask, near, 0).sum(0)
        slope = torch.where(mask, -2, 2) * weights * near
        embedded_slope -= 2 * (slope * delta * scale).sum(1)
        precision_slope[:, some] = -(slope * delta**2).sum(2)
    return loss, scores, embedded_slope, precision_slope

"""Loss of spatial embeddings: pixels point to a region around the center of their instance.

The planes of an axis are the offset to the center, in pixels of the finest axis, and the bandwidth:
the logarithm of the radius of the region, relative to `UNIT_RADIUS`. A last plane is the seediness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Tensor

from singula.representations.families import UNIT_RADIUS

# Weights of the terms as in the publication; its bandwidth is 5 times smaller than this one.
_INSTANCE, _VARIANCE, _SEED = 1.0, 0.4, 1.0
_FOREGROUND = 10.0  # weight of the instances in the seed term: most pixels are background
_NEGLIGIBLE = 1e-6  # pixels with a smaller score have no effect on the loss of an instance
_MAX_BANDWIDTH = 5.0


def lovasz_hinge(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the Lovász hinge loss of one mask: a convex surrogate of 1 - IoU.

    Parameters
    ----------
    logits : Tensor of float, (n,)
        Positive for pixels of the mask.
    mask : Tensor of bool, (n,)
        Ground truth.

    Returns
    -------
    Tensor
        Scalar; 0 without pixels.

    References
    ----------
    M. Berman, A. Triki, M. Blaschko, *The Lovász-softmax loss*, CVPR 2018, algorithm 1.
    """
    truth = mask.to(logits)
    errors, order = torch.sort(1 - logits * (2 * truth - 1), descending=True)
    truth = truth[order]
    total = truth.sum()
    # Loss of the set of the first pixels if these are wrong, and its increase by each pixel
    jaccard = 1 - (total - truth.cumsum(0)) / (total + (1 - truth).cumsum(0)).clamp_min(1)
    increase = torch.diff(jaccard, prepend=jaccard.new_zeros(1))
    return torch.dot(F.relu(errors), increase)


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
        positions, ideal = grid, target[index, :ndim].flatten(1)
        if annotated is not None:
            chosen = annotated[index].flatten()
            planes, labels = planes[:, chosen], labels[chosen]
            positions, ideal = positions[:, chosen], ideal[:, chosen]
        total = total + _loss_of_image(planes, positions, positions + ideal, labels)
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
    """
    ndim = len(positions)
    embedded = positions + planes[:ndim]
    bandwidths = planes[ndim : 2 * ndim].clamp(-_MAX_BANDWIDTH, _MAX_BANDWIDTH)
    seediness = torch.sigmoid(planes[2 * ndim])
    expected = torch.zeros_like(seediness)
    weights = torch.ones_like(seediness)
    instance = variance = planes.sum() * 0  # a gradient also without instances
    unique = torch.unique(labels)
    unique = unique[unique > 0]
    for label in unique.tolist():
        mask = labels == label
        center = ideal[:, mask].mean(1, keepdim=True)
        inside = bandwidths[:, mask]
        mean = inside.mean(1, keepdim=True)
        variance = variance + ((inside - mean.detach()) ** 2).mean()
        precision = math.log(2) / UNIT_RADIUS**2 * torch.exp(-2 * mean)
        scores = torch.exp(-((embedded - center) ** 2 * precision).sum(0))
        near = (scores.detach() > _NEGLIGIBLE) | mask
        instance = instance + lovasz_hinge(2 * scores[near] - 1, mask[near])
        expected[mask] = scores.detach()[mask]
        weights[mask] = _FOREGROUND
    count = max(1, len(unique))
    seed = (weights * (seediness - expected) ** 2).sum() / max(1, seediness.numel())
    return _INSTANCE * instance / count + _VARIANCE * variance / count + _SEED * seed

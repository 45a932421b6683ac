"""Test-time augmentation: the mean over all mirrored and rotated views of a tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import torch
from torch import Tensor

from singula.training.losses import Output
from singula.util.boxes import pair_boxes
from singula.util.views import View, augmented_views, ray_in_view

Forward = Callable[[Tensor], Tensor]
Offset = tuple[int, ...]


def apply_view(batch: Tensor, view: View) -> Tensor:
    """Mirror and rotate a batch (N, C, [z,] y, x)."""
    turns, mirror_x, mirror_z = view
    flips = ([-1] if mirror_x else []) + ([-3] if mirror_z else [])
    if flips:
        batch = torch.flip(batch, flips)
    return torch.rot90(batch, turns, (-2, -1)) if turns else batch


def undo_view(batch: Tensor, view: View) -> Tensor:
    """Apply the inverse of `apply_view`."""
    turns, mirror_x, mirror_z = view
    if turns:
        batch = torch.rot90(batch, -turns, (-2, -1))
    flips = ([-1] if mirror_x else []) + ([-3] if mirror_z else [])
    return torch.flip(batch, flips) if flips else batch


def undo_components(maps: Tensor, view: View, planes: Mapping[int, int]) -> None:
    """Transform the components of vectors back, after `undo_view`, in place.

    Parameters
    ----------
    maps : Tensor, (N, C, [z,] y, x)
        Maps with the pixels transformed back.
    view : tuple
        View that the network received.
    planes : mapping of int to int
        Position of each component in C, by axis from the end: 1 for x, 2 for y, 3 for z.
    """
    turns, mirror_x, mirror_z = view
    for _ in range(turns):
        if 1 in planes and 2 in planes:
            x, y = maps[:, planes[1]].clone(), maps[:, planes[2]].clone()
            maps[:, planes[1]], maps[:, planes[2]] = -y, x
    for component, is_mirrored in ((1, mirror_x), (3, mirror_z)):
        if is_mirrored and component in planes:
            maps[:, planes[component]] *= -1


def undo_lengths(maps: Tensor, view: View, planes: Mapping[int, int]) -> None:
    """Exchange lengths along y and x, after `undo_view`, in place.

    Parameters
    ----------
    maps : Tensor, (N, C, [z,] y, x)
        Maps with the pixels transformed back.
    view : tuple
        View that the network received.
    planes : mapping of int to int
        Position of each length in C, by axis from the end: 1 for x, 2 for y, 3 for z.
    """
    if view[0] % 2:
        x, y = maps[:, planes[1]].clone(), maps[:, planes[2]].clone()
        maps[:, planes[1]], maps[:, planes[2]] = y, x


def moved_offset(offset: Offset, view: tuple[int, bool, bool]) -> Offset:
    """Return the offset between two pixels after `apply_view`."""
    turns, mirror_x, mirror_z = view
    *before, y, x = offset
    if mirror_z:
        before = [-step for step in before]
    x = -x if mirror_x else x
    for _ in range(turns):
        y, x = -x, y
    return (*before, y, x)


def undo_pairs(
    maps: Tensor, view: tuple[int, bool, bool], offsets: Mapping[int, Offset]
) -> tuple[Tensor, Tensor]:
    """Transform affinities back, after `undo_view`.

    The affinity at an offset is that of the partner at the opposite offset.

    Parameters
    ----------
    maps : Tensor, (N, C, [z,] y, x)
        Maps with the pixels transformed back.
    view : tuple
        View that the network received.
    offsets : mapping of int to tuple of int
        Position of each affinity in C, and its offset.

    Returns
    -------
    maps : Tensor
        Maps of the same shape.
    valid : Tensor of bool, (C, [z,] y, x)
        False where the view has no affinity of the pair: at another offset, or with a partner
        outside.
    """
    plane = {offset: place for place, offset in offsets.items()}
    result, valid = maps.clone(), maps.new_ones(maps.shape[1:], dtype=torch.bool)
    for place, offset in offsets.items():
        moved = moved_offset(offset, view)
        opposite = tuple(-step for step in moved)
        if moved in plane:
            result[:, place] = maps[:, plane[moved]]
            continue
        result[:, place] = 0
        valid[place] = False
        if opposite in plane:
            first, second = pair_boxes(maps.shape[2:], offset)
            result[:, place][(slice(None), *first)] = maps[:, plane[opposite]][
                (slice(None), *second)
            ]
            valid[place][first] = True
    return result, valid


def undo_rays(maps: Tensor, view: View, rays: Sequence[int]) -> None:
    """Transform distances along rays back, after `undo_view`, in place.

    Parameters
    ----------
    maps : Tensor, (N, C, y, x)
        Maps with the pixels transformed back.
    view : tuple
        View that the network received, one of `augmented_views` for these rays.
    rays : sequence of int
        Position of each ray in C.
    """
    order = [rays[ray_in_view(ray, len(rays), view)] for ray in range(len(rays))]
    maps[:, list(rays)] = maps[:, order]


class PlanesOfOutputs(TypedDict):
    """Arguments of `mean_over_views`: positions of the maps that a view changes."""

    planes: dict[int, int]
    offsets: dict[int, Offset]
    rays: list[int]
    lengths: dict[int, int]


def planes_of_outputs(outputs: Sequence[Output]) -> PlanesOfOutputs:
    """Return the positions of the maps that a view changes.

    Parameters
    ----------
    outputs : sequence of Output
        Outputs in the order of the network.
    """
    places = list(enumerate(outputs))
    return {
        "planes": {each.component: place for place, each in places if each.component},
        "offsets": {place: each.offset for place, each in places if each.offset},
        "rays": [place for place, each in places if each.is_ray],
        "lengths": {each.length: place for place, each in places if each.length},
    }


def mean_over_views(
    forward: Forward,
    batch: Tensor,
    planes: Mapping[int, int] | None = None,
    offsets: Mapping[int, Offset] | None = None,
    rays: Sequence[int] = (),
    lengths: Mapping[int, int] | None = None,
) -> Tensor:
    """Return the mean of the maps of all views, each transformed back.

    Parameters
    ----------
    forward : callable
        Return the maps of a batch.
    batch : Tensor, (N, C, [z,] y, x)
    planes : mapping of int to int, optional
        See `undo_components`.
    offsets : mapping of int to tuple of int, optional
        See `undo_pairs`. The mean of an affinity is that of the views that have it.
    rays : sequence of int
        See `undo_rays`. Only views whose rays are those of the image are used.
    lengths : mapping of int to int, optional
        See `undo_lengths`.
    """
    chosen = augmented_views(batch.ndim - 2, len(rays))
    total: Tensor | None = None
    counts: Tensor | None = None
    for view in chosen:
        maps = undo_view(forward(apply_view(batch, view).contiguous()), view)
        if planes or rays or lengths:
            maps = maps.clone()
        if planes:
            undo_components(maps, view, planes)
        if lengths:
            undo_lengths(maps, view, lengths)
        if offsets:
            maps, valid = undo_pairs(maps, view, offsets)
            counts = valid.int() if counts is None else counts + valid
        if rays and batch.ndim == 4:
            undo_rays(maps, view, rays)
        total = maps.clone() if total is None else total.add_(maps)
    if total is None:
        raise RuntimeError("there is no view")
    return total.div_(len(chosen) if counts is None else counts)

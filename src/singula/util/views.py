"""Mirrored and rotated views of an image for test-time augmentation; importable without NumPy."""

from __future__ import annotations

from itertools import product

View = tuple[int, bool, bool]
"""Rotations by 90°, then True for mirrored x and for mirrored z; the mirrors come first."""


def augmented_views(ndim: int, rays: int = 0) -> list[View]:
    """Return the views of an image over which predictions are averaged.

    Parameters
    ----------
    ndim : int
        2 or 3.
    rays : int
        Number of rays that the network predicts. Views in which a ray is not another ray are left
        out. Rays of volumes, a golden spiral, have no other view.

    Returns
    -------
    list of (int, bool, bool)
        Without rays, 8 in 2D and 16 in 3D.
    """
    if rays and ndim == 3:
        return [(0, False, False)]
    depth = (False, True) if ndim == 3 else (False,)
    views = product(range(4), (False, True), depth)
    return [view for view in views if rays * _quarters(view) % 4 == 0]


def ray_in_view(ray: int, rays: int, view: View) -> int:
    """Return the ray of a view that is a ray of the image, for an image in 2D.

    Parameters
    ----------
    ray : int
        Number of the ray: the angle from x to y is ``2 π ray / rays``.
    rays : int
        Number of rays.
    view : (int, bool, bool)
        A result of `augmented_views`.
    """
    turned = rays * _quarters(view) // 4
    return (turned - ray if view[1] else turned + ray) % rays


def _quarters(view: View) -> int:
    """Return the angle of ray 0 in a view, in quarter turns: a mirror moves it to the left."""
    turns, mirror_x, _ = view
    return (2 if mirror_x else 0) - turns

"""Number of downsampling steps of the networks, for code that does not import torch."""

from __future__ import annotations

# Networks whose finest features have a coarser grid than the image
REARRANGED = frozenset({"unet_light"})


def downsampling_steps(architecture: str, levels: int) -> int:
    """Return the number of steps from the grid of the image to the coarsest level.

    Parameters
    ----------
    architecture : str
        A value of ``MODEL.ARCHITECTURE``.
    levels : int
        Levels of features, ``MODEL.FEATURE_MAPS``.
    """
    return levels if architecture.lower() in REARRANGED else levels - 1

"""Block-wise processing of images larger than memory: grid, records of blocks, and workers."""

from singula.scaleout.grid import Grid
from singula.scaleout.job import JobFolder

__all__ = ["Grid", "JobFolder"]

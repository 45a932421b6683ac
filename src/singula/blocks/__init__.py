"""Block-wise processing of images larger than memory: grid, records of blocks, and workers."""

from singula.blocks.grid import Grid
from singula.blocks.job import JobFolder

__all__ = ["Grid", "JobFolder"]

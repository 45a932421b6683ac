"""Images that do not fit into memory: blocks, what is known of each, and who works on them."""

from singula.scaleout.grid import Grid
from singula.scaleout.job import JobFolder

__all__ = ["Grid", "JobFolder"]

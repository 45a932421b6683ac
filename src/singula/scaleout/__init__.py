"""Images that do not fit into memory: blocks, what is known of each, and who works on them."""

from singula.scaleout.grid import Grid

__all__ = ["Grid"]

"""Models that are part of the package, each a folder with a checkpoint and its card."""

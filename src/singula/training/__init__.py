"""Training of networks: losses, optimization, checkpoints and progress."""

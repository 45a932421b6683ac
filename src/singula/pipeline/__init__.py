"""Training and test of a run, from its configuration to the files of its results."""

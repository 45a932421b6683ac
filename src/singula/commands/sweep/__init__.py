"""Implementation of `singula sweep`: many runs of one configuration with other values."""

"""Training data: normalized and augmented patches with encoded targets."""

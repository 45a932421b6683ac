"""What the network eats: normalised, augmented patches with encoded targets."""

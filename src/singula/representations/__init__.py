"""Labels to and from what a network predicts."""

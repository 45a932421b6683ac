"""Conversion of labels to the channels that a network predicts, and back."""

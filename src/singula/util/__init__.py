"""Formatting, memory, boxes and process settings: no knowledge of images."""

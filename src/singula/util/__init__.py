"""Formatting, memory, boxes and process settings, independent of images."""

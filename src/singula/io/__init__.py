"""Bytes to arrays and back: images, labels, tables, and where results go."""

"""Test of images in blocks, with the same results as in memory."""

"""A test image that does not fit into memory: the same results, made block by block."""

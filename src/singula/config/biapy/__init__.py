"""Spellings and keys of BiaPy's configuration format."""

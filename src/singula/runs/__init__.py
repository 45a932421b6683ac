"""A finished run on disk."""

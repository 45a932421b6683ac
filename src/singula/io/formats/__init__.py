"""File formats: one module per format, and their table."""

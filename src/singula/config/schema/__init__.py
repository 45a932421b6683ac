"""The schema of the configuration, one module per section."""

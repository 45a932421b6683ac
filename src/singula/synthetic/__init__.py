"""Drawn microscopy for the demonstration, tests and benchmarks."""

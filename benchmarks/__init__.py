"""Measurements: each module prints a table; some write benchmarks/results."""

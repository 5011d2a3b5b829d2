"""Radiographs drawn in code, with planted faults, and images that are no radiographs."""

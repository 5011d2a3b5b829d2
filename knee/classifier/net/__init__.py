"""Backbones, heads, their assembly, and models on disk."""

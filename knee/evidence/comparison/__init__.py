"""Models and baselines on the same records."""

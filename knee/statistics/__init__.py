"""Scores of classifiers, their intervals, curves, and paired comparisons."""

"""Knees on a whole film: where each joint lies, how wide it is, which side it is."""

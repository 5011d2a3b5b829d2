"""Audit of what a data set holds besides bone: copies, conflicts, leakage, shortcuts."""

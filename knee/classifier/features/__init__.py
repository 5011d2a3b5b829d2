"""Outputs of the frozen backbone, computed once an image."""

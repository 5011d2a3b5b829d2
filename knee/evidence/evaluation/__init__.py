"""Predictions of held-out records, and the figures and charts made from them."""

"""Damaged and malicious files through every reader."""

"""Answers over HTTP on this machine: the scoring server and the page for one image."""

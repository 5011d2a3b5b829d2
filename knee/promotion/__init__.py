"""Which model becomes champion, and its model card."""

"""Doubtful labels: which they are, by what evidence, and the page on which a person decides."""

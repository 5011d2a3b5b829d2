"""A trained model at work: over HTTP on this machine, in a command, in a notebook."""

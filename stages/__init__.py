"""The commands, one module each; what they call is in the rooms of knee."""

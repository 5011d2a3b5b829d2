"""Whether a model looks at the bone: attribution maps and their checks."""

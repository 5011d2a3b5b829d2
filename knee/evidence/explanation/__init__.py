"""Attribution maps and their checks: whether a model looks at the bone."""

"""One module a stage; radiographs and classifier hold what they call."""

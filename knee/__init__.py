"""Library of the pipeline; its rooms import only rooms above them in docs/how_it_is_built.md."""

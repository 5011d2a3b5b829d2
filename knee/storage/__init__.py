"""Files: outputs moved into place, provenance, JSON, arrays on disk."""

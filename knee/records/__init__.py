"""The table of records, one row a source file, and what follows from its columns alone."""

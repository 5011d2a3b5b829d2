"""Great Expectations suites of the records and of the split."""

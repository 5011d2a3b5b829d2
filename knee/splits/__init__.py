"""Train, validation and test subsets, folds, and repeated training rows."""

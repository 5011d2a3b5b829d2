"""Radiographs without a neural net: files, pixels, records, copies, patients, splits, scores."""

"""Folder, archive, label sheet or Kaggle data set to records."""

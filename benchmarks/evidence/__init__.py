"""What the data and the method allow: ceilings, label noise, recall of the copy search."""

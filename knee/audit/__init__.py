"""What a data set holds besides bone: copies, conflicts, leakage, shortcuts."""

"""The training of the search for knees, and its measurement, on films of which all is known."""

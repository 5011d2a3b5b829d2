"""Copy groups: images of the same radiograph, found by candidates and registration."""

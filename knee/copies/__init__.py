"""Which images show the same radiograph: candidates, registration, copy groups."""

"""Charts, contact sheets, and the head that all reports share."""

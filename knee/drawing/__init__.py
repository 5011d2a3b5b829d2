"""Charts, contact sheets, and the head that all HTML pages share."""

"""The project's health: light checks of its cache, outputs, locks, packages and machine."""

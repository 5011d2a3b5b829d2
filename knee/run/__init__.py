"""Shared parts of every command: parameters, locks, termination, environment."""

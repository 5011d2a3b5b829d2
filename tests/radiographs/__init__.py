"""Tests of stages.radiographs."""

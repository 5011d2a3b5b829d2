"""Settings of all tests: no time limit for an example on a loaded machine, quiet TensorFlow."""

from __future__ import annotations

import os

import hypothesis

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

"""Long work says in a log what it does, of how many, and how long it will still take."""

from __future__ import annotations

import itertools
import logging

import pytest

from knee.run import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds pass between two looks at it."""
    monkeypatch.setattr("knee.run.progress.time.monotonic", itertools.count(0, 10).__next__)


@pytest.mark.usefixtures("clock")
def test_a_log_gets_the_count_at_once_and_then_the_time_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), progress.shown("occlusion", 8, "images") as advance:
        assert caplog.messages == ["occlusion: 8 images"]
        for _ in range(4):
            advance(2)
    assert caplog.messages[1:] == ["occlusion: 4 of 8 images, about 20 s left"]

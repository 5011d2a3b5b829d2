"""The simulation of many workers keeps the bounds that every real schedule has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.simulated_scaling import Work, simulated_seconds


@given(
    tasks=st.integers(1, 200),
    workers=st.integers(1, 70),
    task=st.floats(0.01, 10),
    driver=st.floats(0, 1),
)
def test_no_schedule_beats_the_workers_the_driver_or_the_longest_task(
    tasks: int, workers: int, task: float, driver: float
) -> None:
    seconds = simulated_seconds(Work(tasks, task, driver), workers)
    assert seconds >= max(tasks * driver + task, tasks * task / workers) * (1 - 1e-9)
    assert seconds <= tasks * (task + driver) * (1 + 1e-9)


@pytest.mark.parametrize("workers", [1, 2, 64])
def test_a_driver_that_costs_nothing_keeps_all_workers_busy(workers: int) -> None:
    assert simulated_seconds(Work(64 * 3, 2.0, 0.0), workers) == pytest.approx(64 * 3 * 2 / workers)


def test_the_driver_bounds_what_more_workers_can_do() -> None:
    work = Work(1000, 1.0, 0.1)
    assert simulated_seconds(work, 64) == pytest.approx(1000 * 0.1 + 1.0)

"""Temperature scaling: surer or less sure, never another order, and undone exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knee.evidence.uncertainty import calibration


def drawn(sureness: float, rows: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes drawn from probabilities, and these probabilities sharpened by `sureness`."""
    random = np.random.default_rng(seed)
    honest = random.dirichlet(np.ones(3), rows)
    truth = np.array([random.choice(3, p=row) for row in honest])
    return truth, calibration.scaled(honest, 1 / sureness)


@given(seed=st.integers(0, 2**32 - 1), temperature=st.floats(0.2, 6))
def test_scaling_keeps_order_and_is_undone_by_its_inverse(seed: int, temperature: float) -> None:
    chances = np.random.default_rng(seed).dirichlet(np.ones(4), 12)
    made = calibration.scaled(chances, temperature)
    np.testing.assert_allclose(made.sum(axis=1), 1)
    np.testing.assert_allclose(calibration.scaled(made, 1 / temperature), chances, atol=1e-9)
    assert (made.argmax(axis=1) == chances.argmax(axis=1)).all()


@pytest.mark.parametrize("sureness", [0.5, 1.0, 2.5])
def test_the_temperature_that_sharpened_is_found_again(sureness: float) -> None:
    truth, chances = drawn(sureness, rows=2000)
    found = calibration.fit(truth, chances, np.arange(len(truth)))
    assert found.temperature == pytest.approx(sureness, rel=0.15)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.temperature < found.high
    assert not found.at_bound


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), rows=st.integers(2, 30))
def test_the_log_loss_never_rises_on_the_records_that_were_fitted(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    chances = random.dirichlet(np.ones(3), rows).astype(np.float32)
    found = calibration.fit(random.integers(0, 3, rows), chances, np.arange(rows))
    assert found.log_loss_after <= found.log_loss_before
    assert 1 / calibration.LARGEST - 1e-6 <= found.temperature <= calibration.LARGEST


def test_records_that_are_all_right_end_at_the_bound_and_say_so() -> None:
    chances = np.array([[0.9, 0.1], [0.2, 0.8]] * 5)
    assert calibration.fit(np.array([0, 1] * 5), chances, np.arange(10)).at_bound


def test_few_groups_widen_the_interval_and_one_has_none() -> None:
    truth, chances = drawn(2.0)
    many = calibration.fit(truth, chances, np.arange(400))
    few = calibration.fit(truth, chances, np.arange(400) // 40)
    assert calibration.fit(truth, chances, np.zeros(400)).low is None
    assert many.temperature == few.temperature
    small = calibration.fit(truth[:40], chances[:40], np.arange(40))
    assert small.high / small.low > many.high / many.low  # type: ignore[operator]


def test_a_class_without_any_probability_stays_finite() -> None:
    chances = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
    found = calibration.fit(np.array([0, 1, 1]), chances, np.arange(3))
    assert np.isfinite(calibration.scaled(chances, found.temperature)).all()

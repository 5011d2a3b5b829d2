"""What is learned about a model's limits comes back from its record, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knee.evidence.uncertainty import prediction_limits
from knee.storage import artifacts

NAMES = ["Normal", "Osteopenia", "Osteoporosis"]


def learned(method: Any = "temperature", rows: int = 60) -> prediction_limits.Learned:
    random = np.random.default_rng(0)
    truth = np.arange(rows) % 3
    chances = random.dirichlet(np.ones(3), rows)
    observed = prediction_limits.Observed(chances, random.normal(2, 1, (rows, 5)))
    training = random.normal(2, 1, (rows, 5))
    chosen = {"level": 0.8, "quantile": 0.9}
    return prediction_limits.learn(
        observed, truth, np.arange(rows), training, method=method, **chosen
    )


def record(folder: Path, made: prediction_limits.Learned) -> Any:
    """As training.json gives it back."""
    facts = {"classes": NAMES, **prediction_limits.write(made, NAMES, folder)}
    return json.loads(json.dumps(facts, allow_nan=False))


def test_the_record_gives_the_same_thresholds_and_scores(tmp_path: Path) -> None:
    made = learned()
    found = prediction_limits.read(tmp_path, record(tmp_path, made))
    np.testing.assert_array_equal(found.thresholds, made.thresholds)
    assert made.novelty is not None
    fresh = np.random.default_rng(1).normal(2, 1, (9, 5))
    np.testing.assert_allclose(found.scores(fresh), made.novelty.scores(fresh), rtol=1e-3)


def test_without_calibration_nothing_is_scaled(tmp_path: Path) -> None:
    facts = record(tmp_path, learned("none"))
    assert facts["temperature"] == 1
    assert facts["calibration"] == {"method": "none"}


def test_too_few_images_have_sets_of_all_classes_and_no_score(tmp_path: Path) -> None:
    facts = record(tmp_path, learned(rows=6))
    assert "novelty" not in facts
    assert not list(tmp_path.iterdir())
    found = prediction_limits.read(tmp_path, facts)
    assert found.sets(np.array([[1.0, 0, 0]])).tolist() == ["|".join(NAMES)]
    assert np.isnan(found.scores(np.ones((2, 5)))).all()
    assert prediction_limits.warnings(found.scores(np.ones((2, 5)))).tolist() == ["", ""]


def test_only_a_score_above_the_limit_is_warned_of() -> None:
    scores = np.array([0.2, 1.0, 1.01, np.nan])
    assert prediction_limits.warnings(scores).tolist() == ["", "", prediction_limits.WARNING, ""]


@pytest.mark.parametrize(
    "damage", [{"conformal": {}}, {"novelty": {"file": "x"}}, {"novelty": {"sha256": "0"}}]
)
def test_a_damaged_record_is_one_error_that_names_a_file(
    tmp_path: Path, damage: dict[str, Any]
) -> None:
    facts: Any = {**record(tmp_path, learned()), **damage}
    with pytest.raises(artifacts.ArtifactError, match=str(tmp_path)):
        prediction_limits.read(tmp_path, facts)

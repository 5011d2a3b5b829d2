"""A finished fold is found again, exactly; anything else is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from knee.evidence.evaluation import fold_results
from knee.evidence.evaluation.fold_results import FoldResult, FoldResults

CHANCES = np.random.default_rng(0).dirichlet([1, 1, 1], 7).astype(np.float32).astype(np.float64)


def test_a_result_comes_back_bit_for_bit(tmp_path: Path) -> None:
    FoldResults(tmp_path, "key").keep(1, 2, FoldResult(CHANCES, 3, 9))
    found = FoldResults(tmp_path, "key").find(1, 2, (7, 3))
    assert found is not None
    np.testing.assert_array_equal(found.probabilities, CHANCES)
    assert (found.best_epoch, found.epochs) == (3, 9)


def test_another_fold_key_or_shape_is_not_found(tmp_path: Path) -> None:
    kept = FoldResults(tmp_path, "key")
    kept.keep(0, 0, FoldResult(CHANCES, 0, 1))
    assert kept.find(0, 1, (7, 3)) is None
    assert kept.find(0, 0, (8, 3)) is None
    assert FoldResults(tmp_path, "other").find(0, 0, (7, 3)) is None
    assert FoldResults(tmp_path, "key").find(0, 0, (7, 3)) is None  # the other key removed it


def test_a_damaged_file_is_trained_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = FoldResults(tmp_path, "key")
    kept.keep(0, 0, FoldResult(CHANCES, 0, 1))
    (file,) = tmp_path.rglob("*.json")
    whole = file.read_text()
    changed = [whole.replace(digit, other, 1) for digit, other in (("1", "2"), ("0.", "0.1"))]
    contents = ["", "[]", "null", '{"probabilities": [[1]]}', whole[:-20], "\0" * 99, *changed]
    for content in contents:
        file.write_text(content)
        assert kept.find(0, 0, (7, 3)) is None
        assert "is damaged: the fold is trained again" in caplog.messages[-1]
        assert fold_results.damage(file)
    assert len(caplog.messages) == len(contents)
    kept.keep(0, 0, FoldResult(CHANCES, 0, 1))
    assert not fold_results.damage(file)

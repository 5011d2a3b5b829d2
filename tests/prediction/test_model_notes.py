"""What holds for every answer of a model is said with each of them."""

from __future__ import annotations

from typing import Any

import pytest

from knee.prediction import model_notes

PLAIN: dict[str, Any] = {"synthetic": False, "split_protocol": "grouped"}


def test_a_model_of_which_nothing_is_to_be_said_has_no_note() -> None:
    assert model_notes.notes(PLAIN) == []
    assert model_notes.notes({**PLAIN, "novelty": None}) == []
    assert model_notes.notes({**PLAIN, "novelty": {"limit": 3.0}}) == []


@pytest.mark.parametrize(("auc", "count"), [(0.283, 1), (0.72, 1), (0.9, 0), (1.0, 0), (None, 0)])
def test_a_score_that_cannot_tell_is_said(auc: float | None, count: int) -> None:
    found = model_notes.notes({**PLAIN, "novelty": {"non_radiographs": {"auc": auc}}})
    assert len(found) == count
    assert all(f"AUC of only {auc:.2f}" in note for note in found)


def test_synthetic_images_and_a_leaky_split_are_said() -> None:
    found = model_notes.notes({"synthetic": True, "split_protocol": "random"})
    assert found == [model_notes.SYNTHETIC, model_notes.LEAKY]

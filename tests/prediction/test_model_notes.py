"""What holds for every answer of a model is said with each of them."""

from __future__ import annotations

from typing import Any

import pytest

from knee.prediction import model_notes

PLAIN: dict[str, Any] = {"synthetic": False, "split_protocol": "grouped"}


def test_a_model_of_which_nothing_is_to_be_said_has_no_note() -> None:
    assert model_notes.notes(PLAIN) == []
    assert model_notes.notes({**PLAIN, "novelty": None}) == []


@pytest.mark.parametrize("novelty", [{"limit": 3.0}, {"non_radiographs": {"auc": None}}])
def test_a_score_that_was_not_tried_is_said(novelty: dict[str, Any]) -> None:
    assert model_notes.notes({**PLAIN, "novelty": novelty}) == [model_notes.UNTRIED]


@pytest.mark.parametrize(
    ("auc", "count"), [(0.283, 1), (0.72, 1), (float("nan"), 1), (0.9, 0), (1.0, 0)]
)
def test_a_score_that_cannot_tell_is_said(auc: float, count: int) -> None:
    found = model_notes.notes({**PLAIN, "novelty": {"non_radiographs": {"auc": auc}}})
    assert len(found) == count
    assert all(f"AUC of only {auc:.2f}" in note for note in found)


def test_a_leaky_split_is_said() -> None:
    assert model_notes.notes({**PLAIN, "split_protocol": "random"}) == [model_notes.LEAKY]

"""Images of unknown patients are counted, and said beside every share of relatives."""

from __future__ import annotations

import pytest

from knee.records.known_patients import caveat, patient_counts
from tests.records.tables import records


def test_unknown_images_and_contradictions_of_a_patient_are_counted() -> None:
    table = records([0] * 7, range(7))
    table["patient"] = ["a", "a", "b", "b", "b", "", ""]
    table["origin"] = ["site 1", "site 2", "site 1", "", "site 1", "site 1", "site 2"]
    table["sex"] = ["F", "", "F", "M", "F", "F", "M"]
    assert patient_counts(table) == {
        "images": 7,
        "unknown": 2,
        "patients": 2,
        "several_origins": 1,
        "both_sexes": 1,
    }


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        (0, ""),
        (3, "the patient of 3 of 7 images is unknown: images of one person may be in both"),
        (7, "the patient of no image is known: images of one person may be in both"),
    ],
)
def test_what_is_not_known_is_said(unknown: int, said: str) -> None:
    found = caveat({"images": 7, "unknown": unknown})
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_counts_that_are_missing_are_not_taken_for_known_patients() -> None:
    assert "nobody counted" in caveat(None)

"""Model cards: complete, honest about what is missing, and safe to open."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from knee.promotion import model_card
from knee.statistics import scores
from tests import browser

BOUNDS = {name: {"low": 0.1, "high": 0.9} for name in scores.HEADLINE}
FIGURES = dict.fromkeys(scores.HEADLINE, 0.5)
PART = {"expected_calibration_error": 0.1, "log_loss": 0.6}
HOSTILE = "<script>x</script>|`[a](b)"


def facts(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "training": {
            "backbone": "mobilenet",
            "classes": ["Normal", HOSTILE],
            "synthetic": False,
            "preprocessing": {"side_pixels": 224, "fit": "letterbox", "crop_borders": False},
            "best_epoch": 2,
            "model_sha256": "a" * 64,
            "data_fingerprint": "d" * 64,
            "split_fingerprint": "5" * 64,
            "execution": "e" * 32,
            "data": "folder",
            "parameters": {
                "backbone.weights": "/home/jane/weights",
                "backbone.train_from": "auto",
                "train.epochs": 8,
            },
        },
        "test": {
            **FIGURES,
            "confidence_interval": BOUNDS,
            "leaky": False,
            "records": 10,
            "groups": 9,
            "split_protocol": "grouped",
            "per_class": {HOSTILE: {"precision": None, "recall": 0.5, "f1": 0.5, "support": 4}},
            "calibration": {"temperature": 1.5, "before": PART, "after": PART},
            "conformal": {"level": 0.9, "coverage": 0.88, "mean_set_size": 1.5},
            "out_of_distribution": {"flagged": 0.02},
            "subgroups": {"minimum_groups": 20, "estimated": [], "too_small": []},
        },
        "audit": {
            "records": 20,
            "pictures": 15,
            "quarantined": 1,
            "rejected": 0,
            "conflicting_pictures": 1,
            "leakage": {"random": 0.9, "in_use": 0.0},
            "patients": {"images": 15, "unknown": 0},
            "copies": {"same_bytes": 1, "same_name": 2, "near_copy": 3},
        },
        "folds": None,
        "folds_missing": "too dear",
        "ranking": [{"name": "border", "value": 0.4, "probability": 0.97}],
        "compared": "test",
        "metric": "macro_f1",
        "explanation": None,
        "level": 0.95,
        "rebuild": "dvc exp run -S model=mobilenet",
    }
    return known | changes


def test_a_card_says_what_it_is_not_for_and_what_is_missing() -> None:
    text = model_card.markdown(facts())
    assert "Not a medical device" in text
    assert "Not cross-validated: too dear." in text
    assert "Neither sex, age, side nor origin" in text
    assert "| a model that sees only the image border | 0.400 | 0.970 |" in text
    assert "| macro-F1 | 0.500 (0.100 to 0.900) |" in text
    assert "| trained layers | the head; the layers of the backbone stay as they were |" in text
    assert "dvc exp run -S model=mobilenet" in text
    assert "SYNTHETIC" not in text
    assert "LEAKY" not in text


def test_a_card_of_located_knees_says_that_they_were_looked_for() -> None:
    known = copy.deepcopy(facts())
    assert "joint widths" not in model_card.markdown(known)
    known["training"]["locate"] = {"box_widths": 1.84, "weights_sha256": "b" * 64}
    assert "cut out, 1.84 joint widths wide: not every square is right |" in model_card.markdown(
        known
    )
    known["training"]["locate"]["box_millimetres"] = 140.0
    by_both = "1.84 joint widths wide, or 140 mm where a DICOM film tells its scale: not every"
    assert by_both in model_card.markdown(known)


def test_a_card_of_synthetic_or_leaky_data_says_so_first() -> None:
    known = copy.deepcopy(facts())
    known["training"]["synthetic"] = known["test"]["leaky"] = True
    head = model_card.markdown(known)[:500]
    assert "SYNTHETIC DATA" in head
    assert "LEAKY SPLIT" in head


@pytest.mark.parametrize(
    ("unknown", "said"), [(15, "no image is known"), (4, "4 of 15 images is unknown"), (0, "")]
)
def test_a_card_says_beside_the_leakage_of_how_many_images_no_patient_is_known(
    unknown: int, said: str
) -> None:
    known = copy.deepcopy(facts())
    known["audit"]["patients"]["unknown"] = unknown
    text = " ".join(model_card.markdown(known).split())
    assert (f"**the patient of {said}: images of one person" in text) == bool(said)
    assert ("images of one person" in text) == bool(said)


def test_cross_validation_stands_beside_test() -> None:
    folds = {**dict.fromkeys(scores.HEADLINE, 0.7), "confidence_interval": BOUNDS}
    text = model_card.markdown(facts(folds=folds))
    assert "| accuracy | 0.500 (0.100 to 0.900) | 0.700 (0.100 to 0.900) |" in text


def test_subgroups_have_their_intervals_and_small_ones_are_named() -> None:
    known = copy.deepcopy(facts())
    bounds = {name: {"low": 0.3, "high": 0.7} for name in ("accuracy", "macro_f1")}
    women = {"name": "sex F", "records": 30, "groups": 25, "accuracy": 0.5, "macro_f1": 0.4}
    known["test"]["subgroups"] = {
        "minimum_groups": 20,
        "estimated": [{**women, "confidence_interval": bounds}],
        "too_small": [{"name": f"origin {HOSTILE}", "records": 9, "groups": 3}],
    }
    text = model_card.markdown(known)
    assert "| sex F | 30 | 25 | 0.500 (0.300 to 0.700) | 0.400 (0.300 to 0.700) |" in text
    assert "fewer than 20 groups:\norigin" in text
    assert "<script>" not in model_card.html(text)
    assert "Neither sex" not in text


def test_errors_in_units_of_the_t_score_stand_beside_the_classes() -> None:
    known = copy.deepcopy(facts())
    assert "error in T" not in model_card.markdown(known)
    part = {"records": 4, "mean": 0.25, "confidence_interval": {"mean": {"low": 0.1, "high": 0.4}}}
    known["test"]["t_score_error"] = {**part, "contradicting": 2, "per_class": {HOSTILE: part}}
    text = model_card.markdown(known)
    assert "| 0.500 | 4 | 0.250 (0.100 to 0.400) |" in text
    assert "2 whose label contradicts it are left out." in text


def test_decisions_of_a_reviewer_are_counted() -> None:
    known = copy.deepcopy(facts())
    assert "A person decided" not in model_card.markdown(known)
    known["audit"]["reviewed"] = {"kept": 1, "relabelled": 2, "excluded": 3}
    text = " ".join(model_card.markdown(known).split())
    assert "**A person decided about labels of files: 1 kept, 2 relabelled, 3 excluded.**" in text


def test_names_from_outside_cannot_become_markup_and_paths_stay_here() -> None:
    text = model_card.markdown(facts())
    page = model_card.html(text)
    assert "<script>" not in page
    assert 'href="b"' not in page
    assert "jane" not in text
    assert page.count("<table>") >= 5


@pytest.mark.skipif(browser.program() is None, reason="Chromium is not installed")
def test_a_card_fits_a_phone(tmp_path: Path) -> None:
    page = tmp_path / "card.html"
    page.write_text(model_card.html(model_card.markdown(facts())), encoding="utf-8")
    assert browser.overflow(page) == 0


def test_others_are_ranked_and_seen_from_this_model() -> None:
    figures = {name: {"macro_f1": {"value": value}} for name, value in (("a", 0.5), ("b", 0.7))}
    pair = {"model": "a", "other": "b", "probability_better": 0.2, "probability_worse": 0.7}
    comparison = {
        "metric": "macro_f1",
        "evidence": {
            "cross_validation": {"reason": "x"},
            "test": {"overall": {"figures": figures, "differences": [pair]}},
        },
    }
    of_b = model_card.ranking(comparison, "b")
    assert of_b["compared"] == "test"
    assert [one["name"] for one in of_b["ranking"]] == ["b", "a"]
    assert of_b["ranking"][1]["probability"] == 0.7  # in a tenth of the draws they are equal
    assert model_card.ranking(comparison, "c")["ranking"] == []

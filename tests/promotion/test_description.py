"""What stands on a model version."""

from __future__ import annotations

from knee.promotion import champion_decision, description, gates

FACTS = {
    "backbone": "x",
    "synthetic": False,
    "split_protocol": "grouped",
    "metric": "m",
    "chosen_by": "development",
}


def test_the_description_shows_intervals_gates_and_what_is_not_to_be_believed() -> None:
    decided = champion_decision.decision([gates.split("random"), gates.split("grouped")])
    text = description.description(
        {"macro_f1": 0.8, "confidence_interval": {"macro_f1": {"low": 0.7, "high": 0.9}}},
        {"mobilenet": 0.81, "xception": 0.79},
        {**FACTS, "backbone": "mobilenet", "synthetic": True, "split_protocol": "random"},
        decided,
    )
    assert "- macro_f1 0.800 (0.700 to 0.900)" in text
    assert "SYNTHETIC" in text
    assert "LEAKY" in text
    assert "Chosen by m out of fold: mobilenet 0.810, xception 0.790" in text
    assert "- **FAILED** split: its split is leaky" in text
    assert "- passed split: a grouped split" in text


def test_the_description_says_of_how_many_images_no_patient_is_known() -> None:
    decided = champion_decision.decision([gates.split("grouped")])
    for unknown, said in ((9, "of no image is known"), (2, "of 2 of 9 images"), (0, "")):
        patients = {"images": 9, "unknown": unknown}
        text = description.description({"patients": patients}, {}, FACTS, decided)
        assert (f"the patient {said}" in text) == bool(said)
        assert ("images of one person may be" in text) == bool(said)
        gate = gates.audit({"leakage": {"random": None, "in_use": 0.0}, "patients": patients})
        assert gate.passed
        assert said in gate.reason


def test_tags_say_what_failed() -> None:
    tags = description.tags([gates.audit(None), gates.split("grouped")])
    assert tags == {
        "gate.audit": "FAILED: the data were not audited",
        "gate.split": "passed: a grouped split",
    }

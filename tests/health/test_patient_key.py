"""Records of another patient key than the one that is set are a fault."""

import json
from pathlib import Path

import pytest

from knee.health.patient_key import check_patient_key
from knee.health.project import Output
from knee.intake.patients import KEY_VARIABLE, key_check


def test_records_of_another_key_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "checked.json"
    outputs = [Output(file, 17, "check"), Output(tmp_path / "x", 0, "ingest")]
    monkeypatch.setenv(KEY_VARIABLE, "mine")
    assert check_patient_key(outputs).status == "ok"  # nothing is made yet
    file.write_text(json.dumps({"patient_key": key_check(b"mine")}))
    assert check_patient_key(outputs).found.endswith("your own")
    monkeypatch.delenv(KEY_VARIABLE)
    result = check_patient_key(outputs)
    assert result.status == "fault"
    assert "dvc repro" in result.remedy

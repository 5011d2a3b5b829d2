"""The logged model."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from knee import tracking
from knee.storage import provenance
from knee.tracking import models, publishing, store
from knee.tracking.evidence import Evidence
from tests.stages.test_predict import write_model
from tests.tracking.runs import only_run


def test_the_logged_model_has_signature_example_and_the_trained_bytes(
    evidence: Evidence, tmp_path: Path
) -> None:
    tracking.publish(evidence)
    model = store.connect().get_logged_model(only_run().outputs.model_outputs[0].model_id)
    assert str(model.status) == "READY"
    folder = Path(model.artifact_location.removeprefix("file://"))
    description = (folder / "MLmodel").read_text()
    assert '"name": "image"' in " ".join(description.split())
    assert '"name": "explain"' in " ".join(description.split())
    assert (folder / "input_example.json").is_file()
    assert (folder / "artifacts" / "model.keras").read_bytes() == evidence.model.read_bytes()
    assert not list(folder.rglob("*.pkl"))
    assert str(Path.cwd()) not in description
    assert str(tmp_path / "work") not in description


def test_the_code_that_answers_lies_in_the_logged_model(evidence: Evidence) -> None:
    tracking.publish(evidence)
    model = store.connect().get_logged_model(only_run().outputs.model_outputs[0].model_id)
    code = Path(model.artifact_location.removeprefix("file://")) / "code"
    found = {file.relative_to(code).as_posix() for file in code.rglob("*") if file.is_file()}
    assert found == {*models.served_modules()}
    assert "knee/prediction/answers.py" in found
    assert "knee/classifier/attribution/grad_cam.py" in found  # imported by the child process
    assert "knee/reading/dicom.py" in found
    assert not any(name.startswith("knee/tracking") for name in found)
    facts = json.loads((code.parent / "artifacts" / "training.json").read_text())
    assert set(facts) <= {*models.SERVED_FACTS, "record_sha256"}
    assert not provenance.seal_is_broken(facts)


def test_the_signature_of_a_model_of_located_knees_is_a_films() -> None:
    of_image, of_film = (models._signature(is_located=each).outputs for each in (False, True))
    assert {"class", "probabilities"} <= {*of_image.input_names()}
    assert of_film.input_names() == ["synthetic_model", "film", "reason", "film_note", "knees"]


def test_an_interrupted_upload_of_the_model_is_completed(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store.connect()
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "log_model", lambda *_: None)
        tracking.publish(evidence)
    sha256 = provenance.fingerprint(evidence.model)
    models._create(store.connect(), only_run(), evidence, sha256)
    (begun,) = models._same(client, only_run(), sha256)
    tracking.publish(evidence)
    outputs = only_run().outputs.model_outputs
    assert [output.model_id for output in outputs] == [begun.model_id]
    assert str(client.get_logged_model(begun.model_id).status) == "READY"


FOREIGN = """
import json, sys
import mlflow, pandas
loaded = mlflow.pyfunc.load_model(sys.argv[1])
import knee
example = loaded.input_example
answers = loaded.predict(example, params={"explain": True})
grays = [[5 * (x + y) for x in range(24)] for y in range(24)]
rows = loaded.predict(pandas.DataFrame({"image": [grays]}))
try:
    loaded.predict(pandas.DataFrame({"image": ["JANE DOE"]}))
except mlflow.MlflowException as error:
    error.message = "JANE DOE"  # as MLflow's server does
    refused = error.serialize_as_json()
print(json.dumps({"code": knee.__file__, "answers": answers, "rows": rows, "refused": refused}))
"""


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_logged_model_answers_in_a_process_that_has_its_folder_alone(
    evidence: Evidence, tmp_path: Path
) -> None:
    folder = tmp_path / "trained"
    write_model(folder)
    trained = dataclasses.replace(
        evidence,
        model=folder / "model.keras",
        novelty=folder / "novelty.npz",
        artifacts={"training.json": folder / "training.json"},
    )
    tracking.publish(trained)
    model = store.connect().get_logged_model(only_run().outputs.model_outputs[0].model_id)
    place = Path(model.artifact_location.removeprefix("file://"))
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN, str(place)],
        cwd=tmp_path / "elsewhere",
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert Path(found["code"]) == place / "code" / "knee" / "__init__.py"
    assert set(found["answers"][0]) >= {"class", "probabilities", "prediction_set", "grad_cam"}
    assert "grad_cam" not in found["rows"][0]
    assert json.loads(found["refused"])["message"] == "image 1: not base64 text of a file"
    assert "JANE" not in found["refused"]

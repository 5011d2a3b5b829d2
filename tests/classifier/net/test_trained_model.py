"""A trained model's folder is read only where it belongs to the present data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from knee.classifier.net.trained_model import TrainedModel
from knee.reading.canonical_image import DicomRule
from knee.storage import artifacts, provenance

NAMES = ["Normal", "Osteopenia", "Osteoporosis"]
TRAINING = {
    "backbone": "mobilenet",
    "best_epoch": 1,
    "classes": NAMES,
    "model_sha256": "0" * 64,
    "preprocessing": {"side_pixels": 32, "fit": "letterbox", "crop_borders": True},
    "split_protocol": "grouped",
    "synthetic": False,
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """training.json, records and split that belong together."""
    places = {name: tmp_path / name for name in ("training.json", "records", "split")}
    places["records"].write_text("records")
    places["split"].write_text("split")
    facts = {
        **TRAINING,
        "data_fingerprint": provenance.fingerprint(places["records"]),
        "split_fingerprint": provenance.fingerprint(places["split"]),
    }
    places["training.json"].write_text(json.dumps(facts))
    return places


def read(files: dict[str, Path], backbone: str = "mobilenet") -> TrainedModel:
    trained = TrainedModel.read(files["training.json"].parent)
    trained.check_origin(backbone, NAMES, records=files["records"], split=files["split"])
    return trained


def test_a_training_on_this_data_is_accepted(files: dict[str, Path]) -> None:
    trained = read(files)
    assert trained.classes == tuple(NAMES)
    assert trained.canonical.side_pixels == 32
    assert trained.net.name == "model.keras"


def test_a_model_takes_the_dicom_images_that_it_was_trained_on(files: dict[str, Path]) -> None:
    assert read(files).canonical.dicom == DicomRule()  # of a record by an earlier version
    rule = DicomRule(["KNEE"], ["XA"], secondary_capture=False, views=["AP"])
    facts = json.loads(files["training.json"].read_text())
    files["training.json"].write_text(json.dumps({**facts, "dicom": rule.as_facts()}))
    assert read(files).canonical.dicom == rule


def test_a_record_with_any_value_changed_is_refused(files: dict[str, Path]) -> None:
    file = files["training.json"]
    sealed = provenance.sealed(json.loads(file.read_text()))
    file.write_text(json.dumps(sealed, indent=2))
    assert read(files).classes == tuple(NAMES)
    for name in sealed:
        file.write_text(json.dumps({**sealed, name: "another"}))
        with pytest.raises(artifacts.ArtifactError, match="changed or damaged after training"):
            read(files)


@pytest.mark.parametrize("classes", [[], ["one"], "Normal", None, [1, 2], {"Normal": 1, "b": 2}])
def test_a_record_without_classes_is_one_message(files: dict[str, Path], classes: object) -> None:
    record = provenance.sealed({**TRAINING, "classes": classes})
    files["training.json"].write_text(json.dumps(record))
    with pytest.raises(artifacts.ArtifactError, match="classes: expected two names or more"):
        read(files)


def test_a_record_from_before_there_were_digests_is_used_with_a_warning(
    files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert read(files).classes == tuple(NAMES)
    assert "has no digest" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("training.json", None, "does not exist"),
        ("training.json", "{", "is not JSON"),
        ("training.json", "[]", "expected a JSON object"),
        ("training.json", "{}", "has no key backbone"),
        (
            "training.json",
            json.dumps({**TRAINING, "preprocessing": {"side": 32}}),
            "preprocessing has other keys",
        ),
        ("records", "other", "data_fingerprint is"),
        ("split", "other", "split_fingerprint is"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    files: dict[str, Path], name: str, content: str | None, message: str
) -> None:
    if content is None:
        files[name].unlink()
    else:
        files[name].write_text(content)
    with pytest.raises(artifacts.ArtifactError, match=message):
        read(files)


def test_another_backbones_training_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(artifacts.ArtifactError, match="backbone is mobilenet, here it is xcep"):
        read(files, "xception")

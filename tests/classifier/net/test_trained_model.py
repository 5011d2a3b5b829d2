"""A trained model's folder is read only where it belongs to the present data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from knee.classifier.net.trained_model import TrainedModel
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

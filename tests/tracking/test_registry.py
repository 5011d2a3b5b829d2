"""Versions, aliases, and a registered model copied back to disk."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from knee import tracking
from knee.storage import artifacts
from knee.tracking import store
from knee.tracking.evidence import Evidence
from knee.tracking.registry import Version
from tests.tracking.runs import write_training


def publish_as(evidence: Evidence, execution: str) -> str:
    run_id = tracking.publish(dataclasses.replace(evidence, execution=execution))
    assert run_id is not None
    return run_id


def test_an_execution_has_one_version_and_a_version_one_alias(evidence: Evidence) -> None:
    registry = tracking.Registry("knee")
    assert registry.champion() is None
    first = registry.add(publish_as(evidence, "a"), "a", {"split_protocol": "grouped"}, "text")
    registry.set_alias(first, tracking.CHALLENGER, "why")
    registry.set_alias(first, tracking.CHAMPION, "why")
    assert registry.add(publish_as(evidence, "a"), "a", {}, "other text") == first
    assert registry.champion() == first
    second = registry.add(publish_as(evidence, "b"), "b", {}, "text")
    registry.set_alias(second, tracking.CHALLENGER, "worse")
    client = store.connect()
    aliases = client.get_registered_model("knee").aliases
    assert {name: int(version) for name, version in aliases.items()} == {
        "champion": 1,
        "challenger": 2,
    }
    version = client.get_model_version("knee", "1")
    assert version.description == "other text"
    assert {"run_id", "execution", "split_protocol", "promotion"} <= version.tags.keys()
    assert version.run_id == first.run_id


def test_predictions_of_a_version_come_from_its_run(evidence: Evidence) -> None:
    registry = tracking.Registry("knee")
    version = registry.add(publish_as(evidence, "a"), "a", {}, "")
    content = registry.predictions(version)
    assert content is not None
    assert next(csv.reader([content.decode().splitlines()[0]])) == ["record", "pixel_sha256"]
    gone = dataclasses.replace(version, run_id="0" * 32)
    assert registry.predictions(gone) is None


@pytest.mark.usefixtures("away")
def test_a_registry_that_does_not_answer_is_one_error() -> None:
    with pytest.raises(tracking.TrackingError, match="opening the store failed"):
        tracking.Registry("knee")


def register(evidence: Evidence) -> Version:
    return tracking.Registry("knee").add(publish_as(evidence, "a"), "a", {}, "text")


@pytest.mark.parametrize("uri", ["models:/knee@champion", "models:/knee/1"])
def test_a_version_comes_back_byte_for_byte_with_its_record(
    evidence: Evidence, tmp_path: Path, uri: str
) -> None:
    tracking.Registry("knee").set_alias(register(evidence), tracking.CHAMPION, "first")
    folder = tmp_path / "fetched"
    assert tracking.fetch_model(uri, folder) == ("knee", "1")
    assert (folder / "model.keras").read_bytes() == evidence.model.read_bytes()
    record = json.loads((folder / "training.json").read_text())
    assert record["classes"] == list(evidence.classes)
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.keras", "training.json"}


def test_without_a_champion_the_message_names_what_was_asked_for(
    evidence: Evidence, tmp_path: Path
) -> None:
    register(evidence)
    for uri in ("models:/knee@champion", "models:/knee/99"):
        with pytest.raises(tracking.TrackingError, match=r"knee has no .*: there is 1") as caught:
            tracking.fetch_model(uri, tmp_path)
        assert ("stages.promote 1 --reason" in str(caught.value)) == uri.endswith("champion")
    with pytest.raises(tracking.TrackingError, match=r"dvc repro -f -s register.*--model FOLDER"):
        tracking.fetch_model("models:/nobody@champion", tmp_path)


@pytest.mark.parametrize("uri", ["knee", "models:/knee", "models:/../x/1/2", "models:/a@b@c"])
def test_what_is_no_address_of_a_model_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(tracking.TrackingError, match="expected models:/NAME@champion"):
        tracking.fetch_model(uri, tmp_path)


def test_what_tells_unlike_images_comes_back_with_the_model(tmp_path: Path) -> None:
    models, metrics = write_training(
        tmp_path / "work", novelty={"sha256": hashlib.sha256(b"arrays").hexdigest()}
    )
    (models / "novelty.npz").write_bytes(b"arrays")
    register(tracking.collect(models, metrics))
    folder = tmp_path / "fetched"
    tracking.fetch_model("models:/knee/1", folder)
    names = ("model.keras", "novelty.npz", "training.json")
    assert {path.name for path in folder.iterdir()} == set(names)
    for name in names:
        assert (folder / name).read_bytes() == (models / name).read_bytes()


def test_a_recorded_file_that_is_missing_is_named(tmp_path: Path) -> None:
    models, metrics = write_training(tmp_path / "work", novelty={"sha256": "0" * 64})
    with pytest.raises(artifacts.ArtifactError, match=r"novelty\.npz does not exist"):
        tracking.require_published(tracking.collect(models, metrics))

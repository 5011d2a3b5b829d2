"""Versions, aliases, and a registered model copied back to disk."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import http.server
import json
import resource
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knee import tracking
from knee.storage import artifacts, provenance
from knee.tracking import registry, store
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


def test_a_file_of_a_version_comes_from_its_run(evidence: Evidence) -> None:
    registry = tracking.Registry("knee")
    version = registry.add(publish_as(evidence, "a"), "a", {}, "")
    content = registry.file_of_run(version, "predictions.csv")
    assert content is not None
    assert next(csv.reader([content.decode().splitlines()[0]])) == ["record", "pixel_sha256"]
    gone = dataclasses.replace(version, run_id="0" * 32)
    assert registry.file_of_run(gone, "predictions.csv") is None


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
        with pytest.raises(tracking.TrackingError, match=r"knee has no .*: it has 1") as caught:
            tracking.fetch_model(uri, tmp_path)
        assert ("stages.promote 1 --reason" in str(caught.value)) == uri.endswith("champion")
    with pytest.raises(tracking.TrackingError, match=r"dvc repro -f -s register.*--model FOLDER"):
        tracking.fetch_model("models:/nobody@champion", tmp_path)


@pytest.mark.parametrize("uri", ["knee", "models:/knee", "models:/../x/1/2", "models:/a@b@c"])
def test_what_is_no_address_of_a_model_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(tracking.TrackingError, match="expected models:/NAME@champion"):
        tracking.fetch_model(uri, tmp_path)


def test_what_tells_unlike_images_and_finds_knees_comes_back_with_the_model(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"arrays").hexdigest()
    recorded = {"novelty": {"sha256": sha256}, "locate": {"weights_sha256": sha256}}
    models, metrics = write_training(tmp_path / "work", **recorded)
    for name in ("novelty.npz", "knees.npz"):
        (models / name).write_bytes(b"arrays")
    register(tracking.collect(models, metrics))
    folder = tmp_path / "fetched"
    tracking.fetch_model("models:/knee/1", folder)
    names = ("model.keras", "novelty.npz", "knees.npz", "training.json")
    assert {path.name for path in folder.iterdir()} == set(names)
    for name in names:
        assert (folder / name).read_bytes() == (models / name).read_bytes()


def test_a_recorded_file_that_is_missing_is_named(tmp_path: Path) -> None:
    models, metrics = write_training(tmp_path / "work", novelty={"sha256": "0" * 64})
    with pytest.raises(artifacts.ArtifactError, match=r"novelty\.npz does not exist"):
        tracking.require_published(tracking.collect(models, metrics))


CHANGES = {
    "a class renamed": lambda record: record["classes"].reverse(),
    "a threshold": lambda record: record["parameters"].update({"train.epochs": 3}),
    "a key more": lambda record: record.update(temperature=1.0),
    "a key less": lambda record: record.pop("synthetic"),
    "no digest": lambda record: record.pop("record_sha256"),
    "changed and sealed again": lambda record: record.update(
        provenance.sealed({**record, "classes": ["x", "y"]})
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_record_of_a_version_is_refused(
    root: Path, evidence: Evidence, tmp_path: Path, change: str
) -> None:
    run_id = publish_as(evidence, evidence.execution)
    tracking.Registry("knee").add(run_id, evidence.execution, evidence.own_tags, "")
    (file,) = root.glob("mlartifacts/*/*/artifacts/training.json")
    record = json.loads(file.read_text())
    CHANGES[change](record)
    file.write_text(json.dumps(record))
    with pytest.raises(tracking.TrackingError, match=r"training\.json is not the one"):
        tracking.fetch_model("models:/knee/1", tmp_path / "fetched")


@pytest.mark.parametrize("name", ["model.keras", "training.json"])
@given(data=st.data())
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_flipped_bit_of_a_version_passes(
    root: Path, evidence: Evidence, name: str, data: st.DataObject
) -> None:
    run_id = publish_as(evidence, evidence.execution)
    tracking.Registry("knee").add(run_id, evidence.execution, evidence.own_tags, "")
    pattern = "models/*/artifacts/artifacts" if name == "model.keras" else "*/artifacts"
    (file,) = root.glob(f"mlartifacts/*/{pattern}/{name}")
    whole = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    blank = whole[place : place + 1].isspace() or file.read_bytes()[place : place + 1].isspace()
    file.write_bytes(whole)
    try:
        if not (name == "training.json" and blank):  # a blank between values changes nothing
            with (
                tempfile.TemporaryDirectory() as folder,
                pytest.raises(tracking.TrackingError, match=r"version 1 of knee cannot be used"),
            ):
                tracking.fetch_model("models:/knee/1", Path(folder))
    finally:
        shutil.copy(evidence.model if name == "model.keras" else evidence.artifacts[name], file)


class Endless(http.server.BaseHTTPRequestHandler):
    """Sends for as long as somebody reads."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(bytes(1 << 16))

    def log_message(self, *_: object) -> None:
        pass


def test_an_endless_artifact_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LARGEST_BYTES", 1 << 20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(tracking.TrackingError, match=r"x\.json has more than 1048576 bytes"):
            registry._download(address, "x.json", tmp_path, "version 1")
        server.shutdown()
    assert (tmp_path / "x.json").stat().st_size <= 1 << 20
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before

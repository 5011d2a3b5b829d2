"""The registered model: its versions, their aliases, and a copy of a version on disk."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from knee.tracking.evidence import NOVELTY_FILE
from knee.tracking.store import (
    EXECUTION_TAG,
    TrackingError,
    connect,
    errors_translated,
    patient_upload,
    uri_in_environment,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

T = TypeVar("T")
CHAMPION, CHALLENGER = "champion", "challenger"
OVERRIDE_TAG, PROMOTION_TAG = "override.by", "promotion"
URI = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[\w-]+)|/(?P<version>\d+))")


@dataclasses.dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    version: str
    run_id: str
    execution: str


class Registry:
    """One registered model. Every method raises `TrackingError` if MLflow fails."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self._client = connect()

    def champion(self) -> Version | None:
        """Return the version that has the alias `champion`."""
        with errors_translated("reading the champion"):
            model = self._model()
            number = model.aliases.get(CHAMPION) if model else None
            if number is None:
                return None
            return _version(self._client.get_model_version(self.model_name, str(number)))

    def predictions(self, version: Version) -> bytes | None:
        """Return predictions.csv of a version's run; None if the run or the file is gone."""
        with tempfile.TemporaryDirectory() as folder, errors_translated("reading predictions"):
            files = _if_there(lambda: self._client.list_artifacts(version.run_id)) or []
            if "predictions.csv" not in [file.path for file in files]:
                return None
            path = self._client.download_artifacts(version.run_id, "predictions.csv", folder)
            return Path(path).read_bytes()

    def add(self, run_id: str, execution: str, tags: Mapping[str, str], text: str) -> Version:
        """Return the version of an execution, made if there is none; `text` describes it."""
        client, name = self._client, self.model_name
        with errors_translated("creating a model version"), patient_upload():
            if self._model() is None:
                client.create_registered_model(name)
            found = client.search_model_versions(f"name = '{name}'")
            same = [entry for entry in found if entry.tags.get(EXECUTION_TAG) == execution]
            earliest = min(same, key=lambda entry: int(entry.version), default=None)
            entry = earliest or self._create(run_id, execution, tags)
            # What a person wrote on it stays.
            if entry.description != text and OVERRIDE_TAG not in entry.tags:
                client.update_model_version(name, entry.version, text)
            return _version(entry)

    def set_alias(self, version: Version, alias: str, reason: str) -> None:
        """Make `version` champion or challenger; it loses the other of the two."""
        other = CHALLENGER if alias == CHAMPION else CHAMPION
        client, name = self._client, self.model_name
        with errors_translated("setting an alias"):
            aliases = client.get_registered_model(name).aliases
            if str(aliases.get(alias)) == version.version:
                return  # and the reason of the first time stays
            client.set_registered_model_alias(name, alias, version.version)
            if str(aliases.get(other)) == version.version:
                client.delete_registered_model_alias(name, other)
        self.set_tags(version, {PROMOTION_TAG: f"{alias}: {reason}"})

    def set_tags(self, version: Version, tags: Mapping[str, str]) -> None:
        """Give `version` these tags beside those it has."""
        with errors_translated("writing tags"):
            for key, value in tags.items():
                self._client.set_model_version_tag(self.model_name, version.version, key, value)

    def override(self, number: str, reason: str, by: str) -> None:
        """Make version `number` champion because a person says so, and write that on it."""
        before = self.champion()
        with errors_translated(f"reading version {number} of {self.model_name}"):
            entry = self._client.get_model_version(self.model_name, number)
        with errors_translated("promoting a version"):
            note = f"**Promoted by {by}, past the gates**: {reason}"
            text = f"{note}\n\n{entry.description or ''}".strip()
            self._client.update_model_version(self.model_name, number, text)
        version = _version(entry)
        promotion = f"promoted by {by}: {reason}"
        self.set_alias(version, CHAMPION, promotion)
        tags = {
            OVERRIDE_TAG: by,
            "override.reason": reason,
            "override.replaced": before.version if before else "none",
            # Also where the version was champion already: `set_alias` has left its first reason.
            PROMOTION_TAG: f"{CHAMPION}: {promotion}",
        }
        self.set_tags(version, tags)

    def _model(self) -> RegisteredModel | None:
        return _if_there(lambda: self._client.get_registered_model(self.model_name))

    def _create(self, run_id: str, execution: str, tags: Mapping[str, str]) -> ModelVersion:
        run = self._client.get_run(run_id)
        model_id = run.outputs.model_outputs[0].model_id
        with uri_in_environment():
            return self._client.create_model_version(
                self.model_name,
                source=f"models:/{model_id}",
                run_id=run_id,
                model_id=model_id,
                tags={**tags, EXECUTION_TAG: execution, "run_id": run_id},
            )


def _if_there(read: Callable[[], T]) -> T | None:
    from mlflow.exceptions import MlflowException

    try:
        return read()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _version(entry: ModelVersion) -> Version:
    return Version(str(entry.version), str(entry.run_id), str(entry.tags.get(EXECUTION_TAG, "")))


def fetch_model(uri: str, folder: Path) -> tuple[str, str]:
    """Copy the version that `uri` names, models:/NAME@ALIAS or models:/NAME/VERSION, to `folder`.

    The folder then holds model.keras, training.json and, of a model that has one, novelty.npz.

    Returns:
        The name of the registered model and the number of the version.

    Raises:
        TrackingError: there is none, it is incomplete, or MLflow fails.
    """
    parts = URI.fullmatch(uri)
    if parts is None:
        raise TrackingError(f"{uri}: expected models:/NAME@champion or models:/NAME/VERSION")
    name, client = parts["name"], connect()
    import mlflow.artifacts

    with errors_translated(f"reading {uri}"):
        if parts["alias"]:
            entry = client.get_model_version_by_alias(name, parts["alias"])
        else:
            entry = client.get_model_version(name, parts["version"])
        version = str(entry.version)
        folder.mkdir(parents=True, exist_ok=True)
        client.download_artifacts(entry.run_id, "training.json", str(folder))
        with tempfile.TemporaryDirectory(dir=folder) as temporary, uri_in_environment():
            uri = f"models:/{name}/{version}"
            copied = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=temporary))
            files = sorted(copied.rglob("*.keras"))
            if len(files) != 1:
                raise TrackingError(f"version {version} of {name} holds {len(files)} .keras files")
            for file in [*files, *copied.rglob(NOVELTY_FILE)]:
                shutil.move(file, folder / file.name)
    return name, version

"""The registered model: its versions, their aliases, and a copy of a version on disk."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knee.tracking.evidence import NOVELTY_FILE
from knee.tracking.store import (
    EXECUTION_TAG,
    Store,
    TrackingError,
    connect,
    errors_translated,
    patient_upload,
    uri_in_environment,
)

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
        self._store: Store = connect()

    def champion(self) -> Version | None:
        """Return the version that has the alias `champion`."""
        with errors_translated("reading the champion"):
            model = self._model()
            number = model.aliases.get(CHAMPION) if model else None
            if number is None:
                return None
            return _version(self._store.client.get_model_version(self.model_name, str(number)))

    def predictions(self, version: Version) -> bytes | None:
        """Return predictions.csv of a version's run; None if the run or the file is gone."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as folder, errors_translated("reading predictions"):
            try:
                names = [entry.path for entry in self._store.client.list_artifacts(version.run_id)]
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
            if "predictions.csv" not in names:
                return None
            path = self._store.client.download_artifacts(version.run_id, "predictions.csv", folder)
            return Path(path).read_bytes()

    def add(self, run_id: str, execution: str, tags: Mapping[str, str], text: str) -> Version:
        """Return the version of an execution, made if there is none; `text` describes it."""
        with errors_translated("creating a model version"), patient_upload():
            if self._model() is None:
                self._store.client.create_registered_model(self.model_name)
            version = self._find(execution) or self._create(run_id, execution, tags)
            client = self._store.client
            entry = client.get_model_version(self.model_name, version.version)
            # What a person wrote on it stays.
            if entry.description != text and OVERRIDE_TAG not in entry.tags:
                client.update_model_version(self.model_name, version.version, text)
            return version

    def set_alias(self, version: Version, alias: str, reason: str) -> None:
        """Make `version` champion or challenger; it loses the other of the two."""
        other = CHALLENGER if alias == CHAMPION else CHAMPION
        with errors_translated("setting an alias"):
            client, name = self._store.client, self.model_name
            model = self._model()
            if model is not None and str(model.aliases.get(alias)) == version.version:
                return  # and the reason of the first time stays
            client.set_registered_model_alias(name, alias, version.version)
            model = self._model()
            if model is not None and str(model.aliases.get(other)) == version.version:
                client.delete_registered_model_alias(name, other)
            client.set_model_version_tag(name, version.version, PROMOTION_TAG, f"{alias}: {reason}")

    def set_tags(self, version: Version, tags: Mapping[str, str]) -> None:
        """Give `version` these tags beside those it has."""
        with errors_translated("writing tags"):
            for name, value in tags.items():
                self._store.client.set_model_version_tag(
                    self.model_name, version.version, name, value
                )

    def version(self, number: str) -> Version:
        """Return the version with this number; `TrackingError` if there is none."""
        with errors_translated(f"reading version {number} of {self.model_name}"):
            return _version(self._store.client.get_model_version(self.model_name, number))

    def override(self, version: Version, reason: str, by: str) -> None:
        """Make `version` champion because a person says so, and write that on it."""
        client = self._store.client
        with errors_translated("promoting a version"):
            found = client.get_model_version(self.model_name, version.version)
            before = self.champion()
            note = f"**Promoted by {by}, past the gates**: {reason}"
            client.update_model_version(
                self.model_name, version.version, f"{note}\n\n{found.description or ''}".strip()
            )
        self.set_alias(version, CHAMPION, f"promoted by {by}: {reason}")
        replaced = before.version if before else "none"
        tags = {OVERRIDE_TAG: by, "override.reason": reason, "override.replaced": replaced}
        # Also where the version was champion already: `set_alias` has left its first reason.
        promotion = f"{CHAMPION}: promoted by {by}: {reason}"
        self.set_tags(version, {**tags, PROMOTION_TAG: promotion})

    def _model(self) -> Any | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._store.client.get_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _find(self, execution: str) -> Version | None:
        found = self._store.client.search_model_versions(f"name = '{self.model_name}'")
        same = [_version(entry) for entry in found if entry.tags.get(EXECUTION_TAG) == execution]
        return min(same, key=lambda version: int(version.version), default=None)

    def _create(self, run_id: str, execution: str, tags: Mapping[str, str]) -> Version:
        run = self._store.client.get_run(run_id)
        model_id = run.outputs.model_outputs[0].model_id
        own = {key: value for key, value in tags.items() if not key.startswith("mlflow.")}
        with uri_in_environment():
            created = self._store.client.create_model_version(
                self.model_name,
                source=f"models:/{model_id}",
                run_id=run_id,
                model_id=model_id,
                tags={**own, EXECUTION_TAG: execution, "run_id": run_id},
            )
        return _version(created)


def _version(entry: Any) -> Version:
    return Version(str(entry.version), str(entry.run_id), str(entry.tags.get(EXECUTION_TAG, "")))


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A version of a registered model; its folder holds what `train` wrote.

    That is model.keras, training.json and, of a model that has one, novelty.npz.
    """

    name: str
    version: str
    folder: Path


def champion_uri(name: str) -> str:
    """Return the URI of the version of the registered model `name` that is in use."""
    return f"models:/{name}@{CHAMPION}"


def fetch_model(uri: str, folder: Path) -> Fetched:
    """Copy the version that `uri` names, models:/NAME@ALIAS or models:/NAME/VERSION, to `folder`.

    Raises:
        TrackingError: there is none, it is incomplete, or MLflow fails.
    """
    parts = URI.fullmatch(uri)
    if parts is None:
        raise TrackingError(f"{uri}: expected models:/NAME@champion or models:/NAME/VERSION")
    name = parts["name"]
    client = connect().client
    with errors_translated(f"reading {uri}"):
        if parts["alias"]:
            entry = client.get_model_version_by_alias(name, parts["alias"])
        else:
            entry = client.get_model_version(name, parts["version"])
    with errors_translated(f"copying {uri}"):
        _copy(client, entry, name, folder)
    return Fetched(name, str(entry.version), folder)


def _copy(client: Any, entry: Any, name: str, folder: Path) -> None:
    import mlflow.artifacts

    folder.mkdir(parents=True, exist_ok=True)
    client.download_artifacts(entry.run_id, "training.json", str(folder))
    with uri_in_environment():
        copied = mlflow.artifacts.download_artifacts(
            artifact_uri=f"models:/{name}/{entry.version}",
            dst_path=str(folder / "registered"),
        )
    files = sorted(Path(copied).rglob("*.keras"))
    if len(files) != 1:
        raise TrackingError(f"version {entry.version} of {name} holds {len(files)} .keras files")
    shutil.move(files[0], folder / "model.keras")
    for file in Path(copied).rglob(NOVELTY_FILE):
        shutil.move(file, folder / NOVELTY_FILE)
    shutil.rmtree(folder / "registered")

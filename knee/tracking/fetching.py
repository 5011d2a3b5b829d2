"""A registered model on disk again: its files and what its training recorded."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

from knee.tracking.evidence import NOVELTY_FILE
from knee.tracking.registry import CHAMPION
from knee.tracking.store import TrackingError, connect, errors_translated, uri_in_environment

URI = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[\w-]+)|/(?P<version>\d+))")


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A version of a registered model; its folder holds what `train` wrote.

    That is model.keras, training.json and, of a model that has one, novelty.npz.
    """

    name: str
    version: str
    folder: Path


def champion_uri(name: str) -> str:
    """The URI of the version of the registered model `name` that is in use."""
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

"""The file of a trained net, and whether it is the recorded one."""

from __future__ import annotations

from pathlib import Path

from knee.storage import provenance
from knee.storage.artifacts import ArtifactError


def check(path: Path, sha256: str | None) -> None:
    """Raise `ArtifactError` unless the file `path` is there, with this SHA-256 if one is given."""
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist: run `dvc repro` to train it")
    if sha256 is not None and provenance.fingerprint(path) != sha256:
        raise ArtifactError(
            f"{path} is not the model that its training recorded: run `dvc repro` to rebuild it"
        )

"""Evidence that waits for MLflow: `pending_runs/<execution>` in the project's root."""

from __future__ import annotations

import dataclasses
import json
import shutil
import uuid
from pathlib import Path

from knee.storage import artifacts
from knee.storage.artifacts import ArtifactError
from knee.storage.json_files import read_json
from knee.tracking.evidence import NOVELTY_FILE, Evidence, public_bytes
from knee.tracking.store import project_root

EVIDENCE_FILE = "evidence.json"


def pending_folder() -> Path:
    """Where evidence waits."""
    return project_root() / "pending_runs"


def waiting_folders() -> list[Path]:
    """One folder for each run that waits."""
    return sorted(path for path in pending_folder().glob("[!.]*") if path.is_dir())


def forget(execution: str) -> None:
    """Remove what waits of an execution, if anything does."""
    shutil.rmtree(pending_folder() / execution, ignore_errors=True)


def keep(evidence: Evidence) -> Path:
    """Copy evidence to `pending_runs/<execution>`, complete or not at all; returns the folder."""
    pending = pending_folder()
    folder = pending / evidence.execution
    temporary = pending / f".{evidence.execution}.{uuid.uuid4().hex}"
    try:
        with artifacts.naming(folder):
            _copy(evidence, temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _copy(evidence: Evidence, folder: Path) -> None:
    for name, path in evidence.artifacts.items():
        target = folder / "artifacts" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(public_bytes(path))
    folder.mkdir(parents=True, exist_ok=True)
    kept = {
        "history.csv": evidence.history,
        "model.keras": evidence.model,
        NOVELTY_FILE: evidence.novelty,
    }
    for name, source in kept.items():
        if source is not None:
            shutil.copyfile(source, folder / name)
    values = {
        **dataclasses.asdict(evidence),
        "history": evidence.history and "history.csv",
        "model": evidence.model and "model.keras",
        "novelty": evidence.novelty and NOVELTY_FILE,
        "artifacts": sorted(evidence.artifacts),
    }
    text = json.dumps(values, sort_keys=True, indent=2, default=str)
    (folder / EVIDENCE_FILE).write_text(text, encoding="utf-8")


def recall(folder: Path) -> Evidence:
    """Evidence that `keep` wrote; `ArtifactError` if the folder is damaged."""
    values = read_json(folder / EVIDENCE_FILE)
    try:
        return Evidence(
            **{
                **values,
                "history": folder / "history.csv" if values["history"] else None,
                "model": folder / "model.keras" if values["model"] else None,
                "novelty": folder / NOVELTY_FILE if values.get("novelty") else None,
                "artifacts": {name: folder / "artifacts" / name for name in values["artifacts"]},
                "classes": tuple(values["classes"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / EVIDENCE_FILE} is incomplete: {error}") from error

"""The trained model in MLflow: from code, with signature and input example, without a pickle.

The `.keras` file is stored byte by byte, so its SHA-256 stays the one that training recorded.
Nothing here starts TensorFlow.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.tracking.evidence import Evidence
from stages.tracking.store import Store, patient_upload, quiet

REQUIREMENTS = ("mlflow", "keras", "numpy")
ENGINES = ("tensorflow", "tensorflow-cpu")  # distributions that provide TensorFlow


def log_model(store: Store, run: Any, evidence: Evidence) -> str:
    """Log the evidence's model under its run, unless it is there; returns the model's id."""
    if evidence.model is None:
        raise ValueError("this evidence has no model")
    sha256 = sha256_of(evidence.model)
    logged = find_model(store, run, sha256)
    if logged is None:
        logged = _create(store, run, evidence, sha256)
    if str(logged.status) != "READY":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            with quiet():
                _save(evidence, sha256, path, logged)
            with patient_upload():
                store.client.log_model_artifacts(logged.model_id, str(path))
        store.client.finalize_logged_model(logged.model_id, "READY")
    return str(logged.model_id)


def find_model(store: Store, run: Any, sha256: str) -> Any | None:
    """The run's logged model with this SHA-256, complete or begun, or None."""
    outputs = run.outputs.model_outputs if run.outputs else []
    for output in outputs:
        model = store.client.get_logged_model(output.model_id)
        if model.tags.get("model_sha256") == sha256:
            return model
    return None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def example(side_pixels: int) -> npt.NDArray[np.float32]:
    """An input (1, side, side, 1): a gray ramp, as no person's radiograph may be published."""
    ramp = np.linspace(0, 255, side_pixels).round().astype(np.float32)
    return np.broadcast_to(ramp[:, np.newaxis], (1, side_pixels, side_pixels, 1)).copy()


def _create(store: Store, run: Any, evidence: Evidence, sha256: str) -> Any:
    from mlflow.entities import LoggedModelOutput

    model = store.client.create_logged_model(
        run.info.experiment_id,
        name=evidence.tags.get("backbone", "model"),
        source_run_id=run.info.run_id,
        tags={**_own(evidence.tags), "execution": evidence.execution, "model_sha256": sha256},
        params={key: str(value) for key, value in evidence.parameters.items()},
    )
    store.client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def _save(evidence: Evidence, sha256: str, path: Path, logged: Any) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    side, classes = evidence.side_pixels, list(evidence.classes)
    pixels = TensorSpec(np.dtype(np.float32), (-1, side, side, 1))
    probabilities = TensorSpec(np.dtype(np.float32), (-1, len(classes)))
    model = Model(run_id=logged.source_run_id, model_id=logged.model_id)
    mlflow.pyfunc.save_model(
        path,
        python_model=str(Path(__file__).with_name("served_model.py")),
        artifacts=_files(evidence),
        model_config={"model_sha256": sha256, "side_pixels": side, "classes": classes},
        signature=ModelSignature(Schema([pixels]), Schema([probabilities])),
        input_example=example(side),
        pip_requirements=_requirements(),
        metadata={"classes": classes, **_own(evidence.tags)},
        mlflow_model=model,
    )
    flavor = model.flavors["python_function"]  # without this machine's folders
    flavor["model_code_path"] = Path(flavor["model_code_path"]).name
    for file in flavor["artifacts"].values():
        file["uri"] = file["path"]
    model.save(path / "MLmodel")


def _files(evidence: Evidence) -> dict[str, str]:
    """What lies in the logged model; the served code reads the model alone, `predict` both."""
    files = {"model": evidence.model, "novelty": evidence.novelty}
    return {name: str(path) for name, path in files.items() if path is not None}


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not key.startswith("mlflow.")}


def _requirements() -> list[str]:
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS]
    for engine in ENGINES:
        try:
            return [*pins, f"{engine}=={importlib.metadata.version(engine)}"]
        except importlib.metadata.PackageNotFoundError:
            continue
    return pins

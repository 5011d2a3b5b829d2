"""The trained model in MLflow: from code, with signature and input example, without a pickle.

The `.keras` file is stored byte by byte, so its SHA-256 stays the one that training recorded. What
of this project answers requests lies beside it, so that a logged model needs nothing else. Nothing
here starts TensorFlow.
"""

from __future__ import annotations

import ast
import base64
import importlib.metadata
import io
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from knee.storage import provenance
from knee.storage.json_files import read_json
from knee.tracking.evidence import Evidence
from knee.tracking.store import Store, patient_upload, quiet

SERVED_CODE = Path(__file__).with_name("served_model.py")
SERVED_FACTS = (  # of training.json: nothing of paths and parameters
    "backbone",
    "classes",
    "conformal",
    "model_sha256",
    "novelty",
    "preprocessing",
    "split_protocol",
    "synthetic",
)
REQUIREMENTS = (
    "mlflow",
    "keras",
    "matplotlib",
    "numpy",
    "openvino",
    "pandas",
    "pillow",
    "pydicom",
    "python-gdcm",
)
ENGINES = ("tensorflow", "tensorflow-cpu")  # distributions that provide TensorFlow


def log_model(store: Store, run: Any, evidence: Evidence) -> str:
    """Log the evidence's model under its run, unless it is there; returns the model's id."""
    if evidence.model is None:
        raise ValueError("this evidence has no model")
    sha256 = provenance.fingerprint(evidence.model)
    logged = find_model(store, run, sha256)
    if logged is None:
        logged = _create(store, run, evidence, sha256)
    if str(logged.status) != "READY":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            with quiet():
                _save(evidence, path, logged)
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


def example(side_pixels: int) -> dict[str, list[str]]:
    """Columns of a request: a gray ramp as PNG, as no person's radiograph may be published."""
    from PIL import Image

    ramp = np.linspace(0, 255, side_pixels).round().astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(np.tile(ramp[:, np.newaxis], (1, side_pixels))).save(content, format="PNG")
    return {"image": [base64.b64encode(content.getvalue()).decode("ascii")]}


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


def _save(evidence: Evidence, path: Path, logged: Any) -> None:
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    model = Model(run_id=logged.source_run_id, model_id=logged.model_id)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy(SERVED_CODE, folder)
        mlflow.pyfunc.save_model(
            path,
            python_model=str(SERVED_CODE),
            code_paths=[str(folder / name) for name in PACKAGES if (folder / name).is_dir()],
            artifacts=_files(evidence, folder),
            signature=_signature(),
            input_example=pd.DataFrame(example(evidence.side_pixels)),
            pip_requirements=_requirements(),
            metadata={"classes": list(evidence.classes), **_own(evidence.tags)},
            mlflow_model=model,
        )
    flavor = model.flavors["python_function"]  # without this machine's folders
    flavor["model_code_path"] = Path(flavor["model_code_path"]).name
    for file in flavor["artifacts"].values():
        file["uri"] = file["path"]
    model.save(path / "MLmodel")


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, Map, ParamSchema, ParamSpec, Schema

    text, number = DataType.string, DataType.double
    output = [
        ColSpec(text, "class"),
        ColSpec(Map(number), "probabilities"),
        ColSpec(text, "median_class"),
        ColSpec(AnyType(), "prediction_set"),
        ColSpec(number, "out_of_distribution", required=False),
        ColSpec(DataType.boolean, "is_out_of_distribution", required=False),
        ColSpec(text, "warning"),
        ColSpec(AnyType(), "notes"),
        ColSpec(Map(text), "model"),
        ColSpec(text, "grad_cam", required=False),
    ]
    return ModelSignature(
        Schema([ColSpec(AnyType(), "image")]),  # text, or rows of gray values
        Schema(output),
        ParamSchema([ParamSpec("explain", DataType.boolean, default=False)]),
    )


def _files(evidence: Evidence, folder: Path) -> dict[str, str]:
    """What lies in the logged model beside code; what has to be written is written to `folder`."""
    facts = folder / "training.json"
    training = read_json(evidence.artifacts["training.json"])
    served = {key: training[key] for key in SERVED_FACTS if key in training}
    facts.write_text(json.dumps(served, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    files = {"model": evidence.model, "training": facts}
    if evidence.novelty is not None:
        files["novelty"] = evidence.novelty
    return {name: str(path) for name, path in files.items()}


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not key.startswith("mlflow.")}


def _requirements() -> list[str]:
    """Pins of what is installed; one of the `ENGINES` provides TensorFlow."""
    pins = [_pin(name) for name in REQUIREMENTS]
    engines = [pin for pin in map(_pin, ENGINES) if pin]
    return [pin for pin in pins if pin] + engines[:1]


def _pin(name: str) -> str:
    try:
        return f"{name}=={importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


# The modules of this project that a served model needs, by following imports.

ROOT = Path(__file__).parents[2]
PACKAGES = ("knee", "stages")


def copy(entry: Path, out: Path) -> list[str]:
    """Copy what `entry` imports of this project, directly or not, below `out`; their paths."""
    needed = sorted(closure(entry))
    for name in needed:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, out / name)
    return needed


def closure(entry: Path) -> set[str]:
    """Paths, relative to the project, of the modules that `entry` imports, directly or not."""
    found: set[str] = set()
    waiting = _imported(entry)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= _imported(ROOT / name) - found
    return found


def _imported(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names: list[str] = []
    for node in _run(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return {path for name in names if name.split(".")[0] in PACKAGES for path in _modules(name)}


def _run(node: ast.AST) -> list[ast.AST]:
    """All nodes below but what only type checkers read."""
    found: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        found += [child, *_run(child)]
    return found


def _modules(name: str) -> set[str]:
    """Of a dotted name: the modules on its way that are files."""
    parts = name.split(".")
    found = set()
    for count in range(1, len(parts) + 1):
        base = Path(*parts[:count])
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if (ROOT / file).is_file():
                found.add(file.as_posix())
    return found

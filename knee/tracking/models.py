"""The trained model in MLflow: from code, with signature and input example, without a pickle.

The `.keras` file is stored byte by byte, so its SHA-256 stays the one that training recorded. The
modules of this project that answer requests are copied beside it, so that a logged model needs
nothing else. Nothing here starts TensorFlow.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import importlib.metadata
import io
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from modulefinder import ModuleFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from knee.storage import provenance
from knee.storage.artifacts import read_json, write_json
from knee.tracking.evidence import Evidence
from knee.tracking.store import ATTEMPTS, TrackingError, patient_upload, tolerated

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

ROOT = Path(__file__).parents[2]
SERVED_CODE = Path(__file__).with_name("served_model.py")
SERVED_FACTS = (  # of training.json: nothing of paths and parameters
    "backbone",
    "classes",
    "conformal",
    "dicom",
    "locate",
    "model_sha256",
    "novelty",
    "preprocessing",
    "split_protocol",
    "synthetic",
    "synthetic_images",
    "typical_image",
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
    "scipy",
    "tensorflow",
    "tensorflow-cpu",
    "threadpoolctl",
)


def log_model(client: MlflowClient, run: Run, evidence: Evidence) -> None:
    """Log the evidence's model under its run, unless it is there, complete.

    Clones of a project may do this at once, and all keep the earliest copy. A copy with an earlier
    time can appear late, as MLflow reads the clock before it writes. MLflow cannot take an output
    out of a run, so the model becomes one last, if it is still the earliest; a second round finds
    it there, or an earlier copy that has come since.

    Raises:
        TrackingError: other clones bring earlier copies all the time.
    """
    from mlflow.entities import LoggedModelOutput

    run_id, sha256 = run.info.run_id, provenance.fingerprint(evidence.model)
    for _ in range(ATTEMPTS):
        model_id = _complete_earliest(client, run, evidence, sha256)
        if _earliest(client, run, evidence, sha256).model_id != model_id:
            continue  # it came during the upload, which takes seconds
        outputs = client.get_run(run_id).outputs
        if model_id in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
            return
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    raise TrackingError(f"other processes log models of run {run_id}, too: run it again")


def models_of(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """Return the logged models of a run that nobody has deleted, the earliest first."""
    query = f"source_run_id = '{run.info.run_id}'"
    found = client.search_logged_models([run.info.experiment_id], query)
    return sorted(found, key=lambda model: (model.creation_timestamp, model.model_id))


def delete_models(client: MlflowClient, run: Run) -> None:
    """Delete the models of a run that is given up for another one."""
    for model in models_of(client, run):
        with tolerated("RESOURCE_DOES_NOT_EXIST"):
            client.delete_logged_model(model.model_id)


def example(side_pixels: int) -> dict[str, list[str]]:
    """Return the columns of a request: a gray ramp, as no patient's radiograph may be published."""
    from PIL import Image

    side = max(side_pixels, 32)  # a much smaller image would be refused
    ramp = np.linspace(0, 255, side).round().astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(np.tile(ramp[:, np.newaxis], (1, side))).save(content, format="PNG")
    return {"image": [base64.b64encode(content.getvalue()).decode("ascii")]}


@functools.cache
def served_modules(script: Path = SERVED_CODE, excluded: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the paths, relative to the project, of the modules that `script` imports.

    Imports are followed through the project without running any, those inside functions too; not
    through the `excluded` modules, which are left out.
    """
    finder = ModuleFinder([str(ROOT)], excludes=excluded)
    finder.run_script(str(script))
    names = [name for name in finder.modules if name.split(".")[0] == "knee"]
    files = [Path(vars(finder.modules[name])["__file__"]) for name in names]
    return tuple(sorted(file.relative_to(ROOT).as_posix() for file in files))


def served_facts(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return what answers need of a training.json, sealed again."""
    served = {key: training[key] for key in SERVED_FACTS if key in training}
    return dict(sorted(provenance.sealed(served).items()))


def _complete_earliest(client: MlflowClient, run: Run, evidence: Evidence, sha256: str) -> str:
    """Write the files of the earliest copy where they are missing; return its id."""
    kept = _earliest(client, run, evidence, sha256)
    if str(kept.status) != "READY" or not client.list_logged_model_artifacts(kept.model_id):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            with warnings.catch_warnings(action="ignore"):  # no user can act on MLflow's
                _save(evidence, path, kept)
            with patient_upload():
                client.log_model_artifacts(kept.model_id, str(path))
        client.finalize_logged_model(kept.model_id, "READY")
    return str(kept.model_id)


def _earliest(client: MlflowClient, run: Run, evidence: Evidence, sha256: str) -> LoggedModel:
    """The earliest copy of the model, created where there is none; later ones go.

    One that a killed process left is used.
    """
    if not _same(client, run, sha256):
        _create(client, run, evidence, sha256)
    kept, *later = _same(client, run, sha256)
    for surplus in later:
        with tolerated("RESOURCE_DOES_NOT_EXIST"):
            client.delete_logged_model(surplus.model_id)
    return kept


def _same(client: MlflowClient, run: Run, sha256: str) -> list[LoggedModel]:
    """The models of the run that have this file, the earliest first."""
    return [one for one in models_of(client, run) if one.tags.get("model_sha256") == sha256]


def _create(client: MlflowClient, run: Run, evidence: Evidence, sha256: str) -> None:
    client.create_logged_model(
        run.info.experiment_id,
        name=evidence.tags["backbone"],
        source_run_id=run.info.run_id,
        tags={**evidence.own_tags, "execution": evidence.execution, "model_sha256": sha256},
        params={key: str(value) for key, value in evidence.parameters.items()},
    )


def _save(evidence: Evidence, path: Path, logged: LoggedModel) -> None:
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    model = Model(run_id=logged.source_run_id, model_id=logged.model_id)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in served_modules():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
        mlflow.pyfunc.save_model(
            path,
            python_model=str(SERVED_CODE),
            code_paths=[str(folder / "knee")],
            artifacts=_files(evidence, folder),
            signature=_signature(is_located=evidence.locator is not None),
            input_example=pd.DataFrame(example(evidence.side_pixels)),
            pip_requirements=_requirements(),
            model_config={"synthetic_model_ok": False},
            metadata={"classes": list(evidence.classes), **evidence.own_tags},
            mlflow_model=model,
        )
    flavor = model.flavors["python_function"]  # without this machine's folders
    flavor["model_code_path"] = Path(flavor["model_code_path"]).name
    for file in flavor["artifacts"].values():
        file["uri"] = file["path"]
    model.save(path / "MLmodel")


def _signature(*, is_located: bool) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, Map, ParamSchema, ParamSpec, Schema

    text, number = DataType.string, DataType.double
    of_film = [
        ColSpec(text, "synthetic_model", required=False),
        ColSpec(Map(DataType.long), "film"),
        ColSpec(text, "reason"),
        ColSpec(text, "film_note"),
        ColSpec(AnyType(), "knees"),  # each an answer as of an image, with side, box and certainty
    ]
    of_image = [
        ColSpec(text, "synthetic_model", required=False),
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
        Schema(of_film if is_located else of_image),
        ParamSchema([ParamSpec("explain", DataType.boolean, default=False)]),
    )


def _files(evidence: Evidence, folder: Path) -> dict[str, str]:
    """Files of the logged model beside its code; training.json is cut down and lies in `folder`."""
    facts = folder / "training.json"
    write_json(facts, served_facts(read_json(evidence.artifacts["training.json"])))
    files = {"model": evidence.model, "training": facts}
    if evidence.novelty is not None:
        files["novelty"] = evidence.novelty
    if evidence.locator is not None:
        files["locator"] = evidence.locator
    return {name: str(path) for name, path in files.items()}


def _requirements() -> list[str]:
    """Pins of the `REQUIREMENTS` that are installed: one of two provides TensorFlow."""
    pins = []
    for name in REQUIREMENTS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            pins.append(f"{name}=={importlib.metadata.version(name)}")
    return pins

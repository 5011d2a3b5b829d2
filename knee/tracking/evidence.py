"""The evidence of one training: all that its MLflow run shows, from the files of its stages."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from knee.records import known_patients
from knee.storage.artifacts import ArtifactError, read_json, read_json_if_present
from knee.storage.provenance import SEAL
from knee.tracking.store import EXPERIMENT_PREFIX

PRIVATE_COLUMNS = ("source", "patient")  # names of files and of persons stay in the project
EXPLANATION = "explanation"  # how the names of the files of the stage explain begin
LEAKY_NOTE = "Leaky split: for comparison only, no result."
SYNTHETIC_NOTE = "Synthetic data: the figures say nothing about patients."
OF_FOLDS = ("cross_validation", "out_of_fold")  # how the names of the files begin
NOVELTY_FILE = "novelty.npz"  # beside model.keras, and in the logged model


@dataclasses.dataclass(frozen=True)
class RunLabels:
    """What a training's run is known by in MLflow."""

    execution: str  # identifier of the training's execution; one run carries it
    experiment: str
    name: str
    parameters: Mapping[str, Any]  # flat, dotted keys
    tags: Mapping[str, str]

    @property
    def own_tags(self) -> dict[str, str]:
        """The tags that are none of MLflow's."""
        return {key: value for key, value in self.tags.items() if not key.startswith("mlflow.")}


@dataclasses.dataclass(frozen=True)
class Evidence(RunLabels):
    """One finished training, in values and local files."""

    metrics: Mapping[str, float]  # final figures, keys as shown, e.g. `test/macro_f1`
    history: Path  # CSV of one row an epoch with a column `epoch`
    artifacts: Mapping[str, Path]  # path inside the run -> local file
    model: Path  # .keras file
    classes: tuple[str, ...]  # names in the order of the model's outputs
    side_pixels: int  # of the square image that the model takes
    novelty: Path | None = None  # .npz file of the out-of-distribution score

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", self.execution):
            raise ArtifactError(f"execution {self.execution!r}: expected letters, digits, - or _")
        for path in self.artifacts:
            if path.startswith("/") or ".." in path.split("/"):
                raise ArtifactError(f"artifact path {path!r} leaves the run's folder")


def labels(facts: Mapping[str, Any]) -> RunLabels:
    """Return what the run of a training is known by; `facts` are the content of training.json.

    Raises:
        ArtifactError: a fact is missing.
    """
    try:
        leaky = facts["split_protocol"] == "random"
        notes = [LEAKY_NOTE] * leaky + [SYNTHETIC_NOTE] * bool(facts["synthetic"])
        if "patients" in facts and (caveat := known_patients.caveat(facts["patients"])):
            notes.append(f"{caveat.capitalize()}.")
        called = os.environ.get("DVC_EXP_NAME") or str(facts["execution"])[:8]
        copied = ["backbone", "split_protocol", "data_fingerprint", "split_fingerprint"]
        copied += [SEAL] * (SEAL in facts)  # not while it trains
        return RunLabels(
            execution=str(facts["execution"]),
            experiment=f"{EXPERIMENT_PREFIX}{facts['data']}",
            name=f"{facts['backbone']} {called}{' (leaky split)' if leaky else ''}",
            parameters={key: _without_folder(v) for key, v in facts["parameters"].items()},
            tags={
                **{name: str(facts[name]) for name in copied},
                "synthetic": str(bool(facts["synthetic"])).lower(),
                "leaky": str(leaky).lower(),
                "mlflow.note.content": " ".join(notes),
            },
        )
    except KeyError as error:
        raise ArtifactError(f"the training's record has no key {error}") from error


def collect(models: Path, metrics: Path, reports: Mapping[str, Path] | None = None) -> Evidence:
    """Gather the evidence of a finished training from the files of its stages.

    Args:
        models: the backbone's folder with training.json and model.keras.
        metrics: the backbone's folder with test.json, history.csv, predictions.csv and plots; also
            cross_validation.json and what belongs to it, if it is of the same data and parameters,
            and explanation.json and its like once there are any of this model.
        reports: further files, path inside the run -> local file.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    training = read_json(models / "training.json")
    test = read_json(metrics / "test.json")
    folds = _cross_validation(metrics / "cross_validation.json", training)
    explained = _explained(metrics, training)
    # Of other data or parameters, or of an earlier model, which explain will replace:
    others = OF_FOLDS * (folds is None) + (EXPLANATION,) * (not explained)
    artifacts = {
        path.relative_to(metrics).as_posix(): path
        for path in sorted(metrics.rglob("*"))
        if path.is_file() and not path.relative_to(metrics).as_posix().startswith(others)
    }
    try:
        named = labels(training)
        prefix = "leaky_test" if named.tags["leaky"] == "true" else "test"
        return Evidence(
            **vars(named),
            metrics={
                **flatten(test, prefix),
                **(folds or {}),
                **flatten(explained, EXPLANATION),
                "best_epoch": float(training["best_epoch"]),
            },
            history=metrics / "history.csv",
            artifacts={**artifacts, "training.json": models / "training.json", **(reports or {})},
            model=models / "model.keras",
            novelty=models / NOVELTY_FILE if training.get("novelty") else None,
            classes=tuple(training["classes"]),
            side_pixels=int(training["parameters"]["backbone.side_pixels"]),
        )
    except (KeyError, ArtifactError) as error:
        raise ArtifactError(f"{models / 'training.json'}: {error}") from error


def _explained(metrics: Path, training: Mapping[str, Any]) -> dict[str, Any]:
    """The explanation's headline, if it is of this training's model; else empty."""
    file = metrics / f"{EXPLANATION}.json"
    if not file.is_file() or read_json(file).get("model_sha256") != training.get("model_sha256"):
        return {}
    return read_json(metrics / f"{EXPLANATION}_headline.json")


def flatten(values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Return nested figures as `prefix/key/key`, without text, flags, lists and nulls.

    A character that MLflow does not take is its number, so that classes A+ and A* stay apart.
    """
    flat: dict[str, float] = {}
    for key, value in values.items():
        name = re.sub(r"[^\w .:/-]", lambda match: f"_{ord(match[0]):x}_", f"{prefix}/{key}")
        if isinstance(value, Mapping):
            flat.update(flatten(value, name))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[name] = float(value)
    return flat


def _cross_validation(path: Path, training: Mapping[str, Any]) -> dict[str, float] | None:
    """Figures cv_<metric>, cv_<metric>_low, _high and _fold_sd; empty if no fold was trained.

    None where there is no file, or one of other data or parameters: evaluate may run before the
    folds are trained anew; registration, which runs after both, collects again.
    """
    result = read_json_if_present(path)
    if result is None:
        return None
    if any(result.get(name) != training[name] for name in ("backbone", "data_fingerprint")):
        return None
    asked = training["parameters"]
    if any(asked.get(name) != value for name, value in result.get("parameters", {}).items()):
        return None
    figures: dict[str, Any] = {}
    for name, ends in result.get("confidence_interval", {}).items():
        spread = result["over_folds"].get(name, {}).get("standard_deviation")
        figures |= {f"cv_{name}": result[name], f"cv_{name}_fold_sd": spread}
        figures |= {f"cv_{name}_{end}": value for end, value in ends.items()}
    return {name: float(value) for name, value in figures.items() if value is not None}


def epoch_metric(column: str) -> str:
    """Return the name in MLflow of a column of the training history, grouped by subset."""
    if column.startswith("val_"):
        return f"validation/{column.removeprefix('val_')}"
    return f"train/{column}"


def public_bytes(path: Path) -> bytes:
    """Return a file's content, without the CSV columns that name files or persons."""
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str, na_filter=False, index_col=False)
        private = table.columns.intersection(list(PRIVATE_COLUMNS))
        if len(private):
            table = table.drop(columns=private)
            return str(table.to_csv(index=False, lineterminator="\n")).encode("utf-8")
    return path.read_bytes()


def _without_folder(value: Any) -> Any:
    """The last part of an absolute path: the rest names the machine and perhaps a person."""
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value

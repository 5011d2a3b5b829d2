"""The evidence of one training: all that its MLflow run shows, from the files of its stages."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knee.storage.artifacts import ArtifactError
from knee.storage.json_files import read_json

EXECUTION_PATTERN = re.compile(r"[0-9A-Za-z_-]{1,64}")
PRIVATE_COLUMNS = ("source", "patient")  # names of files and of persons stay in the project
EXPLANATION = "explanation"  # how the names of the files of the stage explain begin
LEAKY_NOTE = "Leaky split: for comparison only, no result."
SYNTHETIC_NOTE = "Synthetic data: the figures say nothing about patients."
CROSS_VALIDATION = "cross_validation.json"
OF_FOLDS = ("cross_validation", "out_of_fold")  # how the names of the files begin
NOVELTY_FILE = "novelty.npz"  # beside model.keras, and in the logged model
NOT_IN_NAMES = re.compile(r"[^\w .:/-]")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One finished training, in values and local files.

    Attributes:
        execution: identifier of the training's execution; one run carries it.
        experiment: MLflow experiment.
        name: the run's name where no live run exists.
        parameters: flat, dotted keys.
        tags: plain text values.
        metrics: final figures, keys as shown, e.g. `test/macro_f1`.
        history: CSV of one row an epoch with a column `epoch`, or None.
        artifacts: path inside the run -> local file.
        model: `.keras` file or None.
        classes: names in the order of the model's outputs.
        side_pixels: side of the square image that the model takes.
        novelty: `.npz` file of the out-of-distribution score, or None.
    """

    execution: str
    experiment: str
    name: str
    parameters: Mapping[str, Any]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    history: Path | None
    artifacts: Mapping[str, Path]
    model: Path | None
    classes: tuple[str, ...]
    side_pixels: int
    novelty: Path | None = None

    def __post_init__(self) -> None:
        if not EXECUTION_PATTERN.fullmatch(self.execution):
            raise ArtifactError(f"execution {self.execution!r}: expected letters, digits, - or _")
        for path in self.artifacts:
            if path.startswith("/") or ".." in path.split("/"):
                raise ArtifactError(f"artifact path {path!r} leaves the run's folder")


def labels(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a training's identity in MLflow: the keyword arguments of `training_run`.

    Args:
        facts: the content of training.json: execution, backbone, data, synthetic, split_protocol,
            data_fingerprint, split_fingerprint, parameters.

    Raises:
        ArtifactError: one of them is missing.
    """
    try:
        leaky = facts["split_protocol"] == "random"
        notes = [LEAKY_NOTE] * leaky + [SYNTHETIC_NOTE] * bool(facts["synthetic"])
        called = os.environ.get("DVC_EXP_NAME") or str(facts["execution"])[:8]
        return {
            "execution": str(facts["execution"]),
            "experiment": f"knee-bone-health-{facts['data']}",
            "name": f"{facts['backbone']} {called}{' (leaky split)' if leaky else ''}",
            "parameters": {key: _without_folder(v) for key, v in facts["parameters"].items()},
            "tags": {
                "backbone": str(facts["backbone"]),
                "synthetic": _text(facts["synthetic"]),
                "split_protocol": str(facts["split_protocol"]),
                "leaky": _text(leaky),
                "mlflow.note.content": " ".join(notes),
                "data_fingerprint": str(facts["data_fingerprint"]),
                "split_fingerprint": str(facts["split_fingerprint"]),
            },
        }
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
    folds = _cross_validation(metrics / CROSS_VALIDATION, training)
    files = [path for path in sorted(metrics.rglob("*")) if path.is_file()]
    if folds is None:
        files = [path for path in files if not path.name.startswith(OF_FOLDS)]
    artifacts = {path.relative_to(metrics).as_posix(): path for path in files}
    explained = _explained(metrics, training)
    if not explained:  # none yet, or those of an earlier model, which explain will replace
        artifacts = {k: v for k, v in artifacts.items() if not k.startswith(EXPLANATION)}
    try:
        named = labels(training)
        prefix = "leaky_test" if named["tags"]["leaky"] == "true" else "test"
        return Evidence(
            **named,
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
    """Return nested figures as `prefix/key/key`, without text, flags, lists and nulls."""
    flat: dict[str, float] = {}
    for key, value in values.items():
        name = NOT_IN_NAMES.sub("_", f"{prefix}/{key}")
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
    if not path.exists():
        return None
    result = read_json(path)
    asked = {"backbone": training["backbone"], "data_fingerprint": training["data_fingerprint"]}
    parameters = training["parameters"]
    is_same = all(result.get(name) == value for name, value in asked.items()) and all(
        parameters.get(name) == value for name, value in result.get("parameters", {}).items()
    )
    if not is_same:
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
    content = path.read_bytes()
    if path.suffix != ".csv":
        return content
    rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    private = [
        index for index, name in enumerate(rows[0] if rows else []) if name in PRIVATE_COLUMNS
    ]
    if not private:
        return content
    cut = io.StringIO(newline="")
    kept = ([cell for index, cell in enumerate(row) if index not in private] for row in rows)
    csv.writer(cut, lineterminator="\n").writerows(kept)
    return cut.getvalue().encode("utf-8")


def _without_folder(value: Any) -> Any:
    """The last part of an absolute path: the rest names the machine and perhaps a person."""
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def _text(flag: bool) -> str:
    return "true" if flag else "false"

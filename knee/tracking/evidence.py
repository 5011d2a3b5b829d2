"""The evidence of one training: all that its MLflow run shows, from the files of its stages."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from knee.location import locator_weights
from knee.records import known_patients
from knee.statistics import scores
from knee.storage.artifacts import ArtifactError, read_json, read_json_if_present
from knee.storage.provenance import SEAL
from knee.tracking.store import EXPERIMENT_PREFIX

PRIVATE_COLUMNS = ("source", "patient")  # names of files and of persons stay in the project
EXPLANATION = "explanation"  # how the names of the files of the stage explain begin
LEAKY_NOTE = "Leaky split: for comparison only, no result."
SYNTHETIC_NOTE = "Synthetic data: the figures say nothing about patients."
OF_FOLDS = ("cross_validation", "out_of_fold", "heads_out_of_fold")  # how names of files begin
# Metrics of a run, beside its curves: few enough to be read. The files of the run have all figures.
BOUNDED = "macro_f1"  # with its interval
SHOWN = (
    BOUNDED,
    "accuracy",
    "quadratic_kappa",
    "macro_auc",
    "log_loss",
    "expected_calibration_error",
)
CHOSEN_BY = "chosen by"  # the first in the alphabet
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

    metrics: Mapping[str, float]  # final figures, keys as shown, e.g. `test/macro-F1`
    history: Path  # CSV of one row an epoch with a column `epoch`
    artifacts: Mapping[str, Path]  # path inside the run -> local file
    model: Path  # .keras file
    classes: tuple[str, ...]  # names in the order of the model's outputs
    side_pixels: int  # of the square image that the model takes
    novelty: Path | None = None  # .npz file of the out-of-distribution score
    locator: Path | None = None  # .npz file of the search for knees, of a model of located ones

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


def collect(
    models: Path,
    metrics: Path,
    reports: Mapping[str, Path] | None = None,
    chosen_by: Mapping[str, float] | None = None,
    *,
    others_at_work: bool = False,
) -> Evidence:
    """Gather the evidence of a finished training from the files of its stages.

    Args:
        models: the backbone's folder with training.json and model.keras.
        metrics: the backbone's folder with test.json, history.csv, predictions.csv and plots; also
            cross_validation.json and what belongs to it, if it is of the same data and parameters,
            and explanation.json and its like once there are any of this model.
        reports: further files, path inside the run -> local file.
        chosen_by: the metric that models are chosen by, once registration has computed it.
        others_at_work: whether cross_validate and explain may be writing now: what is of them is
            left out.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    training = read_json(models / "training.json")
    test = read_json(metrics / "test.json")
    folds, explained = None, False
    if not others_at_work:
        folds = _cross_validation(metrics / "cross_validation.json", training)
        explained = _is_explained(metrics, training)
    # Of other data or parameters, or of an earlier model, which explain will replace:
    others = OF_FOLDS * (folds is None) + (EXPLANATION,) * (not explained)
    artifacts = {
        path.relative_to(metrics).as_posix(): path
        for path in sorted(metrics.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")  # a name of what is being written
        and not path.relative_to(metrics).as_posix().startswith(others)
    }
    try:
        named = labels(training)
        tested = "leaky test" if named.tags["leaky"] == "true" else "test"
        return Evidence(
            **vars(named),
            metrics={
                **shown(test, tested, SHOWN),
                **shown(folds or {}, "cross-validation", [BOUNDED]),
                "train/best epoch": float(training["best_epoch"]),
                **shown(chosen_by or {}, CHOSEN_BY, [*(chosen_by or {})]),
            },
            history=metrics / "history.csv",
            artifacts={**artifacts, "training.json": models / "training.json", **(reports or {})},
            model=models / "model.keras",
            novelty=models / NOVELTY_FILE if training.get("novelty") else None,
            locator=models / locator_weights.FILE if training.get("locate") else None,
            classes=tuple(training["classes"]),
            side_pixels=int(training["parameters"]["backbone.side_pixels"]),
        )
    except (KeyError, ArtifactError) as error:
        raise ArtifactError(f"{models / 'training.json'}: {error}") from error


def shown(report: Mapping[str, Any], where: str, names: Sequence[str]) -> dict[str, float]:
    """Return `names` of a report as metrics of a run, as people write them; undefined ones not.

    The first has its interval beside it: "test/macro-F1", "test/macro-F1 low", "... high".
    """
    found = {name: report.get(name) for name in names}
    bounds = report.get("confidence_interval", {}).get(names[0], {}) if names else {}
    titled = {f"{where}/{scores.title(name)}": value for name, value in found.items()}
    ends = {f"{where}/{scores.title(names[0])} {end}": bounds[end] for end in bounds}
    return {name: float(value) for name, value in (titled | ends).items() if value is not None}


def _is_explained(metrics: Path, training: Mapping[str, Any]) -> bool:
    """Whether the explanation is of this training's model."""
    file = metrics / f"{EXPLANATION}.json"
    return file.is_file() and read_json(file).get("model_sha256") == training.get("model_sha256")


def _cross_validation(path: Path, training: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of cross_validation.json.

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
    return result


def epoch_metric(column: str) -> str:
    """Return the name in MLflow of a column of the training history, grouped by subset."""
    subset = "validation" if column.startswith("val_") else "train"
    return f"{subset}/{column.removeprefix('val_').replace('_', ' ')}"


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

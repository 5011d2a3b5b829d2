"""The report on one trained backbone's predictions, its tables, and which images to show.

Every figure follows from predictions.csv alone: probabilities are rounded first, then scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pandas as pd

from knee.evidence.evaluation import predictions
from knee.evidence.evaluation.json_contents import SplitMetrics, TrainingRecord
from knee.statistics import curves
from knee.statistics.bootstrap import Bootstrap
from knee.storage.arrays import Integers
from knee.storage.artifacts import ArtifactError, read_json

HISTORY: Final = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
BOUNDED: Final = ("accuracy", "macro_f1")  # in DVC's table with their intervals
PLAIN: Final = ("quadratic_kappa", "macro_auc", "log_loss", "expected_calibration_error")


def read_split_metrics(path: Path, training: TrainingRecord) -> SplitMetrics:
    """Return the split's own figures, once they are known to be of the training's split.

    `ArtifactError` says that they are missing or damaged, or of another protocol.
    """
    found = cast(SplitMetrics, read_json(path, ("protocol", "leaky", "leakage", "patients")))
    if found["protocol"] != training["split_protocol"]:
        raise ArtifactError(
            f"{path} is of a {found['protocol']} split, the training saw a "
            f"{training['split_protocol']} one: run `dvc repro`"
        )
    return found


def read_history(path: Path) -> pd.DataFrame:
    """Return the training's history, one row an epoch; `ArtifactError` names a damaged file."""
    try:
        history = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} is no training history ({error}): train anew") from error
    missing = [name for name in HISTORY if name not in history]
    if missing:
        raise ArtifactError(f"{path} has no column {missing[0]}: train anew")
    return history


def report(
    test: pd.DataFrame, training: TrainingRecord, split_metrics: SplitMetrics, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Return the content of test.json except the model's uncertainty, from its test rows."""
    return {
        "backbone": training["backbone"],
        "synthetic": training["synthetic"],
        "split_protocol": training["split_protocol"],
        "leaky": split_metrics["leaky"],
        "leakage": split_metrics["leakage"],
        "patients": split_metrics["patients"],
        "records": len(test),
        "groups": int(test["group"].nunique()),
        **bootstrap.figures(predictions.outcomes(test, training["classes"])),
    }


def dvc_metrics(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the few figures that fit DVC's table of metrics, one column each.

    They are those of test.json or cross_validation.json; None where the latter has no figures.
    """
    flat = {"leaky": report["leaky"], "synthetic": report["synthetic"]}
    for name in BOUNDED:
        ends = report.get("confidence_interval", {}).get(name, {})
        flat[name] = report.get(name)
        flat |= {f"{name}_{end}": ends.get(end) for end in ("low", "high")}
    return flat | {name: report.get(name) for name in PLAIN}


def subtitle(facts: Mapping[str, Any]) -> str:
    """Return what has to stand on every chart, from the content of test.json."""
    parts = ["LEAKY SPLIT - not a result"] * facts["leaky"]
    parts += [str(facts["backbone"]), f"{facts['split_protocol']} split"]
    parts += ["SYNTHETIC DATA"] * facts["synthetic"]
    parts.append(f"{facts['records']} test images in {facts['groups']} groups")
    return ", ".join(parts)


def tables(test: pd.DataFrame, class_names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the tables confusion, roc, precision_recall and reliability of the test rows."""
    made = (curves.confusion, curves.roc, curves.precision_recall, curves.reliability)
    judged = predictions.outcomes(test, class_names)
    return {make.__name__: make(judged) for make in made}


def rows_to_explain(test: pd.DataFrame, count: int, seed: int) -> Integers:
    """Return positions of up to `count` test rows: of each class, right and wrong in turn.

    The rows are drawn at random, so that the panel shows what is usual; by class, right ones
    first.
    """
    order = np.random.default_rng(seed).permutation(len(test))
    shuffled = test.iloc[order]
    wrong = shuffled["label"] != shuffled["predicted"]
    kinds = [shuffled["class_index"], wrong]
    turn = shuffled.groupby(kinds).cumcount()
    frame = pd.DataFrame({"turn": turn, "class_index": kinds[0], "wrong": wrong, "row": order})
    chosen = frame.sort_values(["turn", "wrong", "class_index", "row"]).head(count)
    rows = chosen.sort_values(["class_index", "wrong", "turn"])["row"]
    return rows.to_numpy(np.int64)

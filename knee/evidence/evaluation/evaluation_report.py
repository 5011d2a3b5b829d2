"""Predictions of one trained backbone -> its report, its tables and what its pictures show.

Every figure follows from predictions.csv alone: probabilities are rounded first, then scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.evidence.evaluation.predictions import (
    probabilities_of,
)
from knee.statistics import bootstrap, curves, scores
from knee.storage import provenance
from knee.storage.artifacts import ArtifactError
from knee.storage.json_files import read_json

HISTORY: Final = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
FACTS: Final = ("backbone", "best_epoch", "classes", "model_sha256", "split_protocol", "synthetic")


def read_training(
    path: Path, backbone: str, class_names: Sequence[str], *, records: Path, split: Path
) -> dict[str, Any]:
    """The training's record at `path`, once it is known to be of this backbone and this data.

    Args:
        path: training.json.
        backbone: whose it has to be.
        class_names: the records' classes.
        records: the records table's file.
        split: the split table's file.

    Raises:
        ArtifactError: it is missing or damaged, or tells of another backbone, data or split.
    """
    expected = {
        "backbone": backbone,
        "classes": list(class_names),
        "data_fingerprint": provenance.fingerprint(records),
        "split_fingerprint": provenance.fingerprint(split),
    }
    training = read_json(path, (*FACTS, *expected))
    for name, value in expected.items():
        if training[name] != value:
            raise ArtifactError(
                f"{path}: {name} is {training[name]}, here it is {value}: run `dvc repro` to train "
                "on the present data"
            )
    return training


def read_split_metrics(path: Path, training: Mapping[str, Any]) -> dict[str, Any]:
    """The split's own figures, once they are known to be of the split that the training saw.

    Raises:
        ArtifactError: they are missing or damaged, or of another protocol.
    """
    found = read_json(path, ("protocol", "leaky", "leakage"))
    if found["protocol"] != training["split_protocol"]:
        raise ArtifactError(
            f"{path} is of a {found['protocol']} split, the training saw a "
            f"{training['split_protocol']} one: run `dvc repro`"
        )
    return found


def read_history(path: Path) -> pd.DataFrame:
    """The training's history, one row an epoch; `ArtifactError` names the file that is none."""
    try:
        history = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} is no training history ({error}): train anew") from error
    missing = [name for name in HISTORY if name not in history]
    if missing:
        raise ArtifactError(f"{path} has no column {missing[0]}: train anew")
    return history


def report(
    test: pd.DataFrame,
    training: Mapping[str, Any],
    split_metrics: Mapping[str, Any],
    *,
    draws: int,
    level: float,
    seed: int,
) -> dict[str, Any]:
    """The content of test.json.

    Args:
        test: the test rows of `predictions`.
        training: see `read_training`.
        split_metrics: see `read_split_metrics`.
        draws: bootstrap draws.
        level: of the intervals, 0-1.
        seed: of the draws.

    Returns:
        Where the figures come from, those of `scores.score`, and
        confidence_interval.<metric>.{low, high}; None where a figure is not defined.
    """
    truth, groups = test["class_index"].to_numpy(), test["group"].to_numpy()
    chances = probabilities_of(test, training["classes"])
    figures = scores.score(truth, chances, training["classes"])
    bounds = bootstrap.intervals(truth, chances, groups, draws=draws, level=level, seed=seed)
    return {
        "backbone": training["backbone"],
        "synthetic": training["synthetic"],
        "split_protocol": training["split_protocol"],
        "leaky": split_metrics["leaky"],
        "leakage": split_metrics["leakage"],
        "records": len(test),
        "groups": int(test["group"].nunique()),
        **{name: value for name, value in figures.items() if name != "per_class"},
        "confidence_interval": bounds,
        "per_class": figures["per_class"],
    }


def subtitle(facts: Mapping[str, Any]) -> str:
    """What has to stand on every picture, from the content of test.json."""
    parts = [str(facts["backbone"]), f"{facts['split_protocol']} split"]
    if facts["leaky"]:
        parts = ["LEAKY SPLIT - not a result", *parts]
    if facts["synthetic"]:
        parts.append("SYNTHETIC DATA")
    parts.append(f"{facts['records']} test images in {facts['groups']} groups")
    return ", ".join(parts)


def tables(test: pd.DataFrame, class_names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The tables confusion, roc, precision_recall and reliability of the test rows."""
    truth, chances = test["class_index"].to_numpy(), probabilities_of(test, class_names)
    return {
        "confusion": curves.confusion(truth, chances, class_names),
        "roc": curves.roc(truth, chances, class_names),
        "precision_recall": curves.precision_recall(truth, chances, class_names),
        "reliability": curves.reliability(truth, chances),
    }


def explained(test: pd.DataFrame, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Positions of up to `count` test rows to explain: of each class, right and wrong in turn.

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


# The few figures of test.json that stand in DVC's table of metrics, one column each.

BOUNDED: Final = ("accuracy", "macro_f1")  # shown with their intervals
PLAIN: Final = ("quadratic_kappa", "macro_auc", "log_loss", "expected_calibration_error")


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """Flat figures of `report`, the content of test.json; None where one is not defined."""
    flat = {"leaky": report["leaky"], "synthetic": report["synthetic"]}
    for name in BOUNDED:
        bounds = report["confidence_interval"][name]
        flat |= {name: report[name], f"{name}_low": bounds["low"], f"{name}_high": bounds["high"]}
    return flat | {name: report[name] for name in PLAIN}

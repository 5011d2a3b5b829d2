"""Predictions of one trained backbone -> its report, its tables and what its pictures show.

Every figure follows from predictions.csv alone: probabilities are rounded first, then scored.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.statistics import bootstrap, curves, scores
from knee.storage import provenance
from knee.storage.arrays import Probabilities

HELD_OUT: Final = ("val", "test")
KEPT: Final = ["record", "source", "pixel_sha256", "group", "subset", "class_index", "label"]
HISTORY: Final = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
FACTS: Final = ("backbone", "best_epoch", "classes", "model_sha256", "split_protocol", "synthetic")


class EvaluationError(ValueError):
    """A training and the data that it is to be judged on do not belong together."""


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
        EvaluationError: it is missing or damaged, or tells of another backbone, data or split.
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
            raise EvaluationError(
                f"{path}: {name} is {training[name]}, here it is {value}: run `dvc repro` to train "
                "on the present data"
            )
    return training


def read_split_metrics(path: Path, training: Mapping[str, Any]) -> dict[str, Any]:
    """The split's own figures, once they are known to be of the split that the training saw.

    Raises:
        EvaluationError: they are missing or damaged, or of another protocol.
    """
    found = read_json(path, ("protocol", "leaky", "leakage"))
    if found["protocol"] != training["split_protocol"]:
        raise EvaluationError(
            f"{path} is of a {found['protocol']} split, the training saw a "
            f"{training['split_protocol']} one: run `dvc repro`"
        )
    return found


def read_json(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """A JSON object with these keys; `EvaluationError` names the file that is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EvaluationError(f"{path} does not exist: run `dvc repro`") from error
    except ValueError as error:
        raise EvaluationError(f"{path} is not JSON ({error}): run `dvc repro`") from error
    if not isinstance(value, dict):
        raise EvaluationError(f"{path}: expected a JSON object; run `dvc repro`")
    missing = [name for name in keys if name not in value]
    if missing:
        raise EvaluationError(f"{path} has no key {missing[0]}: run `dvc repro` to make it again")
    return value


def read_history(path: Path) -> pd.DataFrame:
    """The training's history, one row an epoch; `EvaluationError` names the file that is none."""
    try:
        history = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} is no training history ({error}): train anew") from error
    missing = [name for name in HISTORY if name not in history]
    if missing:
        raise EvaluationError(f"{path} has no column {missing[0]}: train anew")
    return history


def read_pixels(path: Path, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """`rows` of the pixel array at `path`: uint8 (rows, side, side).

    Raises:
        EvaluationError: it is missing or damaged, or has not these rows.
    """
    try:
        pixels: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise EvaluationError(f"{path} is no pixel array ({error}): run `dvc repro`") from error
    if rows.min() < 0 or rows.max() >= len(pixels):
        raise EvaluationError(
            f"{path} has {len(pixels)} images, the records ask for number {rows.max()}: "
            "run the ingest stage"
        )
    return pixels[rows]


def held_out(records: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Records of val and test, by record number, with the split's subset and group.

    Raises:
        EvaluationError: one of the two has no records.
    """
    described = records.drop(columns="group")
    joined = described.merge(split[["record", "subset", "group"]], on="record", how="inner")
    for subset in HELD_OUT:
        if subset not in set(joined["subset"]):
            raise EvaluationError(f"the split has no {subset} records: run the split stage")
    return joined[joined["subset"].isin(HELD_OUT)].sort_values("record").reset_index(drop=True)


def predictions(
    held: pd.DataFrame, probabilities: Probabilities, class_names: Sequence[str]
) -> pd.DataFrame:
    """The table predictions.csv: columns `KEPT`, predicted, and `probability_<class>` of each.

    Args:
        held: rows of `held_out`.
        probabilities: float (rows, classes), in the same order.
        class_names: in the order of the probabilities.

    Raises:
        scores.ScoreError: probabilities that are none, such as NaN of a diverged training.
    """
    scores.checked(held["class_index"].to_numpy(), probabilities)
    rounded = scores.rounded(probabilities)
    table = held[KEPT].copy()
    table["predicted"] = np.array(class_names, dtype=object)[rounded.argmax(axis=1)]
    for number, name in enumerate(class_names):
        table[f"probability_{name}"] = rounded[:, number]
    return table


def as_csv(table: pd.DataFrame) -> str:
    """Text quoted, so that no file's name can break a row; numbers bare."""
    return str(table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n"))


def probabilities_of(table: pd.DataFrame, class_names: Sequence[str]) -> npt.NDArray[np.float64]:
    """(rows, classes) of a table of `predictions`."""
    return table[[f"probability_{name}" for name in class_names]].to_numpy(np.float64)


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

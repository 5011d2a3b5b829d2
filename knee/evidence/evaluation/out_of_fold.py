"""The table of out-of-fold predictions, and the content of cross_validation.json.

Every figure follows from out_of_fold.csv alone. A figure is that of all records of a repeat, held
out once each, averaged over the repeats; `per_fold` has those of the single models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from knee.evidence.evaluation import predictions
from knee.evidence.evaluation.fold_results import FoldResult
from knee.splits.cross_validation import KEPT, Fold
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap

DONE, NOT_RUN = "done", "not run"
OF_A_FOLD: Final = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "quadratic_kappa",
    "macro_auc",
    "log_loss",
)
AVERAGED: Final = ("precision", "recall", "f1")
OF_PREDICTIONS: Final = (  # keys of cross_validation.json that are no facts of `report`
    "status",
    "records",
    "groups",
    *scores.HEADLINE,
    "confidence_interval",
    "per_class",
    "over_folds",
    "per_fold",
)


def table(
    kept: pd.DataFrame,
    folds: Sequence[Fold],
    results: Sequence[FoldResult],
    class_names: Sequence[str],
) -> pd.DataFrame:
    """Return one row a record and repeat, by repeat and record; no row where there are no folds.

    Raises:
        scores.ScoreError: rows that are not probabilities, e.g. after training diverged.
    """
    columns = [*KEPT, "repeat", "fold", "class_index", "label"]
    parts = []
    for fold, result in zip(folds, results, strict=True):
        held = kept.iloc[fold.held_out].assign(repeat=fold.repeat, fold=fold.fold)[columns]
        parts.append(predictions.with_probabilities(held, result.probabilities, class_names))
    if not parts:
        of_classes = [f"{predictions.PREFIX}{name}" for name in class_names]
        return pd.DataFrame(columns=[*columns, "predicted", *of_classes])
    joined = pd.concat(parts, ignore_index=True)
    return joined.sort_values(["repeat", "record"], ignore_index=True)


def report(
    predicted: pd.DataFrame,
    results: Sequence[FoldResult],
    facts: Mapping[str, Any],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Return the content of cross_validation.json.

    `predicted` is what `table` gave for the same `results`, which are by repeat and fold; without
    results nothing is said of epochs, which an ensemble's members have in common. `facts` say what
    was cross-validated and how, `classes` among them, and go in as they are.
    """
    names = facts["classes"]
    repeats = [predictions.outcomes(part, names) for _, part in predicted.groupby("repeat")]
    figures = [scores.score(one) for one in repeats]
    of_classes = [one["per_class"] for one in figures]
    folds = [part for _, part in predicted.groupby(["repeat", "fold"])]
    ends: Sequence[FoldResult | None] = results or [None] * len(folds)
    per_fold = [_of_fold(*one, names) for one in zip(folds, ends, strict=True)]
    return {
        "status": DONE,
        **facts,
        "records": len(repeats[0].truth),
        "groups": len(np.unique(repeats[0].groups)),
        **{name: _mean([one[name] for one in figures]) for name in scores.HEADLINE},
        "confidence_interval": bootstrap.intervals(repeats),
        "per_class": {
            name: {
                **{key: _mean([one[name][key] for one in of_classes]) for key in AVERAGED},
                "support": of_classes[0][name]["support"],
            }
            for name in names
        },
        "over_folds": {name: _spread([one[name] for one in per_fold]) for name in OF_A_FOLD},
        "per_fold": per_fold,
    }


def not_run(facts: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return the content of cross_validation.json where nothing was trained."""
    return {"status": NOT_RUN, "reason": reason, **facts}


def subtitle(facts: Mapping[str, Any]) -> str:
    """Return what has to stand on every chart, from the content of cross_validation.json."""
    parts = [str(facts["backbone"])]
    parts += ["LEAKY FOLDS - not a result"] * facts["leaky"]
    parts += ["SYNTHETIC DATA"] * facts["synthetic"]
    seeds = facts.get("members_seeds")
    parts.append(
        f"{facts['folds']} grouped folds x {seeds} members"
        if seeds
        else f"{facts['repeats']} x {facts['folds']} grouped folds"
    )
    parts += ["test subset left out"] * (facts["subset"] == "development")
    if facts["status"] == DONE:
        parts.append(f"{facts['records']} images in {facts['groups']} groups")
    return ", ".join(parts)


def _of_fold(
    part: pd.DataFrame, result: FoldResult | None, class_names: Sequence[str]
) -> dict[str, Any]:
    """The figures of the rows of one repeat and fold."""
    figures = scores.score(predictions.outcomes(part, class_names))
    return {
        "repeat": int(part["repeat"].iloc[0]),
        "fold": int(part["fold"].iloc[0]),
        "rows": len(part),
        "groups": int(part["group"].nunique()),
        **({"best_epoch": result.best_epoch, "epochs": result.epochs} if result else {}),
        **{name: figures[name] for name in OF_A_FOLD},
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """None if one of them is."""
    return None if None in values else _spread(values)["mean"]


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and standard deviation (n - 1) over the folds that define the figure."""
    defined = [value for value in values if value is not None]
    several = len(defined) > 1
    return {
        "mean": scores.known(float(np.mean(defined))) if defined else None,
        "standard_deviation": scores.known(float(np.std(defined, ddof=1))) if several else None,
    }

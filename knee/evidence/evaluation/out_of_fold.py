"""Out-of-fold predictions -> their table and the content of cross_validation.json.

Every figure follows from out_of_fold.csv alone. A figure is that of all records of a repeat, held
out once each, averaged over the repeats; `per_fold` has those of the single models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from knee.evidence.evaluation import predictions
from knee.evidence.evaluation.evaluation_report import BOUNDED, PLAIN
from knee.evidence.evaluation.fold_results import Result
from knee.splits.cross_validation import KEPT, Fold
from knee.statistics import bootstrap, scores

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


def table(
    kept: pd.DataFrame,
    folds: Sequence[Fold],
    results: Sequence[Result],
    class_names: Sequence[str],
) -> pd.DataFrame:
    """One row a record and repeat, by repeat and record; no row where there are no folds.

    Raises:
        scores.ScoreError: probabilities that are none, such as NaN of a diverged training.
    """
    parts = [_held_out(kept, *one, class_names) for one in zip(folds, results, strict=True)]
    columns = [
        *(*KEPT, "repeat", "fold", "class_index", "label", "predicted"),
        *(f"probability_{name}" for name in class_names),
    ]
    if not parts:
        return pd.DataFrame(columns=columns)
    joined = pd.concat(parts, ignore_index=True)
    return joined.sort_values(["repeat", "record"], ignore_index=True)[columns]


def report(
    predicted: pd.DataFrame,
    folds: Sequence[Fold],
    results: Sequence[Result],
    facts: Mapping[str, Any],
    *,
    draws: int,
    level: float,
    seed: int,
) -> dict[str, Any]:
    """The content of cross_validation.json.

    Args:
        predicted: what `table` gave for the same folds and results.
        folds: of the cross-validation.
        results: of each fold.
        facts: what was cross-validated and how, `classes` among them; goes in as it is.
        draws: bootstrap draws.
        level: of the intervals, 0-1.
        seed: of the draws.
    """
    names = facts["classes"]
    repeats = [part for _, part in predicted.groupby("repeat")]
    first = repeats[0]
    truth = first["class_index"].to_numpy()
    chances = [predictions.probabilities_of(part, names) for part in repeats]
    figures = [scores.score(truth, one, names) for one in chances]
    per_fold = [_of_fold(predicted, *one, names) for one in zip(folds, results, strict=True)]
    bounds = bootstrap.repeated_intervals(
        truth, chances, first["group"].to_numpy(), draws=draws, level=level, seed=seed
    )
    return {
        "status": DONE,
        **facts,
        "records": len(first),
        "groups": int(first["group"].nunique()),
        **{name: _mean([one[name] for one in figures]) for name in scores.HEADLINE},
        "confidence_interval": bounds,
        "per_class": {name: _class_mean([f["per_class"][name] for f in figures]) for name in names},
        "over_folds": {name: _spread([one[name] for one in per_fold]) for name in OF_A_FOLD},
        "per_fold": per_fold,
    }


def not_run(facts: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """The content of cross_validation.json where nothing was trained."""
    return {"status": NOT_RUN, "reason": reason, **facts}


def headline_not_run(facts: Mapping[str, Any]) -> dict[str, Any]:
    """As `headline.headline`, without a figure."""
    bounded = {f"{name}{end}": None for name in BOUNDED for end in ("", "_low", "_high")}
    flags = {"leaky": facts["leaky"], "synthetic": facts["synthetic"]}
    return {**flags, **bounded, **dict.fromkeys(PLAIN)}


def subtitle(facts: Mapping[str, Any]) -> str:
    """What has to stand on every picture, from the content of cross_validation.json."""
    parts = [str(facts["backbone"])]
    parts += ["LEAKY FOLDS - not a result"] * facts["leaky"]
    parts += ["SYNTHETIC DATA"] * facts["synthetic"]
    parts.append(f"{facts['repeats']} x {facts['folds']} grouped folds")
    parts += ["test subset left out"] * (facts["subset"] == "development")
    if facts["status"] == DONE:
        parts.append(f"{facts['records']} images in {facts['groups']} groups")
    return ", ".join(parts)


def _held_out(
    kept: pd.DataFrame, fold: Fold, result: Result, class_names: Sequence[str]
) -> pd.DataFrame:
    held = kept.iloc[fold.held_out]
    scores.checked(held["class_index"].to_numpy(), result.probabilities)
    chances = scores.rounded(result.probabilities)
    part = held[[*KEPT, "class_index", "label"]].assign(repeat=fold.repeat, fold=fold.fold)
    part["predicted"] = np.array(class_names, dtype=object)[chances.argmax(axis=1)]
    for number, name in enumerate(class_names):
        part[f"probability_{name}"] = chances[:, number]
    return part


def _of_fold(
    predicted: pd.DataFrame, fold: Fold, result: Result, class_names: Sequence[str]
) -> dict[str, Any]:
    here = (predicted["repeat"] == fold.repeat) & (predicted["fold"] == fold.fold)
    part = predicted[here]
    chances = predictions.probabilities_of(part, class_names)
    figures = scores.score(part["class_index"].to_numpy(), chances, class_names)
    return {
        "repeat": fold.repeat,
        "fold": fold.fold,
        "rows": len(part),
        "groups": int(part["group"].nunique()),
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        **{name: figures[name] for name in OF_A_FOLD},
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """None if one of them is."""
    known = [value for value in values if value is not None]
    return scores.known(float(np.mean(known))) if len(known) == len(values) else None


def _class_mean(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means = {name: _mean([one[name] for one in figures]) for name in AVERAGED}
    return {**means, "support": figures[0]["support"]}


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and standard deviation (n - 1) over the folds that define the figure."""
    known = [value for value in values if value is not None]
    return {
        "mean": scores.known(float(np.mean(known))) if known else None,
        "standard_deviation": scores.known(float(np.std(known, ddof=1)))
        if len(known) > 1
        else None,
    }

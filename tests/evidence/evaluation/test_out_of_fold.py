"""Figures of out-of-fold predictions: means over repeats, intervals over groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from knee.drawing import charts
from knee.evidence.evaluation import evaluation_report, out_of_fold, predictions
from knee.evidence.evaluation.fold_results import FoldResult
from knee.splits import cross_validation
from knee.splits.cross_validation import CrossValidationProtocol, Fold
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts
from tests.records import tables

NAMES = ["class0", "class1"]
FACTS = {
    "backbone": "tiny",
    "classes": NAMES,
    "synthetic": True,
    "leaky": False,
    "subset": "all",
    "folds": 3,
    "repeats": 2,
}
BOOTSTRAP = Bootstrap(draws=50, level=0.9, seed=1)


def made() -> tuple[pd.DataFrame, list[Fold], list[FoldResult]]:
    kept = tables.records([n % 2 for n in range(40)], [n // 2 // 2 * 2 + n % 2 for n in range(40)])
    folds = cross_validation.plan_folds(kept, CrossValidationProtocol(3, 2, 0.3, 1))
    random = np.random.default_rng(0)
    results = []
    for number, fold in enumerate(folds):
        right = np.eye(2)[kept["class_index"].to_numpy()[fold.held_out]]
        chances = (2 * random.dirichlet([1, 1], len(right)) + right) / 3
        results.append(FoldResult(chances, number, number + 2))
    return kept, folds, results


@pytest.fixture
def report() -> dict[str, Any]:
    kept, folds, results = made()
    predicted = out_of_fold.table(kept, folds, results, NAMES)
    return out_of_fold.report(predicted, results, FACTS, BOOTSTRAP)


def test_the_table_has_every_record_once_a_repeat_with_what_was_predicted_for_it() -> None:
    kept, folds, results = made()
    predicted = out_of_fold.table(kept, folds, results, NAMES)
    assert list(zip(predicted["repeat"], predicted["record"], strict=True)) == [
        (repeat, record) for repeat in (0, 1) for record in range(40)
    ]
    for fold, result in zip(folds, results, strict=True):
        here = (predicted["repeat"] == fold.repeat) & (predicted["fold"] == fold.fold)
        part = predicted[here].set_index("record").loc[fold.held_out]
        np.testing.assert_allclose(
            predictions.probabilities_of(part, NAMES), result.probabilities, rtol=1e-5
        )
    assert not {"source", "patient"} & set(predicted)


def test_a_pooled_figure_is_the_mean_over_repeats_and_lies_in_its_interval(
    report: dict[str, Any],
) -> None:
    kept, folds, results = made()
    chances = np.zeros((2, 40, 2))
    for fold, result in zip(folds, results, strict=True):
        chances[fold.repeat, fold.held_out] = result.probabilities
    truth = kept["class_index"].to_numpy()
    for name in ("accuracy", "macro_f1", "macro_auc"):
        each = [scores.metric(name)(truth, scores.rounded(one)) for one in chances]
        assert report[name] == pytest.approx(np.mean(each), abs=2e-6)
        bounds = report["confidence_interval"][name]
        assert bounds["low"] < report[name] < bounds["high"]


def test_folds_are_listed_and_spread(report: dict[str, Any]) -> None:
    assert [(one["repeat"], one["fold"]) for one in report["per_fold"]] == [
        (repeat, fold) for repeat in (0, 1) for fold in (0, 1, 2)
    ]
    assert sum(one["rows"] for one in report["per_fold"]) == 80
    assert [one["best_epoch"] for one in report["per_fold"]] == list(range(6))
    values = [one["accuracy"] for one in report["per_fold"]]
    spread = report["over_folds"]["accuracy"]
    assert spread["mean"] == pytest.approx(np.mean(values), abs=2e-6)
    assert spread["standard_deviation"] == pytest.approx(np.std(values, ddof=1), abs=2e-6)


def test_the_report_has_the_keys_of_test_json_and_fits_dvcs_table(report: dict[str, Any]) -> None:
    assert report["status"] == "done"
    assert set(scores.HEADLINE) <= set(report)
    assert set(report["confidence_interval"]) == set(scores.HEADLINE)
    assert set(report["per_class"]["class0"]) == {"precision", "recall", "f1", "support"}
    assert report["per_class"]["class0"]["support"] == 20
    assert (report["records"], report["groups"]) == (40, 20)
    assert evaluation_report.dvc_metrics(report)["accuracy"] == report["accuracy"]


def test_what_did_not_run_says_so_and_has_no_figure() -> None:
    said = out_of_fold.not_run(FACTS, "too dear")
    assert (said["status"], said["reason"], said["folds"]) == ("not run", "too dear", 3)
    assert "accuracy" not in said
    short = evaluation_report.dvc_metrics(said)
    assert list(short) == list(
        evaluation_report.dvc_metrics(dict.fromkeys([*short, *scores.HEADLINE]) | BOUNDS)
    )
    assert not [name for name, value in short.items() if isinstance(value, float)]
    empty = artifacts.as_csv(out_of_fold.table(pd.DataFrame(), [], [], NAMES))
    assert empty.count("\n") == 1
    assert '"probability_class1"' in empty


BOUNDS = {"confidence_interval": {name: {"low": None, "high": None} for name in scores.HEADLINE}}


def test_probabilities_that_are_none_are_refused() -> None:
    kept, folds, results = made()
    broken = [FoldResult(results[0].probabilities * np.nan, 0, 1), *results[1:]]
    with pytest.raises(scores.ScoreError):
        out_of_fold.table(kept, folds, broken, NAMES)


def test_the_chart_is_drawn_with_and_without_figures_and_is_the_same_twice(
    report: dict[str, Any], tmp_path: Path
) -> None:
    for content in (report, out_of_fold.not_run(FACTS, "too dear")):
        for name in ("one.png", "two.png"):
            charts.folds(content, out_of_fold.subtitle(content), tmp_path / name)
        assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
        assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_synthetic_leaky_and_partial_results_are_named_on_the_picture(
    report: dict[str, Any],
) -> None:
    assert "SYNTHETIC DATA" in out_of_fold.subtitle(report)
    other = {**report, "leaky": True, "subset": "development"}
    assert "LEAKY" in out_of_fold.subtitle(other)
    assert "test subset left out" in out_of_fold.subtitle(other)

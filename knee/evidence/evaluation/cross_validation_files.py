"""The files of a cross-validation: its figures, the predictions that they are of, and a chart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from knee.drawing import charts
from knee.evidence.evaluation import evaluation_report, out_of_fold
from knee.storage import artifacts


def write(
    report: Mapping[str, Any],
    predicted: pd.DataFrame,
    *,
    predictions_out: Path,
    plot_out: Path,
    headline_out: Path,
    cross_validation_out: Path,
) -> None:
    """Write a report, the table that it is of, its chart and what fits DVC's table of metrics."""
    artifacts.write_text(predictions_out, artifacts.as_csv(predicted))
    charts.folds(report, out_of_fold.subtitle(report), plot_out)
    artifacts.write_json(headline_out, evaluation_report.dvc_metrics(report))
    artifacts.write_json(cross_validation_out, report)

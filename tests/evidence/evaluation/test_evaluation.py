"""Predictions -> report, tables and the choice of pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knee.drawing import charts
from knee.evidence.evaluation import evaluation_report, predictions
from knee.evidence.evaluation.json_contents import SplitMetrics, TrainingRecord
from knee.evidence.evaluation.predictions import KEPT
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts, row_files
from tests import shards

NAMES = ["Normal", "Osteopenia", "Osteoporosis"]
TRAINING = {
    "backbone": "mobilenet",
    "best_epoch": 1,
    "classes": NAMES,
    "model_sha256": "0" * 64,
    "split_protocol": "grouped",
    "synthetic": False,
}
SPLIT_METRICS: dict[str, Any] = {
    "protocol": "grouped",
    "leaky": False,
    "leakage": 0.0,
    "patients": {"images": 9, "unknown": 9},
}


def held(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, rows)
    return pd.DataFrame(
        {
            "record": np.arange(rows),
            "source": [f"{NAMES[number]}/{row}.png" for row, number in enumerate(truth)],
            "pixel_sha256": [f"{row:064x}" for row in range(rows)],
            "group": np.arange(rows) // 2,
            "subset": np.where(np.arange(rows) % 3, "test", "val"),
            "class_index": truth,
            "label": np.array(NAMES, dtype=object)[truth],
            "pixel_row": np.arange(rows),
        }
    )


def chances(rows: int = 60, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).dirichlet(np.ones(3), rows).astype(np.float32)


def predicted() -> pd.DataFrame:
    return predictions.with_probabilities(held()[KEPT], chances(), NAMES)


def report(**changes: Any) -> dict[str, Any]:
    training = {**TRAINING, **changes.pop("training", {})}
    split_metrics = {**SPLIT_METRICS, **changes.pop("split_metrics", {})}
    return evaluation_report.report(
        predicted(),
        cast(TrainingRecord, training),
        cast(SplitMetrics, split_metrics),
        Bootstrap(draws=50, level=0.95, seed=1),
    )


def test_val_and_test_records_are_held_out_with_the_group_of_the_split() -> None:
    table = held(6).assign(status="used")
    split = pd.DataFrame(
        {
            "record": [5, 4, 3, 2, 1, 0],
            "subset": ["test", "train", "val", "unused", "test", "train"],
            "group": [15, 14, 13, 12, 11, 10],
        }
    )
    found = predictions.held_out(table.drop(columns="subset"), split)
    assert found[["record", "subset", "group"]].to_numpy().tolist() == [
        [1, "test", 11],
        [3, "val", 13],
        [5, "test", 15],
    ]
    with pytest.raises(artifacts.ArtifactError, match="no val records"):
        predictions.held_out(table.drop(columns="subset"), split[split["subset"] != "val"])


def test_predictions_keep_six_digits_of_small_probabilities_too() -> None:
    table = predictions.with_probabilities(
        held(1)[KEPT], np.array([[1 - 1.23456789e-9, 1.23456789e-9, 0]]), NAMES
    )
    assert table["probability_Osteopenia"].tolist() == [1.23457e-9]


def test_the_written_table_gives_back_the_same_figures() -> None:
    table = predicted()
    again = predictions.read_predictions(artifacts.as_csv(table).encode())
    pd.testing.assert_frame_equal(
        again, table.astype({"label": "str", "predicted": "str"}), check_dtype=False
    )
    figures = scores.score(predictions.outcomes(again, NAMES))
    assert report()["macro_f1"] == figures["macro_f1"]


def test_a_file_name_cannot_break_a_row() -> None:
    table = held(2).assign(source=['a"b,\r.png', "c\n.png"])
    text = artifacts.as_csv(table)
    assert pd.read_csv(io.StringIO(text), lineterminator="\n")["source"][0] == 'a"b,\r.png'
    assert len(pd.read_csv(io.StringIO(text))) == 2


def test_a_diverged_training_is_refused() -> None:
    with pytest.raises(scores.ScoreError, match="NaN"):
        predictions.with_probabilities(held(1)[KEPT], np.full((1, 3), np.nan), NAMES)


def test_the_report_says_where_its_figures_come_from_and_has_an_interval_for_each() -> None:
    found = report()
    assert found["records"] == 60
    assert found["groups"] == 30
    assert set(found["confidence_interval"]) == set(scores.HEADLINE) <= set(found)
    for name in ("accuracy", "macro_auc"):
        bounds = found["confidence_interval"][name]
        assert bounds["low"] < found[name] < bounds["high"]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, []),
        ({"training": {"synthetic": True}}, ["SYNTHETIC"]),
        ({"split_metrics": {"leaky": True}}, ["LEAKY"]),
    ],
)
def test_what_stands_on_every_picture_names_synthetic_data_and_leaky_splits(
    facts: dict[str, Any], words: list[str]
) -> None:
    text = evaluation_report.subtitle(report(**facts))
    assert [word for word in ("SYNTHETIC", "LEAKY") if word in text] == words
    assert "mobilenet, grouped split" in text
    assert text.endswith(", 60 test images in 30 groups")


def test_the_longest_subtitle_fits_a_chart_and_warns_first() -> None:
    text = evaluation_report.subtitle(
        report(training={"synthetic": True}, split_metrics={"leaky": True})
        | {"backbone": "x" * 20, "records": 10_000, "groups": 10_000}
    )
    assert text.startswith("LEAKY SPLIT - not a result, ")
    assert len(text) <= charts.LONGEST_SUBTITLE


def test_every_plot_has_its_table() -> None:
    tables = evaluation_report.tables(predicted(), NAMES)
    assert list(tables) == ["confusion", "roc", "precision_recall", "reliability"]
    assert all(len(table) for table in tables.values())


def test_explained_images_are_right_and_wrong_ones_of_every_class() -> None:
    table = predicted()
    rows = evaluation_report.rows_to_explain(table, 6, seed=0)
    shown = table.iloc[rows]
    kinds = list(zip(shown["label"], shown["label"] == shown["predicted"], strict=True))
    assert kinds == [(name, right) for name in NAMES for right in (True, False)]


@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 80), seed=st.integers(0, 99))
def test_explained_images_are_distinct_and_as_many_as_asked_for(count: int, seed: int) -> None:
    table = predicted()
    rows = evaluation_report.rows_to_explain(table, count, seed)
    assert len(set(rows.tolist())) == len(rows) == min(count, len(table))
    assert rows.tolist() == evaluation_report.rows_to_explain(table, count, seed).tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("{}", "has no key protocol"),
        (
            json.dumps({**SPLIT_METRICS, "protocol": "random"}),
            "random split, the training saw a grouped one",
        ),
    ],
)
def test_figures_of_another_split_are_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "split.json"
    training: TrainingRecord = {"split_protocol": "grouped"}
    path.write_text(json.dumps(SPLIT_METRICS))
    assert evaluation_report.read_split_metrics(path, training)["leakage"] == 0
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(artifacts.ArtifactError, match=message):
        evaluation_report.read_split_metrics(path, training)


def test_pixels_come_in_the_order_of_the_rows_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "pixels"
    shards.save(path, np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
    assert row_files.PixelFile(path, np.array([2, 0]))[np.array([2, 0])][:, 0, 0].tolist() == [8, 0]
    with pytest.raises(artifacts.ArtifactError, match="has 3 images, the records ask"):
        row_files.PixelFile(path, np.array([3]))
    (path / "00000.npy").write_bytes(b"")
    with pytest.raises(artifacts.ArtifactError, match="is no array file"):
        row_files.PixelFile(path, np.array([0]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no training history"),
        ("epoch,loss,val_loss,val_accuracy\n0,1,1,1\n", "has no column accuracy"),
    ],
)
def test_a_history_that_cannot_be_drawn_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "history.csv"
    path.write_text(content)
    with pytest.raises(artifacts.ArtifactError, match=message):
        evaluation_report.read_history(path)

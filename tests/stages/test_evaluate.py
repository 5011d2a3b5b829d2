"""The evaluate stage on a tiny net and a real SQLite store."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from knee.evidence.evaluation import predictions
from knee.evidence.uncertainty import prediction_limits, uncertainty_report
from knee.records import records_table
from knee.statistics import scores
from knee.storage import provenance
from tests import shards
from tests.tracking.runs import FACTS, only_run, own_store

pytestmark = [
    pytest.mark.tf,
    # Keras on TensorFlow 2.21, with NumPy 2.4.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]

GIVEN = ("history.csv", "members.csv")  # of train, beside what evaluate writes
NAMES = ["Normal", "Osteopenia", "Osteoporosis"]
SIDE_PIXELS, ROWS = 16, 48
PICTURES = ("confusion", "roc", "precision_recall", "reliability", "learning_curves")
PLOTS = {
    *(f"{name}.csv" for name in PICTURES[:4]),
    *(f"{name}.png" for name in (*PICTURES, "worst_mistakes", "grad_cam")),
}


def write_data(root: Path) -> None:
    """Records of brighter and brighter classes, their pixels and a grouped split."""
    number = np.arange(ROWS)
    values: dict[str, Any] = {
        name: "" if kind == "str" else 0 for name, kind in records_table.COLUMNS.items()
    }
    values |= {
        "record": number,
        "source": [f"{NAMES[row % 3]}/{row:02}.png" for row in number],
        "label": [NAMES[row % 3] for row in number],
        "class_index": number % 3,
        "status": "used",
        "pixel_row": number,
        "pixel_sha256": [f"{row:064x}" for row in number],
        "picture": number,
        "group": number // 2,
    }
    table = pd.DataFrame(values)
    records_table.write_records(table, root / "records.csv")
    noise = np.random.default_rng(0).integers(0, 90, (ROWS, SIDE_PIXELS, SIDE_PIXELS))
    shards.save(root / "pixels", (noise + 60 * (number % 3)[:, None, None]).astype(np.uint8))
    subset = np.array(["train", "val", "test", "test"])[number // 2 % 4]
    split = {"record": number, "subset": subset, "fold": 0, "group": number // 2}
    pd.DataFrame(split).to_csv(root / "split.csv", index=False)
    figures = {"protocol": "grouped", "leaky": False, "leakage": 0.0, "patients": {"unknown": 0}}
    (root / "split.json").write_text(json.dumps(figures))


def write_model(root: Path) -> None:
    """A classifier with random weights and what it knows about its limits."""
    from knee.classifier.net import saved
    from tests.tiny_classifier import classifier

    model = classifier(SIDE_PIXELS)
    pixels, split = shards.load(root / "pixels"), pd.read_csv(root / "split.csv")
    val, train = (np.flatnonzero(split["subset"] == name) for name in ("val", "train"))
    both = prediction_limits.split_outputs(
        saved.predict(saved.with_features(model), pixels), len(NAMES)
    )
    learned = prediction_limits.learn(
        prediction_limits.Observed(both.probabilities[val], both.features[val]),
        val % 3,
        split["group"].to_numpy()[val],
        both.features[train],
        method="temperature",
        level=0.8,  # four validation records a class: too few for a higher one
        quantile=0.9,
    )
    saved.apply_temperature(model, learned.temperature)
    (root / "model").mkdir()
    np.save(root / "before.npy", both.probabilities)
    facts = {
        **FACTS,
        **prediction_limits.write(learned, NAMES, root / "model"),
        "classes": NAMES,
        "preprocessing": {"side_pixels": SIDE_PIXELS, "fit": "letterbox", "crop_borders": True},
        "model_sha256": saved.save_model(model, root / "model" / "model.keras"),
        "data_fingerprint": provenance.fingerprint(root / "records.csv"),
        "split_fingerprint": provenance.fingerprint(root / "split.csv"),
        "parameters": {"train.epochs": 2, "backbone.side_pixels": SIDE_PIXELS},
    }
    (root / "model" / "training.json").write_text(json.dumps(facts))
    (root / "metrics").mkdir()
    (root / "metrics" / "members.csv").write_text("record\n")
    (root / "metrics" / "history.csv").write_text(
        "epoch,learning_rate,loss,accuracy,val_loss,val_accuracy\n"
        "0,0.001,1.1,0.4,1.2,0.3\n1,0.001,0.9,0.5,1.0,0.4\n"
    )


def arguments(root: Path) -> list[str]:
    inputs = {
        "records": "records.csv",
        "pixels": "pixels",
        "split": "split.csv",
        "split-metrics": "split.json",
        "model": "model",
        "history": "metrics/history.csv",
        "members": "metrics/members.csv",
        "test-out": "metrics/test.json",
        "headline-out": "metrics/headline.json",
        "predictions-out": "metrics/predictions.csv",
        "plots-out": "metrics/plots",
    }
    pairs = [(f"--{flag}", str(root / place)) for flag, place in inputs.items()]
    return ["--backbone", "mobilenet", *(word for pair in pairs for word in pair)]


def main(root: Path) -> int:
    code: int = importlib.import_module("stages.evaluate").main(arguments(root))
    return code


def outputs(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / "metrics").rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        own_store(root, tmp_path_factory.getbasetemp(), patch)
        yield root


@pytest.fixture(scope="module")
def evaluated(store: Path) -> Path:
    """A project in which the stage has run once."""
    write_data(store)
    write_model(store)
    assert main(store) == 0
    return store


def written_predictions(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "metrics" / "predictions.csv")


def test_every_file_that_is_declared_is_written_and_no_other(evaluated: Path) -> None:
    files = (*GIVEN, "test.json", "headline.json", "predictions.csv")
    expected = {*files, *(f"plots/{n}" for n in PLOTS)}
    assert set(outputs(evaluated)) == {f"metrics/{name}" for name in expected}


def test_predictions_are_of_val_and_test_records_each_once(evaluated: Path) -> None:
    split = pd.read_csv(evaluated / "split.csv")
    expected = split[split["subset"].isin(["val", "test"])]
    found = written_predictions(evaluated)
    assert found["record"].tolist() == expected["record"].tolist()
    assert found["subset"].tolist() == expected["subset"].tolist()


def test_the_figures_are_those_of_the_test_predictions_alone(evaluated: Path) -> None:
    table = written_predictions(evaluated)
    test = table[table["subset"] == "test"]
    report: dict[str, Any] = json.loads((evaluated / "metrics" / "test.json").read_text())
    figures = scores.score(predictions.outcomes(test, NAMES))
    assert {name: report[name] for name in figures} == figures
    assert (report["records"], report["groups"]) == (24, 12)
    confusion = pd.read_csv(evaluated / "metrics" / "plots" / "confusion.csv")
    assert len(confusion) == len(test)


def test_probabilities_before_calibration_are_recovered_from_the_table(evaluated: Path) -> None:
    table = written_predictions(evaluated)
    training = json.loads((evaluated / "model" / "training.json").read_text())
    assert training["temperature"] != 1
    raw = np.load(evaluated / "before.npy")[table["record"]]
    before = uncertainty_report.before_calibration(table, training)
    np.testing.assert_allclose(before.probabilities, raw, rtol=1e-4)
    assert (predictions.probabilities_of(table, NAMES).argmax(1) == raw.argmax(1)).all()


def test_calibration_is_reported_before_and_after_with_intervals(evaluated: Path) -> None:
    report = json.loads((evaluated / "metrics" / "test.json").read_text())
    found = report["calibration"]
    for name in ("log_loss", "expected_calibration_error"):
        assert found["after"][name] == pytest.approx(report[name], abs=1e-6)
        bounds = found["before"]["confidence_interval"][name]
        assert bounds["low"] < bounds["high"]
    change = found["after"]["log_loss"] - found["before"]["log_loss"]
    assert found["log_loss_change"] == pytest.approx(change, abs=2e-6)
    validation = found["validation"]
    assert validation["log_loss_after"] < validation["log_loss_before"]


def test_sets_and_unlikeness_are_reported_as_the_table_has_them(evaluated: Path) -> None:
    report = json.loads((evaluated / "metrics" / "test.json").read_text())
    table = pd.read_csv(evaluated / "metrics" / "predictions.csv", keep_default_na=False)
    test = table[table["subset"] == "test"]
    sets = [names.split("|") for names in test["prediction_set"]]
    covered = [label in names for label, names in zip(test["label"], sets, strict=True)]
    assert report["conformal"]["coverage"] == pytest.approx(np.mean(covered), abs=1e-6)
    assert report["conformal"]["per_class"]["Normal"]["validation_records"] == 4
    assert not report["conformal"]["per_class"]["Normal"]["always_in_set"]
    novel = report["out_of_distribution"]
    assert novel["flagged"] == pytest.approx((test["out_of_distribution"] > 1).mean(), abs=1e-6)
    kinds = novel["synthetic_non_radiographs"]["per_kind"]
    assert novel["synthetic_non_radiographs"]["images"] == sum(k["images"] for k in kinds.values())
    assert all(0 <= kind["auc"] <= 1 for kind in kinds.values())
    assert set(novel["disturbed_films"]) == {"upside_down", "inverted"}
    assert report["off_by_two"] == pytest.approx(
        np.mean(
            [
                {a, b} == {NAMES[0], NAMES[2]}
                for a, b in zip(test["label"], test["predicted"], strict=True)
            ]
        ),
        abs=1e-6,
    )
    assert report["confidence_interval"]["off_by_two"]["high"] < 1


def test_the_mlflow_run_is_completed_with_figures_plots_and_the_splits_report(
    evaluated: Path,
) -> None:
    run = only_run()
    report = json.loads((evaluated / "metrics" / "test.json").read_text())
    assert run.data.metrics["test/accuracy"] == report["accuracy"]
    stored = {path.name for path in (evaluated / "mlartifacts").rglob("*") if path.is_file()}
    assert stored >= {*PLOTS, "predictions.csv", "split.json", "test.json"}


def test_evaluating_again_gives_the_same_bytes_and_no_second_run(evaluated: Path) -> None:
    before = outputs(evaluated)
    assert main(evaluated) == 0
    after = outputs(evaluated)
    assert [name for name in before if before[name] != after[name]] == []
    assert only_run()


@pytest.fixture
def copy(evaluated: Path, tmp_path: Path) -> Path:
    """The same project before the stage has run."""
    for path in evaluated.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    for name in ("model", "pixels"):
        shutil.copytree(evaluated / name, tmp_path / name)
    (tmp_path / "metrics").mkdir()
    for name in GIVEN:
        shutil.copy(evaluated / "metrics" / name, tmp_path / "metrics")
    return tmp_path


def test_without_mlflow_everything_is_written_all_the_same(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(copy))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    assert main(copy) == 0
    assert (copy / "metrics" / "test.json").is_file()


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        ("model/model.keras", "is not the model that its training recorded"),
        ("model/training.json", "is not JSON"),
        ("model/novelty.npz", "is not the file that its training recorded"),
        ("split.json", "is not JSON"),
        ("pixels/00000.npy", "is no array file"),
        ("metrics/history.csv", "is no training history"),
        ("split.csv", "split_fingerprint"),
        ("records.csv", "records"),
    ],
)
def test_bad_input_is_one_message_and_writes_nothing(
    copy: Path, spoiled: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / spoiled).write_bytes(b"")
    assert main(copy) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("evaluate: ")
    assert error.count("\n") == 1
    assert set(outputs(copy)) == {f"metrics/{name}" for name in GIVEN}

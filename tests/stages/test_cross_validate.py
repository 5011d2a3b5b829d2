"""The stage on tiny features: the same bytes twice and after a kill, and figures that mean it."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import yaml

from knee.classifier.net.design import BackboneDesign, write_design
from knee.evidence.evaluation.fold_results import FoldResults
from knee.records import records_table
from knee.run import command, parameters
from tests import shards
from tests.records import tables

ROOT = Path(__file__).parents[2]
SIDE, ROWS = 16, 60
OUTPUTS = ("cross_validation.json", "headline.json", "out_of_fold.csv", "heads.csv", "plot.png")


def write_data(root: Path, labels: npt.NDArray[np.int64], **changes: Any) -> None:
    """Pairs of records, and features that tell the classes 0, 1, 0, 1 of these pairs."""
    root.mkdir(exist_ok=True)
    groups = np.arange(ROWS) // 2
    table = tables.records(labels.tolist(), groups.tolist())
    records_table.write_records(table, root / "records.csv")
    shards.save(root / "pixels", np.zeros((ROWS, SIDE, SIDE), np.uint8))
    split = {"record": table["record"], "subset": "train", "fold": 0, "group": groups}
    frame = pd.DataFrame(split)
    frame.loc[frame["record"] < 12, "subset"] = "test"
    frame.to_csv(root / "split.csv", index=False)
    (root / "features").mkdir(exist_ok=True)
    write_design(BackboneDesign("tiny", SIDE, train_from="head"), root / "features")
    values = np.random.default_rng(0).normal(size=(1, ROWS, 4, 4, 8))
    values[..., :4] += 2 * (groups % 2)[:, None, None, None]
    shards.save_features(root / "features", values.astype(np.float16).swapaxes(0, 1))
    settings = dataclasses.asdict(parameters.load(ROOT / "params.yaml"))
    settings["train"] |= {"epochs": 4, "batch_size": 8, "learning_rate": 0.1}
    # Attention takes long to trace.
    settings["head"] |= {"projection_channels": 8, "attention": False, "dense_units": 0}
    settings["cross_validate"] |= {"folds": 3, "repeats": 2, "bootstrap_draws": 50, **changes}
    settings["execution"]["processes"] = 0  # they would take longer to start than all folds
    plain = json.loads(json.dumps(settings))
    (root / "params.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")


def main(root: Path) -> int:
    files = {
        "params": "params.yaml",
        "features": "features",
        "pixels": "pixels",
        "records": "records.csv",
        "split": "split.csv",
        "members": "members.csv",
        "checkpoints": "checkpoints",
        "cross-validation-out": OUTPUTS[0],
        "headline-out": OUTPUTS[1],
        "predictions-out": OUTPUTS[2],
        "heads-out": OUTPUTS[3],
        "plot-out": OUTPUTS[4],
    }
    words = [word for flag, name in files.items() for word in (f"--{flag}", str(root / name))]
    stage = importlib.import_module("stages.cross_validate")
    return int(stage.main(["--backbone", "tiny", *words]))


def outputs(root: Path) -> list[bytes]:
    return [(root / name).read_bytes() for name in OUTPUTS]


def report(root: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((root / OUTPUTS[0]).read_text())
    return values


def told() -> npt.NDArray[np.int64]:
    """Labels that the features tell."""
    return np.arange(ROWS) // 2 % 2


@pytest.fixture(scope="module")
def tiny_backbone() -> Iterator[None]:
    """The tiny backbone is in the table, and each net of these tests is traced once."""
    from tests.classifier.conftest import put_in_table, trace_once

    with pytest.MonkeyPatch.context() as patch:
        put_in_table(patch)
        trace_once(patch)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: None) -> Path:
    """A project in which the stage has run once."""
    del tiny_backbone
    root = tmp_path_factory.mktemp("done")
    write_data(root, told())
    assert main(root) == 0
    return root


@pytest.mark.tf
def test_features_that_tell_the_label_give_high_figures(done: Path) -> None:
    found = report(done)
    assert found["status"] == "done"
    assert found["accuracy"] > 0.9
    assert found["confidence_interval"]["accuracy"]["low"] > 0.75
    assert (found["folds"], found["repeats"], found["subset"]) == (3, 2, "all")
    assert found["synthetic"] is True
    assert (found["leaky"], found["leakage"]) == (False, 0)
    assert json.loads((done / "headline.json").read_text())["accuracy"] == found["accuracy"]


@pytest.mark.tf
def test_every_used_record_is_predicted_once_a_repeat_and_nothing_is_left_behind(
    done: Path,
) -> None:
    table = pd.read_csv(done / "out_of_fold.csv")
    for _, repeat in table.groupby("repeat"):
        assert sorted(repeat["record"]) == list(range(ROWS))
        assert (repeat.groupby("group")["fold"].nunique() == 1).all()
    assert not (done / "checkpoints").exists()


@pytest.mark.tf
def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An uninterrupted run and one that was killed twice: two runs of everything."""
    write_data(tmp_path, told())
    keep, kept = FoldResults.keep, []

    def killed(self: FoldResults, repeat: int, fold: int, *rest: Any) -> None:
        keep(self, repeat, fold, *rest)
        kept.append((repeat, fold))
        if len(kept) in (1, 4):
            raise KeyboardInterrupt

    monkeypatch.setattr(FoldResults, "keep", killed)
    for _ in range(2):
        assert main(tmp_path) == command.INTERRUPTED
        assert not (tmp_path / "cross_validation.json").exists()
    assert main(tmp_path) == 0
    assert kept == [(repeat, fold) for repeat in (0, 1) for fold in (0, 1, 2)]
    assert outputs(tmp_path) == outputs(done)


@pytest.mark.tf
@pytest.mark.usefixtures("tiny_backbone")
def test_other_heads_are_trained_in_the_same_folds_and_change_nothing_of_the_chosen_one(
    done: Path, tmp_path: Path
) -> None:
    head = dataclasses.asdict(parameters.load(done / "params.yaml").head)
    linear = {**head, "squeeze_excitation": False, "projection_channels": 0}
    write_data(tmp_path, told(), repeats=1, heads={"linear": linear, "again": head})
    assert main(tmp_path) == 0
    assert (done / "heads.csv").read_text().count("\n") == 1
    table, heads = (pd.read_csv(tmp_path / name) for name in ("out_of_fold.csv", "heads.csv"))
    text = (tmp_path / "out_of_fold.csv").read_text()
    assert len(table) == ROWS
    assert (done / "out_of_fold.csv").read_text().startswith(text)
    parts = {name: part.drop(columns="head") for name, part in heads.groupby("head")}
    assert set(parts) == {"linear", "again"}
    pd.testing.assert_frame_equal(parts["again"].reset_index(drop=True), table)
    linear_chances, chances = (
        one.filter(like="probability_").to_numpy() for one in (parts["linear"], table)
    )
    assert parts["linear"][["record", "repeat", "fold"]].to_numpy().tolist() == (
        table[["record", "repeat", "fold"]].to_numpy().tolist()
    )
    assert not np.allclose(linear_chances, chances)


@pytest.mark.tf
@pytest.mark.usefixtures("tiny_backbone")
def test_labels_that_the_features_do_not_tell_stay_near_chance(tmp_path: Path) -> None:
    shuffled = np.repeat(np.random.default_rng(1).permutation(told()[::2]), 2)
    write_data(tmp_path, shuffled, repeats=1)
    assert main(tmp_path) == 0
    assert report(tmp_path)["balanced_accuracy"] == pytest.approx(0.5, abs=0.17)


def test_a_whole_backbone_is_not_trained_and_the_outputs_say_so(tmp_path: Path) -> None:
    write_data(tmp_path, told())
    shutil.rmtree(tmp_path / "features" / "features")
    assert main(tmp_path) == 0
    found = report(tmp_path)
    assert found["status"] == "not run"
    assert "whole_backbone" in found["reason"]
    assert "accuracy" not in found
    assert (tmp_path / "out_of_fold.csv").read_text().count("\n") == 1
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.tf
@pytest.mark.usefixtures("tiny_backbone")
def test_a_whole_backbone_is_trained_where_asked_and_development_predicts_no_test_record(
    tmp_path: Path,
) -> None:
    write_data(tmp_path, told(), repeats=1, folds=2, whole_backbone=True, subset="development")
    shutil.rmtree(tmp_path / "features" / "features")
    write_design(BackboneDesign("tiny", SIDE), tmp_path / "features")
    assert main(tmp_path) == 0
    assert (report(tmp_path)["status"], report(tmp_path)["subset"]) == ("done", "development")
    assert sorted(pd.read_csv(tmp_path / "out_of_fold.csv")["record"]) == list(range(12, ROWS))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("folds", 1, "cross_validate.folds: 1 is not a whole number"),
        ("folds", -1, "cross_validate.folds: -1 is not a whole number"),
        ("validation_share", 0, "cross_validate.validation_share: 0 is not a number"),
        ("subset", "test", "cross_validate.subset: 'test' is none of all, development"),
        ("whole_backbone", "yes", "cross_validate.whole_backbone: 'yes' is not true or false"),
        ("heads", {"linear": {}}, "missing key cross_validate.heads.linear.design"),
        ("heads", {"../up": {}}, "cross_validate.heads: '../up' is no name"),
        ("heads", ["linear"], "cross_validate.heads: ['linear'] is not a mapping"),
    ],
)
def test_a_parameter_that_cannot_be_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: object, message: str
) -> None:
    write_data(tmp_path, told(), **{key: value})
    assert main(tmp_path) == 1
    assert f"cross_validate: {message}" in capsys.readouterr().err
    assert not (tmp_path / "cross_validation.json").exists()

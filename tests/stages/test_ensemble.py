"""An ensemble through the stages train, cross_validate and evaluate: nothing is judged unseen."""

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
import yaml

from knee.classifier.net.design import BackboneDesign, write_design
from knee.classifier.net.trained_model import TrainedModel
from knee.evidence.evaluation import predictions
from knee.promotion import candidates
from tests.stages import test_cross_validate, test_evaluate, test_train
from tests.tracking.runs import empty_store

pytestmark = [
    pytest.mark.tf,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]
SIDE, FOLDS = 16, 3
NAMES = test_evaluate.NAMES


def write_data(root: Path) -> None:
    """The records of the evaluate stage, and features of a frozen backbone of random weights."""
    import keras

    from knee.classifier.net import assembly, heads

    test_evaluate.write_data(root)
    design = BackboneDesign("tiny", SIDE, train_from="head")
    (root / "features").mkdir()
    write_design(design, root / "features")
    keras.utils.set_random_seed(42)  # the frozen part that training builds
    frozen = assembly.build(design, heads.HeadDesign(projection_channels=8), 3).frozen
    images = np.load(root / "pixels.npy")[..., np.newaxis].astype(np.float32)
    np.save(root / "features" / "features.npy", np.asarray(frozen(images))[np.newaxis])
    (root / "features" / "embedding.json").write_text('{"views": ["image"]}')
    (root / "rows.csv").write_text("record,class_index,pixel_row\n")
    settings = yaml.safe_load(Path("params.yaml").read_text())
    settings["train"] |= {"members": FOLDS, "members_seeds": 2, "epochs": 3, "batch_size": 8}
    settings["train"] |= {"learning_rate": 0.02, "keep_epoch": "last"}
    settings["head"] |= {"projection_channels": 8, "attention_heads": 2, "dense_units": 0}
    settings["cross_validate"] |= {"bootstrap_draws": 50}
    settings["evaluate"] |= {"bootstrap_draws": 50, "strangers_per_kind": 1}
    settings["caution"] |= {"set_level": 0.8}
    (root / "params.yaml").write_text(yaml.safe_dump(settings))


def run(root: Path, stage: str, arguments: list[str]) -> None:
    words = ["tiny" if word == "mobilenet" else word for word in arguments]
    named = [] if "--params" in words else ["--params", str(root / "params.yaml")]
    assert importlib.import_module(f"stages.{stage}").main([*words, *named]) == 0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project in which the three stages have run."""
    from tests.classifier.conftest import put_in_table, trace_once

    root = tmp_path_factory.mktemp("ensemble")
    with pytest.MonkeyPatch.context() as patch:
        put_in_table(patch)
        trace_once(patch)
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        shutil.copy(empty_store(tmp_path_factory.getbasetemp()), root / "mlflow.db")
        write_data(root)
        (root / "metrics").mkdir()
        run(root, "train", test_train.arguments(root))
        shutil.copy(root / "members.csv", root / "metrics" / "members.csv")
        shutil.copy(root / "history.csv", root / "metrics" / "history.csv")
        assert test_cross_validate.main(root) == 0
        run(root, "evaluate", test_evaluate.arguments(root))
        yield root


def predicted(root: Path) -> pd.DataFrame:
    return predictions.read_predictions((root / "metrics" / "predictions.csv").read_bytes())


def report(root: Path, name: str) -> Any:
    return json.loads((root / name).read_text())


def test_every_development_image_is_predicted_once_out_of_fold(project: Path) -> None:
    split = pd.read_csv(project / "split.csv")
    members = pd.read_csv(project / "members.csv")
    development = split.loc[split["subset"] != "test", "record"]
    assert sorted(members["record"]) == sorted(development)
    assert (members.groupby("group")["fold"].nunique() == 1).all()  # a patient is in one fold


def test_predictions_are_of_images_that_their_nets_have_not_seen(project: Path) -> None:
    table, split = predicted(project), pd.read_csv(project / "split.csv")
    by_subset = {name: set(part["record"]) for name, part in table.groupby("subset")}
    assert set(by_subset) == {"development", "test"}
    assert by_subset["test"] == set(split.loc[split["subset"] == "test", "record"])
    members = pd.read_csv(project / "members.csv").set_index("record")
    own = table[table["subset"] == "development"].set_index("record")
    columns = [f"{predictions.PREFIX}{name}" for name in NAMES]
    np.testing.assert_array_equal(own[columns], members.loc[own.index, columns])


def test_the_cross_validation_is_that_of_the_members_and_trains_nothing(project: Path) -> None:
    found = report(project, "cross_validation.json")
    assert (found["status"], found["subset"], found["repeats"]) == ("done", "development", 1)
    assert (found["folds"], found["members_seeds"], found["records"]) == (FOLDS, 2, 24)
    members = pd.read_csv(project / "members.csv")
    assert found["accuracy"] == pytest.approx((members["label"] == members["predicted"]).mean())


def test_the_record_has_the_limits_that_the_loaded_model_applies(project: Path) -> None:
    trained = TrainedModel.read(project / "model")
    assert trained.limits.folds == FOLDS
    conformal = trained.training["conformal"]["per_class"]
    assert {one["validation_records"] for one in conformal.values()} == {8}
    assert trained.training["calibration"]["method"] == "none"  # 24 images are too few
    assert trained.training["temperature"] == 1.0
    sets = predicted(project).query("subset == 'test'")["prediction_set"]
    assert all(set(names.split("|")) <= set(NAMES) for names in sets if names)
    assert any(sets)


def test_models_are_chosen_by_out_of_fold_predictions(project: Path) -> None:
    made = candidates.read_candidate("tiny", project / "model", project / "metrics")
    assert made.chosen_by == "development"
    (project / "metrics" / "cross_validation.json").write_text('{"accuracy": 0.5}')
    made = candidates.read_candidate("tiny", project / "model", project / "metrics")
    assert made.judged == {"accuracy": 0.5}


def test_a_loaded_model_answers_as_the_stages_judged_it(project: Path) -> None:
    import knee

    test = predicted(project).query("subset == 'test'")
    loaded = knee.load(project / "model")
    observed = loaded.observe(np.load(project / "pixels.npy")[test["record"]])
    expected = test[[f"{predictions.PREFIX}{name}" for name in NAMES]]
    np.testing.assert_allclose(observed.probabilities, expected, atol=2e-5)
    limits = loaded.trained.limits
    assert limits.sets(expected.to_numpy(), observed.folds).tolist() == (
        test["prediction_set"].tolist()
    )

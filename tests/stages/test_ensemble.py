"""An ensemble through its stages: every judgement is of images that the nets have not seen."""

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
from knee.evidence.uncertainty import calibration
from knee.promotion import candidates
from knee.run import parameters
from knee.storage import provenance
from knee.tracking.live import TrainingRun
from tests import shards
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
    design = BackboneDesign("mobilenet", SIDE, train_from="head")
    (root / "features").mkdir()
    write_design(design, root / "features")
    keras.utils.set_random_seed(42)  # the frozen part that training builds
    frozen = assembly.build(design, heads.HeadDesign(projection_channels=8), 3).frozen
    images = shards.load(root / "pixels")[..., np.newaxis].astype(np.float32)
    shards.save_features(root / "features", np.asarray(frozen(images))[:, np.newaxis])
    (root / "rows.csv").write_text("record,class_index,pixel_row\n")
    settings = yaml.safe_load(Path("params.yaml").read_text())
    settings["train"] |= {"members": FOLDS, "members_seeds": 2, "epochs": 3, "batch_size": 8}
    settings["train"] |= {"learning_rate": 0.02, "keep_epoch": "last"}
    settings["head"] |= {"attention": False, "dense_units": 0}  # attention takes long to trace
    settings["cross_validate"] |= {"bootstrap_draws": 50}
    settings["execution"]["processes"] = 0  # they would take longer to start than all members
    settings["evaluate"] |= {"bootstrap_draws": 50, "strangers_per_kind": 1}
    settings["caution"] |= {"set_level": 0.8}
    settings["model"] |= {
        "joined": ["ensemble"],
        "distilled": ["mobilenet"],
        "candidates": ["mobilenet", "xception", "ensemble", "mobilenet_distilled"],
    }
    (root / "params.yaml").write_text(yaml.safe_dump(settings))


def run(root: Path, stage: str, arguments: list[str]) -> None:
    words = ["mobilenet" if word == "tiny" else word for word in arguments]
    named = [] if "--params" in words else ["--params", str(root / "params.yaml")]
    assert importlib.import_module(f"stages.{stage}").main([*words, *named]) == 0


@pytest.fixture(scope="module")
def build() -> Any:
    """What builds a net afresh for each training."""
    from knee.classifier.training import training

    return training.build


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, build: Any) -> Iterator[Path]:
    """A project in which the three stages have run."""
    from knee.classifier.net import backbones
    from knee.classifier.training import training
    from tests.classifier.conftest import tiny_net, trace_once

    root = tmp_path_factory.mktemp("ensemble")
    with pytest.MonkeyPatch.context() as patch:
        row = backbones.Backbone(tiny_net, 1 / 127.5, -1.0, published_squeeze=False)
        patch.setitem(backbones.BACKBONES, "mobilenet", row)
        assert training.build is build  # before the patch
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
    made = candidates.read_candidate("mobilenet", project / "model", project / "metrics")
    assert made.chosen_by == "development"
    (project / "metrics" / "cross_validation.json").write_text('{"accuracy": 0.5}')
    made = candidates.read_candidate("mobilenet", project / "model", project / "metrics")
    assert made.judged == {"accuracy": 0.5}


def test_a_loaded_model_answers_as_the_stages_judged_it(project: Path) -> None:
    import knee

    test = predicted(project).query("subset == 'test'")
    loaded = knee.load(project / "model")
    observed = loaded.observe(shards.load(project / "pixels")[test["record"]])
    expected = test[[f"{predictions.PREFIX}{name}" for name in NAMES]]
    np.testing.assert_allclose(observed.probabilities, expected, atol=2e-5)
    limits = loaded.trained.limits
    assert limits.sets(expected.to_numpy(), observed.folds).tolist() == (
        test["prediction_set"].tolist()
    )


@pytest.fixture(scope="module")
def joined(project: Path) -> Path:
    """A folder with models, metrics and features of two backbones, and of both joined.

    The second's nets are the first's with other weights.
    """
    from knee.classifier.net import saved

    root = project / "both"
    first, second = root / "models" / "mobilenet", root / "models" / "xception"
    shutil.copytree(project / "model", first)
    shutil.copytree(project / "model", second)
    model = saved.load_model(first / "model.keras")
    model.name = "xception"
    saved.apply_temperature(model, -2.0)
    record = json.loads((first / "training.json").read_text()) | {
        "backbone": "xception",
        "model_sha256": saved.save_model(model, second / "model.keras"),
    }
    (second / "training.json").write_text(json.dumps(provenance.sealed(record)))
    members = pd.read_csv(project / "members.csv")
    columns = [f"{predictions.PREFIX}{name}" for name in NAMES]
    for name in ("mobilenet", "xception"):
        metrics = root / "metrics" / name
        metrics.mkdir(parents=True)
        members.to_csv(metrics / "members.csv", index=False)
        shutil.copy(project / "history.csv", metrics)
        shutil.copy(project / "cross_validation.json", metrics)
        shutil.copytree(project / "features", root / "features" / name)
        members[columns] = members[columns].to_numpy()[:, ::-1]
    files = {
        **{name: project / f"{name}.csv" for name in ("records", "split")},
        "pixels": project / "pixels",
        **{name: root / name for name in ("models", "metrics", "features")},
        "model-out": root / "models" / "ensemble",
        "history-out": root / "history.csv",
        "out-of-fold-out": root / "members.csv",
        "cross-validation-out": root / "cross_validation.json",
        "headline-out": root / "headline.json",
        "predictions-out": root / "out_of_fold.csv",
        "plot-out": root / "folds.png",
        "params": project / "params.yaml",
    }
    words = [word for flag, file in files.items() for word in (f"--{flag}", str(file))]
    run(project, "join", ["--backbone", "ensemble", *words])
    return root


def test_the_joint_net_answers_the_mean_of_its_parts_in_keras_and_in_openvino(
    project: Path, joined: Path
) -> None:
    import knee
    from knee.classifier.attribution import grad_cam
    from knee.classifier.net import saved

    pixels = shards.load(project / "pixels")
    trained = [TrainedModel.read(joined / "models" / name) for name in ("mobilenet", "xception")]
    parts = [saved.predict(one.load(), pixels) for one in trained]
    joint = TrainedModel.read(joined / "models" / "ensemble")
    expected = calibration.scaled(
        calibration.averaged(np.stack(parts)), joint.training["temperature"]
    )
    net = joint.load()
    np.testing.assert_allclose(saved.predict(net, pixels), expected, atol=1e-5)
    observed = knee.load(joined / "models" / "ensemble").observe(pixels)
    np.testing.assert_allclose(observed.probabilities, expected, atol=1e-5)
    assert observed.folds is not None
    assert observed.folds.shape == (len(pixels), FOLDS, len(NAMES))
    assert np.isfinite(joint.limits.scores(observed.features)).all()
    assert joint.training["weights"] == net.count_params() > parts[0].size
    maps = grad_cam.grad_cam(grad_cam.halves(net), pixels[:2], np.array([0, 1]))
    assert maps.shape == (2, SIDE, SIDE)


def test_joint_out_of_fold_predictions_are_the_mean_of_those_of_the_parts(joined: Path) -> None:
    columns = [f"{predictions.PREFIX}{name}" for name in NAMES]
    one, other = (
        pd.read_csv(joined / "metrics" / name / "members.csv") for name in ("mobilenet", "xception")
    )
    both = pd.read_csv(joined / "members.csv")
    mean = calibration.averaged(np.stack([one[columns], other[columns]]))
    temperature = json.loads((joined / "models/ensemble/training.json").read_text())["temperature"]
    np.testing.assert_allclose(both[columns], calibration.scaled(mean, temperature), atol=1e-6)
    assert both[["record", "fold"]].equals(one[["record", "fold"]])
    found = report(joined, "cross_validation.json")
    assert (found["backbone"], found["folds"]) == ("ensemble", FOLDS)
    assert found["accuracy"] == pytest.approx((both["label"] == both["predicted"]).mean())


def test_what_teaches_a_distilled_net_has_not_seen_what_judges_it(project: Path) -> None:
    from knee.classifier.features import feature_source
    from knee.classifier.training import distillation, observe
    from knee.classifier.training.fold_training import Recipe

    settings = parameters.load(project / "params.yaml")
    members = pd.read_csv(project / "members.csv").assign(pixel_row=lambda table: table["record"])
    teacher = TrainedModel.read(project / "model")
    source = feature_source.open_source(project / "features", project / "pixels")
    recipe = Recipe.of(settings, "student", project / "features", len(NAMES))
    rows, held = distillation.taught(recipe, teacher, members, source)
    own = members.set_index("pixel_row")
    assert set(held["fold"]) == {distillation.HELD_BACK}
    assert distillation.HELD_BACK not in set(own.loc[rows.rows, "fold"])
    assert not set(held["group"]) & set(own.loc[rows.rows, "group"])
    # Its teachers are the members whose predictions of the held-back images are out of fold.
    model = teacher.load()
    made = np.asarray(observe.observe(model, source, held["pixel_row"].to_numpy(), FOLDS).folds)
    columns = [f"{predictions.PREFIX}{name}" for name in NAMES]
    np.testing.assert_allclose(made[:, distillation.HELD_BACK], held[columns], atol=2e-5)
    taught = np.asarray(observe.observe(model, source, rows.rows, FOLDS).folds)
    np.testing.assert_array_equal(rows.soft_labels, taught[:, distillation.HELD_BACK])


class KilledError(BaseException):
    """Nobody catches it."""


def killed(*_: object) -> None:
    raise KilledError


def test_a_distilled_net_is_one_net_that_the_held_back_fold_judges_killed_or_not(
    project: Path, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A net that was traced for the first epoch does not go on from another one.
    monkeypatch.setattr("knee.classifier.training.training.build", build)
    flags = {"--members": "members.csv", "--model": "model", "--out-of-fold-out": "held_back.csv"}
    flags |= {"--model-out": "distilled", "--history-out": "of_one.csv"}
    for name in ("features", "pixels", "records", "split", "checkpoints", "params"):
        kinds = {"features": "", "checkpoints": "", "pixels": "", "params": ".yaml"}
        flags[f"--{name}"] = f"{name}{kinds.get(name, '.csv')}"
    words = [word for flag, file in flags.items() for word in (flag, str(project / file))]
    run(project, "distil", ["--backbone", "mobilenet", *words])
    made = {name: (project / name).read_bytes() for name in ("of_one.csv", "held_back.csv")}
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(TrainingRun, "log_epoch", killed)
        run(project, "distil", ["--backbone", "mobilenet", *words])
    run(project, "distil", ["--backbone", "mobilenet", *words])  # goes on after the first epoch
    assert made == {name: (project / name).read_bytes() for name in made}
    trained = TrainedModel.read(project / "distilled")
    assert (trained.training["backbone"], trained.limits.folds) == ("mobilenet_distilled", 0)
    held = pd.read_csv(project / "held_back.csv")
    members = pd.read_csv(project / "members.csv")
    assert held["record"].tolist() == members.loc[members["fold"] == 0, "record"].tolist()
    of_classes = trained.training["conformal"]["per_class"].values()
    assert sum(one["validation_records"] for one in of_classes) == len(held)

"""The train stage on tiny images from random weights: what it records and what it leaves."""

from __future__ import annotations

import dataclasses
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
from knee.reading import negatives
from knee.reading.canonical_image import DicomRule
from knee.records import records_table
from knee.run import parameters
from knee.run.errors import UserError
from knee.storage import provenance
from knee.tracking.live import TrainingRun
from tests import shards
from tests.classifier.conftest import put_in_table, trace_once
from tests.tracking.runs import empty_store

pytestmark = [
    pytest.mark.tf,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]
NAMES = ["Normal", "Osteoporosis"]
SIDE, ROWS = 16, 24


def write_data(root: Path) -> None:
    """Records, pixels, split and training rows of two classes that brightness tells apart."""
    number = np.arange(ROWS)
    values: dict[str, Any] = {
        name: "" if kind == "str" else 0 for name, kind in records_table.COLUMNS.items()
    }
    values |= {
        "record": number,
        "source": [f"{NAMES[row % 2]}/{row:02}.png" for row in number],
        "label": [NAMES[row % 2] for row in number],
        "class_index": number % 2,
        "status": "used",
        "pixel_row": number,
        "picture": number,
        "group": number,
    }
    records_table.write_records(pd.DataFrame(values), root / "records.csv")
    noise = np.random.default_rng(0).integers(0, 90, (ROWS, SIDE, SIDE))
    shards.save(root / "pixels", (noise + 100 * (number % 2)[:, None, None]).astype(np.uint8))
    subset = np.array(["train", "train", "val", "val", "train", "train", "test", "test"])
    split = {"record": number, "subset": subset[number % 8], "fold": 0, "group": number}
    pd.DataFrame(split).to_csv(root / "split.csv", index=False)
    rows = number[subset[number % 8] == "train"]
    table = pd.DataFrame({"record": rows, "class_index": rows % 2, "pixel_row": rows})
    table.to_csv(root / "rows.csv", index=False)
    (root / "features").mkdir()
    write_design(BackboneDesign("tiny", SIDE), root / "features")
    settings = dataclasses.asdict(parameters.load(ROOT / "params.yaml"))
    settings["train"] |= {"epochs": 2, "batch_size": 4}
    settings["head"] |= {"projection_channels": 8, "attention_heads": 2, "dense_units": 8}
    plain = json.loads(json.dumps(settings))
    (root / "params.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")


def arguments(root: Path) -> list[str]:
    files = {
        "params": "params.yaml",
        "features": "features",
        "pixels": "pixels",
        "records": "records.csv",
        "split": "split.csv",
        "rows": "rows.csv",
        "checkpoints": "checkpoints",
        "model-out": "model",
        "history-out": "history.csv",
        "out-of-fold-out": "members.csv",
    }
    pairs = [(f"--{flag}", str(root / name)) for flag, name in files.items()]
    return ["--backbone", "tiny", *(word for pair in pairs for word in pair)]


def main(root: Path) -> int:
    code: int = importlib.import_module("stages.train").main(arguments(root))
    return code


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project in which the stage has run once."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        put_in_table(patch)
        trace_once(patch)
        patch.setenv("DVC_ROOT", str(root))
        patch.setattr(negatives, "MINIMUM_IMAGES", ROWS // 2)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        shutil.copy(empty_store(tmp_path_factory.getbasetemp()), root / "mlflow.db")
        write_data(root)
        assert main(root) == 0
        yield root


def test_the_record_says_how_an_image_becomes_the_models_input(trained: Path) -> None:
    facts = json.loads((trained / "model" / "training.json").read_text())
    settings = parameters.load(trained / "params.yaml").ingest
    assert facts["preprocessing"] == {
        "side_pixels": SIDE,
        "fit": settings.fit,
        "crop_borders": settings.crop_borders,
    }
    assert facts["dicom"] == DicomRule.of(settings).as_facts()
    assert facts["classes"] == NAMES


def test_a_model_of_synthetic_images_lists_them_by_their_pixels(trained: Path) -> None:
    facts = json.loads((trained / "model" / "training.json").read_text())
    pixels = shards.load(trained / "pixels")
    assert facts["synthetic_images"] == sorted({*map(provenance.image_digest, pixels)})


def test_a_model_keeps_the_median_of_the_images_it_learned_from_and_of_no_other(
    trained: Path,
) -> None:
    trained_model = TrainedModel.read(trained / "model")
    pixels = shards.load(trained / "pixels")
    learned = np.arange(ROWS) % 8 < 6  # train and val
    kept = trained_model.canonical.typical_image
    assert kept == negatives.as_text(negatives.median_image(pixels[learned]))
    assert kept != negatives.as_text(negatives.median_image(pixels))


def test_history_has_a_row_an_epoch_and_the_checkpoints_are_gone(trained: Path) -> None:
    assert len(pd.read_csv(trained / "history.csv")) == 2
    assert not (trained / "checkpoints").exists()


def test_the_model_is_the_recorded_one_and_takes_raw_pixels(trained: Path) -> None:
    from knee.classifier.net import saved

    facts = json.loads((trained / "model" / "training.json").read_text())
    model = saved.load_model(trained / "model" / "model.keras", facts["model_sha256"])
    probabilities = saved.predict(model, shards.load(trained / "pixels")[:3])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_saved_model_is_calibrated_and_knows_its_limits(trained: Path) -> None:
    from knee.classifier.net import saved
    from knee.evidence.uncertainty import calibration, prediction_limits
    from knee.storage import provenance

    facts = json.loads((trained / "model" / "training.json").read_text())
    model = saved.load_model(trained / "model" / "model.keras", facts["model_sha256"])
    split = pd.read_csv(trained / "split.csv")
    held = np.flatnonzero(split["subset"] == "val")
    chances = saved.predict(model, shards.load(trained / "pixels")[held])
    found = calibration.fit(held % 2, chances, held)
    assert found.log_loss_before == pytest.approx(facts["calibration"]["log_loss_after"], abs=1e-4)
    assert facts["calibration"]["log_loss_after"] <= facts["calibration"]["log_loss_before"]
    assert facts["calibration"]["records"] == len(held)
    for threshold in facts["conformal"]["per_class"].values():  # three records, nine are needed
        assert threshold["always_in_set"]
        assert threshold["threshold"] is None
    novelty_file = trained / "model" / prediction_limits.NOVELTY_FILE
    if facts.get("novelty"):
        assert provenance.fingerprint(novelty_file) == facts["novelty"]["sha256"]
    else:
        assert not novelty_file.exists()


def test_a_killed_training_ends_with_the_files_it_would_have_had(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from knee.classifier.net import saved

    class KilledError(BaseException):
        pass

    def kill(*_: object) -> None:
        raise KilledError

    for name in ("records.csv", "pixels", "split.csv", "rows.csv", "params.yaml"):
        shards.copy(trained / name, tmp_path)
    shutil.copytree(trained / "features", tmp_path / "features")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "log_epoch", kill)
        with pytest.raises(KilledError):
            main(tmp_path)
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "history.csv").exists()
    assert main(tmp_path) == 0
    assert (tmp_path / "history.csv").read_bytes() == (trained / "history.csv").read_bytes()
    one, two = (
        json.loads((root / "model" / "training.json").read_text()) for root in (trained, tmp_path)
    )
    own = {"execution", "model_sha256", "novelty", "record_sha256"}  # hold times
    assert {k: v for k, v in one.items() if k not in own} == {
        k: v for k, v in two.items() if k not in own
    }
    pixels = shards.load(trained / "pixels")
    models = [saved.load_model(root / "model" / "model.keras") for root in (trained, tmp_path)]
    first, second = (saved.predict(model, pixels) for model in models)
    np.testing.assert_array_equal(first, second)


def embedded_by(root: Path, seed: int) -> None:
    (root / "features" / "embedding.json").write_text(f'{{"views": ["image"], "seed": {seed}}}')


def copies_told_by(root: Path, seed: int) -> None:
    settings = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    settings["ingest"]["lineage_patterns"] = [f"_copy{seed}$"]
    (root / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


@pytest.mark.parametrize("change", [embedded_by, copies_told_by])
def test_a_killed_training_is_not_resumed_on_other_features_or_other_chosen_copies(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    from knee.classifier.training import one_net

    for name in ("records.csv", "pixels", "split.csv", "rows.csv", "params.yaml"):
        shards.copy(trained / name, tmp_path)
    (tmp_path / "features").mkdir()
    write_design(BackboneDesign("tiny", SIDE, train_from="head"), tmp_path / "features")
    values = np.zeros((ROWS, 1, 4, 4, 8), np.float16)
    shards.save_features(tmp_path / "features", values)
    embedded_by(tmp_path, 1)
    keys = []

    def train(*arguments: Any) -> Any:
        keys.append(arguments[6].key)
        raise UserError("killed")

    monkeypatch.setattr(one_net, "train", train)
    for seed in (2, 2, 3):
        change(tmp_path, seed)
        assert main(tmp_path) == 1
    assert keys[0] == keys[1]
    assert keys[1] != keys[2]


def test_several_workers_train_in_the_place_of_the_stage_and_are_recorded(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That they do it as one process does: tests/classifier/training."""
    from knee.classifier.training import fit, synchronous_training

    for name in ("records.csv", "pixels", "split.csv", "rows.csv"):
        shards.copy(trained / name, tmp_path)
    shutil.copytree(trained / "features", tmp_path / "features")
    settings = yaml.safe_load((trained / "params.yaml").read_text(encoding="utf-8"))
    settings["train"]["workers"], settings["execution"]["trusted_network"] = 2, True
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    counts = []

    def train(group: Any, learner: Any, plan: Any, data: Any, state: Any, on_epoch: Any) -> Any:
        counts.append(group.count)
        return fit.fit(
            learner, data, plan.optimisation, plan.augmentation, state, on_epoch=on_epoch
        )

    monkeypatch.setattr(synchronous_training, "train", train)
    assert main(tmp_path) == 0
    assert counts == [2]
    assert (tmp_path / "history.csv").read_bytes() == (trained / "history.csv").read_bytes()
    facts = json.loads((tmp_path / "model" / "training.json").read_text(encoding="utf-8"))
    assert facts["parameters"]["train.workers"] == 2


def test_damaged_features_are_one_message(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("records.csv", "pixels", "split.csv", "rows.csv", "params.yaml"):
        shards.copy(trained / name, tmp_path)
    (tmp_path / "features").mkdir()
    design = BackboneDesign("tiny", SIDE)
    write_design(dataclasses.replace(design, train_from="head"), tmp_path / "features")
    (tmp_path / "features" / "embedding.json").write_text('{"views": ["image"]}')
    (tmp_path / "features" / "features").mkdir()
    (tmp_path / "features" / "features" / "00000.npy").write_bytes(b"none")
    assert main(tmp_path) == 1
    error = capsys.readouterr().err
    assert "train: " in error
    assert "00000.npy is no array file" in error
    assert not (tmp_path / "model").exists()

"""The batch predictor: evaluate's numbers from files, and a reason for each file without any."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image

from knee.classifier.net import trained_model
from knee.evidence.uncertainty import prediction_limits
from knee.intake.examination import Examiner
from knee.prediction import synthetic_model
from knee.reading import decoded, prepare, source_files
from knee.reading.canonical_image import Canonical
from knee.statistics import scores
from knee.storage import provenance
from knee.synthetic import non_radiographs
from tests.reading import dicom_files

ROOT = Path(__file__).parents[2]
SIDE = 24
BONES = ((11, 13), (3.5, 4.5), (150, 200))  # centre and width in pixels, brightness
NAMES = ["Normal", "Osteopenia", "Osteoporosis"]


def write_films(folder: Path) -> list[Path]:
    """Films of several shapes and formats in class folders, and two files that are none."""
    random = np.random.default_rng(0)
    made = []
    for number in range(12):
        place = folder / NAMES[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        level = 60 * (number % 3)
        values = random.integers(0, 90, (30 + number, 40 - number)) + level
        path = place / f"{number:02}.{('png', 'jpg', 'tif')[number % 3]}"
        Image.fromarray(values.astype(np.uint8)).save(path)
        made.append(path)
    (folder / "Normal" / "notes.txt").write_text("no film")
    (folder / "Normal" / "cut.png").write_bytes(made[0].read_bytes()[:90])
    return made


def shafts(count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Films of a kind: a bright bone of any width and brightness, upright on black."""
    random = np.random.default_rng(seed)
    centre, width, level = (random.uniform(low, high, (count, 1, 1)) for low, high in BONES)
    bone = level * np.exp(-np.square((np.arange(SIDE) - centre) / width))
    noise = np.abs(random.normal(0, 6, (count, SIDE, SIDE)))
    return np.asarray((bone + noise).clip(0, 255), np.uint8)


def write_model(folder: Path) -> None:
    """A whole classifier with random weights and its record."""
    from knee.classifier.net import saved
    from tests.tiny_classifier import classifier

    model = classifier(SIDE)
    made = saved.predict(saved.with_features(model), shafts(120, 1))
    both = prediction_limits.split_outputs(made, len(NAMES))
    number = np.arange(len(made))
    learned = prediction_limits.learn(
        prediction_limits.Observed(both.probabilities[::2], both.features[::2]),
        number[::2] // 2 % 3,
        number[::2],
        both.features[1::2],
        method="none",
        level=0.8,
        quantile=0.98,
    )
    folder.mkdir()
    facts = {
        **prediction_limits.write(learned, NAMES, folder),
        "backbone": "tiny",
        "classes": NAMES,
        "model_sha256": saved.save_model(model, folder / "model.keras"),
        "preprocessing": {"side_pixels": SIDE, "fit": "letterbox", "crop_borders": True},
        "split_protocol": "grouped",
        "synthetic": False,
    }
    (folder / "training.json").write_text(json.dumps(provenance.sealed(facts)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with films and a model."""
    root = tmp_path_factory.mktemp("predict")
    write_films(root / "films")
    write_model(root / "model")
    return root


def main(trained: Path, *arguments: str) -> int:
    words = ["--model", str(trained / "model"), "--params", str(ROOT / "params.yaml"), *arguments]
    code: int = importlib.import_module("stages.predict").main(words)
    return code


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.tf
@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_probabilities_are_those_that_evaluate_gets_from_ingested_pixels(
    trained: Path, tmp_path: Path, engine: str
) -> None:
    from knee.classifier.net import saved

    if engine == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    canonical = Canonical(SIDE, "letterbox", 64.0, crop_borders=True)
    sources = source_files.list_sources(trained / "films")
    found = [Examiner(canonical, b"key").examine(source).canonical for source in sources]
    pixels = np.stack([image for image in found if image is not None])
    model = saved.load_model(trained / "model" / "model.keras")
    expected = saved.predict(model, pixels)
    out = tmp_path / "out.csv"
    assert main(trained, str(trained / "films"), "--engine", engine, "--out", str(out)) == 0
    used = [row for row in rows(out) if not row["reason"]]
    assert [row["path"] for row in used] == [
        str(trained / "films" / source.name)
        for source, image in zip(sources, found, strict=True)
        if image is not None
    ]
    chances = [[float(row[f"probability_{name}"]) for name in NAMES] for row in used]
    np.testing.assert_allclose(chances, expected, atol=1e-5)
    assert [row["predicted"] for row in used] == [NAMES[n] for n in expected.argmax(axis=1)]
    medians = [NAMES[n] for n in scores.median_class(expected)]
    assert [row["median_class"] for row in used] == medians


@pytest.mark.tf
@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_sets_and_unlikeness_are_those_of_the_models_own_features(
    trained: Path, tmp_path: Path, engine: str
) -> None:
    from knee.classifier.net import saved

    if engine == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    films, drawn = shafts(20, 2), non_radiographs.draw_all(SIDE, 2, 0)
    strange = np.concatenate([drawn[kind] for kind in ("noise", "scene", "text", "clouds")])
    pictures = np.concatenate([films, strange])
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    folder = shutil.copytree(trained / "model", tmp_path / "model")
    facts = json.loads((folder / "training.json").read_text())
    facts["preprocessing"]["crop_borders"] = False  # the black beside a bone is part of the film
    (folder / "training.json").write_text(json.dumps(provenance.sealed(facts)))
    limits = prediction_limits.read(folder, facts)
    model = saved.with_features(saved.load_model(folder / "model.keras"))
    expected = prediction_limits.split_outputs(saved.predict(model, pictures), len(NAMES))
    out = tmp_path / "out.csv"
    given = [str(tmp_path / f"{number}.png") for number in range(len(pictures))]
    assert main(tmp_path, *given, "--engine", engine, "--out", str(out)) == 0
    found = rows(out)
    assert [row["prediction_set"] for row in found] == list(limits.sets(expected.probabilities))
    unlike = [float(row["out_of_distribution"]) for row in found]
    np.testing.assert_allclose(unlike, limits.scores(expected.features), rtol=1e-3)
    flags = [row["is_out_of_distribution"] == "True" for row in found]
    assert sum(flags[:20]) <= 2  # films that the model has not seen, of the same kind
    assert all(flags[20:])
    assert [row["warning"] == prediction_limits.WARNING for row in found] == flags


@pytest.mark.tf
def test_a_model_from_before_caution_still_predicts(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "model", tmp_path / "model")
    path = tmp_path / "model" / "training.json"
    facts = json.loads(path.read_text())
    later = ("conformal", "novelty", "temperature", provenance.SEAL)
    path.write_text(json.dumps({k: v for k, v in facts.items() if k not in later}))
    out = tmp_path / "out.json"
    given = [str(trained / "films"), "--engine", "tensorflow", "--out", str(out)]
    assert main(tmp_path, *given) == 0
    (used, *_) = [row for row in json.loads(out.read_text()) if not row["reason"]]
    assert (used["prediction_set"], used["out_of_distribution"], used["warning"]) == ("", None, "")


@pytest.mark.tf
def test_a_model_of_drawn_images_refuses_others_and_each_row_begins_with_what_it_is(
    trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "model", tmp_path / "model")
    drawn, other = sorted((trained / "films" / "Normal").glob("*.png"))[:2]
    canonical = Canonical(SIDE, "letterbox", 64.0, crop_borders=True)
    pixels = prepare.from_bytes(drawn.read_bytes(), canonical)
    path = tmp_path / "model" / "training.json"
    facts = json.loads(path.read_text())
    facts |= {"synthetic": True, "synthetic_images": [provenance.image_digest(pixels)]}
    path.write_text(json.dumps(provenance.sealed(facts)))
    given = [str(drawn), str(other), "--engine", "tensorflow", "--out", str(tmp_path / "out.csv")]
    assert main(tmp_path, *given) == 0
    own, refused = rows(tmp_path / "out.csv")
    assert next(iter(own)) == next(iter(refused)) == synthetic_model.COLUMN
    assert own[synthetic_model.COLUMN] == refused[synthetic_model.COLUMN] == synthetic_model.WARNING
    assert (bool(own["predicted"]), own["reason"]) == (True, "")
    assert (refused["predicted"], refused["reason"]) == ("", synthetic_model.REFUSAL)
    assert main(tmp_path, *given, synthetic_model.FLAG) == 0
    assert all(row["predicted"] for row in rows(tmp_path / "out.csv"))


@pytest.mark.tf
def test_a_file_that_cannot_be_used_has_its_reason_and_no_prediction(
    trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    given = [str(trained / "films" / "Normal"), "--engine", "tensorflow", "--out", str(out)]
    assert main(trained, *given) == 0
    table: list[dict[str, Any]] = json.loads(out.read_text())
    spoiled = {Path(row["path"]).name: row for row in table if row["reason"]}
    assert set(spoiled) == {"cut.png", "notes.txt"}
    for row in spoiled.values():
        assert row["predicted"] == row["median_class"] == ""
        assert row["probability_Normal"] is None
        assert row["is_out_of_distribution"] is None
        assert row["warning"] == row["prediction_set"] == ""
    assert len(table) == 6
    assert {row["model"] for row in table} == {str(trained / "model")}


@pytest.mark.tf
def test_labels_give_the_figures_of_test_json(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(trained, str(trained / "films"), "--labels", "--engine", "tensorflow") == 0
    report = json.loads(capsys.readouterr().out)
    wanted = {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "quadratic_kappa"}
    wanted |= {"macro_auc", "log_loss", "expected_calibration_error", "per_class"}
    assert wanted <= set(report)
    assert report["records"] == 12
    assert set(report["per_class"]) == set(NAMES)
    assert report["confidence_interval"]["accuracy"]["low"] <= report["accuracy"]


@pytest.mark.tf
def test_a_folder_without_any_film_is_a_failure(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("none")
    given = [str(tmp_path / "a.txt"), "--engine", "tensorflow"]
    assert main(trained, *given, "--out", str(tmp_path / "o.csv")) == 1
    (row,) = rows(tmp_path / "o.csv")
    assert row["reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.png"], "absent.png does not exist"),
        (["{films}", "--model", "{films}"], "training.json does not exist"),
        (["{films}", "{films}", "--labels"], "give one folder"),
        (["{films}", "--model", "models:champion"], "expected models:/NAME@champion"),
    ],
)
def test_a_users_mistake_is_one_message(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    write_films(films)
    (tmp_path / "model").mkdir()
    facts = dict.fromkeys(trained_model.NEEDED, "") | {
        "classes": NAMES,
        "preprocessing": {"side_pixels": SIDE, "fit": "squash", "crop_borders": False},
    }
    (tmp_path / "model" / "training.json").write_text(json.dumps(facts))
    words = [word.format(films=films) for word in arguments]
    assert main(tmp_path, *words, "--engine", "tensorflow") == 1
    error = capsys.readouterr().err
    assert error.startswith("predict: ")
    assert message in error
    assert error.count("\n") == 1


def test_preparing_a_file_is_what_ingest_does(tmp_path: Path) -> None:
    write_films(tmp_path)
    for crop_borders in (True, False):
        canonical = Canonical(SIDE, "letterbox", 64.0, crop_borders)
        for source in source_files.list_sources(tmp_path):
            ingested = Examiner(canonical, b"key").examine(source)
            prepared = prepare.prepare(source, canonical)
            if isinstance(prepared, decoded.UnreadableImage):
                assert str(prepared) == ingested.columns["reason"]
            else:
                np.testing.assert_array_equal(prepared, ingested.canonical)


@pytest.mark.tf
def test_dicom_files_get_a_report_each_beside_the_table(trained: Path, tmp_path: Path) -> None:
    study = {"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.9.1", "PatientID": "4711"}
    gray = np.random.default_rng(1).integers(0, 4096, (40, 30)).astype(np.uint16)
    films = tmp_path / "films"
    films.mkdir()
    (films / "a.dcm").write_bytes(dicom_files.dicom(gray, **study))
    shutil.copy(trained / "films" / "Normal" / "00.png", films)
    out, reports = tmp_path / "out.csv", tmp_path / "reports"
    words = [str(films), "--out", str(out), "--dicom-sr", str(reports)]
    assert main(trained, *words) == 0
    (file,) = reports.iterdir()
    made = pydicom.dcmread(file).to_json()
    assert all(word in made for word in ('"4711"', '"1.2.3"', rows(out)[1]["probability_Normal"]))
    assert "4711" not in out.read_text()
    assert main(trained, *words) == 1  # the folder is in use
    assert main(trained, str(films / "00.png"), "--dicom-sr", str(tmp_path / "none")) == 1

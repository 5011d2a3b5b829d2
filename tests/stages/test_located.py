"""Bilateral DICOM films through locate, ingest and a training to answers for each knee by HTTP."""

from __future__ import annotations

import base64
import dataclasses
import http.client
import importlib
import importlib.util
import io
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import yaml
from PIL import Image
from pydicom.sr.codedict import codes

from benchmarks.locator import sources
from knee.classifier.net.design import BackboneDesign, write_design
from knee.location import locator_weights
from knee.prediction import synthetic_model
from knee.run import parameters
from stages import ingest, locate, oversample, split
from tests import browser
from tests.classifier.conftest import put_in_table
from tests.films import NO_SHEET, PARAMS, encoded, fill
from tests.reading.dicom_files import dicom
from tests.stages.test_train import arguments
from tests.tracking.runs import empty_store

pytestmark = [
    pytest.mark.tf,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
    pytest.mark.skipif(
        importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
    ),
]
CLASSES = ["Normal", "Osteoporosis"]
FILMS, SIDE = 10, 32
UIDS = {"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.9.1", "PatientID": "4711"}
MR = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"}


def bilaterals(count: int) -> list[npt.NDArray[np.uint16]]:
    """Films of two legs each, from the front, 12 bits; no leg twice."""
    legs = [
        one.pixels if one.lateral_right else one.pixels[:, ::-1]
        for one in sources.synthetic(4 * count, 160, seed=78)[::2]
    ]
    films = []
    for right, left in zip(legs[::2], legs[1::2], strict=True):
        height = min(len(right), len(left))
        both = np.concatenate([right[:height, ::-1], left[:height]], axis=1)
        films.append(both.astype(np.uint16) * 16)
    return films


def write_parameters(root: Path) -> None:
    """The project's parameters with tiny images and a tiny training, of whole films."""
    settings = dataclasses.asdict(parameters.load(PARAMS))
    settings["data"] |= {"classes": CLASSES, "patient_pattern": ""}
    settings["ingest"] |= {"image_size_pixels": SIDE}
    settings["split"] |= {"validation_share": 0.2, "test_share": 0.2}
    settings["locate"] |= {
        "locators": ["knees"],
        "images": str(root / "knees" / "images"),
        "sheet": str(root / "knees" / "knees.csv"),
    }
    settings["train"] |= {"epochs": 2, "batch_size": 4}
    settings["head"] |= {"projection_channels": 8, "attention_heads": 2, "dense_units": 8}
    plain = json.loads(json.dumps(settings))
    (root / "params.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")


def words(root: Path, **files: str) -> list[str]:
    pairs = {"params": "params.yaml", **files}.items()
    return [
        word for flag, name in pairs for word in (f"--{flag.replace('_', '-')}", f"{root / name}")
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with films, their knees, records, a split and a model of them."""
    folder = tmp_path_factory.mktemp("located")
    films = {
        f"{CLASSES[number % 2]}/{number}.dcm": dicom(film, **UIDS | {"PatientID": f"P{number}"})
        for number, film in enumerate(bilaterals(FILMS))
    }
    mr = dicom(np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16), **MR)
    fill(folder / "films", {**films, "Normal/mr.dcm": mr})
    write_parameters(folder)
    given = ["--sheet", str(NO_SHEET), *words(folder, out="knees")]
    assert locate.main([str(folder / "films"), *given]) == 0
    read = {"images": "knees/images", "sheet": "knees/knees.csv"}
    made = {"records_out": "records.csv", "pixels_out": "pixels"}
    assert ingest.main(words(folder, **read, **made)) == 0
    made = {"split_out": "split.csv", "images_out": "split_images.csv"}
    made |= {"subsets_out": "subsets.csv", "metrics_out": "split.json"}
    keep = ["--keep", str(PARAMS.parent / "conf" / "no_split.csv")]
    assert split.main([*keep, *words(folder, records="records.csv", **made)]) == 0
    given = words(folder, records="records.csv", split="split.csv", rows_out="rows.csv")
    assert oversample.main(given) == 0
    with pytest.MonkeyPatch.context() as patch:
        put_in_table(patch)
        patch.setenv("DVC_ROOT", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        shutil.copy(empty_store(tmp_path_factory.getbasetemp()), folder / "mlflow.db")
        (folder / "features").mkdir()
        write_design(BackboneDesign("tiny", SIDE), folder / "features")
        assert importlib.import_module("stages.train").main(arguments(folder)) == 0
        yield folder


def test_ingest_has_a_record_a_knee_and_one_of_each_refused_film(root: Path) -> None:
    records = pd.read_csv(root / "records.csv", keep_default_na=False)
    used = records[records["status"] == "used"]
    assert len(used) == 2 * FILMS
    assert set(used["side"]) == {"left", "right"}
    (refused,) = records[records["status"] == "rejected"].to_dict("records")
    assert refused["source"] == "Normal/mr.dcm"
    assert "MR" in refused["reason"]
    films = used["source"].str.extract(r"(\d+)\.png")[0]
    assert (used.groupby(films)["group"].nunique() == 1).all()


def test_the_model_keeps_how_its_knees_were_found(root: Path) -> None:
    record = json.loads((root / "model" / "training.json").read_text())
    sha256 = locator_weights.recorded_sha256()
    assert record["locate"] == {"box_widths": 1.84, "box_millimetres": 0, "weights_sha256": sha256}
    assert locator_weights.read(root / "model" / locator_weights.FILE, sha256)


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[tuple[str, int]]:
    """Where the model answers over HTTP."""
    import uvicorn

    from knee.classifier.net.trained_model import TrainedModel
    from knee.prediction.answers import Answers
    from knee.serving import loading
    from knee.serving.application import application

    answers = Answers(TrainedModel.read(root / "model", "knees", "1"), loading.cache())
    config = uvicorn.Config(application(answers), host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield "127.0.0.1", server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()
    answers.close()


def ask(address: tuple[str, int], content: bytes, *, page: bool = False) -> tuple[int, Any]:
    """Status and JSON of the answer to one film."""
    text = base64.b64encode(content).decode()
    body = content if page else json.dumps({"dataframe_records": [{"image": text}]})
    kind = "application/octet-stream" if page else "application/json"
    connection = http.client.HTTPConnection(*address, timeout=300)
    path = "/image" if page else "/invocations"
    connection.request("POST", path, body, {"content-type": kind})
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return response.status, found


def test_a_bilateral_film_has_two_answers_with_sides_and_boxes(
    root: Path, address: tuple[str, int]
) -> None:
    status, answer = ask(address, (root / "films" / "Normal" / "0.dcm").read_bytes())
    assert status == 200
    (film,) = answer["predictions"]
    assert next(iter(film)) == synthetic_model.COLUMN
    assert (film["reason"], film["film_note"]) == ("", "")
    assert [knee["side"] for knee in film["knees"]] == ["right", "left"]
    sheet = pd.read_csv(root / "knees" / "knees.csv").set_index("path")
    for knee in film["knees"]:
        assert set(knee["probabilities"]) == set(CLASSES)
        assert next(iter(knee)) == synthetic_model.COLUMN
        row = sheet.loc[f"Normal/{knee['side']}/0.png"]
        box = {key: row[f"box_{key}"] for key in ("left", "top", "side_pixels")}
        assert knee["box"] == box
        assert knee["certainty"] == row["certainty"] >= 0.5


def test_the_page_has_the_film_and_each_knee_with_its_heat_map(
    root: Path, address: tuple[str, int]
) -> None:
    content = (root / "films" / "Osteoporosis" / "1.dcm").read_bytes()
    status, answer = ask(address, content, page=True)
    assert status == 200
    film = Image.open(io.BytesIO(base64.b64decode(answer["image"])))
    assert film.size == (answer["film"]["width"], answer["film"]["height"])
    for knee in answer["knees"]:
        assert Image.open(io.BytesIO(base64.b64decode(knee["image"]))).size == (SIDE, SIDE)
        assert base64.b64decode(knee["grad_cam"]).startswith(b"\x89PNG")


def test_a_knee_that_was_cut_before_is_answered_as_it_is(
    root: Path, address: tuple[str, int]
) -> None:
    image = Image.open(root / "knees" / "images" / "Normal" / "left" / "0.png")
    _, answer = ask(address, encoded(image))
    (knee,) = answer["predictions"][0]["knees"]
    assert knee["side"] == ""
    assert knee["box"] == {"left": 0, "top": 0, "side_pixels": image.width}


def test_without_a_knee_there_is_no_answer_and_what_is_no_radiograph_is_refused(
    root: Path, address: tuple[str, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120), dtype=np.uint8)
    status, answer = ask(address, encoded(Image.fromarray(noise)))
    assert status == 200
    (film,) = answer["predictions"]
    assert (film["knees"], film["reason"]) == ([], "no knee was found")
    status, answer = ask(address, (root / "films" / "Normal" / "mr.dcm").read_bytes())
    assert status == 400
    assert answer["message"].startswith("image 1: ")
    assert "MR" in answer["message"]


def test_predict_has_a_row_a_knee_with_the_servers_numbers_and_one_report_a_film(
    root: Path, address: tuple[str, int], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120), dtype=np.uint8)
    content = (root / "films" / "Normal" / "2.dcm").read_bytes()
    folder = fill(tmp_path / "films", {"a.dcm": content, "b.png": encoded(Image.fromarray(noise))})
    out, reports = tmp_path / "out.csv", tmp_path / "reports"
    given = ["--model", str(root / "model"), "--out", str(out), "--params", str(PARAMS)]
    given += ["--dicom-sr", str(reports), str(folder)]
    assert importlib.import_module("stages.predict").main(given) == 0
    table = pd.read_csv(out, keep_default_na=False)
    assert table["knees"].tolist() == [2, 2, 0]
    assert table["reason"].tolist() == ["", "", "no knee was found"]
    _, answer = ask(address, content)
    for row, knee in zip(table.to_dict("records"), answer["predictions"][0]["knees"], strict=False):
        assert (row["side"], float(row["box_left"])) == (knee["side"], knee["box"]["left"])
        for name, probability in knee["probabilities"].items():
            assert float(row[f"probability_{name}"]) == pytest.approx(probability, rel=2e-6)
    (file,) = reports.iterdir()
    groups = highdicom.sr.srread(file).content.get_planar_roi_measurement_groups()
    sides = [site.laterality for group in groups for site in group.finding_sites]
    assert sides == [codes.SCT.Right, codes.SCT.Left]


def test_an_exported_folder_finds_the_same_knees(
    root: Path, address: tuple[str, int], tmp_path: Path
) -> None:
    from knee.classifier.net.trained_model import TrainedModel
    from knee.prediction.graph_answers import GraphAnswers
    from knee.serving import exported

    given = [str(tmp_path / "out"), "--model", str(root / "model")]
    assert importlib.import_module("stages.export").main(given) == 0
    assert exported.damaged(tmp_path / "out") == []
    trained = TrainedModel.read(tmp_path / "out" / "model", "knees", "1")
    answers = GraphAnswers(trained, tmp_path / "out" / exported.GRAPH)
    content = (root / "films" / "Normal" / "0.dcm").read_bytes()
    (film,) = answers.answer([content])
    answers.close()
    assert film.as_json() == ask(address, content)[1]["predictions"][0]
    (tmp_path / "out" / "model" / locator_weights.FILE).write_bytes(b"x")
    with pytest.raises(locator_weights.WeightsError, match="not the file of the recorded"):
        GraphAnswers(trained, tmp_path / "out" / exported.GRAPH)


@pytest.mark.skipif(browser.program() is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_draws_a_square_around_each_knee_of_a_film(
    root: Path, address: tuple[str, int], width: int
) -> None:
    film = root / "films" / "Normal" / "0.dcm"
    knees = ask(address, film.read_bytes())[1]["predictions"][0]["knees"]
    with browser.Browser(width, 900, phone=width < 500) as shown:
        shown.open(f"http://{address[0]}:{address[1]}/")
        shown.choose_file("#image", film)
        shown.wait("!document.getElementById('result').hidden")
        drawn = shown.value(
            "[...document.querySelectorAll('#squares rect:not([hidden])')].map((square) => "
            "['x', 'y', 'width'].map((name) => Number(square.getAttribute(name))))"
        )
        boxes = [knee["box"] for knee in knees]
        assert drawn == [[box["left"], box["top"], box["side_pixels"]] for box in boxes]
        assert shown.value("document.documentElement.scrollWidth") <= width
        assert shown.faults == []

"""The registered champion on a port: right answers to films, 4xx to everything else."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.client
import importlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import knee
from knee import tracking
from knee.serving import listening
from knee.storage import provenance
from tests import films as drawn
from tests.reading import dicom_files
from tests.serving import asgi
from tests.stages.test_predict import NAMES, ROOT, main, rows, write_model
from tests.tracking.runs import empty_store, write_training

pytestmark = [
    pytest.mark.tf,
    pytest.mark.filterwarnings("ignore"),  # MLflow's
    pytest.mark.skipif(
        importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
    ),
]
JSON = {"content-type": "application/json"}
BYTES = {"content-type": "application/octet-stream"}
MODEL = "models:/knees@champion"


def register(root: Path) -> None:
    """Register a tiny champion in a store below `root`, with code that must not run."""
    write_model(root / "model")
    evidence = dataclasses.replace(
        tracking.collect(*write_training(root / "work")),
        model=root / "model" / "model.keras",
        novelty=root / "model" / "novelty.npz",
        artifacts={"training.json": root / "model" / "training.json"},
    )
    registry = tracking.Registry("knees")
    run_id = tracking.require_published(evidence)
    registry.set_alias(registry.add(run_id, evidence.execution, {}, ""), "champion", "a test")
    plant_code(root)


def plant_code(root: Path) -> None:
    """Put code that leaves a file into each place of the logged model, old and new."""
    (description,) = (file for file in root.rglob("MLmodel") if file.is_file())
    code = description.parent / "code"
    old = ("stages/serving/answers.py", "stages/__init__.py", "knee/serving/__init__.py")
    for name in old:
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text("")
    scripts = list(description.parent.rglob("*.py"))
    assert len(scripts) > len(old)
    for script in scripts:
        script.write_text(f"from pathlib import Path\nPath({str(root / 'ran')!r}).touch()\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "mlflow.db").write_bytes(empty_store(tmp_path_factory.getbasetemp()).read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register(folder)
        yield folder


@pytest.fixture(scope="module")
def port(root: Path) -> Iterator[int]:
    """Of `python -m stages.serve`, once it answers."""
    number = free_port()
    command = ["-m", "stages.serve", "--model", MODEL, "--port", str(number)]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, "DVC_ROOT": str(root)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    wait_until_it_answers(number, process, root / "log")
    yield number
    process.terminate()
    assert process.wait(120) == 0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    while process.poll() is None:
        try:
            if ask(port, None, {}, "GET", "/ping")[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def ask(
    port: int,
    body: bytes | str | None,
    headers: dict[str, str] = JSON,
    method: str = "POST",
    path: str = "/invocations",
) -> tuple[int, bytes]:
    """Status and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def record(image: object, **beside: Any) -> str:
    return json.dumps({"dataframe_records": [{"image": image}], **beside})


def film_files() -> dict[str, bytes]:
    gray = np.asarray(drawn.film(3).convert("L").resize((70, 50)), np.uint16) * 16
    return {
        "a.png": drawn.encoded(drawn.film(1), "PNG"),
        "b.jpg": drawn.encoded(drawn.film(2), "JPEG"),
        "c.dcm": dicom_files.dicom(gray, PatientName="DOE^JANE", PatientID="4711"),
    }


def test_films_get_the_numbers_of_the_batch_prediction(
    root: Path, port: int, tmp_path: Path
) -> None:
    folder = drawn.fill(tmp_path / "films", film_files())
    out = tmp_path / "out.csv"
    assert main(root, str(folder), "--engine", "openvino", "--out", str(out)) == 0
    images = [{"image": text(content)} for content in film_files().values()]
    status, content = ask(port, json.dumps({"dataframe_records": images}))
    assert status == 200
    split = {"columns": ["image"], "data": [[each["image"]] for each in images]}
    assert ask(port, json.dumps({"dataframe_split": split}))[1] == content
    for row, found in zip(rows(out), json.loads(content)["predictions"], strict=True):
        expected = [float(row[f"probability_{name}"]) for name in NAMES]
        np.testing.assert_allclose(list(found["probabilities"].values()), expected, rtol=2e-6)
        assert found["class"] == row["predicted"]
        assert "|".join(found["prediction_set"]) == row["prediction_set"]
        assert found["model"] == {"name": "knees", "version": "1", "backbone": "tiny"}
        assert "grad_cam" not in found


def test_a_heat_map_comes_on_request_and_gray_values_are_films(port: int) -> None:
    content = film_files()["a.png"]
    gray = np.asarray(drawn.film(1).convert("L"))
    status, answer = ask(port, record(text(content), params={"explain": True}))
    assert status == 200
    (found,) = json.loads(answer)["predictions"]
    assert base64.b64decode(found.pop("grad_cam")).startswith(b"\x89PNG")
    (of_gray,) = json.loads(ask(port, record(gray.tolist()))[1])["predictions"]
    assert of_gray["probabilities"] == pytest.approx(found["probabilities"], abs=1e-4)


GOOD = record(text(drawn.png(1)))
SECRET = "JANEDOE4711"
MALFORMED: dict[str, tuple[int, bytes | str | None, dict[str, str]]] = {
    "no content type": (415, GOOD, {}),
    "CSV": (415, f"image\n{SECRET}", {"content-type": "text/csv"}),
    "Parquet": (415, SECRET, {"content-type": "application/vnd.apache.parquet"}),
    "form": (415, GOOD, {"content-type": "multipart/form-data; boundary=x"}),
    "other encoding": (415, GOOD, {"content-type": "application/json; charset=utf-16"}),
    "compressed": (415, GOOD, {**JSON, "content-encoding": "gzip"}),
    "foreign host": (421, GOOD, {**JSON, "host": f"{SECRET}.example"}),
    "foreign page": (403, GOOD, {**JSON, "origin": f"http://{SECRET}.example"}),
    "no body": (400, "", JSON),
    "not JSON": (400, SECRET, JSON),
    "not UTF-8": (400, b"\xff\xfe{}", JSON),
    "100,000 deep": (400, "[" * 100_000 + "]" * 100_000, JSON),
    "deep image": (400, GOOD[:34] + "[" * 99_999, JSON),
    "a list": (400, f'["{SECRET}"]', JSON),
    "unknown key": (400, f'{{"{SECRET}": 1}}', JSON),
    "instances": (400, json.dumps({"instances": [{"image": SECRET}]}), JSON),
    "no image": (400, json.dumps({"dataframe_records": []}), JSON),
    "too many images": (400, json.dumps({"dataframe_records": [{"image": SECRET}] * 17}), JSON),
    "another column": (400, json.dumps({"dataframe_records": [{SECRET: SECRET}]}), JSON),
    "null": (400, record(None), JSON),
    "a number": (400, record(4711), JSON),
    "NaN": (400, record([[float("nan")]]), JSON),
    "Infinity": (400, record([[float("inf")]]), JSON),
    "1e400": (400, '{"dataframe_records": [{"image": [[1e400]]}]}', JSON),
    "5,000 digits": (400, f'{{"dataframe_records": [{{"image": [[{"9" * 5000}]]}}]}}', JSON),
    "gray value 256": (400, record([[256]]), JSON),
    "ragged rows": (400, record([[1, 2], [3]]), JSON),
    "text as gray value": (400, record([[SECRET]]), JSON),
    "boolean as gray value": (400, record([[1, True]]), JSON),
    "rows of text": (400, record([[SECRET * n] * 50 for n in range(50)]), JSON),
    "a list of a file's bytes": (400, record(list(drawn.png(1))), JSON),
    "data URI": (400, record(f"data:image/png;base64,{text(drawn.png(1))}"), JSON),
    "not base64": (400, record(f"{SECRET}!"), JSON),
    "half a surrogate": (400, '{"dataframe_records": [{"image": "\\ud800"}]}', JSON),
    "no image file": (400, record(text(SECRET.encode())), JSON),
    "cut PNG": (400, record(text(drawn.png(1)[:400])), JSON),
    "cut DICOM": (400, record(text(film_files()["c.dcm"][:700])), JSON),
    "unknown parameter": (400, record(text(drawn.png(1)), params={SECRET: 1}), JSON),
    "explain as text": (400, record(text(drawn.png(1)), params={"explain": SECRET}), JSON),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_gets_4xx_and_no_echo(port: int, case: str) -> None:
    expected, body, headers = MALFORMED[case]
    status, content = ask(port, body, headers)
    assert status == expected
    assert SECRET not in content.decode()
    answer = json.loads(content)
    assert answer["error"] == expected
    assert 5 < len(answer["message"]) < 250


@pytest.mark.parametrize(
    ("status", "method", "path"),
    [
        (404, "GET", "/docs"),
        (404, "GET", "/openapi.json"),
        (404, "GET", f"/{SECRET}"),
        (405, "GET", "/invocations"),
        (405, "DELETE", "/invocations"),
        (200, "GET", "/health"),
        (200, "GET", "/version"),
        (200, "GET", "/"),
        (200, "HEAD", "/ping"),
    ],
)
def test_nothing_else_is_there(port: int, status: int, method: str, path: str) -> None:
    found, content = ask(port, None, {}, method, path)
    assert found == status
    assert SECRET not in content.decode()


def test_the_server_still_answers_and_its_log_knows_nobody(root: Path, port: int) -> None:
    assert ask(port, GOOD)[0] == 200
    log = (root / "log").read_text()
    assert SECRET not in log.replace(f"/{SECRET}", "")  # an address that was asked is logged
    assert "DOE" not in log.replace(f"/{SECRET}", "")
    assert "Traceback" not in log


def test_code_that_is_stored_with_a_model_does_not_run(
    root: Path, port: int, tmp_path: Path
) -> None:
    assert ask(port, record(text(drawn.png(1)), params={"explain": True}))[0] == 200
    (tmp_path / "a.png").write_bytes(drawn.png(1))
    table = knee.load(MODEL).predict(tmp_path)
    assert list(table[["reason", "model", "version"]].iloc[0]) == ["", "knees", "1"]
    assert not (root / "ran").exists()
    for planted in root.rglob("stages/serving/answers.py"):
        subprocess.run([sys.executable, str(planted)], check=True)
    assert (root / "ran").exists()  # as it would be


def test_a_model_folder_is_served_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knee.prediction.answers.GradientProcess", mock.MagicMock())
    monkeypatch.setattr("knee.classifier.features.engines.CompiledNet", mock.MagicMock())
    served: list[bytes] = []
    monkeypatch.setattr(
        listening, "run", lambda app, _: served.append(asgi.ask(app, "/version")[2])
    )
    assert importlib.import_module("stages.demo").main(["--model", str(root / "model")]) == 0
    assert json.loads(served[0]) == {"name": "model", "version": "", "backbone": "tiny"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preprocessing": None}, "preprocessing has other keys"),
        ({"preprocessing": {"side": 24}}, "preprocessing has other keys"),
        ({"model_sha256": "0"}, "not the model that its training recorded"),
        ({"novelty": {"sha256": "0"}}, "novelty.npz"),
        ({"conformal": {}}, "conformal"),
        (None, "has no key backbone"),
    ],
)
def test_a_folder_that_lacks_something_is_one_message(
    root: Path,
    tmp_path: Path,
    change: dict[str, Any] | None,
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(root / "model", tmp_path / "model")
    training = json.loads((folder / "training.json").read_text())
    changed = {} if change is None else training | change
    (folder / "training.json").write_text(json.dumps(provenance.sealed(changed)))
    assert importlib.import_module("stages.serve").main(["--model", str(folder)]) == 1
    error = capfd.readouterr().err
    assert error.startswith("serve: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.fixture(scope="module")
def exported_folder(root: Path, port: int) -> Path:
    """Of the champion, once its conversion is kept."""
    assert port
    folder = root / "exported"
    assert importlib.import_module("stages.export").main([str(folder), "--model", MODEL]) == 0
    return folder


def empty_environment(pins: Path, folder: Path) -> Path:
    """Python that has the pinned packages and no others, as links to the installed ones."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/*/site-packages")
    for line in pins.read_text(encoding="utf-8").splitlines():
        if not line[:1].isalnum():
            continue
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # of other systems
            installed = importlib.metadata.distribution(line.split("==")[0])
            for top in {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}:
                if not (packages / top).exists():
                    (packages / top).symlink_to(str(installed.locate_file(top)))
    return folder / "bin" / "python"


def test_an_exported_folder_answers_as_the_project_does_and_without_it(
    exported_folder: Path, port: int, tmp_path: Path
) -> None:
    python = empty_environment(exported_folder / "requirements.txt", tmp_path / "venv")
    moved = shutil.copytree(exported_folder, tmp_path / "moved")
    number = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(python), "-I", str(moved / "serve.py"), "--port", str(number)],
            cwd=tmp_path,
            env={},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_it_answers(number, process, tmp_path / "log")
        for name, content in film_files().items():
            asked = record(text(content))
            assert ask(number, asked) == ask(port, asked), name
        status, content = ask(number, film_files()["a.png"], BYTES, path="/image")
        assert (status, "grad_cam" in json.loads(content)) == (200, False)
        assert ask(number, record(text(drawn.png(1)), params={"explain": True}))[0] == 400
    finally:
        process.terminate()
    assert process.wait(60) == 0
    assert str(ROOT) not in (tmp_path / "log").read_text()
    program = "from importlib.util import find_spec as f; print(*map(f, ('knee', 'tensorflow')))"
    words = [str(python), "-I", "-c", program]
    shown = subprocess.check_output(words, cwd=tmp_path, env={}, text=True)
    assert shown == "None None\n"


def test_an_exported_folder_holds_what_serving_needs_and_no_place_of_this_machine(
    exported_folder: Path,
) -> None:
    names = {file.relative_to(exported_folder).as_posix() for file in exported_folder.rglob("*")}
    assert {
        "serve.py",
        "requirements.txt",
        "Containerfile",
        "README.md",
        "model/graph.bin",
    } <= names
    unneeded = ("training/", "tracking", "saved", "grad", "intake", "stages", "keras")
    assert not [name for name in names if any(word in name for word in unneeded)]
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=exported_folder,
        check=True,
    )
    for file in exported_folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert str(ROOT).encode() not in content, file
            assert str(exported_folder).encode() not in content, file


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def rename_a_class(file: Path) -> None:
    record = json.loads(file.read_text())
    record["classes"][0] = "Healthy"
    file.write_text(json.dumps(record))


@pytest.mark.parametrize("stage", ["serve", "demo", "predict"])
@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("training.json", rename_a_class, "changed or damaged after training"),
        ("training.json", lambda file: file.write_bytes(b"{"), "is not JSON"),
        ("model.keras", flip_a_bit, "not the model that its training recorded"),
        ("model.keras", lambda file: file.write_bytes(b""), "not the model that its training"),
        ("novelty.npz", flip_a_bit, "novelty.npz"),
    ],
)
def test_a_damaged_folder_is_one_message_of_every_command(
    root: Path,
    tmp_path: Path,
    stage: str,
    name: str,
    damage: Callable[[Path], object],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(root / "model", tmp_path / "model")
    damage(folder / name)
    words = ["--model", str(folder), *([str(root)] if stage == "predict" else [])]
    assert importlib.import_module(f"stages.{stage}").main(words) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"{stage}: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("stage", ["serve", "demo"])
@pytest.mark.parametrize("model", ["models:/nobody@champion", "models:/knees/99"])
def test_a_model_that_is_not_there_is_one_message(
    root: Path, stage: str, model: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert root.is_dir()
    assert importlib.import_module(f"stages.{stage}").main(["--model", model]) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"{stage}: ")
    assert error.count("\n") == 1

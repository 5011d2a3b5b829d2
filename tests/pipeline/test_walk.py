"""The walk of docs/data.md in the finished tiny project: compare, promote, predict, serve."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pandas as pd
import pytest

from knee.run import experiments
from knee.serving import listening
from stages import predict, promote, serve
from tests.planted import PLANTED_FOLDER
from tests.project import Project
from tests.serving.asgi import ask
from tests.stages.test_serve import free_port

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def test_a_finished_run_is_compared_promoted_and_serves_what_predict_writes(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", project.environment["DVC_SITE_CACHE_DIR"])
    monkeypatch.chdir(project.folder)
    assert (project.folder / "reports" / "index.html").is_file()

    assert experiments.main() == 0
    _, line, *_ = capsys.readouterr().out.splitlines()
    assert "mobilenet" in line
    assert len(line) <= 120

    caplog.set_level(logging.INFO)
    assert promote.main(["1", "--reason", "read by two radiologists", "--by", "Ann"]) == 0
    assert promote.main(["--history"]) == 0
    assert caplog.messages[-1] == "champion: 1"
    assert "read by two radiologists" in caplog.text

    film = next((project.folder / PLANTED_FOLDER / "Normal").glob("*.png"))
    assert predict.main([str(film), "--out", "answers.csv"]) == 0
    written = pd.read_csv("answers.csv").iloc[0]
    text = base64.b64encode(film.read_bytes()).decode()
    body = json.dumps({"dataframe_records": [{"image": text}]}).encode()
    answered: list[tuple[int, dict[str, str], bytes]] = []

    def asked_once(application: Any, _: object) -> None:
        kind = {"content-type": "application/json"}
        answered.append(ask(application, "/invocations", "POST", kind, [body]))

    monkeypatch.setattr(listening, "run", asked_once)
    assert serve.main(["--port", str(free_port())]) == 0
    ((status, _, content),) = answered
    assert status == 200
    (answer,) = json.loads(content)["predictions"]
    assert answer["model"]["version"] == "1"
    assert answer["class"] == written["predicted"]
    for name, probability in answer["probabilities"].items():
        assert probability == pytest.approx(written[f"probability_{name}"], abs=1e-5)

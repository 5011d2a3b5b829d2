"""Addresses of MLflow's pages, and the columns that they open with."""

from __future__ import annotations

import json
from pathlib import Path

from knee import tracking
from knee.tracking import runs_page, store
from tests.tracking.runs import write_training


def test_the_pages_open_on_the_runs_with_what_decides_first(root: Path) -> None:
    client = store.connect()
    assert runs_page.runs_address(client).endswith("/#/experiments?workflowType=machine_learning")
    chosen_by = {"macro_f1": 0.8}
    found = tracking.collect(*write_training(root / "work"), chosen_by=chosen_by)
    run_id = tracking.require_published(found)
    address = runs_page.runs_address(client, "http://127.0.0.1:5999")
    number = client.get_run(run_id).info.experiment_id
    assert address == (
        f"http://127.0.0.1:5999/#/experiments/{number}/runs"
        "?workflowType=machine_learning&viewStateShareKey=knee"
    )
    state = json.loads(client.get_experiment(number).tags["mlflow.sharedViewState.knee"])
    assert state["columnOrder"] == [
        "metrics.`chosen by/macro-F1`",
        "tags.`backbone`",
        "metrics.`test/accuracy`",
        "tags.`verdict`",
    ]
    assert (state["orderByKey"], state["orderByAsc"]) == (state["columnOrder"][0], False)

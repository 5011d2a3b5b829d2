"""Addresses of MLflow's pages of runs, and the columns that they open with.

MLflow opens on a page for language models. It shows other columns and an order of our own only by a
view that is stored as a tag of the experiment and named in the address.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from knee.statistics import scores
from knee.tracking.evidence import CHOSEN_BY, SHOWN
from knee.tracking.store import EXPERIMENT_PREFIX, shown_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LOCAL: Final = "http://127.0.0.1:5000"  # of `make ui`
TRAINING: Final = "workflowType=machine_learning"  # else MLflow's pages for language models
VIEW: Final = "knee"
VIEW_TAG: Final = f"mlflow.sharedViewState.{VIEW}"  # MLflow's own name for it
WIDTH_PIXELS: Final = 130  # of a column
FIRST_RUNS: Final = 100  # the latest, which tell what metrics there are
PARTS: Final = ("cross-validation", "test", "leaky test")
BACKBONE: Final = "tags.`backbone`"
VERDICT: Final = "tags.`verdict`"


def runs_address(client: MlflowClient, server: str = "") -> str:
    """Return the address of the latest experiment's runs, once its view is stored.

    `server` is where the pages are; empty: `page_server`.
    """
    latest: tuple[int, str] = (0, "")
    for experiment in client.search_experiments():
        if not str(experiment.name).startswith(EXPERIMENT_PREFIX):
            continue
        number = str(experiment.experiment_id)
        runs = list(client.search_runs([number], max_results=FIRST_RUNS))
        state = json.dumps(view(runs))
        if experiment.tags.get(VIEW_TAG) != state:
            client.set_experiment_tag(number, VIEW_TAG, state)
        latest = max(latest, (max((run.info.start_time for run in runs), default=0), number))
    if not latest[1]:
        return f"{server or page_server()}/#/experiments?{TRAINING}"
    query = f"{TRAINING}&viewStateShareKey={VIEW}"
    return f"{server or page_server()}/#/experiments/{latest[1]}/runs?{query}"


def run_address(client: MlflowClient, run_id: str) -> str:
    """Return the address of one run's page."""
    number = client.get_run(run_id).info.experiment_id
    return f"{page_server()}/#/experiments/{number}/runs/{run_id}?{TRAINING}"


def card_address(run: str) -> str:
    """Return the address of the model card among the files of a run, from that of its page."""
    return run.replace("?", "/artifacts/model_card.html?", 1)


def page_server() -> str:
    """Return where MLflow's pages are: at its server, or where `make ui` shows them."""
    uri = shown_uri()
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else LOCAL


def view(runs: list[Run]) -> dict[str, Any]:
    """Return the state of MLflow's table: what models are chosen by first, and sorted by it."""
    metrics = sorted({name for run in runs for name in run.data.metrics})
    first = [name for name in metrics if name.startswith(f"{CHOSEN_BY}/")]
    tested = [f"{part}/{scores.title(name)}" for part in PARTS for name in SHOWN]
    shown = [f"metrics.`{name}`" for name in tested if name in metrics]
    columns = [*(f"metrics.`{name}`" for name in first), BACKBONE, *shown, VERDICT]
    return {
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, WIDTH_PIXELS),
        "orderByKey": columns[0] if first else "attributes.start_time",
        "orderByAsc": False,
        "searchFilter": "",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
    }

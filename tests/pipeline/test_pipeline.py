"""The whole pipeline, tiny: what it ends with, and what DVC runs again.

That `dvc repro`, with a process for each stage, gives the same bytes is checked by make torture.
"""

from __future__ import annotations

import networkx  # type: ignore[import-untyped]
import pytest
from dvc.repo import Repo

from tests.project import Project, ran

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def test_one_command_trains_evaluates_and_registers_a_champion(finished: Project) -> None:
    registered = finished.json("reports/registration.json")
    assert registered["alias"] == "champion"
    assert registered["synthetic"] is True
    test = finished.json("metrics/mobilenet/test.json")
    assert test["synthetic"] is True
    assert test["split_protocol"] == "grouped"
    assert (finished.folder / "mlflow.db").is_file()
    explained = finished.json("metrics/mobilenet/explanation.json")
    assert isinstance(explained["pointing"], dict)  # the generator's masks were found


def test_a_repro_of_finished_stages_runs_nothing(project: Project) -> None:
    assert not ran(project.dvc("repro"))


def test_a_training_parameter_runs_only_train_and_later_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC runs the stages that have changed, and all that come after one of them."""
    project.parameters("train.learning_rate=0.003")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", project.environment["DVC_SITE_CACHE_DIR"])
    monkeypatch.chdir(project.folder)
    with Repo() as repository:
        changed = set(repository.status()) - {"check"}  # runs every time
        graph = repository.index.graph  # from each stage to those before it
        again = {
            later.addressing
            for stage in graph
            if stage.addressing in changed
            for later in (stage, *networkx.ancestors(graph, stage))
        }
    assert changed == {"train@mobilenet", "cross_validate@mobilenet", "describe"}  # its command
    later = {"evaluate@mobilenet", "explain@mobilenet", "compare", "review"}
    assert again == changed | later | {"register", "summarize"}

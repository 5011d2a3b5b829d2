"""The whole pipeline, tiny, through DVC: the same figures twice, and only what changed runs."""

from __future__ import annotations

import networkx  # type: ignore[import-untyped]
import pytest
from dvc.repo import Repo

from benchmarks.reliability.victim import MODEL_DIGEST
from tests.project import Project, new_project, ran

pytestmark = [pytest.mark.tf, pytest.mark.slow]
COMPARED = ("metrics/mobilenet/*.json", "metrics/mobilenet/*.csv", "metrics/*.json", "data/*.csv")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which `dvc exp run` has run the tiny pipeline once, from nothing."""
    made = new_project(tmp_path_factory.mktemp("pipeline"), tmp_path_factory.getbasetemp())
    said = made.experiment()
    assert len(ran(said)) == 16
    return made


def test_one_command_trains_evaluates_and_registers_a_champion(first: Project) -> None:
    registered = first.json("reports/registration.json")
    assert registered["alias"] == "champion"
    assert registered["synthetic"] is True
    test = first.json("metrics/mobilenet/test.json")
    assert test["synthetic"] is True
    assert test["split_protocol"] == "grouped"
    assert (first.folder / "mlflow.db").is_file()
    explained = first.json("metrics/mobilenet/explanation.json")
    assert isinstance(explained["pointing"], dict)  # the generator's masks were found


def test_a_second_repro_runs_nothing(first: Project) -> None:
    assert not ran(first.dvc("repro"))


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
    later = {"evaluate@mobilenet", "explain@mobilenet", "compare", "register", "summarize"}
    assert again == changed | later


def test_the_same_parameters_give_the_same_figures_byte_for_byte(
    first: Project, finished: Project
) -> None:
    """The finished project has run all stages as well: neither has taken anything of the other."""
    names = [
        str(path.relative_to(first.folder))
        for pattern in COMPARED
        for path in first.folder.glob(pattern)
    ]
    assert {"metrics/mobilenet/test.json", "metrics/mobilenet/history.csv"} <= set(names)
    assert {"metrics/split.json", "metrics/mobilenet/out_of_fold.csv"} <= set(names)
    differing = [name for name in names if not same(first, finished, name)]
    assert differing == []


def same(one: Project, other: Project, name: str) -> bool:
    """But for the digest of the model's file, which holds the time of its making."""
    contents = [(project.folder / name).read_bytes() for project in (one, other)]
    first, second = (MODEL_DIGEST.sub(b"", content) for content in contents)
    return first == second


def test_stages_run_in_one_process_leave_nothing_for_dvc_to_run(project: Project) -> None:
    assert not ran(project.dvc("repro"))

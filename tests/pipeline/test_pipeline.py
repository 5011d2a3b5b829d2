"""The whole pipeline, tiny, through DVC: the same figures twice, and only what changed runs."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from benchmarks.reliability.victim import MODEL_DIGEST
from tests.project import Project, new_project, ran

pytestmark = [pytest.mark.tf, pytest.mark.slow]
COMPARED = ("metrics/mobilenet/*.json", "metrics/mobilenet/*.csv", "metrics/*.json", "data/*.csv")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which `dvc exp run` has run the tiny pipeline once, from nothing."""
    made = new_project(tmp_path_factory.mktemp("pipeline"), tmp_path_factory.getbasetemp())
    said = made.experiment()
    assert len(ran(said)) == 15
    return made


@pytest.fixture(scope="module")
def elsewhere(first: Project) -> tuple[int, list[str]]:
    """Another learning rate, in a copy that DVC makes: runs before it, and the stages that ran."""
    before = tracked(first)
    said = first.experiment("train.learning_rate=0.003", where="--temp")
    return before, ran(said)


def tracked(project: Project) -> int:
    """How many runs MLflow has."""
    with contextlib.closing(sqlite3.connect(project.folder / "mlflow.db")) as store:
        return int(store.execute("select count(*) from runs").fetchone()[0])


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
    elsewhere: tuple[int, list[str]],
) -> None:
    _, stages = elsewhere
    assert sorted(stages[:-3]) == [
        "cross_validate@mobilenet",
        "evaluate@mobilenet",
        "explain@mobilenet",
        "train@mobilenet",
    ]
    assert stages[-3:] == ["compare", "describe", "register"]


def test_an_experiment_in_a_copy_of_the_project_is_tracked_in_the_project(
    first: Project, elsewhere: tuple[int, list[str]]
) -> None:
    before, _ = elsewhere
    assert tracked(first) == before + 1
    assert not list((first.folder / ".dvc" / "tmp" / "exps").rglob("mlflow.db"))


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

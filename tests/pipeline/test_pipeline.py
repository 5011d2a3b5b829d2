"""The whole pipeline, tiny, through DVC: the same figures twice, and only what changed runs."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from tests.project import Project

pytestmark = [pytest.mark.tf, pytest.mark.slow]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which the tiny pipeline has run once."""
    made = Project(tmp_path_factory.mktemp("pipeline"))
    made.experiment()
    return made


def test_one_command_trains_evaluates_and_registers_a_champion(project: Project) -> None:
    registered = project.json("reports/registration.json")
    assert registered["alias"] == "champion"
    assert registered["synthetic"] is True
    test = project.json("metrics/mobilenet/test.json")
    assert test["synthetic"] is True
    assert test["split_protocol"] == "grouped"
    assert (project.folder / "mlflow.db").is_file()
    explained = project.json("metrics/mobilenet/explanation.json")
    assert isinstance(explained["pointing"], dict)  # the generator's masks were found


def test_a_second_repro_runs_nothing(project: Project) -> None:
    assert "Running stage" not in project.dvc("repro")


def test_a_training_parameter_runs_only_train_and_later_again(project: Project) -> None:
    done = project.experiment("train.learning_rate=0.002")
    ran = [line.split("'")[1] for line in done.splitlines() if line.startswith("Running stage")]
    assert sorted(ran[:-3]) == [
        "cross_validate@mobilenet",
        "evaluate@mobilenet",
        "explain@mobilenet",
        "train@mobilenet",
    ]
    assert ran[-3:] == ["compare", "describe", "register"]


def test_an_experiment_in_a_copy_of_the_project_is_tracked_in_the_project(project: Project) -> None:
    def tracked() -> int:
        with contextlib.closing(sqlite3.connect(project.folder / "mlflow.db")) as store:
            return int(store.execute("select count(*) from runs").fetchone()[0])

    before = tracked()
    project.experiment("train.learning_rate=0.003", where="--temp")
    assert tracked() == before + 1
    assert not list((project.folder / ".dvc" / "tmp" / "exps").rglob("mlflow.db"))


def test_the_same_parameters_give_the_same_figures_byte_for_byte(project: Project) -> None:
    project.experiment()
    files = ["metrics/mobilenet/test.json", "metrics/mobilenet/history.csv", "metrics/split.json"]
    before = [(project.folder / file).read_bytes() for file in files]
    done = project.dvc("repro", "--force")
    assert "Running stage 'train@mobilenet'" in done
    assert [(project.folder / file).read_bytes() for file in files] == before

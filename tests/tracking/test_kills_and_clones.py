"""A process that is killed while it publishes, and clones of a project at one store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from knee import tracking
from knee.run import locks
from knee.storage.provenance import fingerprint
from knee.tracking import models, store
from knee.tracking.evidence import Evidence
from tests.tracking.fake_registry import Killed
from tests.tracking.runs import own_store, runs

WRITES = (
    "create_experiment",
    "create_run",
    "log_batch",
    "log_inputs",
    "log_artifacts",
    "create_logged_model",
    "log_outputs",
    "log_model_artifacts",
    "finalize_logged_model",
    "set_terminated",
)


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logged model of one file: MLflow's own way to write one takes a second."""

    def save(_: Evidence, path: Path, __: object) -> None:
        path.mkdir()
        (path / "MLmodel").write_text("model")

    monkeypatch.setattr(models, "_save", save)


@contextlib.contextmanager
def killed_after(writes: int) -> Any:
    """Kill the process after so many writes to MLflow."""
    from mlflow import MlflowClient

    left = writes

    def mortal(write: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            done = write(*arguments, **named)
            left -= 1
            if left == 0:
                raise Killed
            return done

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(MlflowClient, name, mortal(getattr(MlflowClient, name)))
        yield


def state() -> Any:
    """All of the store, without identifiers and times."""
    client = store.connect()
    experiments = [found.experiment_id for found in client.search_experiments()]
    logged = client.search_logged_models(experiments)
    return [
        sorted((str(model.status), model.tags["model_sha256"]) for model in logged),
        [
            (
                run.info.status,
                {key: run.data.tags[key] for key in run.data.tags if not key.startswith("mlflow")},
                run.data.params,
                run.data.metrics,
                len(run.inputs.dataset_inputs),
                len(run.outputs.model_outputs),
                sorted(one.path for one in client.list_artifacts(run.info.run_id)),
            )
            for run in runs()
        ],
    ]


def test_killed_after_any_write_the_next_replay_ends_as_an_unkilled_one(
    root: Path, evidence: Evidence, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kills, states = 0, []
    while True:
        with pytest.MonkeyPatch.context() as patch:
            own_store(root, tmp_path_factory.getbasetemp(), patch)
            try:
                with killed_after(kills + 1):
                    tracking.require_published(evidence)
            except Killed:
                kills += 1
                tracking.require_published(evidence)
                states.append(state())
            else:
                expected = state()
                break
    assert kills == len(WRITES) + 1  # log_batch twice
    assert all(found == expected for found in states)
    assert [status for status, _ in expected[0]] == ["READY"]
    assert len(expected[1]) == 1


@pytest.mark.parametrize("clones", [2, 3])
def test_clones_that_publish_and_register_at_once_end_with_one_run_and_one_version(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, clones: int
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri())  # as a server: no file lock
    monkeypatch.setattr(locks, "held", lambda *_: contextlib.nullcontext())

    def register(_: int) -> str:
        run_id = tracking.require_published(evidence)
        registry = tracking.Registry("knee")
        version = registry.add(run_id, evidence.execution, {}, "text")
        registry.set_alias(version, tracking.CHAMPION, "first")
        return version.version

    with ThreadPoolExecutor(clones) as pool:
        assert list(pool.map(register, range(clones))) == ["1"] * clones
    client = store.connect()
    (version,) = client.search_model_versions("name = 'knee'")
    (run,) = runs()
    assert version.run_id == run.info.run_id
    assert run.info.status == "FINISHED"
    (logged,) = client.search_logged_models([run.info.experiment_id])
    assert version.source == f"models:/{logged.model_id}"
    assert logged.model_id in [output.model_id for output in run.outputs.model_outputs]
    assert str(logged.status) == "READY"
    assert client.get_registered_model("knee").aliases == {"champion": 1}


def another_clone(
    patch: pytest.MonkeyPatch, does: Callable[[Any], str], write: str, *, before: bool = False
) -> list[str]:
    """Let another clone do something once, after this `write` or `before` it.

    `does` takes the client; what it returns is noted in the list.
    """
    from mlflow import MlflowClient

    real, noted = getattr(MlflowClient, write), list[str]()

    def meanwhile(client: Any, *arguments: Any, **named: Any) -> Any:
        is_first = not noted
        if is_first and before:
            noted.append(does(client))
        written = real(client, *arguments, **named)
        if is_first and not before:
            noted.append(does(client))
        return written

    patch.setattr(MlflowClient, write, meanwhile)
    return noted


@pytest.mark.parametrize("write", ["log_artifacts", "log_outputs"])
def test_a_run_that_another_clone_deletes_meanwhile_is_given_up_with_its_model_for_the_kept_one(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    def delete_run(client: Any) -> str:
        (run,) = runs()
        client.delete_run(run.info.run_id)
        return str(run.info.run_id)

    deleted = another_clone(monkeypatch, delete_run, write)
    kept = tracking.publish(evidence)
    (run,) = runs()
    (logged,) = store.connect().search_logged_models([run.info.experiment_id])
    assert [logged.source_run_id] == [run.info.run_id] == [kept] != deleted


def named_models() -> list[str]:
    (run,) = runs()
    return [output.model_id for output in run.outputs.model_outputs]


@pytest.mark.parametrize(
    ("write", "named"),
    [("log_model_artifacts", 1), ("finalize_logged_model", 1), ("log_outputs", 2)],
)
def test_the_earliest_copy_of_a_model_is_registered_though_another_clone_brings_it_late(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, write: str, named: int
) -> None:
    def log_earlier(client: Any) -> str:  # as a clone that read the clock before this one did
        from mlflow.store.tracking import sqlalchemy_store

        (run,) = runs()
        sha256 = fingerprint(evidence.model)
        with monkeypatch.context() as patch:
            patch.setattr(sqlalchemy_store, "get_current_time_millis", lambda: 1)
            models._create(client, run, evidence, sha256)
        return str(models._same(client, run, sha256)[0].model_id)

    earlier = another_clone(monkeypatch, log_earlier, write)
    run_id = tracking.require_published(evidence)
    tracking.Registry("knee").add(run_id, evidence.execution, {}, "text")
    (version,) = store.connect().search_model_versions("name = 'knee'")
    assert [version.source] == [f"models:/{model_id}" for model_id in earlier]
    assert len(named_models()) == named  # MLflow takes none out of a run again


def test_a_copy_of_the_model_that_another_clone_removes_meanwhile_is_given_up_for_the_kept_one(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(client: Any) -> str:
        (model_id,) = named_models()
        client.delete_logged_model(model_id)
        tracking.require_published(evidence)
        return model_id

    run_id = tracking.require_published(evidence)
    (removed,) = named_models()
    noted = another_clone(monkeypatch, replace, "create_model_version", before=True)
    tracking.Registry("knee").add(run_id, evidence.execution, {}, "text")
    (version,) = store.connect().search_model_versions("name = 'knee'")
    (kept,) = set(named_models()) - set(noted)
    assert noted == [removed]
    assert version.source == f"models:/{kept}"


@pytest.mark.parametrize("kind", ["run", "logged_model"])
def test_a_champion_whose_run_or_model_somebody_deletes_is_registered_anew(
    evidence: Evidence, kind: str
) -> None:
    def register() -> str:
        run_id = tracking.require_published(evidence)
        version = tracking.Registry("knee").add(run_id, evidence.execution, {}, "text")
        tracking.Registry("knee").set_alias(version, tracking.CHAMPION, "first")
        return version.version

    assert [register(), register()] == ["1", "1"]
    client, (run,) = store.connect(), runs()
    delete = {"run": client.delete_run, "logged_model": client.delete_logged_model}[kind]
    delete({"run": run.info.run_id, "logged_model": named_models()[0]}[kind])
    assert [register(), register()] == ["2", "2"]
    champion = client.get_model_version_by_alias("knee", "champion")
    (logged,) = models.models_of(client, runs()[0])
    assert (champion.version, champion.source) == (2, f"models:/{logged.model_id}")


def test_lost_files_of_a_logged_model_are_written_again(root: Path, evidence: Evidence) -> None:
    tracking.publish(evidence)
    (file,) = root.rglob("MLmodel")
    file.unlink()
    tracking.publish(evidence)
    assert file.is_file()

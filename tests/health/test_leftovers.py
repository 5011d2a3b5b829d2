"""Half-written notes of dvc, git's lock, damaged states of unfinished trainings."""

from __future__ import annotations

import subprocess
from functools import partial

import numpy as np
import pytest
from dvc.repo import Repo

from knee.evidence.evaluation.fold_results import FoldResult, FoldResults
from knee.health import leftovers
from knee.health.project import Project
from knee.health.result import guarded
from knee.run import locks
from tests.health.faults import flip_a_bit


@pytest.mark.parametrize("name", ["dvc.lock", ".dvc/tmp/rwlock"])
def test_half_a_note_of_dvc_is_found_and_mended(project: Project, name: str) -> None:
    assert leftovers.check_notes(project).status == "ok"
    (project.root / name).write_text('{"schema": "2.0", "stages": {')
    found = leftovers.check_notes(project)
    assert (found.status, name in found.found) == ("fault", True)
    assert guarded(partial(leftovers.check_notes, project), mend=True).status == "mended"
    assert leftovers.check_notes(project).status == "ok"


def test_a_lock_that_git_left_is_found(project: Project) -> None:
    assert leftovers.check_git(project).status == "ok"  # without git
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    assert leftovers.check_git(project).status == "ok"
    (project.root / ".git" / "index.lock").touch()
    assert ".git/index.lock is there" in leftovers.check_git(project).found


def test_damaged_states_of_trainings_and_folds_are_found(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project.root / "unfinished"
    monkeypatch.setattr(Project, "checkpoints", lambda _: [folder])
    assert leftovers.check_checkpoints(project).status == "ok"
    FoldResults(folder, "key").keep(0, 0, FoldResult(np.full((2, 2), 0.5), 0, 1))
    assert leftovers.check_checkpoints(project).status == "ok"
    flip_a_bit(folder / "folds-key" / "repeat0_fold0.json")
    state = folder / "probe" / "training-key"
    state.mkdir(parents=True)
    previous = state.with_name("training-key.previous")
    previous.mkdir()  # as a kill leaves it while it is removed
    found = leftovers.check_checkpoints(project)
    assert found.names == (
        "unfinished/probe/training-key",
        "unfinished/folds-key/repeat0_fold0.json",
    )
    assert guarded(partial(leftovers.check_checkpoints, project), mend=True).status == "mended"
    previous.rmdir()
    assert leftovers.check_checkpoints(project).found.startswith("0 states")


def test_known_results_are_told_with_those_that_a_killed_run_left(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = project.root / "known"
    monkeypatch.setattr(Project, "known_results", lambda _: [top / "ingest", top / "mobilenet"])
    assert leftovers.check_known_results(project).status == "ok"
    for folder in (top / "ingest" / ".images.staged", top / "mobilenet"):
        folder.mkdir(parents=True)
        (folder / "index.bin").write_bytes(bytes(1000))
    assert leftovers.check_known_results(project).found.startswith("2.0 kB of earlier runs")


def test_what_somebody_is_writing_is_no_fault(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / "dvc.lock").write_text("schema: '2.0'\nsta")
    state = project.root / "unfinished" / "training-key"
    state.mkdir(parents=True)
    monkeypatch.setattr(Project, "checkpoints", lambda _: [state.parent])
    with locks.held(project.temporary / "lock", "the project", keep=True):
        assert leftovers.check_notes(project).status == "ok"
        assert leftovers.check_checkpoints(project).status == "ok"
    assert leftovers.check_notes(project).status == "fault"
    assert leftovers.check_checkpoints(project).status == "fault"


def test_the_folders_of_unfinished_work_are_those_of_the_commands(project: Project) -> None:
    with (project.root / "dvc.yaml").open("a") as file:
        file.write("  third:\n    cmd: train --checkpoints  some/where --known-results a/b\n")
    with Repo(str(project.root)) as repository:
        project.repository = repository
        assert project.checkpoints() == [project.root / "some/where"]
        assert project.known_results() == [project.root / "a/b"]

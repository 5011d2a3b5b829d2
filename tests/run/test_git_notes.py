"""Locks and half-done experiments in git are named before dvc stumbles over them."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from knee.run import git_notes


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    return tmp_path


def test_a_lock_on_the_index_is_named_with_what_it_would_cost(repository: Path) -> None:
    assert git_notes.index_lock(repository, 0) == ""
    (repository / ".git" / "index.lock").touch()
    said = git_notes.index_lock(repository, 0)
    assert said.startswith(".git/index.lock is there")
    assert "git stash list" in said
    assert (repository / ".git" / "index.lock").exists()


def test_the_lock_of_another_work_tree_is_found(repository: Path) -> None:
    git(repository, "worktree", "add", "-q", "tree")
    tree = repository / "tree"
    (repository / ".git" / "worktrees" / "tree" / "index.lock").touch()
    assert "index.lock is there" in git_notes.index_lock(tree, 0)
    assert git_notes.index_lock(repository, 0) == ""


def test_a_git_that_is_done_in_a_moment_is_waited_for(repository: Path) -> None:
    (lock := repository / ".git" / "index.lock").touch()
    timer = threading.Timer(0.2, lock.unlink)
    timer.start()
    assert git_notes.index_lock(repository, 20) == ""
    timer.join()


def test_a_killed_experiment_is_known_by_its_commit_without_a_branch(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "--detach")
    assert git_notes.killed_experiment(repository) == ""
    git(repository, "update-ref", "refs/exps/exec/EXEC_HEAD", head)
    assert git_notes.killed_experiment(repository) == ""  # every experiment leaves that
    git(repository, "update-ref", "refs/exps/exec/EXEC_BASELINE", head)
    assert "git switch BRANCH" in git_notes.killed_experiment(repository)
    git(repository, "switch", "-q", "main")
    assert git_notes.killed_experiment(repository) == ""


def test_a_folder_without_git_has_none(tmp_path: Path) -> None:
    assert git_notes.index_lock(tmp_path, 0) == ""
    assert git_notes.killed_experiment(tmp_path) == ""

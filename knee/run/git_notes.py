"""What a killed git or a killed `dvc exp run` leaves in the repository, and what to do about it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Final

GRACE_SECONDS: Final = 2.0  # an editor's git is done by then
KILLED: Final = "refs/exps/exec/EXEC_BASELINE"  # a `dvc exp run` has it while it runs
STASHED: Final = "`git stash list` shows edits that dvc has put away, `git stash pop` restores them"


def index_lock(project: Path, grace_seconds: float = GRACE_SECONDS) -> str:
    """Return that there is a lock on git's index, and what to do, "" if there is none.

    With a lock on the index left by a killed program it puts all uncommitted edits into a git
    stash, and ends with an error that does not say so.
    """
    lock = _git(project, "rev-parse", "--git-path", "index.lock")
    if not lock or not _stays(project / lock, grace_seconds):
        return ""
    return (
        f"{lock} is there: git is at work, or was killed. Once no git runs, remove it; before "
        f"that `dvc exp run` would put your uncommitted edits into a stash; {STASHED}"
    )


def killed_experiment(project: Path) -> str:
    """Return what a `dvc exp run` that was killed has left, "" if nothing.

    While one runs it looks the same: ask who is at work first.
    """
    noted = _git(project, "for-each-ref", KILLED)
    if not noted or _git(project, "symbolic-ref", "--quiet", "HEAD"):
        return ""
    return (
        "a killed `dvc exp run` left no branch checked out, and params.yaml is the experiment's "
        "(`git diff params.yaml`): `git switch BRANCH` with the name of yours, which keeps edits; "
        f"{STASHED}"
    )


def _stays(file: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return file.exists()


def _git(project: Path, *words: str) -> str:
    """What a git command prints; "" where it fails, as in a folder without git."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=project, capture_output=True, text=True, check=False
        )
    except OSError:  # no git here
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

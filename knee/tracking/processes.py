"""The process, machine and code a run comes from, and runs whose process has ended."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from typing import Any

from knee.tracking.store import Store

CODE = ("*.py", "*.toml", "requirements*.txt", "dvc.yaml")  # results of a pipeline are not code
CLOCK_TOLERANCE_SECONDS = 2.0  # a clock that is set right shifts what a start time reads as


def origin_tags() -> dict[str, str]:
    """Return tags of this process: host, pid, start time, code revision, DVC experiment."""
    revision, dirty = _git_state()
    tags = {
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "process_started": f"{process_start(os.getpid()) or 0:.2f}",
        "git_revision": revision,
        "git_dirty": "true" if dirty else "false",
        "mlflow.source.name": os.environ.get("DVC_STAGE", "knee-bone-health"),
        "mlflow.source.type": "LOCAL",
    }
    if revision != "unknown":
        tags["mlflow.source.git.commit"] = revision
    if os.environ.get("DVC_EXP_NAME"):
        tags["dvc_experiment"] = os.environ["DVC_EXP_NAME"]
    return tags


def process_start(pid: int) -> float | None:
    """Return when a process of this machine began (seconds since 1970), None if there is none.

    A number is given to a new process after the old one ended; the start tells them apart.
    """
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _git_state() -> tuple[str, bool]:
    """Commit of the working directory, or "unknown", and whether code differs from it."""
    revision = _git("rev-parse", "HEAD")
    if revision is None:
        return "unknown", False
    return revision.strip(), bool(_git("status", "--porcelain", "--", *CODE))


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def close_stale_runs(store: Store) -> int:
    """Close the runs of processes of this machine that have ended; return how many.

    SIGKILL and power cuts leave a process no chance to close its own.
    """
    stale = stale_runs(store)
    for run in stale:
        tags = run.data.tags
        reason = f"process {tags.get('pid')} on {tags['host']} ended without closing its run"
        store.client.set_tag(run.info.run_id, "end_reason", reason)
        store.client.set_terminated(run.info.run_id, "KILLED")
    return len(stale)


def stale_runs(store: Store) -> list[Any]:
    """Return the runs called RUNNING of processes of this machine that have ended."""
    experiments = [found.experiment_id for found in store.client.search_experiments()]
    query = f"attributes.status = 'RUNNING' AND tags.host = '{socket.gethostname()}'"
    runs = store.client.search_runs(experiments, query) if experiments else []
    return [run for run in runs if not _is_alive(run.data.tags)]


def _is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process of a run's tags lives; True where they name none: not ours to judge."""
    if not tags.get("pid", "").isdigit():
        return True
    started = process_start(int(tags["pid"]))
    recorded = float(tags.get("process_started") or 0)
    return started is not None and abs(started - recorded) < CLOCK_TOLERANCE_SECONDS

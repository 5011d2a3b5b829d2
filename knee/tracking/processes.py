"""Which process, machine and code a run comes from."""

from __future__ import annotations

import os
import socket
import subprocess

from knee.tracking.store import Store

CODE = ("*.py", "*.toml", "requirements*.txt", "dvc.yaml")  # results of a pipeline are not code


def origin_tags() -> dict[str, str]:
    """Tags of this process: host, pid, start time, code revision, DVC experiment."""
    revision, dirty = git_state()
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
    """When a process of this machine began (seconds since 1970), or None if there is none.

    A number is given to a new process after the old one ended; the start tells them apart.
    """
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def git_state() -> tuple[str, bool]:
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


# Runs that a killed process could not close: SIGKILL and power cuts leave no chance.

CLOCK_TOLERANCE_SECONDS = 2.0  # a clock that is set right shifts what a start time reads as


def close_stale_runs(store: Store, *, of_this_process: bool = True) -> int:
    """Close runs whose process on this machine is gone; returns how many.

    Args:
        store: where they are.
        of_this_process: also those that this process began: before it begins its next one.
    """
    host = socket.gethostname()
    experiments = [found.experiment_id for found in store.client.search_experiments()]
    query = f"attributes.status = 'RUNNING' AND tags.host = '{host}'"
    closed = 0
    for run in store.client.search_runs(experiments, query) if experiments else []:
        tags = run.data.tags
        if tags.get("pid") == str(os.getpid()):
            alive = not of_this_process
        else:
            alive = is_alive(tags.get("pid", ""), tags.get("process_started", ""))
        if not alive:
            reason = f"process {tags.get('pid')} on {host} ended without closing its run"
            store.client.set_tag(run.info.run_id, "end_reason", reason)
            store.client.set_terminated(run.info.run_id, "KILLED")
            closed += 1
    return closed


def is_alive(pid: str, started: str) -> bool:
    """Whether the process of a run's tags lives; True where the tags name none."""
    if not pid.isdigit():
        return True  # not a run of ours to judge
    found = process_start(int(pid))
    return found is not None and abs(found - float(started or 0)) < CLOCK_TOLERANCE_SECONDS

"""Which process, machine and code a run comes from."""

from __future__ import annotations

import os
import socket
import subprocess

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

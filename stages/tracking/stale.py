"""Runs that a killed process could not close: SIGKILL and power cuts leave no chance."""

from __future__ import annotations

import os
import socket

from stages.tracking.origin import process_start
from stages.tracking.store import Store

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

"""Locks of DVC that outlived their process, and tasks of its queue that outlived their worker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knee.health.processes import alive, working_in
from knee.health.project import EXPERIMENTS, LOCK, Project, listed, only_errors
from knee.health.result import HealthError, Result, plural

LOCKS, TASKS = "locks of DVC", "queued experiments"
QUEUE = "celery"
MARKING_ATTEMPTS, MARKING_PAUSE_SECONDS = 10, 0.5
COLLECTING_SECONDS = 60  # a worker needs to put away a task whose process has ended


def check_locks(project: Project, *, mend: bool) -> Result:
    """Entries of dead processes in DVC's lists of readers and writers, and damaged lists.

    DVC's main lock is the kernel's, which ends with its process; only `core.hardlink_lock`
    leaves a file that stops every later command.
    """
    stale: list[str] = []
    for guard in project.guards():
        stale += _mend_guard(project, guard, mend=mend)
    hard = _hard_lock(project)
    if hard is not None:
        stale.append(f"{project.shown(hard)}: of a process that has ended")
        if mend:
            hard.unlink()
    at_work = project.at_work()
    if not stale:
        return Result(LOCKS, "ok", at_work or "none is held")
    saying = f"{plural(len(stale), 'lock')} left by processes that have ended"
    if mend:
        return Result(LOCKS, "mended", f"{saying}: taken away", names=tuple(stale))
    remedy = "make doctor MEND=1 takes them away"
    return Result(LOCKS, "fault", saying, remedy, tuple(stale))


def check_queue(project: Project, *, mend: bool) -> Result:
    """Tasks that the queue calls running though the process of the experiment has ended."""
    if not (project.temporary / EXPERIMENTS / QUEUE).is_dir():
        return Result(TASKS, "ok", "none")
    queue = project.repository.experiments.celery_queue
    active = list(queue.iter_active())
    working = _workers(project)
    dead = [entry for entry in active if not _running(queue, entry, working)]
    if not dead:
        return Result(TASKS, "ok", f"{plural(len(active), 'task')} running, {working} workers")
    names = tuple(str(entry.name or entry.stash_rev[:7]) for entry in dead)
    saying = f"{plural(len(dead), 'task')} called running, of which no process is left"
    if not mend:
        return Result(TASKS, "fault", saying, "make doctor MEND=1 marks them as failed", names)
    left = _mark_failed(queue, set(names))
    if left:
        return Result(TASKS, "fault", saying, "run this again in a minute", tuple(left))
    again = "`dvc queue remove --failed` forgets them; queue them again"
    return Result(TASKS, "mended", f"{saying}: marked as failed; {again}", names=names)


def _mark_failed(queue: Any, names: set[str]) -> list[str]:
    """Have DVC mark tasks; returns those that it would not.

    A process that has ended and that nobody has waited for yet can still be sent a signal, and
    then DVC takes it for killed only now: so ask again until it is gone.
    """
    left: list[str] = []
    for _ in range(MARKING_ATTEMPTS):
        active = [str(entry.name or entry.stash_rev[:7]) for entry in queue.iter_active()]
        left = [name for name in active if name in names]
        if not left:
            break
        with only_errors(None, "kombu", "celery", "dvc"):
            queue.kill(left, force=True)
        time.sleep(MARKING_PAUSE_SECONDS)
    return left


def _mend_guard(project: Project, guard: Path, *, mend: bool) -> list[str]:
    """What is stale in one of DVC's lists; with `mend` it is taken out of it."""
    try:
        values, written = listed(guard), guard.stat().st_mtime
    except HealthError:
        if mend:
            guard.unlink()  # DVC begins a new one, and refuses to work with this
        return [f"{project.shown(guard)}: not readable"]
    kept: dict[str, Any] = {
        "read": {
            path: left
            for path, infos in values["read"].items()
            if (left := [info for info in infos if _lives(info, written)])
        },
        "write": {p: info for p, info in values["write"].items() if info and _lives(info, written)},
    }
    stale = sorted(set(_processes(values)) - set(_processes(kept)))
    if mend and stale:
        temporary = guard.with_name(f"{guard.name}.tmp")
        temporary.write_text(json.dumps(kept), encoding="utf-8")
        temporary.replace(guard)
    return [f"{project.shown(guard)}: process {pid}" for pid in stale]


def _processes(values: dict[str, Any]) -> Iterator[int]:
    for infos in values["read"].values():
        yield from (int(info["pid"]) for info in infos)
    yield from (int(info["pid"]) for info in values["write"].values() if info)


def _lives(info: dict[str, Any], written: float) -> bool:
    return alive(int(info["pid"]), written)


def _hard_lock(project: Project) -> Path | None:
    """The lock file of `core.hardlink_lock`, if no DVC works in the project.

    It names its process by a digest alone, and no other sign of it is left.
    """
    file = project.temporary / LOCK
    if not project.repository.config["core"].get("hardlink_lock") or not file.is_file():
        return None
    return None if working_in(project.root, "dvc") else file


def _workers(project: Project) -> int:
    """Workers of the queue that live."""
    count = 0
    for file in (project.temporary / EXPERIMENTS / QUEUE).glob("*.json"):
        try:
            pid = int(json.loads(file.read_text(encoding="utf-8"))["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        count += alive(pid, file.stat().st_mtime)
    return count


def _running(queue: Any, entry: Any, workers: int) -> bool:
    """Whether a task's process lives, or a worker may still be about to put it away."""
    process = queue.proc.get(entry.stash_rev)
    if process is None:
        return workers > 0  # one copies the project, before the experiment has a process
    if process.returncode is None and alive(process.pid):
        return True
    file = Path(queue.pid_dir) / entry.stash_rev / f"{entry.stash_rev}.json"
    changed = file.stat().st_mtime if file.exists() else 0.0
    return workers > 0 and time.time() - changed < COLLECTING_SECONDS

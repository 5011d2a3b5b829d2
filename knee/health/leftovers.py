"""Checks of what kills and power cuts leave: half-written notes, results and locks."""

from __future__ import annotations

import shutil

from knee.classifier.training import checkpoints
from knee.evidence.evaluation import fold_results
from knee.health.project import Project
from knee.health.result import Result, plural, size
from knee.run import dvc_notes


def check_notes(project: Project) -> Result:
    """Check dvc.lock and DVC's list of writers: half of one stops every command of DVC."""
    readable = {
        project.root / "dvc.lock": dvc_notes.is_lock_file,
        project.temporary / "rwlock": dvc_notes.is_list,
    }
    damaged = [
        project.shown(file) for file, is_readable in readable.items() if not is_readable(file)
    ]
    if damaged and (working := project.at_work()):
        return Result("ok", f"being written: {working}")
    if not damaged:
        return Result("ok", "dvc.lock and .dvc/tmp/rwlock can be read")
    return Result(
        "fault",
        f"DVC cannot read {' and '.join(damaged)}",
        "`make repro` (python -m knee.run.dvc_notes), or make doctor MEND=1",
        mending=lambda: "; ".join(dvc_notes.mend(project.root)),
    )


def check_git(project: Project) -> Result:
    """Check for what a killed git or `dvc exp run` left, with which edits go into a stash."""
    if faults := dvc_notes.in_git(project.root):
        return Result("fault", "; ".join(faults))
    return Result("ok", "no lock on the index, nothing left by a killed experiment")


def check_checkpoints(project: Project) -> Result:
    """Check the states of unfinished trainings and the results of finished folds."""
    if working := project.at_work():
        return Result("ok", f"not looked at: {working}")
    folders = project.checkpoints()
    states = [state for folder in folders for state in checkpoints.states(folder)]
    folds = [file for folder in folders for file in folder.rglob(fold_results.RESULTS)]
    damaged = [state for state in states if checkpoints.damage(state)]
    damaged += [file for file in folds if fold_results.damage(file)]
    if not damaged:
        return Result("ok", f"{plural(len(states) + len(folds), 'state')} of unfinished trainings")

    def remove() -> str:
        for path in damaged:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return "removed; the next run trains again what was in them"

    return Result(
        "fault",
        f"{plural(len(damaged), 'state')} of unfinished trainings damaged on the disk",
        "make doctor MEND=1 removes them; the next run passes over them anyway",
        tuple(project.shown(path) for path in damaged),
        remove,
    )


def check_known_results(project: Project) -> Result:
    """Tell how large the known results are, with those that a killed run has left to the next."""
    tops = {folder.parent for folder in project.known_results()}
    if working := project.at_work():
        return Result("ok", f"not looked at: {working}")
    held = sum(path.stat().st_size for top in tops for path in top.rglob("*") if path.is_file())
    return Result("ok", f"{size(held)} of earlier runs, which may be removed at any time")

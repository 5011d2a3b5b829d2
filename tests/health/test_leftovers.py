"""Temporary files of killed processes, and what only looks like them."""

from __future__ import annotations

from pathlib import Path

import pytest

from knee.health.leftovers import check_leftovers
from knee.health.project import Project, Step
from knee.health.result import Result
from tests.health.faults import age

STEPS = [
    Step(
        "embed",
        ("python", "--images", "films/mine", "--partial", "checkpoints/mobilenet"),
        {},
    )
]
STRAY = {
    "data/.one.txt.tmp": False,
    "data/.many.staged": True,
    "data/many/.model.tmp.keras": False,
    "data/.images.partial": True,
    "checkpoints/mobilenet/.staged": True,
    ".dvc/cache/files/md5/3a/.Xy12.tmp": False,
    ".dvc/tmp/exps/tmpabcd": True,
    ".dvc/tmp/exps/standalone/tmpabcd": True,
    "pending_runs/.abc.0123": True,
}


def check(project: Project, *, mend: bool = False) -> Result:
    waiting = project.root / "pending_runs"
    return check_leftovers(project, project.outputs(), STEPS, waiting, mend=mend)


def plant(path: Path, *, folder: bool) -> Path:
    file = path / "inner" if folder else path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"half")
    age(path)
    return path


def test_a_clean_project_has_none(project: Project) -> None:
    assert (check(project).status, check(project).found) == ("ok", "none")


@pytest.mark.parametrize("name", STRAY)
def test_what_a_killed_process_left_is_found_and_removed(project: Project, name: str) -> None:
    stray = plant(project.root / name, folder=STRAY[name])
    kept = {path for path in project.root.rglob("*") if path != stray and stray not in path.parents}
    found = check(project)
    assert (found.status, found.names) == ("fault", (name,))
    assert stray.exists()
    assert check(project, mend=True).status == "mended"
    assert not stray.exists()
    assert all(path.exists() for path in kept)
    assert check(project).status == "ok"


def test_a_young_file_may_still_be_written(project: Project) -> None:
    file = project.root / "data" / ".one.txt.tmp"
    file.write_bytes(b"half")
    found = check(project, mend=True)
    assert (found.status, found.found) == ("ok", "1 younger one left alone")
    assert file.exists()


def test_a_file_that_a_process_has_open_is_left_alone(project: Project) -> None:
    file = plant(project.root / "data" / ".many.staged", folder=True)
    with (file / "inner").open("ab"):
        assert check(project, mend=True).status == "ok"
    assert file.exists()
    assert check(project).status == "fault"


def test_a_persons_own_files_are_never_touched(project: Project) -> None:
    own = plant(project.root / "films" / "mine" / "Normal" / ".notes.tmp", folder=False)
    beside = plant(project.root / ".editor.tmp", folder=False)
    assert check(project, mend=True).status == "ok"
    assert own.exists()
    assert beside.exists()

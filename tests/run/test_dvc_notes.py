"""What a kill leaves half-written of dvc's notes does not stop the next dvc."""

from __future__ import annotations

import fcntl
import functools
import json
from pathlib import Path

import pytest

from knee.run import dvc_notes, locks

LOCK = """schema: '2.0'
stages:
  split:
    cmd: python -m stages.split
    deps:
    - path: data/records.csv
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 7
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / "dvc.lock").write_text(LOCK)
    return tmp_path


def test_whole_notes_are_left_as_they_are(project: Path) -> None:
    notes = project / ".dvc" / "tmp" / "rwlock"
    assert dvc_notes.mend(project) == []
    notes.write_text(json.dumps({"write": {}, "read": {}}))
    assert dvc_notes.mend(project) == []
    assert notes.exists()
    assert (project / "dvc.lock").read_text() == LOCK


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    assert dvc_notes.mend(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", '{"write": {"/data/rec'])
def test_half_a_list_of_writers_is_removed(project: Path, content: str) -> None:
    notes = project / ".dvc" / "tmp" / "rwlock"
    notes.write_text(content)
    assert "rwlock" in dvc_notes.mend(project)[0]
    assert not notes.exists()


@pytest.mark.parametrize("length", range(0, len(LOCK), 20))
def test_dvc_reads_what_is_left_of_its_lock_file(project: Path, length: int) -> None:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import load_yaml

    file = project / "dvc.lock"
    file.write_text(LOCK[:length])
    if dvc_notes.mend(project):
        assert not file.exists()
        assert (project / ".dvc" / "tmp" / "dvc.lock.damaged").read_text() == LOCK[:length]
    else:
        COMPILED_LOCKFILE_SCHEMA(load_yaml(str(file)))


def test_the_starter_of_an_output_is_the_dvc_that_noted_it(project: Path) -> None:
    notes = project / ".dvc" / "tmp" / "rwlock"
    assert dvc_notes.starter(project, project / "out") is None
    for content in ("", "[]", '{"write": {}}'):
        notes.write_text(content)
        assert dvc_notes.starter(project, project / "out") is None
    mine = {"pid": 7, "cmd": "dvc repro"}
    notes.write_text(json.dumps({"write": {str(project / "out"): mine}, "read": {}}))
    assert dvc_notes.starter(project, project / "out") == 7


def test_what_a_living_dvc_may_be_writing_is_left_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "dvc.lock").write_text(LOCK[:20])
    monkeypatch.setattr(locks, "held", functools.partial(locks.held, grace_seconds=0))
    with (project / ".dvc" / "tmp" / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(locks.BusyError, match="the project is in use"):
            dvc_notes.mend(project)
    assert (project / "dvc.lock").read_text() == LOCK[:20]
    assert "dvc.lock" in dvc_notes.mend(project)[0]

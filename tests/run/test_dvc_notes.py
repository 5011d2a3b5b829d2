"""What a kill leaves half-written of dvc's notes does not stop the next dvc."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from knee.run import dvc_notes, git_notes, locks

ROOT = Path(__file__).parents[2]
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


def test_the_registered_model_is_that_of_the_last_finished_run_whatever_a_failed_one_left(
    tmp_path: Path,
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text().replace("-sample", "-folder"))
    assert dvc_notes.registered_model(params) == "knee-bone-health-folder"
    name = "knee-bone-health-mine"
    (tmp_path / "dvc.lock").write_text(
        LOCK + f"  register:\n    params: {{params.yaml: {{register: {{model_name: {name}}}}}}}\n"
    )
    assert dvc_notes.registered_model(params) == name
    params.write_text("train: {epochs: abc}")
    assert dvc_notes.registered_model(params) == name


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


@pytest.fixture
def dvc(project: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that calls itself dvc, in dvc's list of writers as at a stage; it holds no lock."""
    process = subprocess.Popen([sys.executable, "-c", "input()", "dvc"], stdin=subprocess.PIPE)
    entry = {"pid": process.pid, "cmd": "dvc repro"}
    notes = {"write": {str(project / "out"): entry}, "read": {}}
    (project / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(notes))
    yield process
    process.kill()
    process.communicate()


def test_half_a_lock_file_is_left_to_a_living_dvc(
    project: Path, dvc: subprocess.Popen[bytes]
) -> None:
    (project / "dvc.lock").write_text(LOCK[:20])
    with pytest.raises(locks.BusyError, match=rf"dvc.lock is half-written and .*{dvc.pid}"):
        dvc_notes.mend(project)
    assert (project / "dvc.lock").read_text() == LOCK[:20]
    dvc.kill()
    dvc.wait()
    assert "dvc.lock" in dvc_notes.mend(project)[0]


def test_a_living_dvc_is_no_obstacle_to_whole_notes(
    project: Path, dvc: subprocess.Popen[bytes]
) -> None:
    assert [number for number, _ in dvc_notes.at_work(project / ".dvc" / "tmp")] == [dvc.pid]
    assert dvc_notes.mend(project) == []


def test_a_stopped_dvc_is_named_before_anybody_waits_for_it(
    project: Path, dvc: subprocess.Popen[bytes]
) -> None:
    dvc.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, dvc.pid, os.WSTOPPED | os.WNOWAIT)
    with pytest.raises(locks.BusyError, match=rf"process {dvc.pid}, which is stopped: resume it"):
        dvc_notes.mend(project)


def test_a_number_that_the_system_used_again_is_nobody(project: Path) -> None:
    notes = {"write": {}, "read": {"a": [{"pid": os.getppid(), "cmd": "dvc repro"}]}}
    (project / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(notes))
    assert list(dvc_notes.at_work(project / ".dvc" / "tmp")) == []


def test_only_empty_objects_that_are_named_as_others_are_removed(project: Path) -> None:
    cache = project / ".dvc" / "cache" / "files" / "md5"
    names = {  # name -> content, whether it stays
        "01/23456789abcdef0123456789abcdef": (b"", False),
        "02/23456789abcdef0123456789abcdef.dir": (b"", False),
        "03/23456789abcdef0123456789abcdef": (b"x", True),
        "04/23456789abcdef0123456789abcdef.tmp": (b"", True),
        "d4/1d8cd98f00b204e9800998ecf8427e": (b"", True),
    }
    for name, (content, _) in names.items():
        (cache / name).parent.mkdir(parents=True)
        (cache / name).write_bytes(content)
    (said,) = dvc_notes.mend(project)
    assert "removed from dvc's cache: .dvc/cache/files/md5/0" in said
    assert {name for name in names if (cache / name).exists()} == {
        name for name, (_, stays) in names.items() if stays
    }


def test_what_a_killed_experiment_left_is_told_once_dvc_has_ended(
    project: Path, dvc: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_notes, "killed_experiment", lambda _: "a killed experiment")
    assert dvc_notes.in_git(project) == []
    dvc.kill()
    dvc.wait()
    assert dvc_notes.in_git(project) == ["a killed experiment"]

"""Which processes live, and what they hold."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from knee.health import processes


def test_a_process_lives_until_it_ends() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert processes.alive(process.pid)
    assert not processes.alive(process.pid, before=time.time() - 1000)  # another of that number
    process.communicate(b"\n")
    assert not processes.alive(process.pid)


@pytest.mark.parametrize("listed", [True, False])
def test_a_lock_has_a_holder_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    if not listed:
        monkeypatch.setattr(processes, "PROC_LOCKS", tmp_path / "none")
    elif not processes.PROC_LOCKS.exists():
        pytest.skip("no list of locks here")
    file = tmp_path / "lock"
    assert processes.lock_holder(file) is None
    with file.open("w") as stream:
        assert processes.lock_holder(file) is None
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert processes.lock_holder(file) == (os.getpid() if listed else 0)
        assert processes.lock_holder(file) is not None  # looking took nothing away
    assert processes.lock_holder(file) is None


def test_who_works_in_a_folder_is_seen(tmp_path: Path) -> None:
    assert not processes.working_in(tmp_path, "python")
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert processes.working_in(tmp_path, "python")
        process.communicate(b"\n")

"""One process at a time: who comes second is told of the first, and a killed one is no obstacle."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from knee.run import locks

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from knee.run import locks
with locks.held(Path(sys.argv[1]), "train@mobilenet"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "stages" / "train@mobilenet.lock"


def start(lock: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(lock), str(seconds)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def holder(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock for a minute."""
    process = start(lock, 60)
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_told_what_is_busy_and_who_is_at_it(
    lock: Path, holder: subprocess.Popen[str]
) -> None:
    with (
        pytest.raises(locks.BusyError, match=rf"train@mobilenet .* process {holder.pid}"),
        locks.held(lock, "train@mobilenet", grace_seconds=0),
    ):
        pass


def test_a_killed_holder_is_no_obstacle(lock: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert lock.exists()
    with locks.held(lock, "train@mobilenet", grace_seconds=0):
        pass
    assert not lock.exists()


def test_a_holder_that_is_ending_is_waited_for(lock: Path) -> None:
    with start(lock, 0.5) as process:
        started = time.monotonic()
        with locks.held(lock, "train@mobilenet", grace_seconds=30):
            assert time.monotonic() - started < 30
        assert process.wait() == 0
    assert not lock.exists()


def test_an_exception_frees_the_lock(lock: Path) -> None:
    with pytest.raises(RuntimeError), locks.held(lock, "sample"):
        raise RuntimeError
    assert not lock.parent.exists()
    with locks.held(lock, "sample", grace_seconds=0):
        pass


def test_a_file_that_others_lock_too_is_left_there(tmp_path: Path) -> None:
    lock = tmp_path / "rwlock.lock"
    with locks.held(lock, "dvc's list", keep=True), lock.open() as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        inode = lock.stat().st_ino
    assert lock.stat().st_ino == inode
    with lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("listed", [True, False])
def test_a_lock_has_a_holder_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    if not listed:
        monkeypatch.setattr(locks, "PROC_LOCKS", tmp_path / "none")
    elif not locks.PROC_LOCKS.exists():
        pytest.skip("no list of locks here")
    lock = tmp_path / "lock"
    assert locks.holder(lock) is None
    with locks.held(lock, "x", keep=True):
        assert locks.holder(lock) == os.getpid()
        assert locks.holder(lock) == os.getpid()  # looking took nothing away
    assert locks.holder(lock) is None


def test_a_foreign_lock_has_a_holder_without_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PROC_LOCKS", tmp_path / "none")
    with (tmp_path / "lock").open("w") as stream:
        assert locks.holder(tmp_path / "lock") is None
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert locks.holder(tmp_path / "lock") == 0


def test_a_suspended_holder_is_named_after_a_bounded_wait(
    lock: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    with (
        pytest.raises(locks.BusyError, match=rf"process {holder.pid}, which is stopped: resume it"),
        locks.held(lock, "train@mobilenet", grace_seconds=0.3),
    ):
        pass
    assert 0.3 <= time.monotonic() - started < 20
    holder.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("number", [0, 2**22 + 1])
def test_a_holder_that_cannot_be_seen_is_not_called_stopped(number: int) -> None:
    assert "stopped" not in locks.in_use(number)

"""One process at a time: who comes second is told of the first, and a killed one is no obstacle."""

from __future__ import annotations

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

"""Processes of this machine: the same results, in order, whatever ends one of them."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from knee.execution import hardware, processes
from knee.execution.ordered import ordered
from knee.execution.place import ExecutionError
from knee.execution.processes import Processes
from knee.run import parameters
from tests.execution import tasks

ROOT = Path(__file__).parents[2]
LOCAL = parameters.load(ROOT / "params.yaml").execution
CHUNKS = [range(start, start + 2) for start in range(0, 8, 2)]


def test_results_come_in_order_from_several_processes() -> None:
    with Processes(2) as place:
        found = [*ordered(place, tasks.doubled, [place.share(-1)], CHUNKS, name=str)]
        children = psutil.Process().children()
    assert [number for some in found for number, _ in some] == [2 * one for one in range(8)]
    assert 1 <= len(children) <= 2
    assert not any(child.is_running() for child in children)


def test_an_error_of_a_task_is_raised_as_it_is_and_says_where() -> None:
    with Processes(1) as place, pytest.raises(ZeroDivisionError, match="no 3") as raised:
        list(ordered(place, tasks.broken, [], [[3]], name=str))
    assert "in broken" in raised.value.__notes__[0]


def test_what_ends_its_process_is_tried_again_and_then_named() -> None:
    with Processes(2, retries=1) as place, pytest.raises(ExecutionError, match=r"^film 6 ended 2"):
        list(ordered(place, tasks.doubled, [6], CHUNKS, name=lambda item: f"film {item}"))


def test_an_interrupted_block_ends_its_processes_in_the_middle_of_a_task() -> None:
    with pytest.raises(KeyboardInterrupt), Processes(1) as place:
        place.submit(tasks.doubled, -1, [1]).result()
        (child,) = psutil.Process().children()
        place.submit(tasks.asleep, 600)
        place.submit(tasks.asleep, 600)
        raise KeyboardInterrupt
    assert not child.is_running()


def test_as_many_processes_as_cores_and_memory_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cores", lambda: 16)
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 25 * 10**9)
    assert processes.count(LOCAL, process_bytes=4e9) == 6
    assert processes.count(LOCAL, process_bytes=1e9) == 16
    assert processes.count(dataclasses.replace(LOCAL, processes=0), process_bytes=4e9) == 0
    monkeypatch.setenv(hardware.MEMORY_SHARED_BY, "2")
    assert processes.count(LOCAL, process_bytes=4e9) == 3
    assert processes.count(LOCAL, process_bytes=0.5e9) == 16
    monkeypatch.setenv(hardware.CORES_SHARED_BY, "2")
    assert processes.count(LOCAL, process_bytes=0.5e9) == 8
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 10**9)
    assert processes.count(LOCAL, process_bytes=4e9) == 0, "one alone would gain nothing"


@pytest.mark.tf
def test_an_ensemble_is_the_same_bytes_from_one_process_or_several(tmp_path: Path) -> None:
    told = set()
    for count in (0, 2):
        settings = {**dataclasses.asdict(LOCAL), "processes": count}
        del settings["hosts"]
        words = ["-m", "tests.execution.ensemble", json.dumps(settings), str(tmp_path / str(count))]
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert not re.search("not used|^E0", done.stderr, re.MULTILINE)
        told.add(done.stdout.splitlines()[-1])
    assert len(told) == 1

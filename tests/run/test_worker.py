import subprocess
import sys
import textwrap

import psutil
import pytest

from knee.run.worker import ROOT, Worker, WorkerError

SECONDS = 20.0
ECHO = """
import os, sys
from knee.run import worker

def prepare():
    print("a library prints at its start")
    return answer

def answer(question):
    print("and while it works")
    if question == b"die":
        os.abort()
    return question * 2

worker.serve(prepare)
"""


@pytest.fixture
def child() -> Worker:
    return Worker(("-c", ECHO), SECONDS, quiet=True)


def test_answers_come_in_order_whatever_libraries_print(child: Worker) -> None:
    for question in (b"one", b"x" * 3_000_000, b"two"):
        assert child.ask(question, SECONDS) == question * 2
    child.end()


def test_a_child_that_breaks_down_is_an_error_and_is_gone(child: Worker) -> None:
    with pytest.raises(WorkerError):
        child.ask(b"die", SECONDS)
    assert not child.is_alive()


def test_a_child_that_is_gone_is_an_error(child: Worker) -> None:
    child.process.kill()
    child.process.wait()
    with pytest.raises(WorkerError):
        child.ask(b"one", SECONDS)


@pytest.mark.parametrize("script", ["raise SystemExit", "import time; time.sleep(60)"])
def test_a_child_that_does_not_come_up_is_an_error(script: str) -> None:
    with pytest.raises(WorkerError):
        Worker(("-c", script), 1.0, quiet=True)


def test_an_answer_that_comes_too_late_is_an_error_and_the_child_is_gone() -> None:
    script = "import os, time; os.write(1, bytes(8)); time.sleep(60)"
    child = Worker(("-c", script), SECONDS, quiet=True)
    with pytest.raises(WorkerError):
        child.ask(b"one", 0.2)
    assert not child.is_alive()


@pytest.mark.parametrize("end", ["", "os.abort()"])
def test_a_child_ends_with_its_parent_however_that_ends(end: str) -> None:
    program = textwrap.dedent(f"""
        import os
        from knee.run.worker import Worker
        child = Worker(("-c", {ECHO!r}), {SECONDS}, quiet=True)
        print(child.process.pid, flush=True)
        {end}
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    child = int(done.stdout)
    if psutil.pid_exists(child):
        psutil.wait_procs([psutil.Process(child)], timeout=SECONDS)
    assert not psutil.pid_exists(child)

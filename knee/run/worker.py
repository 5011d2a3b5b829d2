"""A child process that answers questions over its standard input and output, and may break down.

Questions and answers are frames: their length in 8 bytes, then the bytes. The child answers an
empty question when it is ready, then one question at a time, and ends when its input does: it never
outlives its parent, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

import psutil

LENGTH: Final = struct.Struct("<Q")
ROOT: Final = Path(__file__).parents[2]  # where the package lies


class WorkerError(Exception):
    """The child broke down or took too long; it is ended."""


class Worker:
    """The parent's half: one child, for one question at a time."""

    def __init__(
        self, arguments: Sequence[str], start_seconds: float, *, quiet: bool = False
    ) -> None:
        """Start Python with `arguments` and wait until it is ready.

        Args:
            arguments: such as -m and a module that calls `serve`.
            start_seconds: how long to wait.
            quiet: whether what the child writes to its standard error is dropped.

        Raises:
            WorkerError: it does not come up.
        """
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        atexit.register(self.end)
        self.ask(b"", start_seconds)

    def ask(self, question: bytes, longest_seconds: float) -> bytes:
        """Return the child's answer.

        Raises:
            WorkerError: there is none within `longest_seconds`.
        """
        late = threading.Event()
        timer = threading.Timer(longest_seconds, self._kill_late, (late,))
        timer.daemon = True
        timer.start()
        answer = None
        try:
            _write(cast(BinaryIO, self.process.stdin), question)
            answer = _read(cast(BinaryIO, self.process.stdout))
        except OSError:  # it is gone
            pass
        finally:
            timer.cancel()
            timer.join()
        if answer is None or late.is_set():
            self.end()
            raise WorkerError
        return answer

    def is_alive(self) -> bool:
        """Whether the child still runs."""
        return self.process.poll() is None

    def end(self) -> None:
        """End the child and wait for its end."""
        atexit.unregister(self.end)
        self.process.kill()
        with contextlib.suppress(OSError):  # what was never sent goes nowhere
            self.process.communicate()

    def _kill_late(self, late: threading.Event) -> None:
        """Kill a child that takes too long: then its pipes end, and with them the waiting."""
        late.set()
        self.process.kill()


def serve(prepare: Callable[[], Callable[[bytes], bytes]]) -> None:
    """Run the child's half until its input ends.

    `prepare` loads what is needed and returns the function from question to answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of the input is the end
    parent = psutil.Process(os.getppid())
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # whatever libraries print is no answer
        answer = prepare()
        while (question := _read(sys.stdin.buffer)) is not None:
            _write(answers, answer(question) if question else b"")


def _end_after(parent: psutil.Process) -> None:
    """End this process in the middle of an answer, too, once nobody waits for it."""
    parent.wait()
    os._exit(1)


def _write(stream: BinaryIO, content: bytes) -> None:
    stream.write(LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def _read(stream: BinaryIO) -> bytes | None:
    """The next frame; None if the stream ends before or within it."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    content = stream.read(length)
    return content if len(content) == length else None

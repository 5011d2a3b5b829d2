"""DICOM pixels decoded in a process of their own, for decoders that damaged files can bring down.

GDCM ends the whole process on some damaged files, where it should raise. Here that costs one file:
the process that served it is gone, the file has its reason, and the next one gets a new process.
Each serves one file at a time, over its standard input and output, and ends with the one that
started it, however that ends.

python -m knee.reading.dicom_worker
"""

from __future__ import annotations

import atexit
import contextlib
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from knee.reading.decoded import UnreadableImage
from knee.storage.arrays import Pixels

QUESTION: Final = struct.Struct("<Qd")  # bytes of the file, largest megapixels
ANSWER: Final = struct.Struct("<IIQ")  # height and width, 0 for a reason; bytes that follow
LONGEST_SECONDS: Final = 120.0  # for one file
MEMORY_BYTES: Final = 16 << 30  # of addresses, most of which are never touched
ROOT: Final = Path(__file__).parents[2]  # where the package lies


class _Processes:
    """The processes that wait for a file; one is started where none waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []
        self._ends_with_us = False

    def ask(self, content: bytes, maximum_megapixels: float) -> tuple[int, int, bytes] | None:
        """Height, width and what follows; None if the process broke down or took too long."""
        process = self._taken()
        late = threading.Event()
        limit = threading.Timer(LONGEST_SECONDS, _kill_late, (process, late))
        limit.start()
        try:
            answer = _asked(process, content, maximum_megapixels)
        finally:
            limit.cancel()
            limit.join()
        if answer is None or late.is_set():
            _ended(process)
            return None
        with self._lock:
            self._idle.append(process)
        return answer

    def _taken(self) -> subprocess.Popen[bytes]:
        """One that is alive."""
        with self._lock:
            if not self._ends_with_us:
                atexit.register(self.end)
            self._ends_with_us = True
            while self._idle:
                process = self._idle.pop()
                if process.poll() is None:
                    return process
                _ended(process)
        return _started()

    def waiting(self) -> list[subprocess.Popen[bytes]]:
        """Those that wait."""
        with self._lock:
            return list(self._idle)

    def end(self) -> None:
        """End those that wait."""
        with self._lock:
            while self._idle:
                _ended(self._idle.pop())


_PROCESSES: Final = _Processes()


def gray(content: bytes, maximum_megapixels: float) -> Pixels:
    """uint8 (height, width) of a DICOM file's bytes, as `dicom.gray` gives it.

    Raises:
        UnreadableImage: with the reason.
    """
    answer = _PROCESSES.ask(content, maximum_megapixels)
    if answer is None:
        raise UnreadableImage("damaged DICOM pixels: the decoder broke down")
    height, width, following = answer
    if not height:
        raise UnreadableImage(following.decode())
    return np.frombuffer(following, np.uint8).reshape(height, width)


def waiting() -> list[subprocess.Popen[bytes]]:
    """The processes that wait for a file: for those who watch what they cost."""
    return _PROCESSES.waiting()


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "knee.reading.dicom_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _kill_late(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with contextlib.suppress(OSError):  # what was never sent goes nowhere
        process.communicate()


def _asked(
    process: subprocess.Popen[bytes], content: bytes, maximum_megapixels: float
) -> tuple[int, int, bytes] | None:
    if process.stdin is None or process.stdout is None:
        return None
    try:
        process.stdin.write(QUESTION.pack(len(content), maximum_megapixels) + content)
        process.stdin.flush()
    except OSError:
        return None
    head = process.stdout.read(ANSWER.size)
    if len(head) < ANSWER.size:
        return None
    height, width, size = ANSWER.unpack(head)
    following = process.stdout.read(size)
    return (height, width, following) if len(following) == size else None


def _serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there is no question."""
    import resource

    from knee.reading import dicom

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    while len(head := questions.read(QUESTION.size)) == QUESTION.size:
        size, maximum_megapixels = QUESTION.unpack(head)
        try:
            pixels = dicom.gray(dicom.read(questions.read(size), maximum_megapixels))
            height, width = pixels.shape
            answers.write(ANSWER.pack(height, width, pixels.size) + pixels.tobytes())
        except UnreadableImage as reason:
            text = str(reason).encode()
            answers.write(ANSWER.pack(0, 0, len(text)) + text)
        answers.flush()


def _main() -> None:
    with os.fdopen(os.dup(1), "wb") as answers:  # whatever the decoders print is no answer
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()

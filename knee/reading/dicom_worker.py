"""DICOM pixels decoded in child processes, for decoders that damaged files can bring down.

GDCM ends the whole process on some damaged files, where it should raise. Here that costs one file:
the child that served it is gone, the file has its reason, and the next one gets a new child.
"""

from __future__ import annotations

import resource
import struct
from collections.abc import Callable
from typing import Final

import numpy as np

from knee.reading import dicom
from knee.reading.decoded import UnreadableImage
from knee.reading.dicom import Shown
from knee.run import worker
from knee.run.worker import Worker, WorkerError

COMMAND: Final = ("-W", "ignore", "-m", "knee.reading.dicom_worker")
QUESTION: Final = struct.Struct("<d")  # largest megapixels; the file follows
# Height and width, then pixels and the note; or 0, then a reason.
ANSWER: Final = struct.Struct("<II")
LONGEST_SECONDS: Final = 120.0  # for one file
MEMORY_BYTES: Final = 16 << 30  # of addresses, most of which are never touched
IDLE: Final[list[Worker]] = []  # children that wait for a file


def shown(content: bytes, maximum_megapixels: float) -> Shown:
    """Return, or raise, what `dicom.decompressed` does with a file's bytes in a child."""
    try:
        child = _take()
        answer = child.ask(QUESTION.pack(maximum_megapixels) + content, LONGEST_SECONDS)
    except WorkerError:
        raise UnreadableImage("damaged DICOM pixels: the decoder broke down") from None
    IDLE.append(child)
    height, width = ANSWER.unpack_from(answer)
    if not height:
        raise UnreadableImage(answer[ANSWER.size :].decode())
    pixels = np.frombuffer(answer, np.uint8, height * width, ANSWER.size)
    note = answer[ANSWER.size + pixels.size :].decode()
    return Shown(pixels.reshape(height, width), note)


def _take() -> Worker:
    """A child that is alive: a waiting one, else a new one."""
    while True:
        try:
            child = IDLE.pop()
        except IndexError:
            return Worker(COMMAND, LONGEST_SECONDS, quiet=True)
        if child.is_alive():
            return child
        child.end()


def _prepare() -> Callable[[bytes], bytes]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    return _answer


def _answer(question: bytes) -> bytes:
    (maximum_megapixels,) = QUESTION.unpack_from(question)
    try:
        dataset = dicom.read(question[QUESTION.size :], maximum_megapixels)
        shown = dicom.decompressed(dataset)
    except UnreadableImage as reason:
        return ANSWER.pack(0, 0) + str(reason).encode()
    return ANSWER.pack(*shown.pixels.shape) + shown.pixels.tobytes() + shown.note.encode()


if __name__ == "__main__":
    worker.serve(_prepare)

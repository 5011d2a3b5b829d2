import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from knee.reading import dicom_worker, image_formats
from knee.reading.decoded import UnreadableImage
from knee.storage.arrays import Pixels
from tests.reading.dicom_files import RAMP, dicom, transcoded

READY = "import os, sys, time; sys.stdin.buffer.read(8); os.write(1, bytes(8))"


@pytest.fixture
def lossless(tmp_path: Path) -> bytes:
    """A file that only GDCM decodes."""
    return transcoded(dicom(RAMP), "JPEGLosslessProcess14_1", tmp_path)


@pytest.fixture
def no_child() -> None:
    """None waits from the tests before."""
    while dicom_worker.IDLE:
        dicom_worker.IDLE.pop().end()


@pytest.mark.usefixtures("no_child")
def test_one_child_serves_file_after_file(lossless: bytes) -> None:
    first = dicom_worker.shown(lossless, 1).pixels
    (child,) = dicom_worker.IDLE
    np.testing.assert_array_equal(dicom_worker.shown(lossless, 1).pixels, first)
    np.testing.assert_array_equal(first, image_formats.decode(dicom(RAMP), 1).pixels)
    assert [child] == dicom_worker.IDLE


def test_a_child_that_is_gone_is_replaced(lossless: bytes) -> None:
    expected = dicom_worker.shown(lossless, 1).pixels
    for child in dicom_worker.IDLE:
        os.kill(child.process.pid, signal.SIGKILL)
        child.process.wait()
    np.testing.assert_array_equal(dicom_worker.shown(lossless, 1).pixels, expected)


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize("script", ["os.abort()", "time.sleep(60)", "os.write(1, bytes(7))"])
def test_a_decoder_that_breaks_down_or_hangs_costs_one_file(
    lossless: bytes, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    with monkeypatch.context() as patched:
        command = ("-c", f"{READY}; sys.stdin.buffer.read(99); {script}")
        patched.setattr(dicom_worker, "COMMAND", command)
        patched.setattr(dicom_worker, "LONGEST_SECONDS", 2.0)
        with pytest.raises(UnreadableImage, match="the decoder broke down"):
            dicom_worker.shown(lossless, 1)
    assert dicom_worker.IDLE == []
    assert dicom_worker.shown(lossless, 1).pixels.shape == RAMP.shape


def test_reasons_come_back_as_they_are(lossless: bytes) -> None:
    with pytest.raises(UnreadableImage, match=r"above ingest\.maximum_megapixels = 1e-06"):
        dicom_worker.shown(lossless, 1e-6)


def test_files_at_the_same_time_have_children_of_their_own(lossless: bytes) -> None:
    results: list[Pixels] = []
    threads = [
        threading.Thread(target=lambda: results.append(dicom_worker.shown(lossless, 1).pixels))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    np.testing.assert_array_equal(results[0], results[1])

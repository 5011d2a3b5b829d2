"""Lines that TensorFlow prints on every machine go; all else that it says stays."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from knee.run import known_noise

NEWS = b"E0000 00:00:1795 13 cuda_executor.cc:12] INTERNAL: CUDA error\nTraceback\n"
ALWAYS = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795911924.917989 8396 port.cc:153] oneDNN custom operations are on. You may\n"
)


def test_known_lines_go_and_others_stay_even_if_the_import_fails(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ImportError), known_noise.without_noise():
        os.write(2, ALWAYS + NEWS + ALWAYS)
        raise ImportError
    assert capfd.readouterr().err == NEWS.decode()


def test_keras_finds_no_package_that_only_its_wrappers_need_and_others_do() -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in known_noise.EXTRAS:
            patch.delitem(sys.modules, name, raising=False)
        with known_noise.without_extras(), pytest.raises(ImportError):
            importlib.import_module("sklearn")
        assert not sys.modules.keys() & {*known_noise.EXTRAS}

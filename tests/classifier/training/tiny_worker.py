"""A worker that knows the tiny backbone, and ends itself where a test asks for it.

KNEE_TEST_KILL is a file with a line WORKER EPOCH for each SIGKILL, numbers from 0: it comes in that
epoch, and its line goes.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from knee.classifier.training import fit, training_worker
from tests.classifier.conftest import put_in_table


def main(patch: pytest.MonkeyPatch) -> None:
    put_in_table(patch)
    begin = fit.Epochs.begin

    def begin_and_die(self: fit.Epochs, model: Any, epoch: int) -> None:
        begin(self, model, epoch)
        if "KNEE_TEST_KILL" in os.environ:
            file, line = Path(os.environ["KNEE_TEST_KILL"]), f"{self.worker} {epoch}\n"
            asked = file.read_text(encoding="utf-8")
            if line in asked:
                file.write_text(asked.replace(line, ""), encoding="utf-8")
                os.kill(os.getpid(), signal.SIGKILL)

    patch.setattr(fit.Epochs, "begin", begin_and_die)
    training_worker.main(sys.argv[1:])


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as monkeypatch:
        main(monkeypatch)

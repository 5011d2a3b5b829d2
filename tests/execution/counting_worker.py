"""A worker of a group that needs no TensorFlow: it meets the others and counts."""

from __future__ import annotations

import ctypes
import os
import sys
import time

from knee.execution.worker_group import Worker


def main() -> None:
    behaviour = os.environ.get("KNEE_TEST_WORKER", "")
    worker = Worker.of(sys.argv[1:], os.environ)
    worker.set_limits()
    addresses = worker.meet()
    if behaviour == "holds":  # Python's lock, as TensorFlow does while it waits for others
        (worker.folder / f"holding-{worker.number}").touch()
        ctypes.PyDLL(None).sleep(600)
    worker.tell_started()
    (worker.folder / f"met-{worker.number}").write_text(" ".join(addresses), encoding="utf-8")
    if behaviour == "fails" and worker.number == 1:
        worker.tell_failure("no film 7")
    if behaviour == "dies" and worker.number == 1:
        os.abort()
    time.sleep(60)


if __name__ == "__main__":
    main()

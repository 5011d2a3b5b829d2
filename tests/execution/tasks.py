"""Tasks and trials for workers of a cluster."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence


def trial() -> str:
    """Bits that a variable of a node's environment decides."""
    return os.environ.get("KNEE_TEST_BITS", "ours")


def doubled(cursed: int, items: Sequence[int]) -> list[tuple[int, str]]:
    """Twice each item, and the bits of the node; one item ends its worker."""
    if cursed in items:
        os.kill(os.getpid(), signal.SIGKILL)
    return [(2 * item, trial()) for item in items]


def broken(items: Sequence[int]) -> list[int]:
    """An error of the task's own."""
    raise ZeroDivisionError(f"no {items[0]}")


def asleep(seconds: float) -> None:
    """A task that takes long."""
    time.sleep(seconds)

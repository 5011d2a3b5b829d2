"""How far long work is: a bar on a terminal, elsewhere lines in the log."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Final

from tqdm import tqdm

EVERY_SECONDS: Final = 15.0  # between two lines of a log

log = logging.getLogger(__name__)


@contextlib.contextmanager
def shown(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Give the function to be called with the number of units done since its last call.

    A log gets a line at the start, then now and then one with the time that is left.

    Args:
        what: is done, such as "occlusion".
        total: number of units.
        unit: its name, in the plural.
    """
    begun = told = time.monotonic()
    done = 0
    with tqdm(total=total, desc=what, unit=f" {unit}", disable=None) as bar:

        def advance(count: int) -> None:
            nonlocal done, told
            done = min(done + count, total)
            bar.update(count)
            now = time.monotonic()
            if bar.disable and done < total and now - told >= EVERY_SECONDS:
                told, left = now, (now - begun) / done * (total - done)
                log.info("%s: %d of %d %s, about %.0f s left", what, done, total, unit, left)

        if bar.disable:
            log.info("%s: %d %s", what, total, unit)
        yield advance

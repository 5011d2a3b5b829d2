"""How often a JPEG file paints its picture: some hundred bytes a time, which cost seconds each.

A progressive JPEG has about ten scans. Each can be as good as empty, and still passes over the
whole picture: a megabyte of them would keep a decoder busy for an hour.
"""

from __future__ import annotations

import re
from typing import Final

from stages.radiographs.files import UnreadableImage

MAXIMUM_SCANS: Final = 100
START, SCAN, END = 0xD8, 0xDA, 0xD9
ALONE: Final = frozenset((0x01, START, *range(0xD0, 0xD8)))  # markers without a segment
MARKER: Final = re.compile(rb"\xff[^\x00\xff]")


def check(content: bytes) -> None:
    """Refuse what has more scans than any picture needs.

    Raises:
        UnreadableImage: it has.
    """
    scans = 0
    found = MARKER.search(content)
    while found:
        at, marker = found.end(), content[found.end() - 1]
        if marker == END:
            return
        if marker == SCAN:
            scans += 1
            if scans > MAXIMUM_SCANS:
                raise UnreadableImage(f"a JPEG of more than {MAXIMUM_SCANS} scans")
        if marker not in ALONE:
            at += max(int.from_bytes(content[at : at + 2], "big"), 2)
        found = MARKER.search(content, at)

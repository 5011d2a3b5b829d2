"""Whole files -> damaged ones, each made again from its seed.

    content = mutated(seed, bases).content

Even seeds make DICOM files, odd ones JPEG, PNG, TIFF and BMP. Most seeds damage the file where its
format has its structure (`mutations_raster`, `mutations_dicom`), then its bytes, or both.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.hostile_files import mutations_dicom, mutations_raster
from benchmarks.hostile_files.bases import Base, Bases

RASTERS: Final = ("JPEG", "JPEG", "JPEG", "JPEG", "PNG", "PNG", "PNG", "PNG", "TIFF", "BMP")
STRUCTURES: Final[dict[str, Callable[[random.Random, bytes], bytes]]] = {
    "DICOM": mutations_dicom.damaged,
    "JPEG": mutations_raster.damaged_jpeg,
    "PNG": mutations_raster.damaged_png,
    "TIFF": mutations_raster.damaged_tiff,
}
HEADER_BYTES: Final = 1024
LONGEST_SPAN: Final = 2048
MOST_BYTES: Final = 4 << 20


@dataclass(frozen=True)
class Mutated:
    """One file.

    Attributes:
        base: name of the file before.
        file_format: of the base.
        steps: what was done to it, in order.
        content: the file after it.
    """

    base: str
    file_format: str
    steps: tuple[str, ...]
    content: bytes


def mutated(seed: int, bases: Bases) -> Mutated:
    """The file of `seed`: with the same bases always the same."""
    dice = random.Random(seed)
    file_format = "DICOM" if seed % 2 == 0 else dice.choice(RASTERS)
    base = _drawn(dice, bases[file_format])
    content, steps = base.content, []
    if file_format in STRUCTURES and dice.random() < 0.6:
        content = STRUCTURES[file_format](dice, content)
        steps.append("structure")
    if not steps or dice.random() < 0.3:
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            name = dice.choice((*DAMAGES, "spliced"))
            other = bases[dice.choice((file_format, file_format, dice.choice(list(bases))))]
            content = (
                spliced(dice, content, _drawn(dice, other).content)
                if name == "spliced"
                else DAMAGES[name](dice, content)
            )
            steps.append(name)
    return Mutated(base.name, file_format, tuple(steps), content[:MOST_BYTES])


def _drawn(dice: random.Random, bases: Sequence[Base]) -> Base:
    """Generated ones, of which there are few, as often as those of the corpora."""
    generated = [base for base in bases if base.name.startswith("generated")]
    return dice.choice(generated if generated and dice.random() < 0.5 else bases)


def flipped(dice: random.Random, content: bytes) -> bytes:
    """Some bits, half of the time in the header alone."""
    made = bytearray(content)
    for _ in range(dice.choice((1, 2, 4, 16, 64))):
        made[_position(dice, content)] ^= 1 << dice.randrange(8)
    return bytes(made)


def overwritten(dice: random.Random, content: bytes) -> bytes:
    """A span of zeros, of ones or of noise."""
    start, end = _span(dice, content)
    filler = dice.choice((b"\0", b"\xff", None))
    size = end - start
    span = filler * size if filler else dice.randbytes(size)
    return content[:start] + span + content[end:]


def truncated(dice: random.Random, content: bytes) -> bytes:
    """Cut off somewhere, at times within the header or by a few bytes."""
    last = max(len(content) - 8, 0)
    return content[: dice.choice((_position(dice, content), dice.randint(last, len(content))))]


def removed(dice: random.Random, content: bytes) -> bytes:
    """Without a span."""
    start, end = _span(dice, content)
    return content[:start] + content[end:]


def repeated(dice: random.Random, content: bytes) -> bytes:
    """With a span twice or up to a thousand times."""
    start, end = _span(dice, content)
    times = dice.choice((2, 2, 3, 16, 1000))
    return content[:start] + content[start:end] * times + content[end:]


def swapped(dice: random.Random, content: bytes) -> bytes:
    """With two spans in each other's place, or with the bytes of a length in the wrong order."""
    if dice.random() < 0.5:
        at, size = _position(dice, content), dice.choice((2, 4))
        return content[:at] + content[at : at + size][::-1] + content[at + size :]
    a, b, c, d = sorted(dice.randint(0, len(content)) for _ in range(4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def extreme(dice: random.Random, content: bytes) -> bytes:
    """An extreme number in place of two or four bytes, in either order."""
    made = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = _position(dice, content)
        size = dice.choice((1, 2, 4))
        number = dice.choice(mutations_raster.extremes(size))
        made[at : at + size] = number.to_bytes(size, dice.choice(("big", "little")))
    return bytes(made)


def lengthened(dice: random.Random, content: bytes) -> bytes:
    """With noise, zeros or itself behind its end."""
    more = dice.choice((dice.randbytes(dice.randint(1, 4096)), bytes(65_536), content))
    return content + more


def spliced(dice: random.Random, content: bytes, other: bytes) -> bytes:
    """The start of one file and the end of another."""
    share = dice.random()
    start = int(len(content) * share)
    return content[:start] + other[int(len(other) * dice.choice((share, dice.random()))) :]


DAMAGES: Final[dict[str, Callable[[random.Random, bytes], bytes]]] = {
    "flipped": flipped,
    "overwritten": overwritten,
    "truncated": truncated,
    "removed": removed,
    "repeated": repeated,
    "swapped": swapped,
    "extreme": extreme,
    "lengthened": lengthened,
}


def _position(dice: random.Random, content: bytes) -> int:
    end = max(len(content) - 1, 0)
    return dice.randint(0, min(end, HEADER_BYTES) if dice.random() < 0.5 else end)


def _span(dice: random.Random, content: bytes) -> tuple[int, int]:
    start = _position(dice, content)
    return start, min(start + dice.randint(1, dice.choice((4, 64, LONGEST_SPAN))), len(content))

"""Generated records, fingerprints and canonical pixels: noise, and what is planted in it.

Of `ALIKE` films in a row all look alike; film 20 n + 1 is a copy of film 20 n, one copy in ten
under another label; one film in ten is wide and has halves; two films in a row are of one patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from knee.copies.fingerprints import Fingerprints
from knee.records.records_table import COLUMNS, USED
from knee.storage import row_files
from knee.storage.arrays import Integers, Pixels

CLASSES: Final = ("Normal", "Osteopenia", "Osteoporosis")
CLASS_SHARES: Final = (0.5, 0.3, 0.2)
COPIED, WIDE, WRONG_COPIES, ALIKE = 20, 10, 10, 14
PAIRS_A_FILM: Final = 13.4  # candidates, measured on Kellgren-Lawrence films
SIDE_PIXELS: Final = 64  # of a canonical image
PATTERN_SIDE, REDUCED_SIDE = 12, 96
FLIPPED_BITS: Final = 8  # of a copy's hash
BLOCK: Final = 1000


def true_groups(films: int) -> Integers:
    """Return the copy group of each film, int64 (films,): a copy has the number of its source."""
    number = np.arange(films)
    return np.asarray(number - (number % COPIED == 1))


def candidates(films: int) -> Integers:
    """Return pairs of films that look alike, int64 (13.4 films, 2), among them all copies."""
    generator = np.random.default_rng(1)
    one = generator.integers(0, films, int(PAIRS_A_FILM * films))
    two = one // ALIKE * ALIKE + generator.integers(0, ALIKE, len(one))
    copy = np.arange(1, films, COPIED)
    pairs = np.column_stack([one, two.clip(max=films - 1)])
    return np.concatenate([np.column_stack([copy - 1, copy]), pairs[pairs[:, 0] != pairs[:, 1]]])


def fingerprints(films: int) -> Iterator[Fingerprints]:
    """Yield the fingerprints of each film."""
    generator = np.random.default_rng(0)
    hashes = np.zeros((2, 32), np.uint8)
    for start in range(0, films, BLOCK):
        count = min(BLOCK, films - start)
        for number, image in enumerate(_alike(generator, start, count), start):
            if number % COPIED == 1:
                hashes = hashes.copy()
                hashes[:, 0] ^= 255 >> (8 - FLIPPED_BITS)
            else:
                hashes = generator.integers(0, 256, (2, 32), np.uint8)
            halves = [np.roll(image, shift, 1) for shift in (24, -24) if number % WIDE == 0]
            yield Fingerprints(hashes[0], hashes[1], image, np.stack([image, *halves]))


def _alike(generator: np.random.Generator, start: int, count: int) -> Pixels:
    """Images from film `start` on: the pattern of those that look alike, and noise of their own."""
    kinds = np.arange(start, start + count) // ALIKE
    patterns = {
        kind: np.random.default_rng(kind).integers(13, 220, 2 * (PATTERN_SIDE,), np.uint8)
        for kind in np.unique(kinds).tolist()
    }
    edge = REDUCED_SIDE // PATTERN_SIDE
    coarse = np.stack([patterns[kind] for kind in kinds.tolist()])
    noise = generator.integers(0, 32, (count, REDUCED_SIDE, REDUCED_SIDE), np.uint8)
    return np.asarray(coarse.repeat(edge, 1).repeat(edge, 2) + noise, np.uint8)


def records(films: int) -> pd.DataFrame:
    """Return the records table of ingest before copies were looked for: no groups yet (-1)."""
    generator = np.random.default_rng(2)
    number = np.arange(films)
    source = true_groups(films)
    is_wrong = (source != number) & (number // COPIED % WRONG_COPIES == 0)
    index = generator.choice(len(CLASSES), films, p=CLASS_SHARES)[source]
    index = np.where(is_wrong, (index + 1) % len(CLASSES), index)
    label = np.array(CLASSES)[index]
    patient = [f"{one * 0x9E3779B97F4A7C15 % 2**64:016x}" for one in (source // 2).tolist()]
    digests = generator.integers(0, 256, (films, 32), np.uint8)
    texts = [row.tobytes().hex() for row in digests]
    columns = {
        "record": number,
        "source": [f"{a}/film_{b:08d}.png" for a, b in zip(label.tolist(), number, strict=True)],
        "label": label,
        "class_index": index,
        "status": USED,
        "pixel_row": number,
        "sha256": texts,
        "pixel_sha256": texts[::-1],
        "perceptual_hash": texts,
        "width": generator.integers(224, 400, films),
        "height": generator.integers(224, 400, films),
        "mode": "L",
        "format": "PNG",
        "bytes": generator.integers(20_000, 90_000, films),
        "bits": 8,
        "compression": "png",
        "patient": patient,
        "side": np.where(number % 2, "left", "right"),
        "picture": -1,
        "group": -1,
    }
    absent = {"str": "", "int64": 0, "float64": np.nan}
    missing = {name: absent[kind] for name, kind in COLUMNS.items() if name not in columns}
    return pd.DataFrame({**columns, **missing})[list(COLUMNS)].astype(COLUMNS)


def write_pixels(films: int, path: Path) -> None:
    """Write canonical images of noise."""
    generator = np.random.default_rng(3)
    with row_files.written_rows(path, 2 * (SIDE_PIXELS,), np.uint8) as file:
        for start in range(0, films, BLOCK):
            count = min(BLOCK, films - start)
            file.extend(generator.integers(13, 256, (count, SIDE_PIXELS, SIDE_PIXELS), np.uint8))

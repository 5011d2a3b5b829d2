"""Which letters are read on the films of a folder: counts, and a picture in which to judge them.

python -m benchmarks.locator.markers FOLDER --out SHEET.png

Each distinct film once. Every letter that was read is drawn, the least plain first, under what it
was read as.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from knee.location import markers
from knee.reading import image_formats, prepare, source_files
from knee.reading.decoded import UnreadableImage
from knee.run import command
from knee.storage.arrays import Pixels

TILE, COLUMNS, AROUND_SHARE = 72, 24, 0.05  # px, tiles, of a film's longer side
TEXT: Final = 12  # px


def main(argv: Sequence[str] | None = None) -> int:
    """Print the counts and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("folder", type=Path, help="of images, and of folders of them")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    given = parser.parse_args(argv)
    films: dict[tuple[tuple[int, ...], bytes], Pixels] = {}
    for source in prepare.sources([given.folder]):
        try:
            film = image_formats.decode_radiograph(source_files.read(source), 64.0).pixels
        except UnreadableImage:
            continue
        films.setdefault((film.shape, film.tobytes()), film)
    found = [(one, film) for film in films.values() for one in markers.read(film)]
    counts = Counter(_named(one) for one, _ in found)
    print(f"{len(films)} films, {len(found)} letters: {dict(sorted(counts.items()))}")
    _drawn(sorted(found, key=lambda pair: pair[0].correlation)).save(given.out)
    return 0


def _named(one: markers.Marker) -> str:
    return one.side + " mirrored" * one.mirrored


def _drawn(found: Sequence[tuple[markers.Marker, Pixels]]) -> Image.Image:
    rows = -(-len(found) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * TILE, max(rows, 1) * (TILE + TEXT)))
    draw = ImageDraw.Draw(sheet)
    for number, (one, film) in enumerate(found):
        left, top = (number % COLUMNS) * TILE, (number // COLUMNS) * (TILE + TEXT)
        around = AROUND_SHARE * max(film.shape)
        box = tuple(round(at) for at in (one.x - around, one.y - around))
        part = Image.fromarray(film).crop((*box, *(at + round(2 * around) for at in box)))
        sheet.paste(part.resize((TILE - 2, TILE - 2), Image.Resampling.NEAREST), (left, top))
        letter = one.side[0].upper()
        draw.text((left, top + TILE - 2), f"{letter}{' mirr.' * one.mirrored}", 255)
    return sheet


if __name__ == "__main__":
    raise SystemExit(main())

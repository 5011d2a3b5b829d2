"""How many images of a folder are stored in colours, and how many are coloured.

python -m benchmarks.evidence.colours FOLDER

The latter as ingest notes them: radiographs that are called coloured are false alarms.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

from knee.reading import prepare, raster, source_files
from knee.reading.decoded import COLOURED, Decoded, UnreadableImage
from knee.run import command


def main(argv: Sequence[str] | None = None) -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("folder", type=Path, help="of images, and of folders of them")
    images: list[Decoded] = []
    for source in prepare.sources([parser.parse_args(argv).folder]):
        with contextlib.suppress(UnreadableImage):
            images.append(raster.decode(source_files.read(source), 64.0))
    stored = sum(image.mode not in raster.GRAY for image in images)
    coloured = sum(COLOURED in image.note for image in images)
    print(f"{len(images)} images: {stored} stored in colours, {coloured} coloured")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

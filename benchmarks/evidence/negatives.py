"""How plainly the photographic negatives of a folder differ from its other images.

python -m benchmarks.evidence.negatives FOLDER

Correlations of all images with the median one, as ingest.negatives judges them, by their reduced
form: negatives and all others, the ends of both.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from knee.copies.copy_check import REDUCED_SIDE_PIXELS
from knee.reading import negatives, prepare
from knee.reading.canonical_image import Canonical
from knee.reading.decoded import UnreadableImage
from knee.run import command


def main(argv: Sequence[str] | None = None) -> int:
    """Print the counts and the ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("folder", type=Path, help="of images, and of folders of them")
    sources = prepare.sources([parser.parse_args(argv).folder])
    reduced = Canonical(REDUCED_SIDE_PIXELS, "squash", 64.0)
    made = prepare.prepare_all(sources, reduced)
    images = np.stack([one for one in made if not isinstance(one, UnreadableImage)])
    typical = negatives.median_image(images)
    if typical is None:
        raise SystemExit(f"fewer than {negatives.MINIMUM_IMAGES} images")
    found = np.sort(negatives.correlations(images, typical))
    split = int(np.searchsorted(found, negatives.CORRELATION, side="right"))
    for name, part in (("negatives", found[:split]), ("others", found[split:])):
        ends = f", {part[0]:.3f} to {part[-1]:.3f}" if len(part) else ""
        print(f"{name}: {len(part)} of {len(found)}{ends}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

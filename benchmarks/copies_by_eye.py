"""Contact sheets to judge by eye which files ingest calls one picture.

    python -m benchmarks.copies_by_eye --images FOLDER --records data/records.csv --sheet-out X.png

100 random pairs of one picture that neither names nor identical pixels explain, the second laid
over the first (left, right); with --below, the 50 best pairs that were not joined. Pairs are
numbered from left to right, then down; their names and figures are printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from stages import params
from stages.radiographs import alignment, decoding, lineage, pixels, poses, verification
from stages.radiographs.components import Integers, components, equal_pairs
from stages.radiographs.records import read_records

COLUMNS = 5
SHOWN_SIDE_PIXELS = 160


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--sheet-out", type=Path, required=True)
    parser.add_argument("--below", action="store_true")
    parser.add_argument("--derived", action="store_true", help="files named as copies, too")
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    settings = params.load(Path("params.yaml")).ingest
    patterns = lineage.compile_patterns(settings.lineage_patterns, settings.copy_patterns)
    films = read_records(arguments.records)
    films = films[films["pixel_row"] >= 0]
    if not arguments.derived:
        stems = films["source"].map(lambda source: PurePosixPath(source).stem)
        films = films[stems.map(lambda stem: lineage.source_stem(stem, patterns) == stem)]
    films = films.drop_duplicates("pixel_sha256").reset_index(drop=True)
    keys = lineage.lineage_keys(films["source"].tolist(), patterns)
    families = components(len(films), equal_pairs(keys))
    images = [
        decoding.decode(
            (arguments.images / source).read_bytes(), settings.maximum_megapixels
        ).pixels
        for source in films["source"]
    ]
    reduced = np.stack([pixels.resize(image, 96, 96) for image in images])
    bank = poses.bank(turned=True)
    alike = poses.look_alikes(reduced, bank, settings.look_alikes, settings.look_alike_correlation)
    registered = verification.register(reduced, alike.pairs, alike.maps, "pairs")
    chosen = _choose(films, families, alike.pairs, registered, arguments)
    panels = []
    for place, number in enumerate(chosen):
        one, two = alike.pairs[number]
        found = registered.agreement
        print(
            f"{place:3d} {found.whole[number]:.3f} {found.local[number]:.3f} "
            f"{found.overlap[number]:.2f} {films['source'][one]} | {films['source'][two]}"
        )
        panels.append(_panel(images[one], images[two], registered.maps[number]))
    _sheet(panels).save(arguments.sheet_out)


def _choose(
    films: pd.DataFrame,
    families: Integers,
    pairs: Integers,
    registered: verification.Registered,
    arguments: Any,
) -> Integers:
    # A pair was tried as it is and mirrored: the better one.
    order = np.lexsort((-registered.agreement.whole, pairs.max(axis=1), pairs.min(axis=1)))
    ordered = np.sort(pairs, axis=1)[order]
    best = np.zeros(len(pairs), bool)
    best[order] = np.concatenate([[True], (np.diff(ordered, axis=0) != 0).any(axis=1)])
    picture = films["picture"].to_numpy()
    one = picture[pairs[:, 0]] == picture[pairs[:, 1]]
    named = families[pairs[:, 0]] == families[pairs[:, 1]]
    if arguments.below:
        apart = np.flatnonzero(~one & best)
        score = np.minimum(registered.agreement.whole, registered.agreement.local + 0.06)
        return apart[np.argsort(-score[apart])][:50]
    joined = np.flatnonzero(one & ~named & best)
    return np.random.default_rng(arguments.seed).choice(
        joined, min(100, len(joined)), replace=False
    )


def _panel(fixed: pixels.Pixels, moving: pixels.Pixels, found: alignment.Maps) -> pixels.Pixels:
    side = SHOWN_SIDE_PIXELS
    left, right = (pixels.resize(image, side, side) for image in (fixed, moving))
    moved = right[None].astype(np.float32)
    values, inside = alignment.shown(alignment.Layer(moved, np.ones_like(moved)), found[None])
    laid = (values * inside).reshape(side, side).astype(np.uint8)
    return np.pad(np.hstack([left, laid]), 3, constant_values=255)


def _sheet(panels: list[pixels.Pixels]) -> Image.Image:
    empty = np.zeros_like(panels[0])
    panels = panels + [empty] * (-len(panels) % COLUMNS)
    rows = [np.hstack(panels[at : at + COLUMNS]) for at in range(0, len(panels), COLUMNS)]
    return Image.fromarray(np.vstack(rows))


if __name__ == "__main__":
    main()

"""Draw the two pictures of docs/copies.md from synthetic radiographs; takes a minute or three.

python -m benchmarks.evidence.copies_pictures --out docs/images
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from knee.copies import copy_check, copy_groups, hash_search
from knee.copies.affine_registration import Agreement
from knee.reading import canonical_image, image_formats
from knee.run import command, parameters
from knee.storage.arrays import Pixels
from knee.synthetic import cohort
from stages import ingest
from tests.copies.pictures import KINDS, changed

SHOWN = ("mirrored", "turned 6", "cropped 0.08", "jpeg 40", "mirrored and turned 25")  # of KINDS
NAMES = ("an image and its copy", "knees of two patients", "two knees of one patient")
COLOURS = ("#0072B2", "#D55E00", "#E69F00")
PATIENTS = 24
Agreed = tuple[float, float, float]  # whole, local, overlap
Pairs = dict[tuple[int, int], Agreed]


def main() -> None:
    """Write copies_found.png and copies_and_others.png; print how many pairs are called copies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    out: Path = parser.parse_args().out
    search = ingest.search(parameters.load(Path("params.yaml")).ingest)
    with tempfile.TemporaryDirectory() as name:
        images, truth = Path(name) / "images", Path(name) / "truth.json"
        drawn = cohort.write_sample(images, truth, patients=PATIENTS, size_pixels=256, seed=42)
        films = [image_formats.decode((images / d.source).read_bytes(), 64).pixels for d in drawn]
    count = len(films)
    copies: Pairs = {}
    for number, kind in enumerate(KINDS):
        found = agreements([*films, *(changed(film, kind) for film in films)], search)
        copies |= {(n, number): found.get((n, count + n), (0, 0, 0)) for n in range(count)}
    others: tuple[Pairs, Pairs] = ({}, {})
    for pair, value in agreements(films, search).items():
        others[drawn[pair[0]].patient == drawn[pair[1]].patient][pair] = value
    first = [d.view for d in drawn].index("close-up")
    shown = {kind: copies[first, KINDS.index(kind)] for kind in SHOWN}
    draw_found(films[first], shown, out / "copies_found.png")
    draw_others(films, (copies, *others), search.copy, out / "copies_and_others.png")


def agreements(images: list[Pixels], search: copy_groups.CopySearch) -> Pairs:
    """Register the candidate pairs as ingest does; the best agreement of each pair."""
    hashes = np.stack([hash_search.perceptual_hashes(image) for image in images], axis=1)
    side = copy_check.REDUCED_SIDE_PIXELS
    reduced = np.stack([canonical_image.resize(image, side, side) for image in images])
    candidates = copy_groups.find_candidates(hashes[0], hashes[1], reduced, search)
    found = copy_check.HERE.register(reduced, candidates.pairs, candidates.maps).agreement
    best: Pairs = {}
    values = zip(found.whole, found.local, found.overlap, strict=True)
    for (one, two), value in zip(np.sort(candidates.pairs).tolist(), values, strict=True):
        best[one, two] = max(best.get((one, two), (0, 0, 0)), value, key=lambda v: min(v[:2]))
    return best


def draw_found(original: Pixels, found: dict[str, Agreed], out: Path) -> None:
    """Draw the original and its copies in a row, with the agreement of each."""
    figure = Figure(figsize=(9, 2.2), dpi=100, layout="constrained")
    axes = figure.subplots(1, len(found) + 1)
    show(axes[0], original, "synthetic original")
    for ax, (kind, value) in zip(axes[1:], found.items(), strict=True):
        show(ax, changed(original, kind), f"{kind}\nwhole {value[0]:.3f}\nblocks {value[1]:.3f}")
    figure.savefig(out, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.05)


def draw_others(
    films: list[Pixels], pairs: tuple[Pairs, ...], copy: copy_check.CopyThresholds, out: Path
) -> None:
    """Draw the two different knees that agree the most, and the agreement of all pairs."""
    figure = Figure(figsize=(9, 3), dpi=100, layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 2.4))
    (one, two), best = max(pairs[1].items(), key=lambda item: min(item[1][:2]))
    show(left, films[one], "not copies: synthetic\nknees of two patients")
    show(middle, films[two], f"whole {best[0]:.3f}\nblocks {best[1]:.3f}")
    for name, colour, these in zip(NAMES, COLOURS, pairs, strict=True):
        found = Agreement(*np.array(list(these.values())).T)
        right.scatter(found.whole, found.local, s=6, c=colour, label=name)
        print(f"{name}: {copy.holds(found).sum()} of {len(these)} are called copies")
    right.axvline(copy.whole, color="gray", linewidth=0.8)
    right.axhline(copy.local, color="gray", linewidth=0.8)
    right.set(
        xlim=(0.6, 1.01),
        ylim=(0.3, 1.02),
        xlabel="whole: correlation of the aligned detail",
        ylabel="blocks: lower quartile",
    )
    right.legend(fontsize=7, loc="lower right")
    figure.savefig(out, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.05)


def show(axes: Any, image: Pixels, title: str) -> None:
    """Draw an image without axes."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    axes.set_title(title, fontsize=8)


if __name__ == "__main__":
    main()

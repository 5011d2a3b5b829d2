r"""Train the search for knees of knee/location, on two cores in minutes.

    python -m benchmarks.locator.train --graded FOLDER

FOLDER holds crops of graded knees, train/GRADE/*.png, named ...L or ...R: those of Chen (2018),
Knee Osteoarthritis Severity Grading Dataset, doi:10.17632/56rmx5bjcr.1, which is cited as CC BY
4.0. Films are put together from them and from synthetic knees; no pixel of them is kept. Writes
knee/location/knees.npz and, beside it, the recipe with its SHA-256.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.locator import composites, sources
from knee.location import knees, locator_weights
from knee.location.convolutions import Weights
from knee.run import command
from knee.storage import artifacts
from knee.storage.arrays import Images

CELLS: Final = knees.FILM_PIXELS // knees.CELL_PIXELS
SYNTHETIC_PIXELS: Final = 360
Examples = tuple[NDArray[np.floating], Images]  # inputs and targets
Drawn = tuple[composites.Film, np.random.Generator]
SPREADS: Final = (0.35, 0.12, 0.05)  # of windows around a joint, in joint widths


def main(argv: Sequence[str] | None = None) -> None:
    """Make films, train, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--graded", type=Path, required=True, help="folder of graded crops")
    parser.add_argument("--films", type=int, default=6000, help="to train with")
    parser.add_argument(
        "--epochs", type=int, nargs=2, default=(8, 9), metavar=("FILM", "CLOSE"),
        help="of the network of whole films, and of that of closer looks",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=42, help="of everything that is drawn")
    parser.add_argument("--out", type=Path, default=locator_weights.PATH, help="weights, .npz")
    given = parser.parse_args(argv)
    pool = source_pool(given.graded / "train", given.films // 3, given.seed)
    films = _films(pool, given.films, given.seed)
    whole = _film_examples(films)
    from benchmarks.locator import networks  # Keras

    weights = networks.trained(
        whole,
        lambda film_weights: _close_examples(films, film_weights),
        tuple(given.epochs),
        given.seed,
    )
    recipe = {"films": given.films, "epochs": [*given.epochs], "seed": given.seed,
              "command": "python -m benchmarks.locator.train --graded FOLDER"}  # fmt: skip
    write(weights, recipe, given.out)


def source_pool(graded: Path, number: int, seed: int) -> list[sources.Source]:
    """Return `number` knees of each kind: synthetic, graded crops, crops grafted into legs."""
    files = sorted(file for file in graded.rglob("*") if file.suffix in (".png", ".jpg"))
    chosen = random.Random(seed).sample(files, min(number, len(files)))
    crops = [*sources.graded(chosen).values()]
    legs = sources.synthetic(number, SYNTHETIC_PIXELS, seed)
    return [*legs, *crops, *sources.grafted(crops, legs, seed)]


def write(weights: dict[str, Images], recipe: dict[str, Any], path: Path) -> None:
    """Write `weights` as float16, and `recipe` with their SHA-256."""
    with artifacts.staged_file(path) as staged, staged.open("wb") as stream:
        np.savez_compressed(stream, **{n: v.astype(np.float16) for n, v in weights.items()})  # type: ignore[arg-type]
    recipe = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **recipe}
    artifacts.write_text(path.with_suffix(".json"), json.dumps(recipe, indent=1) + "\n")


def _film_examples(films: Sequence[Drawn]) -> Examples:
    """Inputs and targets of the network that sees whole films."""
    wholes, maps = [], []
    for film, _ in films:
        wholes.append(knees.film_input(Image.fromarray(film.pixels)).astype(np.float16))
        maps.append(_film_target(film))
    return np.stack(wholes)[..., None], np.stack(maps)


def _close_examples(films: Sequence[Drawn], weights: Weights) -> Examples:
    """Inputs and targets of the network that looks closer.

    What the other network, of these `weights`, takes for a joint and is none is among them.
    """
    nears, seens = [], []
    for film, drawn in tqdm(films, desc="closer looks", disable=None):
        image = Image.fromarray(film.pixels)
        for near, seen in (
            *_around_joints(film, image, drawn),
            *_elsewhere(film, image, drawn, weights),
        ):
            nears.append(near.astype(np.float16))
            seens.append(seen)
    return np.stack(nears)[..., None], np.stack(seens)


def _films(pool: Sequence[sources.Source], films: int, seed: int) -> list[Drawn]:
    """Draw the films to train with, and return each with its generator."""
    drawn = [np.random.default_rng([seed, 23, index]) for index in range(films)]
    return [
        (composites.draw_film(pool, one), one) for one in tqdm(drawn, desc="films", disable=None)
    ]


def _film_target(film: composites.Film) -> Images:
    """Heat, logarithm of the relative width, and where the width counts: (CELLS, CELLS, 3)."""
    target = np.zeros((CELLS, CELLS, 3), np.float32)
    longer = max(film.pixels.shape)
    for joint in film.joints:
        x, y = joint.x / longer * CELLS - 0.5, joint.y / longer * CELLS - 0.5
        rows, columns = np.indices((CELLS, CELLS))
        spread = max(0.7, 0.08 * joint.width / longer * CELLS)
        heat = np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / spread**2)
        target[..., 0] = np.maximum(target[..., 0], heat)
        near = heat > 0.2
        target[near, 1], target[near, 2] = np.log(joint.width / longer), 1
    return target


def _around_joints(
    film: composites.Film, image: Image.Image, drawn: np.random.Generator
) -> Iterator[tuple[Images, Images]]:
    """Windows around joints, wrongly placed and wrongly scaled."""
    for joint in film.joints:
        for spread in SPREADS:
            right, down = drawn.uniform(-spread, spread, 2)
            ratio = drawn.uniform(-1.2 * spread, 1.2 * spread)
            width = joint.width / np.exp(ratio)
            x, y = joint.x - right * width, joint.y - down * width
            lateral = float(joint.lateral_right) if joint.upright else 0.5
            seen = np.array([right, down, ratio, 1, lateral, joint.turned], np.float32)
            yield knees.close_input(image, x, y, width), seen


def _elsewhere(
    film: composites.Film, image: Image.Image, drawn: np.random.Generator, weights: Weights
) -> Iterator[tuple[Images, Images]]:
    """Windows without a joint: anywhere, and where the heat map has a peak."""
    places = [
        (
            drawn.uniform(0, image.width),
            drawn.uniform(0, image.height),
            max(image.size) * float(np.exp(drawn.uniform(np.log(0.06), np.log(0.8)))),
        )
        for _ in range(2 if film.joints else 4)
    ]
    with threadpool_limits(1, "blas"):
        peaks = knees.candidates(image, weights)
    places += [(peak.x, peak.y, peak.width) for peak in peaks]
    for x, y, width in places:
        if all(_is_other(joint, x, y, width) for joint in film.joints):
            yield knees.close_input(image, x, y, width), np.array([0, 0, 0, 0, 0.5, 0], np.float32)


def _is_other(joint: composites.Joint, x: float, y: float, width: float) -> bool:
    far = np.hypot(joint.x - x, joint.y - y) > 0.75 * max(joint.width, width)
    return bool(far or not 0.45 < joint.width / width < 2.2)


if __name__ == "__main__":
    main()

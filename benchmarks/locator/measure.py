r"""Measure the search for knees of knee/location on films that its training has not seen.

    python -m benchmarks.locator.measure --graded FOLDER [--films 2000] [--crops 0]

FOLDER is that of benchmarks.locator.train; the held-out films are made from its val/ and from
synthetic knees of another seed. All of its crops are searched for what must be left alone. Writes
benchmarks/results/locator.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.locator import composites, sources, train
from knee.location import knees
from knee.location.cropping import TURNED, knee_images, refusal
from knee.run import command
from knee.storage import artifacts

RESULTS: Final = Path(__file__).parents[1] / "results" / "locator.json"
SEED: Final = 1042  # another than that of training
CENTRE_WIDTHS, SCALE_SHARE = 0.05, 0.10  # errors that are allowed
CROP_CENTRE_SHARE: Final = 0.2  # of a crop's side, from its middle


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--graded", type=Path, required=True, help="folder of graded crops")
    parser.add_argument("--films", type=int, default=2000, help="of each kind of measurement")
    parser.add_argument("--crops", type=int, default=0, help="looked at; 0: all")
    given = parser.parse_args(argv)
    with threadpool_limits(1, "blas"):  # small products: more threads only wait for each other
        found = _measured(given.graded, given.films, given.crops)
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    artifacts.write_text(RESULTS, text)


def _measured(graded: Path, number: int, crops: int) -> dict[str, Any]:
    pool = train.source_pool(graded / "val", 300, SEED)
    return {
        "upright": films(pool, number, turned_share=0.0),
        "turned": films(pool, number // 2, turned_share=1.0),
        "graded_crops": graded_crops(graded, crops),
        "graded_truth": graded_truth(graded),
    }


def films(pool: Sequence[Any], number: int, turned_share: float) -> dict[str, Any]:
    """Return shares of right answers by kind of film, and by origin of the joint."""
    rows: list[dict[str, Any]] = []
    seconds = time.process_time()
    for index in tqdm(range(number), disable=None):
        random = np.random.default_rng([SEED, 29, index])
        film = composites.draw_film(pool, random, turned_share)
        turned = any(joint.turned for joint in film.joints)
        rows.append({"kind": film.kind, "origin": "real" if film.graded else "synthetic",
                     "angle": "beyond_45_degrees" if turned else "within_45_degrees",
                     "whole": _wholly_shown(film),
                     **compared(film, knees.locate(film.pixels))})  # fmt: skip
    seconds = time.process_time() - seconds
    with_knee = [row for row in rows if row["kind"] != "none"]
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in with_knee:
        for name in ("kind", "origin", "angle"):
            parts.setdefault(row[name], []).append(row)
    parts["none"] = [row for row in rows if row["kind"] == "none"]
    return {
        "milliseconds_a_film_with_drawing": round(1000 * seconds / number, 1),
        "with_knee": summary(with_knee),
        "joints_wholly_shown": summary([row for row in with_knee if row["whole"]]),
        **{name: summary(part) for name, part in sorted(parts.items())},
    }


def _wholly_shown(film: composites.Film) -> bool:
    """Whether every joint lies half its width from the sides, and 0.4 widths from the ends."""
    height, width = film.pixels.shape
    return all(
        0.5 * one.width <= one.x <= width - 0.5 * one.width
        and 0.4 * one.width <= one.y <= height - 0.4 * one.width
        for one in film.joints
    )


def compared(film: composites.Film, found: Sequence[knees.Knee]) -> dict[str, Any]:
    """Return whether number, centre, scale, and sides of the knees are right, and the errors."""
    result: dict[str, Any] = {"number": len(found) == len(film.joints)}
    result |= dict.fromkeys(("centre", "scale", "lateral"), result["number"])
    pairs = list(zip(film.joints, found, strict=False)) if result["number"] else []
    centres = [np.hypot(a.x - b.x, a.y - b.y) / a.width for a, b in pairs]
    scales = [abs(np.log(b.width / a.width)) for a, b in pairs]
    result["centre"] = result["number"] and all(error <= CENTRE_WIDTHS for error in centres)
    result["scale"] = result["number"] and all(error <= np.log1p(SCALE_SHARE) for error in scales)
    result["lateral"] = result["number"] and all(
        a.lateral_right == (b.lateral_right > 0.5) for a, b in pairs
    )
    result["right"] = result["centre"] and result["scale"]
    result["refused"] = bool(film.joints) and refusal(found) == TURNED
    result["wrong_unsaid"] = not result["right"] and not result["refused"]
    result["errors"] = [float(error) for error in centres], [float(error) for error in scales]
    return result


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the shares, and medians and 95th percentiles of errors of films rightly counted."""
    names = ("number", "centre", "scale", "right", "lateral", "refused", "wrong_unsaid")
    shares = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in names}
    centres, scales = ([e for row in rows for e in row["errors"][i]] for i in (0, 1))
    percentiles = {
        f"{name}_error_percentiles_50_95": [round(float(p), 4) for p in np.percentile(e, (50, 95))]
        for name, e in (("centre", centres), ("scale", scales))
        if e
    }
    return {"films": len(rows), **shares, **percentiles}


def graded_truth(folder: Path) -> dict[str, Any]:
    """Return how much the two knees of a person differ in width by the truth about the crops.

    They are nearly alike in fact, and their crops have one scale: the rest is error of the truth.
    """
    files = sorted(file for file in (folder / "val").rglob("*") if file.suffix in (".png", ".jpg"))
    widths = {file.stem: one.width for file, one in sources.graded(files).items()}
    both = [stem[:-1] for stem in widths if stem.endswith("L") and f"{stem[:-1]}R" in widths]
    ratios = np.log([widths[f"{stem}L"] / widths[f"{stem}R"] for stem in both])
    return {"crops": len(files), "clear": len(widths), "pairs": len(both),
            "knee_width_error_at_most": round(float(ratios.std() / np.sqrt(2)), 4),
            "width_spread": round(float(np.log([*widths.values()]).std()), 4)}  # fmt: skip


def graded_crops(folder: Path, number: int) -> dict[str, Any]:
    """Return how many crops show one knee, in the middle, and are left as they are."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".png", ".jpg"))
    files = files[:: max(len(files) // number, 1)] if number else files
    counts = {"crops": len(files), "one_knee": 0, "centred": 0, "left_alone": 0, "side_by_name": 0}
    seconds = time.process_time()
    strays: list[str] = []
    for file in tqdm(files, disable=None):
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L"))
        found = knees.locate(pixels)
        one, side = len(found) == 1, len(pixels)
        centred = one and np.hypot(found[0].x - side / 2, found[0].y - side / 2) < (
            CROP_CENTRE_SHARE * side
        )
        views = knee_images(pixels, found)
        alone = not refusal(found) and len(views) == 1 and views[0].pixels is pixels
        counts["one_knee"] += one
        counts["centred"] += bool(centred)
        counts["left_alone"] += bool(centred and alone)
        counts["side_by_name"] += one and (found[0].lateral_right > 0.5) == file.stem.endswith("L")
        if not (centred and alone):
            strays.append(file.relative_to(folder).as_posix())
    seconds = time.process_time() - seconds
    return {
        **{name: int(count) for name, count in counts.items()},
        "left_alone_share": round(counts["left_alone"] / len(files), 5),
        "milliseconds_a_crop": round(1000 * seconds / len(files), 1),
        "not_left_alone": strays[:60],
    }


if __name__ == "__main__":
    main()

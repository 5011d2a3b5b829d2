"""Which changes of a synthetic film are still found, by kind and strength, without any names.

python -m benchmarks.evidence.copies_by_kind [--films 30]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from knee.copies import copy_groups
from knee.copies.fingerprints import FingerprintFile, Fingerprints
from knee.reading import image_formats
from knee.run import command, parameters
from knee.storage.arrays import Integers, Pixels
from knee.synthetic import cohort
from stages import ingest
from tests.copies.pictures import ALTERED, KINDS, changed

MORE = ("turned 2", "turned 12", "cropped 0.04", "cropped 0.15", "shifted 0.04", "shifted 0.12")


def main() -> None:
    """Print a line a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--films", type=int, default=30, help="that are changed")
    count = parser.parse_args().films
    search = ingest.search(parameters.load(Path("params.yaml")).ingest)
    with tempfile.TemporaryDirectory() as folder:
        images, truth = Path(folder) / "images", Path(folder) / "truth.json"
        cohort.write_sample(images, truth, patients=max(12, 2 * count), size_pixels=256, seed=42)
        listed = json.loads(truth.read_text())["images"]
        plain = [one["source"] for one in listed if not one["fault"]]
        films = [image_formats.decode((images / name).read_bytes(), 64).pixels for name in plain]
    films = films[: 2 * count]  # the second half has no copy
    for kind in (*KINDS, *ALTERED, *MORE):
        copies = [changed(film, kind) for film in films[:count]]
        found = _groups([*films, *copies], search)
        joined = int((found[: len(copies)] == found[len(films) :]).sum())
        invented = len(films) - len(set(found[: len(films)].tolist()))
        print(
            f"{joined:3d} of {len(copies)} found, {invented} strangers joined: {kind}", flush=True
        )


def _groups(pictures: list[Pixels], search: copy_groups.CopySearch) -> Integers:
    fingerprints = FingerprintFile.of(map(Fingerprints.of, pictures))
    return copy_groups.copy_groups(fingerprints, np.arange(len(pictures)), search).groups


if __name__ == "__main__":
    main()

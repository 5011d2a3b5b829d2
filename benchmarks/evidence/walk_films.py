"""A folder of 120 drawn films for the walk of docs/data.md: `python -m ... --out FOLDER`.

Pictures in docs must not show patients whose consent nobody knows. So these films are drawn, by the
sample's code, from another seed, at another size, and with the grain and the uneven exposure of a
digitised film, which the sample has not. Their faults (copies, contradicting labels) are planted.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy import ndimage
from tqdm import tqdm

from knee.synthetic.cohort import write_sample

FILMS, PATIENTS, SIDE_PIXELS, SEED = 120, 77, 320, 2026
GRAIN, EXPOSURE = 7.0, 0.15  # standard deviation in gray values; relative, from centre to corner


def digitised(image: Image.Image, seed: int) -> Image.Image:
    """A drawn film, 8 bits, as from a light box: grain, and a corner that is darker."""
    random = np.random.default_rng(seed)
    gray = np.asarray(image.convert("L"), np.float32)
    grain = ndimage.gaussian_filter(random.standard_normal(gray.shape), 1.2)
    height, width = gray.shape
    from_corner = np.add.outer(np.linspace(0, 1, height), np.linspace(0, 1, width)) / 2
    gray = gray * (1 - EXPOSURE * from_corner) + GRAIN * grain / grain.std()
    return Image.fromarray(gray.clip(0, 255).astype(np.uint8))


def write(folder: Path) -> int:
    """Fill the new `folder` with one sub-folder per class; return the number of films."""
    with tempfile.TemporaryDirectory() as drawn:
        images = Path(drawn) / "images"
        write_sample(
            images,
            Path(drawn) / "truth.json",
            patients=PATIENTS,
            size_pixels=SIDE_PIXELS,
            seed=SEED,
        )
        sources = sorted(images.glob("*/*"))
        order = np.random.default_rng(SEED).permutation(len(sources))[:FILMS]
        for number, index in enumerate(tqdm(order, desc="films", disable=None), 1):
            source = sources[index]
            out = folder / source.parent.name / f"film {number:03d}{source.suffix}"
            out.parent.mkdir(parents=True, exist_ok=True)
            content = source.read_bytes()
            seed = int.from_bytes(hashlib.sha256(content).digest()[:4], "big")
            try:
                with Image.open(source) as image:
                    digitised(image, seed).save(out)
            except (UnidentifiedImageError, OSError):  # a planted damage stays
                out.write_bytes(content)
    return len(order)


def main() -> None:
    """Write the films."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there")
    out = parser.parse_args().out
    if out.exists():
        parser.error(f"{out} is there: give a new folder")
    print(f"{write(out)} drawn films in {out}")


if __name__ == "__main__":
    main()

"""Small films, folders of them, and the project's parameters with small images."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from knee.records.records_table import read_records
from knee.run import parameters
from stages import ingest

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "params.yaml"
NO_SHEET = ROOT / "conf" / "no_sheet.csv"
CLASSES = ("Normal", "Osteopenia", "Osteoporosis")


def settings(**changes: Any) -> parameters.Params:
    """The project's own parameters with small images; keys of some sections can be changed."""
    loaded = parameters.load(PARAMS)
    data: dict[str, Any] = {
        "classes": CLASSES,
        "patient_pattern": r"^(?P<patient>P\d+)_(?P<side>[LR])",
    }
    taken: dict[str, Any] = {
        "image_size_pixels": 32,
        "fit": "letterbox",
        "hash_radius_bits": 32,
        "copy_correlation": 0.985,
        "lineage_patterns": (r"_aug_\d+$",),
        "conflicts": "quarantine",
    }
    if "path" in changes:
        data["manifest"] = changes["path"]
    names = {field.name for field in dataclasses.fields(parameters.Data)}
    read = {
        "images": changes.pop("images", changes.get("path", loaded.locate.images)),
        "sheet": changes.get("sheet", loaded.locate.sheet),
        "manifest": changes.get("manifest", data.get("manifest", loaded.locate.manifest)),
        "locators": changes.pop("locators", ()),
    }
    data |= {key: value for key, value in changes.items() if key in names}
    taken |= {key: value for key, value in changes.items() if key not in names}
    return dataclasses.replace(
        loaded,
        data=dataclasses.replace(loaded.data, **data),
        locate=dataclasses.replace(loaded.locate, **read),
        ingest=dataclasses.replace(loaded.ingest, **taken),
    )


def film(seed: int) -> Image.Image:
    """Another picture for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (10, 8), np.uint8)
    return Image.fromarray(coarse).resize((96, 120), Image.Resampling.BILINEAR)


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    """The bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def png(seed: int) -> bytes:
    """A film as a file."""
    return encoded(film(seed))


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    """`folder` with these files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def taken_in(
    images: Path,
    out: Path,
    configuration: parameters.Params,
    sheet: Path = NO_SHEET,
    decisions: Path | None = None,
) -> pd.DataFrame:
    """The records of `images`, by source."""
    made = (out / "records.csv", out / "pixels", out / "known", (), out / "copy_joins.csv")
    paths = ingest.Paths(images, sheet, *made, decisions=decisions)
    ingest.run(configuration, paths)
    return read_records(out / "records.csv").set_index("source", drop=False)


GOOD = {  # three films of every class, each another picture
    f"{name}/{number}.png": png(10 * row + number)
    for row, name in enumerate(CLASSES)
    for number in range(3)
}

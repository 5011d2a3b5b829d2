import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from knee.intake import examination, patients, record_builder
from knee.intake.labels import Listing
from knee.reading.canonical_image import Canonical
from knee.reading.source_files import FolderError, SourceFile, list_sources
from knee.records.records_table import COLUMNS
from tests.films import encoded, fill

CANONICAL = Canonical(side_pixels=16, fit="letterbox", maximum_megapixels=1)


def listing(folder: Path, files: dict[str, bytes]) -> Listing:
    return Listing(folder, list_sources(fill(folder, files)), ["a"], {})


def taken_in(folder: Path, files: dict[str, bytes]) -> tuple[pd.DataFrame, int]:
    listed = listing(folder / "images", files)
    frame, prints = record_builder.take_in(listed, CANONICAL, b"key", folder / "pixels.npy")
    return frame, len(prints)


def test_a_warning_of_the_decoder_does_not_cost_an_image(tmp_path: Path) -> None:
    palette = Image.new("P", (300, 300))
    palette.info["transparency"] = bytes(range(256))  # Pillow warns about such a palette
    frame, prints = taken_in(tmp_path, {"a/1.png": encoded(palette)})
    assert frame["status"].tolist() == ["used"]
    assert prints == 1


def test_more_files_than_one_batch_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_builder, "BATCH_FILES", 3)
    films = {f"a/{value}.png": encoded(Image.new("L", (16, 16), value)) for value in range(8)}
    frame, _ = taken_in(tmp_path, films)
    assert frame["source"].tolist() == list(films)
    assert np.load(tmp_path / "pixels.npy")[:, 0, 0].tolist() == list(range(8))


def test_a_class_without_usable_image_leaves_no_pixels_behind(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no usable image in a"):
        taken_in(tmp_path, {"a/1.png": b"not an image"})
    assert not (tmp_path / "pixels.npy").exists()


def test_the_table_has_the_types_of_its_columns(tmp_path: Path) -> None:
    frame, _ = taken_in(tmp_path, {"a/1.png": encoded(Image.new("L", (4, 4))), "b": b"x"})
    assert list(frame.columns) == list(COLUMNS)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == COLUMNS
    assert frame["class_index"].tolist() == [0, -1]


def test_only_a_batch_of_decoded_images_is_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def examine(source: SourceFile, *_: Any) -> examination.ExaminedFile:
        started.append(source.name)
        return examination.ExaminedFile({})

    monkeypatch.setattr(record_builder, "BATCH_FILES", 4)
    monkeypatch.setattr(record_builder, "examine", examine)
    sources = [SourceFile(str(number), tmp_path, "a") for number in range(40)]
    examined = record_builder._examine_all(sources, CANONICAL, b"")
    for taken in range(1, 41):
        next(examined)
        assert len(started) <= 4 * math.ceil(taken / 4)


def records(**facts: Any) -> pd.DataFrame:
    return pd.DataFrame([{"source": "a/P7_L_N1.png", **record_builder.FACTS, **facts}])


HASHED = {name: patients.hashed(name, b"key") for name in ("P7", "dicom", "sheet")}
PATTERN = patients.compile_pattern(r"^(?P<patient>P\d+)_(?P<side>[LR])")
ORIGIN = patients.compile_origin_pattern(r"(?P<named>N\d)")
HEADER = {
    "patient": HASHED["dicom"],
    "side": "right",
    "origin": "scanner",
    "sex": "F",
    "age_years": 60.0,
}
SHEET = {
    "patient": HASHED["sheet"],
    "side": "right",
    "origin": "ward",
    "sex": "M",
    "age_years": 50.0,
    "t_score": -1.0,
}


def known(frame: pd.DataFrame, sheet: dict[str, Any]) -> dict[str, Any]:
    found = record_builder.add_facts(frame, {"a/P7_L_N1.png": sheet}, PATTERN, ORIGIN, b"key")
    row = found.iloc[0]
    return {
        name: row[name] for name in record_builder.FACTS if not record_builder._unknown(row[name])
    }


def test_the_sheet_comes_before_the_header_and_the_header_before_the_name() -> None:
    named = {"patient": HASHED["P7"], "side": "left", "origin": "named"}
    assert known(records(), {}) == named
    assert known(records(**HEADER), {}) == HEADER
    assert known(records(**HEADER), SHEET) == SHEET


def test_what_one_does_not_tell_the_next_may() -> None:
    sheet = {**record_builder.FACTS, "sex": "M"}
    assert known(records(age_years=60.0), sheet) == {
        "patient": HASHED["P7"],
        "side": "left",
        "origin": "named",
        "sex": "M",
        "age_years": 60.0,
    }

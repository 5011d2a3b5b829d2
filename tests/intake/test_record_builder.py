from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from knee.intake import examination, patients, record_builder
from knee.intake.examination import Examiner
from knee.intake.labels import Listing
from knee.reading import canonical_image
from knee.reading.canonical_image import Canonical
from knee.reading.source_files import FolderError, list_sources
from knee.records.records_table import COLUMNS
from tests import shards
from tests.films import encoded, fill, film

CANONICAL = Canonical(side_pixels=16, fit="letterbox", maximum_megapixels=1)
EXAMINER = Examiner(CANONICAL, b"key")


def listing(folder: Path, files: dict[str, bytes]) -> Listing:
    return Listing(folder, list_sources(fill(folder, files)), ["a"], {})


def taken_in(folder: Path, files: dict[str, bytes]) -> tuple[pd.DataFrame, int]:
    listed = listing(folder / "images", files)
    frame, fingerprints = record_builder.take_in(listed, EXAMINER, folder / "pixels")
    return frame, len(fingerprints)


def test_a_warning_of_the_decoder_does_not_cost_an_image(tmp_path: Path) -> None:
    palette = film(0).convert("P")
    palette.info["transparency"] = bytes(range(256))  # Pillow warns about such a palette
    frame, fingerprints = taken_in(tmp_path, {"a/1.png": encoded(palette)})
    assert frame["status"].tolist() == ["used"]
    assert fingerprints == 1


def test_more_files_than_one_task_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "TASK_FILES", 3)
    pictures = [
        np.asarray(film(seed).resize((CANONICAL.side_pixels * 2,) * 2)) for seed in range(8)
    ]
    films = {f"a/{seed}.png": encoded(Image.fromarray(one)) for seed, one in enumerate(pictures)}
    frame, _ = taken_in(tmp_path, films)
    assert frame["source"].tolist() == list(films)
    side = CANONICAL.side_pixels
    expected = [canonical_image.fit(one, side, "letterbox") for one in pictures]
    np.testing.assert_array_equal(shards.load(tmp_path / "pixels"), expected)


def test_a_class_without_usable_image_leaves_no_pixels_behind(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no usable image in a"):
        taken_in(tmp_path, {"a/1.png": b"not an image"})
    assert not (tmp_path / "pixels").exists()


def test_the_table_has_the_types_of_its_columns(tmp_path: Path) -> None:
    frame, _ = taken_in(tmp_path, {"a/1.png": encoded(film(0)), "b": b"x"})
    assert list(frame.columns) == list(COLUMNS)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == COLUMNS
    assert frame["class_index"].tolist() == [0, -1]


NOTHING = {name: examination.UNKNOWN[COLUMNS[name]] for name in record_builder.FACTS}


def records(**facts: Any) -> pd.DataFrame:
    return pd.DataFrame([{"source": "a/P7_L_N1.png", "note": "", **NOTHING, **facts}])


HASHED = {name: patients.hashed(name, b"key") for name in ("P7", "dicom", "sheet")}
PATTERN = r"^(?P<patient>P\d+)_(?P<side>[LR])"
ORIGIN = r"(?P<named>N\d)"
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
        name: row[name]
        for name in record_builder.FACTS
        if not record_builder._is_unknown(row[name])
    }


def test_the_sheet_comes_before_the_header_and_the_header_before_the_name() -> None:
    named = {"patient": HASHED["P7"], "side": "left", "origin": "named"}
    assert known(records(), {}) == named
    assert known(records(**HEADER), {}) == HEADER
    assert known(records(**HEADER), SHEET) == SHEET


def test_a_placeholder_of_the_users_own_gives_way_to_the_next_source() -> None:
    frame, sheet = records(**HEADER), {"a/P7_L_N1.png": SHEET}
    for own, patient in (("sheet", "dicom"), ("dicom", "sheet")):
        hashes = {HASHED[own]}
        found = record_builder.add_facts(frame, sheet, PATTERN, ORIGIN, b"key", hashes)
        assert found["patient"].tolist() == [HASHED[patient]]
    nobody = {HASHED[name] for name in HASHED}
    found = record_builder.add_facts(frame, sheet, PATTERN, ORIGIN, b"key", nobody)
    assert found["patient"].tolist() == [""]


def test_the_note_of_a_film_stands_beside_that_of_its_file() -> None:
    for own, told, both in (("a", "b; c", "a; b; c"), ("", "b", "b"), ("a", "", "a")):
        sheet = {"a/P7_L_N1.png": {"note": told}}
        found = record_builder.add_facts(records(note=own), sheet, PATTERN, ORIGIN, b"key")
        assert found["note"].tolist() == [both]


def test_what_one_does_not_tell_the_next_may() -> None:
    sheet = {**NOTHING, "sex": "M"}
    assert known(records(age_years=60.0), sheet) == {
        "patient": HASHED["P7"],
        "side": "left",
        "origin": "named",
        "sex": "M",
        "age_years": 60.0,
    }


SET = 104  # images, of which the median is typical


def knee(number: int) -> Image.Image:
    """One of many images of the same view."""
    return Image.blend(film(1000), film(number), 0.3).resize((60, 40))


def taken(
    folder: Path, images: list[Image.Image], *, invert_negatives: bool = False
) -> tuple[pd.DataFrame, Any]:
    """The records and canonical pixels of `images`."""
    files = {f"a/{number:03}.png": encoded(image) for number, image in enumerate(images)}
    out = folder / "pixels"
    frame, _ = record_builder.take_in(
        listing(folder, files), EXAMINER, out, invert_negatives=invert_negatives
    )
    return frame, shards.load(out)


def test_negatives_of_a_large_set_become_upright_before_they_are_padded(tmp_path: Path) -> None:
    upright = [knee(number) for number in range(SET)]
    _, expected = taken(tmp_path / "upright", upright)
    some = {3, 50, SET - 1}
    shown = [ImageOps.invert(one) if n in some else one for n, one in enumerate(upright)]
    frame, pixels = taken(tmp_path / "shown", shown, invert_negatives=True)
    np.testing.assert_allclose(pixels.astype(int), expected, atol=1)
    assert set(frame.index[frame["note"] == record_builder.INVERTED]) == some
    kept, pixels = taken(tmp_path / "kept", shown)
    assert not kept["note"].any()
    assert abs(pixels[3].astype(int) - expected[3]).max() > 50


def test_a_set_that_is_small_or_of_both_kinds_stays_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    films = [knee(number) for number in range(SET)]
    few = [ImageOps.invert(films[0]), *films[1:90]]
    frame, _ = taken(tmp_path / "few", few, invert_negatives=True)
    assert not frame["note"].any()
    both = [ImageOps.invert(one) if n % 4 == 0 else one for n, one in enumerate(films)]
    frame, _ = taken(tmp_path / "both", both, invert_negatives=True)
    assert not frame["note"].any()
    assert "26 of 104 images run against the typical one" in caplog.text

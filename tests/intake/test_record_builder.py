import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from knee.intake import patients, record_builder
from knee.intake.labels import Listing
from knee.reading import canonical_image
from knee.reading.canonical_image import Canonical
from knee.reading.source_files import FolderError, SourceFile, list_sources
from knee.records.records_table import COLUMNS
from tests import shards
from tests.films import encoded, fill, film
from tests.reading.dicom_files import dicom

CANONICAL = Canonical(side_pixels=16, fit="letterbox", maximum_megapixels=1)


def source(folder: Path, content: bytes) -> SourceFile:
    path = folder / "a" / "1.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return SourceFile("a/1.png", path, "a")


def test_a_rejected_file_keeps_its_hash_and_size(tmp_path: Path) -> None:
    examined = record_builder.examine(source(tmp_path, b"not an image"), CANONICAL, b"key")
    assert examined.canonical is None
    assert examined.fingerprints is None
    assert examined.columns["status"] == "rejected"
    assert examined.columns["sha256"] == hashlib.sha256(b"not an image").hexdigest()
    assert examined.columns["bytes"] == 12


def test_an_unread_file_has_neither_hash_nor_size() -> None:
    missing = SourceFile("a/1.png", Path("a/1.png"), "a", "broken link")
    columns = record_builder.examine(missing, CANONICAL, b"key").columns
    assert (columns["reason"], columns["sha256"], columns["bytes"]) == ("broken link", "", 0)


def test_fingerprints_have_one_size_whatever_the_image(tmp_path: Path) -> None:
    for size in ((32, 32), (300, 33), (50, 70)):
        file = source(tmp_path, encoded(film(0).resize(size)))
        fingerprints = record_builder.examine(file, CANONICAL, b"key").fingerprints
        assert fingerprints is not None
        assert fingerprints.upright.shape == fingerprints.mirrored.shape == (32,)
        assert fingerprints.reduced.shape == (96, 96)


def test_columns_are_those_of_the_table(tmp_path: Path) -> None:
    for content in (encoded(film(0)), b"not an image"):
        columns = record_builder.examine(source(tmp_path, content), CANONICAL, b"key").columns
        assert list(columns) == list(COLUMNS)


def test_an_image_without_a_header_tells_nothing_about_its_patient(tmp_path: Path) -> None:
    columns = record_builder.examine(source(tmp_path, encoded(film(0))), CANONICAL, b"key").columns
    assert [columns[name] for name in ("patient", "side", "sex", "origin")] == [""] * 4
    assert math.isnan(columns["age_years"])
    assert math.isnan(columns["pixel_spacing_mm"])
    assert (columns["bits"], columns["compression"], columns["format"]) == (8, "png", "PNG")


@pytest.mark.filterwarnings("ignore")  # of pydicom about what is planted
def test_a_dicom_header_fills_the_columns_and_identifies_nobody(tmp_path: Path) -> None:
    planted: dict[str, Any] = {
        "PatientID": "PLANTED-4711",
        "PatientName": "Planted^Person",
        "PatientBirthDate": "19310203",
        "AccessionNumber": "PLANTEDACC77",
        "InstitutionName": "Planted Hospital",
        "StudyDescription": "Planted^Knee",
    }
    content = dicom(
        np.asarray(film(0), np.uint16) * 16,
        **planted,
        PatientSex="F",
        PatientAge="095Y",
        ImageLaterality="R",
        Manufacturer="Maker",
        ManufacturerModelName="Model 7",
        ImagerPixelSpacing=["0.143", "0.15"],
    )
    columns = record_builder.examine(source(tmp_path, content), CANONICAL, b"key").columns
    told = {
        "patient": patients.hashed("PLANTED-4711", b"key"),
        "sex": "F",
        "age_years": 90,
        "side": "right",
        "origin": "Maker Model 7",
        "pixel_spacing_mm": 0.143,
        "bits": 12,
        "compression": "ExplicitVRLittleEndian",
        "format": "DICOM",
        "status": "used",
    }
    assert {name: columns[name] for name in told} == told
    text = str({name: value for name, value in columns.items() if name != "source"}).upper()
    assert not [word for word in ("PLANTED", "19310203", "4711") if word in text]


def test_a_film_is_the_same_picture_as_png_and_as_dicom(tmp_path: Path) -> None:
    pixels = np.asarray(film(0))
    hashes = {
        record_builder.examine(source(tmp_path, content), CANONICAL, b"key").columns["pixel_sha256"]
        for content in (encoded(film(0)), dicom(pixels, BitsStored=8))
    }
    assert len(hashes) == 1


def test_margins_are_measured_and_cut_off_only_on_request(tmp_path: Path) -> None:
    picture = np.asarray(film(0))
    framed = np.pad(picture, ((3, 4), (5, 6)), constant_values=255)
    file = source(tmp_path, encoded(Image.fromarray(framed)))
    whole = record_builder.examine(file, CANONICAL, b"key")
    cut = record_builder.examine(file, dataclasses.replace(CANONICAL, crop_borders=True), b"key")
    bare = record_builder.examine(source(tmp_path, encoded(film(0))), CANONICAL, b"key")
    for examined in (whole, cut):
        sides = ("top", "bottom", "left", "right")
        assert [examined.columns[f"border_{side}"] for side in sides] == [3, 4, 5, 6]
    assert whole.columns["pixel_sha256"] == cut.columns["pixel_sha256"]
    assert whole.canonical is not None
    assert cut.canonical is not None
    assert bare.canonical is not None
    assert not np.array_equal(whole.canonical, cut.canonical)
    np.testing.assert_array_equal(cut.canonical, bare.canonical)
    assert cut.columns["perceptual_hash"] == bare.columns["perceptual_hash"]


def listing(folder: Path, files: dict[str, bytes]) -> Listing:
    return Listing(folder, list_sources(fill(folder, files)), ["a"], {})


def taken_in(folder: Path, files: dict[str, bytes]) -> tuple[pd.DataFrame, int]:
    listed = listing(folder / "images", files)
    frame, fingerprints = record_builder.take_in(listed, CANONICAL, b"key", folder / "pixels")
    return frame, len(fingerprints)


def test_a_warning_of_the_decoder_does_not_cost_an_image(tmp_path: Path) -> None:
    palette = film(0).convert("P")
    palette.info["transparency"] = bytes(range(256))  # Pillow warns about such a palette
    frame, fingerprints = taken_in(tmp_path, {"a/1.png": encoded(palette)})
    assert frame["status"].tolist() == ["used"]
    assert fingerprints == 1


def test_more_files_than_one_batch_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_builder, "BATCH_FILES", 3)
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


def test_only_a_batch_of_decoded_images_is_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def examine(source: SourceFile, *_: Any) -> record_builder.ExaminedFile:
        started.append(source.name)
        return record_builder.ExaminedFile({})

    monkeypatch.setattr(record_builder, "BATCH_FILES", 4)
    monkeypatch.setattr(record_builder, "examine", examine)
    sources = [SourceFile(str(number), tmp_path, "a") for number in range(40)]
    examined = record_builder._examine_all(sources, CANONICAL, b"")
    for taken in range(1, 41):
        next(examined)
        assert len(started) <= 4 * math.ceil(taken / 4)


NOTHING = {name: record_builder.UNKNOWN[COLUMNS[name]] for name in record_builder.FACTS}


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
        listing(folder, files), CANONICAL, b"key", out, invert_negatives=invert_negatives
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

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from knee.intake import patients, record_builder
from knee.reading.canonical_image import Canonical
from knee.reading.source_files import SourceFile
from knee.records.records_table import COLUMNS
from tests.films import encoded, film
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
    assert examined.prints is None
    assert examined.columns["status"] == "rejected"
    assert examined.columns["sha256"] == hashlib.sha256(b"not an image").hexdigest()
    assert examined.columns["bytes"] == 12


def test_an_unread_file_has_neither_hash_nor_size() -> None:
    missing = SourceFile("a/1.png", Path("a/1.png"), "a", "broken link")
    columns = record_builder.examine(missing, CANONICAL, b"key").columns
    assert (columns["reason"], columns["sha256"], columns["bytes"]) == ("broken link", "", 0)


def test_prints_have_one_size_whatever_the_image(tmp_path: Path) -> None:
    for size in ((1, 1), (300, 2), (50, 70)):
        file = source(tmp_path, encoded(Image.new("L", size)))
        prints = record_builder.examine(file, CANONICAL, b"key").prints
        assert prints is not None
        assert prints.upright.shape == prints.mirrored.shape == (32,)
        assert prints.reduced.shape == (96, 96)


def test_columns_are_those_of_the_table_but_for_what_only_the_whole_folder_tells(
    tmp_path: Path,
) -> None:
    for content in (encoded(film(0)), b"not an image"):
        columns = record_builder.examine(source(tmp_path, content), CANONICAL, b"key").columns
        of_the_folder = {"record", "class_index", "pixel_row", "t_score", "picture", "group"}
        assert set(columns) == set(COLUMNS) - of_the_folder


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

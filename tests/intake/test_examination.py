from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from knee.copies import copy_check
from knee.execution.place import ExecutionError, Place
from knee.intake import examination, patients
from knee.intake.examination import ExaminedFile, Examiner
from knee.reading import image_formats
from knee.reading.canonical_image import Canonical
from knee.reading.source_files import SourceFile, list_sources
from knee.records.records_table import COLUMNS
from knee.storage.known_results import KnownResults
from tests.execution.unsteady import Elsewhere
from tests.films import ROOT, encoded, fill, film
from tests.reading.dicom_files import dicom

CANONICAL = Canonical(side_pixels=16, fit="letterbox", maximum_megapixels=1)
EXAMINER = Examiner(CANONICAL, b"key")


def source(folder: Path, content: bytes) -> SourceFile:
    path = folder / "a" / "1.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return SourceFile("a/1.png", path, "a")


def test_a_rejected_file_keeps_its_hash_and_size(tmp_path: Path) -> None:
    examined = EXAMINER.examine(source(tmp_path, b"not an image"))
    assert examined.canonical is None
    assert examined.fingerprints is None
    assert examined.columns["status"] == "rejected"
    assert examined.columns["sha256"] == hashlib.sha256(b"not an image").hexdigest()
    assert examined.columns["bytes"] == 12


def test_an_unread_file_has_neither_hash_nor_size() -> None:
    missing = SourceFile("a/1.png", Path("a/1.png"), "a", "broken link")
    columns = EXAMINER.examine(missing).columns
    assert (columns["reason"], columns["sha256"], columns["bytes"]) == ("broken link", "", 0)


def test_fingerprints_have_one_size_whatever_the_image(tmp_path: Path) -> None:
    for size in ((32, 32), (300, 33), (50, 70)):
        file = source(tmp_path, encoded(film(0).resize(size)))
        fingerprints = EXAMINER.examine(file).fingerprints
        assert fingerprints is not None
        assert fingerprints.upright.shape == fingerprints.mirrored.shape == (32,)
        assert fingerprints.reduced.shape == (96, 96)


def test_columns_are_those_of_the_table(tmp_path: Path) -> None:
    for content in (encoded(film(0)), b"not an image"):
        columns = EXAMINER.examine(source(tmp_path, content)).columns
        assert list(columns) == list(COLUMNS)


def test_an_image_without_a_header_tells_nothing_about_its_patient(tmp_path: Path) -> None:
    columns = EXAMINER.examine(source(tmp_path, encoded(film(0)))).columns
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
    columns = EXAMINER.examine(source(tmp_path, content)).columns
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
        EXAMINER.examine(source(tmp_path, content)).columns["pixel_sha256"]
        for content in (encoded(film(0)), dicom(pixels, BitsStored=8))
    }
    assert len(hashes) == 1


def test_margins_are_measured_and_cut_off_only_on_request(tmp_path: Path) -> None:
    picture = np.asarray(film(0))
    framed = np.pad(picture, ((3, 4), (5, 6)), constant_values=255)
    file = source(tmp_path, encoded(Image.fromarray(framed)))
    whole = EXAMINER.examine(file)
    cutting = dataclasses.replace(CANONICAL, crop_borders=True)
    cut = dataclasses.replace(EXAMINER, canonical=cutting).examine(file)
    bare = EXAMINER.examine(source(tmp_path, encoded(film(0))))
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


def test_only_a_few_examined_images_wait_to_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    class Counting(Examiner):
        def examine(self, source: SourceFile) -> ExaminedFile:
            started.append(source.name)
            return ExaminedFile({})

    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # so two tasks are begun
    sources = [SourceFile(str(number), tmp_path, "a") for number in range(80)]
    examined = Counting(CANONICAL, b"").examine_all(sources)
    for taken in range(1, 81):
        next(examined)
        assert len(started) <= taken + 2 * examination.TASK_FILES


def header_of(patient: str, number: int) -> bytes:
    return dicom(np.asarray(film(number), np.uint16) * 16, PatientID=patient, PatientSex="F")


def written(folder: Path) -> list[SourceFile]:
    """Files of all kinds, of which some cannot be read."""
    contents = {f"a/{number}.png": encoded(film(number)) for number in range(8)}
    contents |= {f"b/{number}.dcm": header_of(f"SECRET{number}", number) for number in range(4)}
    contents |= {"a/8.png": b"no image", "b/9.dcm": header_of("SECRET9", 9)[:1000], "stray": b""}
    contents["b/same.png"] = contents["a/0.png"]
    sources = list_sources(fill(folder, contents))
    return [dataclasses.replace(one, listed=one.label == "a") for one in sources]


def told(examined: Iterable[ExaminedFile]) -> list[Any]:
    """All that is known of the files, comparable."""
    return [
        (
            {name: str(value) for name, value in one.columns.items()},
            None if one.canonical is None else one.packed().partition(b"\n")[2],
        )
        for one in examined
    ]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Takes the small files of tests for large ones."""
    monkeypatch.setattr(examination, "NODES_FROM_BYTES", 0)
    return monkeypatch


@pytest.mark.parametrize(("task_bytes", "tasks"), [(1, 15), (30_000, 5), (1e9, 1)])
def test_files_are_the_same_decoded_by_nodes_that_lose_workers_whatever_the_chunks(
    tmp_path: Path, large: pytest.MonkeyPatch, task_bytes: float, tasks: int
) -> None:
    large.setattr(examination, "NODE_TASK_BYTES", task_bytes)
    sources, nodes = written(tmp_path), Elsewhere()
    here = told(EXAMINER.examine_all(sources))
    there = dataclasses.replace(EXAMINER, nodes_of=lambda: nodes)
    assert told(there.examine_all(sources)) == here
    assert told(map(EXAMINER.examine, sources)) == here
    assert len({tuple(items) for items in nodes.begun}) == tasks
    assert {columns["status"] for columns, _ in here} == {"used", "rejected", "unlisted"}


@pytest.mark.usefixtures("large")
def test_neither_key_nor_known_images_go_to_nodes(tmp_path: Path) -> None:
    sources, key, nodes = written(tmp_path / "images"), b"the key of the hashes", Elsewhere()
    here = Examiner(CANONICAL, key)

    def examined(some: list[SourceFile], place: Elsewhere) -> list[Any]:
        with KnownResults(tmp_path / "known", {}) as known:
            there = dataclasses.replace(here, known=known, nodes_of=lambda: place)
            return told(there.examine_all(some))

    examined(sources[::2], Elsewhere())
    assert examined(sources, nodes) == told(here.examine_all(sources))
    decoded = {file.name for items in nodes.begun for file in items}
    is_image = {file.name: here.examine(file).canonical is not None for file in sources}
    assert {name for name in decoded if is_image[name]} == {
        file.name for file in sources[1::2] if is_image[file.name]
    } - {"b/same.png"}
    assert nodes.sent
    assert not [sent for sent in nodes.sent if key in sent]


def test_nodes_are_asked_for_only_where_a_large_file_is_to_be_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nodes_of() -> Place:
        raise AssertionError("nobody needs nodes")

    sources = [file for file in written(tmp_path / "images") if file.name < "a/8"]
    here = told(EXAMINER.examine_all(sources))
    assert told(dataclasses.replace(EXAMINER, nodes_of=nodes_of).examine_all(sources)) == here
    monkeypatch.setattr(examination, "NODES_FROM_BYTES", 0)
    for place in (Elsewhere, nodes_of):
        with KnownResults(tmp_path / "known", {}) as known:
            there = dataclasses.replace(EXAMINER, known=known, nodes_of=place)
            assert told(there.examine_all(sources)) == here


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("there", "said"), [(encoded(film(1)), "is another file on"), (None, "cannot be read")]
)
def test_a_file_that_is_not_on_a_node_or_another_there_is_refused(
    tmp_path: Path, there: bytes | None, said: str
) -> None:
    file = source(tmp_path, encoded(film(0)))

    def nodes_of() -> Elsewhere:  # after the file was read here
        file.path.unlink() if there is None else file.path.write_bytes(there)
        return Elsewhere()

    with pytest.raises(ExecutionError, match=rf"a/1\.png.*{said}.*give execution\.files=sent$"):
        list(dataclasses.replace(EXAMINER, nodes_of=nodes_of).examine_all([file]))


@pytest.mark.usefixtures("large")
def test_a_file_that_ends_workers_is_named(tmp_path: Path) -> None:
    nodes = Elsewhere(lambda file: bool(file.name == "b/2.dcm"))
    there = dataclasses.replace(EXAMINER, nodes_of=lambda: nodes)
    with pytest.raises(ExecutionError, match=r"^b/2\.dcm ended 3 workers"):
        list(there.examine_all(written(tmp_path)))


def test_a_trial_decodes_each_kind_of_file_and_registers_pairs() -> None:
    contents = [*examination._trial_files()]
    images = [image_formats.decode_radiograph(content, 1) for content in contents]
    assert [image.compression for image in images] == [
        "png",
        "JPEG2000Lossless",
        "JPEGExtended12Bit",
    ]
    code = "from knee.intake import examination; print(examination.trial())"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    told = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment)
    assert told.decode().strip() == examination.trial() != copy_check.trial()

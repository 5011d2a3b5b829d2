import dataclasses
import io
import logging
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from knee.copies import copy_check
from knee.execution import opening
from knee.intake import examination, patients
from knee.reading import image_formats
from knee.reading.decoded import Decoded
from knee.records.records_table import COLUMNS, read_records
from knee.run.errors import UserError
from tests import shards
from tests.execution import unsteady
from tests.films import ROOT, encoded, fill, film, settings, taken_in
from tests.reading import dicom_files


def contents() -> dict[str, bytes]:
    """A folder with one of everything; seeds are pictures."""
    png = {seed: encoded(film(seed), "PNG") for seed in range(8)}
    deep = Image.fromarray(np.asarray(film(6)).astype(np.uint16) * 16)
    return {
        "Normal/P0001_L_1.png": png[0],
        "Normal/P0001_L_1_aug_0.png": encoded(film(0).rotate(40), "PNG"),
        "Normal/P0001_R_2.png": png[1],
        "Normal/P0002_L_1.jpg": encoded(film(2), "JPEG", quality=70),
        "Normal/truncated.jpg": encoded(film(2), "JPEG")[:900],
        "Osteopenia/P0003_R_1.png": png[3],
        "Osteopenia/P0003_R_1 again.png": png[3],
        "Osteopenia/P0004_L_1.png": png[4],
        "Osteopenia/notes.txt": b"not an image",
        "Osteoporosis/P0005_R_1.png": encoded(film(4), "PNG", optimize=True),
        "Osteoporosis/P0006_R_1.png": encoded(
            film(5).transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"
        ),
        "Osteoporosis/P0007_L_1.png": png[5],
        "Osteoporosis/P0008_L_1.png": encoded(deep, "PNG"),
        "stray.png": png[7],
    }


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("ingest")
    taken_in(fill(base / "images", contents()), base / "out", settings())
    return base / "out"


@pytest.fixture
def records(out: Path) -> pd.DataFrame:
    return read_records(out / "records.csv").set_index("source", drop=False)


def test_every_file_has_one_row_in_the_order_of_bytes(records: pd.DataFrame) -> None:
    assert records["source"].tolist() == sorted(contents(), key=str.encode)
    assert records["record"].tolist() == list(range(len(records)))
    assert list(records.columns) == list(COLUMNS)


def test_rejected_files_give_their_reason_and_have_no_pixels(records: pd.DataFrame) -> None:
    rejected = records[records["status"] == "rejected"]
    reasons = rejected["reason"].to_dict()
    assert reasons.pop("Normal/truncated.jpg").startswith("image file is truncated")
    assert reasons == {
        "Osteopenia/notes.txt": "not a JPEG, PNG, TIFF, BMP or DICOM image",
        "stray.png": "in no class folder",
    }
    assert set(rejected["pixel_row"]) == set(rejected["picture"]) == set(rejected["group"]) == {-1}


def test_pixels_are_the_fitted_images_by_pixel_row(records: pd.DataFrame, out: Path) -> None:
    pixels = shards.load(out / "pixels")
    usable = records[records["pixel_row"] >= 0]
    assert pixels.shape == (len(usable), 32, 32)
    assert usable["pixel_row"].tolist() == list(range(len(usable)))
    row = pixels[usable["pixel_row"]["Osteopenia/P0004_L_1.png"]]
    inner = np.asarray(film(4).resize((26, 32), Image.Resampling.HAMMING))
    np.testing.assert_array_equal(row[:, 3:29], inner)


def test_one_picture_holds_its_copies_and_nothing_else(records: pd.DataFrame) -> None:
    usable = records[records["picture"] >= 0]
    families = sorted(
        sorted(family) for _, family in usable.groupby("picture")["source"] if len(family) > 1
    )
    assert families == [
        ["Normal/P0001_L_1.png", "Normal/P0001_L_1_aug_0.png"],
        ["Osteopenia/P0003_R_1 again.png", "Osteopenia/P0003_R_1.png"],
        ["Osteopenia/P0004_L_1.png", "Osteoporosis/P0005_R_1.png"],
        ["Osteoporosis/P0006_R_1.png", "Osteoporosis/P0007_L_1.png"],
    ]


def test_a_group_joins_the_pictures_of_a_patient(records: pd.DataFrame) -> None:
    left, right = records.loc["Normal/P0001_L_1.png"], records.loc["Normal/P0001_R_2.png"]
    assert left["group"] == right["group"]
    assert left["picture"] != right["picture"]
    assert left["patient"] == right["patient"] != ""
    assert (left["side"], right["side"]) == ("left", "right")
    assert records.loc["Normal/P0002_L_1.jpg", "group"] != left["group"]


def test_a_picture_under_two_labels_is_quarantined(records: pd.DataFrame) -> None:
    quarantined = records[records["status"] == "quarantined"]
    assert quarantined["reason"].to_dict() == dict.fromkeys(
        ["Osteopenia/P0004_L_1.png", "Osteoporosis/P0005_R_1.png"],
        "the same picture stands under Osteopenia, Osteoporosis",
    )
    assert (quarantined["pixel_row"] >= 0).all()


def test_conflicts_can_be_kept(tmp_path: Path) -> None:
    folder = fill(tmp_path / "images", contents())
    kept = taken_in(folder, tmp_path, settings(conflicts="keep"))
    assert set(kept["status"]) == {"used", "rejected"}
    assert kept.loc["Osteopenia/P0004_L_1.png", "reason"] == ""


@pytest.mark.filterwarnings("ignore")  # of pydicom about the sample header
def test_doubtful_images_are_used_noted_and_counted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {
        f"{label}/{seed}.dcm": dicom_files.dicom(
            np.asarray(film(100 * number + seed)), BitsStored=8, PresentationLUTShape="INVERSE"
        )
        for number, label in enumerate(("Normal", "Osteopenia", "Osteoporosis"))
        for seed in range(2)
    }
    with caplog.at_level(logging.INFO):
        table = taken_in(fill(tmp_path / "images", files), tmp_path, settings())
    note = "polarity: MONOCHROME2 with INVERSE, shown with low values white"
    assert set(table["status"]) == {"used"}
    assert set(table["note"]) == {note}
    assert f"6 images: {note} (column note of the records)" in caplog.messages


def test_facts_of_a_file_are_in_its_row(records: pd.DataFrame) -> None:
    row = records.loc["Osteoporosis/P0008_L_1.png"]
    content = contents()["Osteoporosis/P0008_L_1.png"]
    assert (row["mode"], row["format"], row["width"], row["height"]) == ("I;16", "PNG", 96, 120)
    assert (row["bytes"], len(row["sha256"]), len(row["perceptual_hash"])) == (
        len(content),
        64,
        64,
    )
    assert row["class_index"] == 2


def test_identical_pixels_have_one_hash_whatever_the_file(records: pd.DataFrame) -> None:
    one, two = records.loc["Osteopenia/P0004_L_1.png"], records.loc["Osteoporosis/P0005_R_1.png"]
    assert one["sha256"] != two["sha256"]
    assert one["pixel_sha256"] == two["pixel_sha256"]


def test_shape_is_part_of_the_pixel_hash(tmp_path: Path) -> None:
    values = np.asarray(film(0)).ravel()
    tall, wide = (Image.fromarray(values.reshape(shape)) for shape in ((120, 96), (96, 120)))
    files = {"a/1.png": encoded(tall, "PNG"), "b/2.png": encoded(wide, "PNG")}
    records = taken_in(fill(tmp_path / "images", files), tmp_path, settings(classes=()))
    assert records["pixel_sha256"].nunique() == 2
    assert records["picture"].nunique() == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_order_of_creation_never_shows_in_the_bytes(tmp_path: Path, out: Path, seed: int) -> None:
    shuffled = list(contents().items())
    random.Random(seed).shuffle(shuffled)
    taken_in(fill(tmp_path / "elsewhere", dict(shuffled)), tmp_path, settings())
    for name in ("records.csv", "pixels"):
        assert shards.content(tmp_path / name) == shards.content(out / name)


def test_what_is_known_is_neither_decoded_nor_registered_again_and_changes_no_byte(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    decode = image_formats.decode_radiograph

    def counted(content: bytes, *limits: Any) -> Decoded:
        decoded.append(content)
        return decode(content, *limits)

    monkeypatch.setattr(image_formats, "decode_radiograph", counted)
    late = {name: contents()[name] for name in ("Normal/P0001_R_2.png", "Normal/truncated.jpg")}
    early = {name: content for name, content in contents().items() if name not in late}
    images = fill(tmp_path / "images", early)

    def again() -> int:
        """Ingest once more; the number of files that were decoded."""
        decoded.clear()
        taken_in(images, tmp_path, settings())
        return len(decoded)

    def same() -> bool:
        names = ("records.csv", "pixels")
        return all(shards.content(tmp_path / name) == shards.content(out / name) for name in names)

    rejected = 2  # of each run: what has no pixels is not kept
    assert again() >= 9
    fill(images, late)
    assert (again(), same()) == (1 + rejected, True)
    monkeypatch.setattr(copy_check, "_register", None)
    assert (again(), same()) == (rejected, True)
    monkeypatch.undo()
    for file in (tmp_path / "known").rglob("values.bin"):
        file.write_bytes(file.read_bytes()[:-100])
    taken_in(images, tmp_path, settings())
    assert same()


def test_all_outputs_are_the_same_where_other_machines_decode_and_register(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(opening.ADAPTERS, "ray", "tests.execution.unsteady")
    images = fill(tmp_path / "images", contents())
    here = settings()
    for number, (files, smallest, decoding) in enumerate(PLACES):
        monkeypatch.setattr(examination, "NODES_FROM_BYTES", smallest)
        cluster = dataclasses.replace(here.execution, engine="ray", files=files)
        made = tmp_path / str(number)
        taken_in(images, made, dataclasses.replace(here, execution=cluster))
        for name in ("records.csv", "pixels", "copy_joins.csv"):
            assert shards.content(made / name) == shards.content(out / name)
        sent = [name for task in unsteady.OPENED[-1].sent for name in NAMES if name in task]
        assert sorted({*sent}) == [b"decode_some"] * decoding + [b"register_batches"]


NAMES = (b"decode_some", b"register_batches")
PLACES: tuple[tuple[Literal["sent", "shared"], float, int], ...] = (
    ("sent", 0, 0),
    ("shared", 1e6, 0),
    ("shared", 0, 1),
)


def test_same_images_at_two_sizes_are_one_picture(tmp_path: Path) -> None:
    files = {
        "a/1.png": encoded(film(0), "PNG"),
        "a/2.png": encoded(film(1), "PNG"),
        "b/1.png": encoded(film(0).resize((48, 60), Image.Resampling.LANCZOS), "PNG"),
    }
    records = taken_in(fill(tmp_path / "images", files), tmp_path, settings(classes=()))
    assert records["picture"].tolist() == [0, 1, 0]


def test_without_a_scale_classes_are_the_folders_by_number_or_name(tmp_path: Path) -> None:
    for names in (["a", "b"], ["0", "2", "10"], ["Grade 0", "Grade 1", "Grade 2"]):
        files = {f"{name}/1.png": encoded(film(0), "PNG") for name in names}
        records = taken_in(fill(tmp_path / names[0], files), tmp_path, settings(classes=()))
        found = {row["label"]: row["class_index"] for row in records.to_dict("records")}
        assert found == {name: index for index, name in enumerate(names)}


def test_a_folder_that_is_nearly_a_class_is_asked_about(tmp_path: Path) -> None:
    names = ("Normal", "Osteopenia", "Osteoporsis")
    images = fill(tmp_path / "images", {f"{name}/1.png": encoded(film(0)) for name in names})
    with pytest.raises(UserError, match="is 'Osteoporsis' meant to be osteoporosis"):
        taken_in(images, tmp_path, settings(classes=()))


def test_a_scale_that_no_name_tells_is_asked_for(tmp_path: Path) -> None:
    names = ("Normal", "Doubtful", "Mild", "Moderate", "Severe")
    images = fill(tmp_path / "images", {f"{name}/1.png": encoded(film(0)) for name in names})
    with pytest.raises(UserError, match=r"order is not known: give it, .* -S 'data\.classes="):
        taken_in(images, tmp_path, settings(classes=()))
    records = taken_in(images, tmp_path, settings(classes=names))
    assert records.sort_values("class_index")["label"].tolist() == list(names)


def test_an_image_above_the_limit_is_rejected_unread(tmp_path: Path) -> None:
    small = encoded(film(1).resize((40, 40)))
    files = {"a/1.png": encoded(film(0)), "a/2.png": small, "b/3.png": small}
    limited = settings(classes=(), maximum_megapixels=0.01)
    records = taken_in(fill(tmp_path / "images", files), tmp_path, limited)
    assert records["pixel_row"].tolist() == [-1, 0, 1]
    assert "maximum_megapixels" in str(records.loc["a/1.png", "reason"])


def test_dicom_images_of_other_kinds_are_rejected_by_the_rule_of_the_run(tmp_path: Path) -> None:
    files = {
        "a/1.dcm": dicom(0, "1"),
        "a/2.dcm": dicom(1, "2", BodyPartExamined="CHEST"),
        "b/1.dcm": dicom(2, "3", BodyPartExamined="KNEE"),
        "b/2.dcm": dicom(3, "4", SOPClassUID=pydicom.uid.SecondaryCaptureImageStorage),
        "b/3.dcm": dicom(4, "5", ViewPosition="RL"),
    }
    images = fill(tmp_path / "images", files)
    anything = settings(classes=(), body_parts=(), secondary_capture=True, views=())
    assert (taken_in(images, tmp_path, anything)["status"] == "used").all()
    ruled = settings(classes=())
    records = taken_in(images, tmp_path, ruled)  # by what is known of the run before, too
    assert records["reason"].to_dict() == {
        "a/1.dcm": "",
        "a/2.dcm": "its body part CHEST is none of ingest.body_parts",
        "b/1.dcm": "",
        "b/2.dcm": "a secondary capture: ingest.secondary_capture is false",
        "b/3.dcm": "its view RL is none of ingest.views",
    }


def dicom(seed: int, patient: str, **elements: str) -> bytes:
    dataset = pydicom.Dataset()
    dataset.PatientID, dataset.ImageLaterality, dataset.PatientAge = patient, "L", "061Y"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.SOPInstanceUID = f"1.2.3.{seed}"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 120, 96, 1
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = film(seed).tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def test_a_pacs_export_needs_a_sheet_and_no_folders(tmp_path: Path) -> None:
    export = {
        "ST0/SE0/IM0": dicom(0, "SECRET7"),
        "ST0/SE1/IM0.dcm": dicom(1, "SECRET7"),
        "ST1/IM0": dicom(2, "SECRET8"),
        "ST1/IM1": dicom(3, "SECRET9"),
    }
    sheet = tmp_path / "sheet.csv"
    rows = ["ST0\\SE0\\IM0;a;;", "ST0/SE1/IM0;b;;R", "ST1/IM0;a;SECRET7;"]
    sheet.write_text("\n".join(["path;label;patient;side", *rows]), encoding="utf-8")
    records = taken_in(fill(tmp_path / "images", export), tmp_path, settings(classes=()), sheet)
    assert records["reason"].to_dict() == dict.fromkeys(export, "") | {
        "ST1/IM1": "no row in the sheet"
    }
    assert records["label"].tolist() == ["a", "b", "a", ""]
    key = patients.key_from_environment()
    assert records["patient"].tolist() == [patients.hashed("SECRET7", key)] * 3 + [""]
    assert records["side"].tolist() == ["left", "right", "left", ""]
    assert records["age_years"].tolist()[:3] == [61.0] * 3
    written = [tmp_path / "records.csv", *(tmp_path / "known").rglob("*.bin")]
    assert not [path for path in written if b"SECRET" in path.read_bytes()]


def test_the_counts_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        taken_in(fill(tmp_path / "images", contents()), tmp_path, settings())
    assert "14 files: 9 used, 3 rejected, 2 quarantined; 7 copy groups" in caplog.text


def test_the_module_runs_and_never_loads_heavy_packages() -> None:
    code = (
        "import sys, stages.ingest; "
        "heavy = {'tensorflow', 'keras', 'mlflow', 'sklearn', 'matplotlib'} & set(sys.modules); "
        "raise SystemExit(str(heavy) if heavy else 0)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr

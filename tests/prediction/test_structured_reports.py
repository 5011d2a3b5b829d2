"""DICOM reports of predictions, read back by pydicom and highdicom; and files without one."""

from __future__ import annotations

import io
import logging
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import highdicom
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.sr.codedict import codes

from knee.classifier.net.trained_model import TrainedModel
from knee.prediction import structured_reports, synthetic_model
from knee.reading.source_files import SourceFile
from tests import films as drawn
from tests.reading import dicom_files

CLASSES = ("Normal", "Ostéopénie", "x" * 80)
SHA256 = "0123456789abcdef" * 4
PATIENT = {"PatientName": "Müller^Jane", "PatientID": "4711", "PatientBirthDate": "19500102"}
STUDY = {"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.9.1", "AccessionNumber": "A-12"}


def film(number: int, **elements: Any) -> bytes:
    given = {"SpecificCharacterSet": "ISO_IR 100", "SOPInstanceUID": f"1.2.3.{number}", **elements}
    return dicom_files.dicom(np.zeros((4, 4), np.uint16), **given)


def trained(**facts: Any) -> TrainedModel:
    training = {"backbone": "mobilenet", "model_sha256": SHA256, "synthetic": False, **facts}
    made = SimpleNamespace(training=training, classes=CLASSES, name="/home/jane/knees", version="7")
    return cast("TrainedModel", made)


def table(count: int, **columns: Any) -> pd.DataFrame:
    found = {
        "predicted": CLASSES[1],
        **{f"probability_{name}": 0.25 * n for n, name in enumerate(CLASSES, 1)},
        "prediction_set": f"{CLASSES[0]}|{CLASSES[1]}",
        "out_of_distribution": 1.25,
        "warning": "unlike the radiographs",
        "reason": "",
        "notes": "a note",
        **columns,
    }
    return pd.DataFrame({name: [value] * count for name, value in found.items()})


def written(folder: Path, contents: list[bytes], rows: pd.DataFrame, **facts: Any) -> list[Any]:
    """Reports of files with these contents, read by highdicom, by their numbers."""
    sources = []
    for number, content in enumerate(contents):
        (folder / f"{number}").write_bytes(content)
        sources.append(SourceFile(f"{number}", folder / f"{number}", ""))
    out = folder / "reports"
    count = structured_reports.write_all(rows, sources, trained(**facts), out)
    files = list(out.iterdir())
    assert len(files) == count
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} <= {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert all(file.name == f"{pydicom.dcmread(file).SOPInstanceUID}.dcm" for file in files)
    found = [highdicom.sr.srread(file) for file in files]
    return sorted(found, key=lambda one: int(one.InstanceNumber))


def test_a_report_says_what_the_model_said_of_which_image_and_patient(tmp_path: Path) -> None:
    images = [film(n, **PATIENT, **STUDY, ImageLaterality="R") for n in range(2)]
    first, second = written(tmp_path, images, table(2))
    assert (first.StudyInstanceUID, first.AccessionNumber) == ("1.2.9", "A-12")
    assert (str(first.PatientName), first.PatientID, first.PatientBirthDate) == (
        *("Müller^Jane", "4711", "19500102"),
    )
    assert first.Modality == "SR"
    assert (first.CompletionFlag, first.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != "1.2.9.1"
    assert first.SOPInstanceUID != second.SOPInstanceUID
    (group,) = first.content.get_image_measurement_groups()
    (source,) = group.source_images
    assert source.referenced_sop_instance_uid == "1.2.3.0"
    evidence = first.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.SeriesInstanceUID == "1.2.9.1"
    assert [each.ReferencedSOPInstanceUID for each in evidence.ReferencedSOPSequence] == ["1.2.3.0"]
    values = {each.name.meaning: each.value for each in group.get_measurements()}
    assert values == {
        "Probability of Normal": 0.25,
        "Probability of Ostéopénie": 0.5,
        f"Probability of {'x' * 49}": 0.75,
        "Out-of-distribution score, above 1: do not use": 1.25,
    }
    said = [(each.name.meaning, each.value.meaning) for each in group.get_qualitative_evaluations()]
    assert said == [
        ("Most probable class", "Ostéopénie"),
        ("Class that cannot be excluded", "Normal"),
        ("Class that cannot be excluded", "Ostéopénie"),
    ]
    (site,) = group.finding_sites
    assert (site.value, site.laterality) == (codes.SCT.KneeJoint, codes.SCT.Right)
    text = first.to_json()
    for word in ("knee-bone-health: knees", f"SHA-256 {SHA256}", "7", "a note", "not a medical"):
        assert word in text
    assert "/home/jane" not in text


def test_a_film_of_two_knees_has_a_group_each_with_its_side_and_square(tmp_path: Path) -> None:
    content = film(1, **PATIENT, **STUDY, Laterality="R", PixelAspectRatio=["1", "2"])
    rows = table(2, knees=2, film_width=8, film_height=4, certainty=0.875, film_note="a doubt")
    rows = rows.assign(side=["right", "left"], box_left=[-1, 5], box_top=0, box_side_pixels=2)
    refused = table(1, knees=0, reason="no knee was found")
    (made,) = written(tmp_path, [content, content], pd.concat([refused, rows], ignore_index=True))
    groups = made.content.get_planar_roi_measurement_groups()
    sites = [site for group in groups for site in group.finding_sites]
    assert [site.laterality for site in sites] == [codes.SCT.Right, codes.SCT.Left]
    assert [group.tracking_identifier for group in groups] == ["right knee", "left knee"]
    squares = [group.roi.value.tolist() for group in groups]  # on 4 x 4 stored pixels
    assert squares[0] == [[0, 0], [0.5, 0], [0.5, 2], [0, 2], [0, 0]]
    assert squares[1] == [[2.5, 0], [3.5, 0], [3.5, 2], [2.5, 2], [2.5, 0]]
    for group in groups:
        values = {each.name.meaning: each.value for each in group.get_measurements()}
        assert values["Certainty that the knee lies in the square"] == 0.875
        assert values["Probability of Normal"] == 0.25
    assert made.to_json().count("Doubtful: a doubt.") == 2


def test_codes_follow_from_names_and_not_from_their_order() -> None:
    one, other = (structured_reports._code("C", name) for name in (CLASSES[2], CLASSES[2] + "y"))
    assert one[0] != other[0]
    assert len(one[0]) <= 16
    assert one == structured_reports._code("C", CLASSES[2])


def test_a_synthetic_model_says_so_first(tmp_path: Path) -> None:
    columns = {synthetic_model.COLUMN: synthetic_model.WARNING}
    (made,) = written(tmp_path, [film(1, **PATIENT, **STUDY)], table(1, **columns), synthetic=True)
    assert made.SeriesDescription.startswith("SYNTHETIC MODEL")


def test_what_cannot_be_reported_is_counted_and_never_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    nobody = film(1, StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1")
    contents = [drawn.png(1), film(2, **PATIENT), film(3, **PATIENT, **STUDY), nobody]
    rows = table(4, out_of_distribution=float("nan"), prediction_set="", warning="")
    rows.loc[2, "reason"] = "damaged"
    (made,) = written(tmp_path, contents, rows)
    assert (made.PatientID, made.PatientName) == ("", "")
    assert "1 of 4 files have no DICOM report: no DICOM file" in caplog.text
    assert "header lacks StudyInstanceUID, SeriesInstanceUID" in caplog.text
    assert "not answered, see the column reason" in caplog.text
    assert "ller" not in caplog.text
    assert "4711" not in caplog.text
    assert "1.2.3" not in caplog.text
    with pytest.raises(structured_reports.ReportError, match="not empty"):
        structured_reports.check_folder(tmp_path / "reports")


def test_a_damaged_header_has_no_report(tmp_path: Path) -> None:
    whole = pydicom.dcmread(io.BytesIO(film(1, **PATIENT, **STUDY)))
    whole.StudyInstanceUID = "1.2.9"
    file = tmp_path / "film"
    file.write_bytes(dicom_files.written(whole)[:400])
    with pytest.raises(structured_reports.NoReportError, match=r"lacks|damaged"):
        structured_reports.image_header(SourceFile("film", file, ""))

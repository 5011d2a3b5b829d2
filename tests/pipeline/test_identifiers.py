"""What a DICOM header tells of a person is in nothing that the pipeline writes or prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knee.records.records_table import read_records
from tests.films import film
from tests.project import new_project
from tests.reading.dicom_files import dicom

CLASSES = ("Normal", "Osteopenia", "Osteoporosis")
PLANTED = (b"QXPATIENT", b"QXNAME", b"QXHOSPITAL", b"QXACCESSION", b"QXDOCTOR", b"19310203")

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def header(number: int) -> dict[str, Any]:
    return {
        "PatientID": f"QXPATIENT{number:04}",
        "PatientName": f"QXNAME^{number}",
        "PatientBirthDate": "19310203",
        "InstitutionName": "QXHOSPITAL",
        "AccessionNumber": f"QXACCESSION{number}",
        "ReferringPhysicianName": "QXDOCTOR^A",
        "ImageComments": f"QXNAME {number} QXHOSPITAL",
    }


def write_films(folder: Path) -> None:
    """45 patients, two knees each, and three damaged files, one a class."""
    for number in range(90):
        pixels = np.asarray(film(number), np.uint16) * 16
        content = dicom(pixels, **header(number // 2))
        path = folder / CLASSES[number // 2 % 3] / f"{number:04}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if number < 6 and number % 2:
            path.with_name(f"cut {number}.dcm").write_bytes(content[: len(content) // 2])


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom about what is planted
def test_planted_identifiers_are_in_no_output_log_or_run(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write_films(tmp_path / "films")
    project = new_project(tmp_path / "project", tmp_path_factory.getbasetemp())
    said = project.run_in_one_process(
        "data=folder", f"data.path={tmp_path / 'films'}", "train=from_scratch"
    )
    registered = project.json("reports/registration.json")
    assert registered["version"] == "1"
    assert project.json("metrics/validation.json")["rejected"] == 3
    assert project.json("metrics/split.json")["leakage"] == 0
    table = read_records(project.folder / "data" / "records.csv")
    assert table.loc[table["status"] == "used", "patient"].nunique() == 45
    written = [path for path in project.folder.rglob("*") if path.is_file()]
    assert {"mlflow.db", "audit.html", "records.csv"} <= {path.name for path in written}
    found = [
        (path.name, word)
        for path in written
        for word in PLANTED
        if word in path.read_bytes().upper() or word.decode() in str(path).upper()
    ]
    assert not found
    assert not [word for word in PLANTED if word.decode() in said.upper()]

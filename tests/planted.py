"""The films of the tiny project: those of its generator, and DICOM files that tell of persons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from knee.run import parameters
from knee.synthetic.cohort import write_sample
from tests.films import CLASSES, PARAMS, film
from tests.reading.dicom_files import dicom

PLANTED_FOLDER = "data/films"  # in the project
PLANTED = (b"QXPATIENT", b"QXNAME", b"QXHOSPITAL", b"QXACCESSION", b"QXDOCTOR", b"19310203")
PATIENTS = 15  # each with two films of one class
DAMAGED = 3


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
    """The generator's films, whose masks the pipeline draws too, and the planted ones."""
    write_sample(
        folder,
        folder.with_suffix(".json"),
        patients=45,
        size_pixels=96,
        seed=parameters.load(PARAMS).sample.seed,
    )
    folder.with_suffix(".json").unlink()
    for number in range(2 * PATIENTS):
        pixels = np.asarray(film(number), np.uint16) * 16
        content = dicom(pixels, **header(number // 2))
        place = folder / CLASSES[number // 2 % 3]
        (place / f"{number:04}.dcm").write_bytes(content)
        if number < 2 * DAMAGED and number % 2:
            (place / f"cut {number}.dcm").write_bytes(content[: len(content) // 2])

"""What a person should know about the patients that sheet, headers and file names tell."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from knee.intake import patients
from knee.intake.patients import Told
from knee.records import known_patients


def disagreements(told: Sequence[Told]) -> list[str]:
    """Return what to know where two sources tell different patients of the same files."""
    said = []
    for one, other in itertools.combinations(range(len(Told._fields)), 2):
        both = [(row[one], row[other]) for row in told if row[one] and row[other]]
        files = sum(first != second for first, second in both)
        several = Counter(second for _, second in set(both))
        parted = sum(count > 1 for count in several.values())
        if files:
            names = [Told._fields[place].replace("_", " ") for place in (one, other)]
            said.append(
                f"patient: {names[0]} and {names[1]} disagree in {files} files, and the {names[0]} "
                f"counts; {parted} patients of the {names[1]} are several in the {names[0]}"
                + (": their images may be in both training and test" if parted else "")
            )
    return said


def remarks(images: pd.DataFrame, pattern: str) -> list[str]:
    """Return what to know about the patients of `images`, rows of the records table."""
    counts = known_patients.patient_counts(images)
    said = []
    if counts["unknown"]:
        said.append(
            f"{known_patients.caveat(counts)} (a patient number comes from the sheet's column "
            "patient, a DICOM header or data.patient_pattern; ANONYMOUS and 0000 are none)"
        )
    names = [PurePosixPath(source).stem for source in images["source"]]
    fitting = sum(bool(patients.groups(name, pattern).get("patient")) for name in names)
    if pattern and fitting < len(names):
        said.append(f"data.patient_pattern tells a patient in {fitting} of {len(names)} file names")
    if counts["both_sexes"]:
        said.append(
            f"{counts['both_sexes']} patients have images of both sexes: several persons with one "
            "number, or a wrong sex"
        )
    if counts["several_origins"]:
        said.append(
            f"{counts['several_origins']} patients have images of several origins, and are taken "
            "as one person each: if two hospitals use the same numbers, put the hospital before "
            "the number in the sheet's column patient"
        )
    return said

"""Predictions as DICOM Structured Reports, to be sent to the archive that the images came from.

One Comprehensive SR document an image, by the template of measurement reports (TID 1500, PS3.16),
with one group for the whole image (TID 1501), or one for each knee with its square (TID 1410) of a
model of located knees. Patient and study are copied from the image's file,
as the standard demands (PS3.3 A.35.3): these are the only outputs that hold identifiers, so their
owner alone can read them. Classes are no diagnoses that anybody has coded, so their codes are
private: of the scheme 99KNEE, made from the class's name.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import logging
import math
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pandas as pd

from knee.classifier.net.trained_model import TrainedModel
from knee.evidence.uncertainty import prediction_limits
from knee.prediction import batch_prediction, synthetic_model
from knee.reading import image_formats, source_files
from knee.reading.decoded import UnreadableImage
from knee.run.errors import UserError
from knee.storage import artifacts
from knee.storage.arrays import Floats

if TYPE_CHECKING:
    from highdicom.sr import ComprehensiveSR
    from pydicom import Dataset

SCHEME: Final = "99KNEE"
ALGORITHM: Final = "knee-bone-health"
NOTICE: Final = "Research software, not a medical device: not for the care of a person."
UID_NAMESPACE: Final = uuid.UUID("5f3c58e6-5e7a-4c53-9c55-6c1c7a4b2e0d")
SERIES_NUMBER: Final = 9900  # beside those of the study's images
MEANING_CHARACTERS: Final = 64  # of a code's meaning (VR LO)
NEEDED: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
# Type 2 of the modules Patient and General Study: there, if only empty.
MAY_BE_EMPTY: Final = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
COPIED: Final = (
    *(*NEEDED, *MAY_BE_EMPTY, "IssuerOfPatientID", "PatientAge"),
    *("StudyDescription", "ImageLaterality", "Laterality"),
)

SIZE: Final = ("Rows", "Columns")


class ReportError(UserError):
    """The folder of --dicom-sr cannot be used."""


class NoReportError(Exception):
    """A file of which there can be no report; the text says why, and quotes nothing of it."""


def check_folder(folder: Path) -> None:
    """Check that `folder` is not there yet, or empty.

    Raises:
        ReportError: there is something.
    """
    is_new = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if folder.is_symlink() or not is_new:
        raise ReportError(f"--dicom-sr {folder} is there already, and not empty: give another")


def write_all(
    table: pd.DataFrame,
    sources: Sequence[source_files.SourceFile],
    trained: TrainedModel,
    folder: Path,
) -> int:
    """Write a report of each answered DICOM file to `folder`, which only its owner can read.

    Lines of the log say of how many other files there is none, and why.

    Args:
        table: of `batch_prediction.Model.classify`.
        sources: the same files, in the same order.
        trained: the model that answered.
        folder: must not be there, or be empty; written beside and moved into place.

    Returns:
        The number of reports.
    """
    check_folder(folder)
    logging.getLogger("highdicom").setLevel(logging.WARNING)  # below, it tells UIDs
    lacking: Counter[str] = Counter()
    run, numbers = uuid.uuid4(), Counter[str]()
    with artifacts.staged_folder(folder) as staged:
        staged.chmod(0o700)
        for source, rows in zip(sources, _by_source(table), strict=True):
            answered = [row for row in rows if not row["reason"]]
            try:
                image = image_header(source, "" if answered else str(rows[0]["reason"]))
            except NoReportError as reason:
                lacking[str(reason)] += 1
                continue
            study = str(image.StudyInstanceUID)
            numbers[study] += 1
            made = report(image, answered, trained, _uid(run, study), numbers[study])
            file = staged / f"{made.SOPInstanceUID}.dcm"
            file.touch(mode=0o600)
            made.save_as(file)
    for why, count in sorted(lacking.items()):
        logging.warning("%d of %d files have no DICOM report: %s", count, len(sources), why)
    written = sum(numbers.values())
    logging.info("DICOM reports in %s, which name the patients: %d", folder, written)
    return written


def _by_source(table: pd.DataFrame) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each file: one, or one a knee."""
    rows = iter(cast("list[dict[str, Any]]", table.to_dict("records")))
    for row in rows:
        more = int(row.get(batch_prediction.KNEES) or 1) - 1
        yield [row, *itertools.islice(rows, more)]


def image_header(source: source_files.SourceFile, reason: str = "") -> Dataset:
    """Return what a report needs of a DICOM file's header: patient, study, identity, size.

    Raises:
        NoReportError: the file has no answer (for a `reason`), is not DICOM, or its header lacks
            what tells it from others.
    """
    import pydicom

    if reason:
        raise NoReportError("not answered, see the column reason")
    try:
        content = source_files.read(source)
    except UnreadableImage:
        raise NoReportError("it cannot be read any more") from None
    if content[128:132] != b"DICM" and not content.startswith(image_formats.DICOM_STARTS):
        raise NoReportError("no DICOM file")
    made = pydicom.Dataset()
    try:
        # Answered files only: their size, unpacked, was checked before.
        file = io.BytesIO(content)
        tags = [*COPIED, *SIZE]
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
        header.decode()
        for keyword in COPIED:
            if header.get(keyword):
                setattr(made, keyword, _plain(header[keyword].value))
        made.Rows, made.Columns = int(header.Rows), int(header.Columns)
    except Exception:  # of many types, with texts that quote the header
        raise NoReportError("damaged DICOM header") from None
    if missing := [keyword for keyword in NEEDED if not made.get(keyword)]:
        raise NoReportError(f"its header lacks {', '.join(missing)}")
    for keyword in MAY_BE_EMPTY:
        if keyword not in made:
            setattr(made, keyword, None)
    return made


def report(
    image: Dataset,
    rows: Sequence[Mapping[str, Any]],
    trained: TrainedModel,
    series: str,
    number: int,
) -> ComprehensiveSR:
    """Return the report of one image.

    Args:
        image: of `image_header`.
        rows: of the table of `batch_prediction.Model.classify`: one, or those of its knees.
        trained: the model that answered.
        series: UID of the reports of one study.
        number: of the report in its series, from 1.
    """
    from highdicom import UID, sr
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return sr.ComprehensiveSR(
        evidence=[image],
        content=_content(image, rows, trained),
        series_instance_uid=series,
        series_number=SERIES_NUMBER,
        sop_instance_uid=UID(),
        instance_number=number,
        manufacturer=ALGORITHM,
        manufacturer_model_name=trained.training["backbone"],
        software_versions=_version(trained),
        series_description=_texts(rows[0])[0][:MEANING_CHARACTERS],
        is_complete=True,
        content_qualification="RESEARCH",
        coding_schemes=[CodingSchemeIdentificationItem(SCHEME, name=f"codes of {ALGORITHM}")],
        specific_character_set="ISO_IR 192",  # UTF-8, for names of classes
    )


def _content(image: Dataset, rows: Sequence[Mapping[str, Any]], trained: TrainedModel) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    device = sr.DeviceObserverIdentifyingAttributes(
        uid=_uid(UID_NAMESPACE, trained.training["model_sha256"]),
        name=ALGORITHM,
        manufacturer_name=ALGORITHM,
        model_name=Path(trained.name).name or trained.training["backbone"],
    )
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, device)
        ),
        procedure_reported=codes.SCT.PlainRadiography,
        imaging_measurements=[_group(image, row, trained) for row in rows],
    )


def _group(image: Dataset, row: Mapping[str, Any], trained: TrainedModel) -> Any:
    """The measurements of the whole image, or of the knee that the row is about."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    algorithm = sr.AlgorithmIdentification(
        name=f"{ALGORITHM}: {Path(trained.name).name}",
        version=_version(trained),
        parameters=[
            f"backbone {trained.training['backbone']}",
            f"model.keras SHA-256 {trained.training['model_sha256']}",
        ],
    )
    of_both = {
        "algorithm_id": algorithm,
        "finding_sites": [sr.FindingSite(codes.SCT.KneeJoint, laterality=_laterality(image, row))],
        "measurements": _measurements(row, trained.classes),
        "qualitative_evaluations": _evaluations(row),
    }
    reference = (image.SOPClassUID, image.SOPInstanceUID)
    if row.get(batch_prediction.KNEES):
        region = sr.ImageRegion("POLYLINE", square(image, row), sr.SourceImageForRegion(*reference))
        name = f"{row['side']} knee".lstrip()
        group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            sr.TrackingIdentifier(identifier=name), referenced_region=region, **of_both
        )
    else:
        group = sr.MeasurementsAndQualitativeEvaluations(
            sr.TrackingIdentifier(identifier="whole image"),
            source_images=[sr.SourceImageForMeasurementGroup(*reference)],
            **of_both,
        )
    for text in _texts(row):
        group[0].ContentSequence.append(
            sr.TextContentItem(
                name=sr.CodedConcept("121106", "DCM", "Comment"),
                value=text,
                relationship_type=sr.RelationshipTypeValues.CONTAINS,
            )
        )
    return group


def square(image: Dataset, row: Mapping[str, Any]) -> Floats:
    """Return the closed outline of a knee's square, as far as it lies on the image.

    (5, 2), column and row in the image's stored pixels: oblong ones were made square to be shown.
    """
    left, top, side = (row[f"box_{name}"] for name in ("left", "top", "side_pixels"))
    width, height = row["film_width"], row["film_height"]
    columns = np.clip((left, left + side), 0, width) * (image.Columns / width)
    rows = np.clip((top, top + side), 0, height) * (image.Rows / height)
    places = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
    return np.array([(columns[x], rows[y]) for x, y in places], np.float64)


def _measurements(row: Mapping[str, Any], classes: Sequence[str]) -> list[Any]:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    named = {_code("P", f"Probability of {name}"): row[f"probability_{name}"] for name in classes}
    if not math.isnan(row["out_of_distribution"]):
        named[_code("S", "Out-of-distribution score, above 1: do not use")] = row[
            "out_of_distribution"
        ]
    if row.get(batch_prediction.KNEES):
        named[_code("L", "Certainty that the knee lies in the square")] = row["certainty"]
    return [
        sr.Measurement(name=sr.CodedConcept(*code), value=float(value), unit=codes.UCUM.NoUnits)
        for code, value in named.items()
    ]


def _evaluations(row: Mapping[str, Any]) -> list[Any]:
    from highdicom import sr

    excluded_not = str(row["prediction_set"]).split(prediction_limits.BETWEEN)
    pairs = [("Most probable class", row["predicted"])]
    pairs += [("Class that cannot be excluded", name) for name in excluded_not if name]
    return [
        sr.QualitativeEvaluation(
            name=sr.CodedConcept(*_code("Q", name)), value=sr.CodedConcept(*_code("C", str(value)))
        )
        for name, value in pairs
    ]


def _texts(row: Mapping[str, Any]) -> list[str]:
    """What a reader has to know first; the first is the series' description."""
    beginning = row.get(synthetic_model.COLUMN, "")
    warning = f"The image is {row['warning']}." if row["warning"] else ""
    doubt = f"Doubtful: {row['film_note']}." if row.get("film_note") else ""
    return [text for text in (beginning, warning, NOTICE, doubt, row["notes"]) if text]


def _version(trained: TrainedModel) -> str:
    return trained.version or "not registered"


def _laterality(image: Dataset, row: Mapping[str, Any]) -> Any:
    from pydicom.sr.codedict import codes

    told = image.get("ImageLaterality") or image.get("Laterality")
    side = row.get("side") or {"R": "right", "L": "left"}.get(str(told))
    return {"right": codes.SCT.Right, "left": codes.SCT.Left}.get(str(side))


def _code(kind: str, meaning: str) -> tuple[str, str, str]:
    """Value, scheme and meaning of a private code; the value follows from the whole meaning."""
    digits = hashlib.sha256(meaning.encode()).hexdigest()[:12]
    return f"{kind}{digits}", SCHEME, meaning[:MEANING_CHARACTERS]


def _uid(space: uuid.UUID, name: str) -> str:
    """A UID that follows from both, as PS3.5 B.2 makes one of a UUID."""
    return f"2.25.{uuid.uuid5(space, name).int}"


def _plain(value: Any) -> Any:
    """A value without the encodings that pydicom keeps beside it; the first of several."""
    from pydicom.multival import MultiValue

    return str(value[0] if isinstance(value, MultiValue) else value)

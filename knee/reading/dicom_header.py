"""The DICOM header: whether it is of a radiograph, how its pixels are shown, what is kept of it.

`dataset` is pydicom's. Headers err in every way: what cannot be read counts as not being there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, MutableSequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom import uid

from knee.reading import dicom_limits
from knee.reading.canonical_image import DicomRule
from knee.reading.decoded import OLDEST_YEARS, UnreadableImage
from knee.reading.dicom_lut import Display, Lookup, Window
from knee.run import messages

PHOTOMETRICS: Final = (
    *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"),
    *("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
)
ONE_SAMPLE: Final = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
CONTRADICTORY: Final = (("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "IDENTITY"))
FUNCTIONS: Final = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
MOST_ASPECT: Final = 4.0  # of a pixel's height by its width, or width by height
SQUARE_WITHIN: Final = 0.01
SIDES: Final = {"L": "left", "R": "right"}
YEARS: Final = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
TEXT_CHARACTERS: Final = 64  # the longest text of the value representation LO

# Storage classes, by the standard's keyword, of radiographs, and of images that may be one.
RADIOGRAPHS: Final = (
    "ComputedRadiographyImageStorage",
    "DigitalXRayImageStorageForPresentation",
    "DigitalMammographyXRayImageStorageForPresentation",
    "DigitalIntraOralXRayImageStorageForPresentation",
    "XRayRadiofluoroscopicImageStorage",
)
CAPTURES: Final = (
    "SecondaryCaptureImageStorage",
    "MultiFrameSingleBitSecondaryCaptureImageStorage",
    "MultiFrameGrayscaleByteSecondaryCaptureImageStorage",
    "MultiFrameGrayscaleWordSecondaryCaptureImageStorage",
    "MultiFrameTrueColorSecondaryCaptureImageStorage",
)
# Modalities of images that are certainly none; OT, SC, an empty one and unknown ones may be.
NO_RADIOGRAPHS: Final = (
    *("AR", "BDUS", "BMD", "CT", "DOC", "ECG", "ES", "GM", "IVOCT", "IVUS", "KO", "MR", "NM"),
    *("OAM", "OCT", "OP", "OPM", "OPT", "OPV", "PLAN", "PR", "PT", "REG", "RTDOSE", "RTIMAGE"),
    *("RTPLAN", "RTRECORD", "RTSTRUCT", "SEG", "SM", "SR", "TG", "US", "XA", "XC"),
)
# Terms of Body Part Examined (PS3.3 C.7.3.1) that a reason may quote; others are free text.
BODY_PARTS: Final = (
    *("ABDOMEN", "ANKLE", "ARM", "BREAST", "CHEST", "CLAVICLE", "COCCYX", "CSPINE", "ELBOW"),
    *("EXTREMITY", "FOOT", "HAND", "HEAD", "HEART", "HIP", "JAW", "KNEE", "LEG", "LSPINE"),
    *("NECK", "PELVIS", "SHOULDER", "SKULL", "SSPINE", "TSPINE"),
)
# Terms of View Position (PS3.3 C.8.1.1) and words for a side view, likewise.
VIEWS: Final = (
    *("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO"),
    *("LAT", "LATERAL", "OBLIQUE", "SKYLINE", "SUNRISE"),
)


def check_kind(dataset: Any, rule: DicomRule) -> None:
    """Raise `UnreadableImage` for a raw image, or one that `rule` does not take."""
    named = text(dataset, "SOPClassUID")
    kind = uid.UID(named or text(dataset.file_meta, "MediaStorageSOPClassUID"))
    intent = text(dataset, "PresentationIntentType").upper()
    if kind.keyword.endswith("ForProcessing") or intent == "FOR PROCESSING":
        raise UnreadableImage("a raw image (FOR PROCESSING): export the one FOR PRESENTATION")
    if kind.keyword in CAPTURES and not rule.secondary_capture:
        raise UnreadableImage("a secondary capture: ingest.secondary_capture is false")
    _check_modality(dataset, kind, rule)
    part = text(dataset, "BodyPartExamined")
    taken = {messages.folded(name) for name in rule.body_parts}
    if part and taken and messages.folded(part) not in taken:
        named = f"body part {part.upper()}" if part.upper() in BODY_PARTS else "body part"
        raise UnreadableImage(f"its {named} is none of ingest.body_parts")
    view = text(dataset, "ViewPosition")
    words = {*map(messages.folded, re.findall(r"[^\W_]+", view)), messages.folded(view)}
    if view and rule.views and words.isdisjoint(map(messages.folded, rule.views)):
        named = f"view {view.upper()}" if view.upper() in VIEWS else "view"
        raise UnreadableImage(f"its {named} is none of ingest.views")


def _check_modality(dataset: Any, kind: uid.UID, rule: DicomRule) -> None:
    """Refuse what is certainly no radiograph by class or modality, unless `rule` takes it."""
    modality = text(dataset, "Modality").upper()
    if modality in rule.modalities:
        return
    if kind.type == "SOP Class" and kind.keyword not in (*RADIOGRAPHS, *CAPTURES):
        raise UnreadableImage(f"{kind.name.removesuffix(' Storage')} is no radiograph")
    if kind.keyword not in RADIOGRAPHS and modality in NO_RADIOGRAPHS:
        raise UnreadableImage(f"an image of the modality {modality} is no radiograph")


def photometric(dataset: Any) -> str:
    """Return the photometric interpretation; `UnreadableImage` if it is none of PHOTOMETRICS."""
    name = text(dataset, "PhotometricInterpretation").upper()
    if name not in PHOTOMETRICS:
        raise UnreadableImage(f"DICOM pixels that are none of {', '.join(PHOTOMETRICS)}")
    return name


def bits(dataset: Any) -> int:
    """Return the bits that are stored for a sample."""
    allocated = int(dataset.BitsAllocated)
    stored = number(dataset, "BitsStored")
    return int(stored) if 1 <= stored <= allocated else allocated


def display(dataset: Any) -> Display:
    """Return how the stored values become gray: by the first table, else window, of interest.

    Low values are white if the photometric interpretation or the shape of the presentation table
    says so; the two say the same thing, and together not the contrary (PS3.3 C.8.11.3.1.2).
    """
    function = text(dataset, "VOILUTFunction").upper()
    windows = (
        Window(center, width, function if function in FUNCTIONS else "LINEAR")
        for center, width in zip(
            numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth"), strict=False
        )
    )
    table = _lookup(dataset, "VOILUTSequence")
    return Display(
        bits=bits(dataset),
        signed=is_signed(dataset),
        modality=_modality(dataset),
        interest=table or next((window for window in windows if window.usable), None),
        wants_window=_given(dataset, "WindowCenter") or _given(dataset, "WindowWidth"),
        inverted=photometric(dataset) == "MONOCHROME1" or _shape(dataset) == "INVERSE",
    )


def contradictions(dataset: Any) -> list[str]:
    """Return where the header contradicts itself about how the image is shown, one phrase each."""
    name, samples = photometric(dataset), int(dataset.SamplesPerPixel)
    stored, found = number(dataset, "BitsStored"), []
    if samples == 1 and (name, _shape(dataset)) in CONTRADICTORY:
        found.append(f"polarity: {name} with {_shape(dataset)}, shown with low values white")
    if (samples == 1) != (name in ONE_SAMPLE):
        found.append(f"photometric interpretation: {name} with {samples} samples a pixel")
    if not math.isnan(stored) and stored != bits(dataset):
        found.append(f"Bits Stored: shown as {bits(dataset)}, all there are")
    rescale = ("RescaleSlope", "RescaleIntercept")
    unread = [word for word in rescale if math.isnan(number(dataset, word))]
    if unread and any(_given(dataset, word) for word in rescale):
        found.append(f"rescale: {' and '.join(unread)} missing or no number")
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        if _given(dataset, keyword) and _lookup(dataset, keyword) is None:
            found.append(f"table: {keyword} cannot be used, left out")
    if len({round(aspect, 2) for aspect in _aspects(dataset)}) > 1:
        found.append("pixel aspect: several, shown by the first")
    return found


def pixel_spacing_mm(dataset: Any) -> float:
    """Return the spacing of the image with square pixels, in mm; NaN unknown.

    In the patient, else on the detector, else on the film that was digitised.
    """
    return next((min(spacings) for spacings in _spacings(dataset)), math.nan)


def spacing_plane(dataset: Any) -> str:
    """Return where `pixel_spacing_mm` holds: "patient", "detector", or "" unknown (PS3.3 10.7.1.1).

    On the detector, or on the film that was digitised, the patient appears larger than he is. Pixel
    Spacing that was not calibrated is that of the detector, too.
    """
    detector = _spacing(dataset, "ImagerPixelSpacing")
    detector = detector or _spacing(dataset, "NominalScannedPixelSpacing")
    patient = _spacing(dataset, "PixelSpacing")
    if patient and text(dataset, "PixelSpacingCalibrationType"):
        return "patient"
    if patient and detector and not np.allclose(patient, detector, rtol=1e-3, atol=0):
        return "patient"
    return "detector" if detector else ""


def pixel_aspect(dataset: Any) -> float:
    """Return a pixel's height by its width; 1 where that is nearly so, or unknown.

    `UnreadableImage` if no film has such pixels.
    """
    aspect = next(_aspects(dataset), 1.0)
    if not 1 / MOST_ASPECT <= aspect <= MOST_ASPECT:
        raise UnreadableImage(f"its pixels are {aspect:.3g} times as high as wide")
    return 1.0 if abs(aspect - 1) <= SQUARE_WITHIN else aspect


def patient(dataset: Any) -> str:
    """Return the patient's number in the clear, or what an anonymiser left in its place."""
    return text(dataset, "PatientID")


def side(dataset: Any) -> str:
    """Return left, right or "": of the image, else of the examined part."""
    keywords = ("ImageLaterality", "FrameLaterality", "Laterality")
    letters = (text(dataset, keyword).upper() for keyword in keywords)
    return next((SIDES[letter] for letter in letters if letter in SIDES), "")


def sex(dataset: Any) -> str:
    """Return F, M or ""."""
    letter = text(dataset, "PatientSex").upper()
    return letter if letter in ("F", "M") else ""


def age_years(dataset: Any) -> float:
    """Return the patient's age, NaN if unknown; above 90 it would identify, and is 90."""
    match = re.fullmatch(r"(\d{1,3})([YMWD])", text(dataset, "PatientAge").upper())
    if match is None:
        return math.nan
    return min(OLDEST_YEARS, round(int(match[1]) * YEARS[match[2]], 2))


def origin(dataset: Any) -> str:
    """Return manufacturer and model of the device."""
    maker, model = text(dataset, "Manufacturer"), text(dataset, "ManufacturerModelName")
    return model if maker and model.startswith(maker) else f"{maker} {model}".strip()


def text(dataset: Any, keyword: str) -> str:
    """Return the element's first text in printable letters; "" if there is none."""
    value = _first(dataset, keyword)
    if not isinstance(value, str):  # an item of a sequence would print what is in it
        return ""
    return " ".join(messages.printable(value, " ").split())[:TEXT_CHARACTERS]


def number(dataset: Any, keyword: str) -> float:
    """Return the element's first number; NaN if there is none."""
    return next(iter(numbers(dataset, keyword)), math.nan)


def numbers(dataset: Any, keyword: str) -> list[float]:
    """Return the element's numbers; NaN for what is none."""
    return [_finite(value) for value in _all(dataset, keyword)]


def is_signed(dataset: Any) -> bool:
    """Return whether stored values can be negative."""
    return number(dataset, "PixelRepresentation") == 1


def _given(dataset: Any, keyword: str) -> bool:
    """Whether the element is there, with anything in it but blanks, readable or not."""
    value = dataset.get_item(keyword).value if keyword in dataset else None
    if isinstance(value, bytes):
        return bool(value.strip(b" \0\\"))
    parts = value if isinstance(value, MutableSequence) else [value]
    return any(part is not None and part != "" for part in parts)


def _finite(value: Any) -> float:
    try:
        converted = float(value)
    except (TypeError, ValueError):
        return math.nan
    return converted if math.isfinite(converted) else math.nan


def _first(dataset: Any, keyword: str) -> Any:
    return next(iter(_all(dataset, keyword)), None)


def _all(dataset: Any, keyword: str) -> list[Any]:
    try:
        value = dataset.get(keyword)
    except Exception:  # whatever pydicom trips over when it converts a damaged value
        return []
    if isinstance(value, MutableSequence):
        return list(value)
    return [] if value is None else [value]


def _shape(dataset: Any) -> str:
    return text(dataset, "PresentationLUTShape").upper()


def _spacings(dataset: Any) -> Iterator[tuple[float, float]]:
    """Spacings of rows and columns, in mm, in the order in which they are believed."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if found := _spacing(dataset, keyword):
            yield found


def _spacing(dataset: Any, keyword: str) -> tuple[float, float] | None:
    """The element's spacing of rows and columns; None if there is none."""
    rows, columns = (numbers(dataset, keyword) * 2 + [math.nan] * 2)[:2]
    return (rows, columns) if rows > 0 and columns > 0 else None


def _aspects(dataset: Any) -> Iterator[float]:
    """Heights of a pixel by its width, in the order in which they are believed."""
    yield from (rows / columns for rows, columns in _spacings(dataset))
    ratio = numbers(dataset, "PixelAspectRatio")
    if len(ratio) == 2 and min(ratio) > 0:
        yield ratio[0] / ratio[1]


def _modality(dataset: Any) -> Lookup | tuple[float, float] | None:
    """Table, or slope and intercept; None if they change nothing."""
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    linear = (slope, 0.0 if math.isnan(intercept) else intercept)
    changes = slope != 0 and not math.isnan(slope) and linear != (1.0, 0.0)
    return _lookup(dataset, "ModalityLUTSequence") or (linear if changes else None)


def _lookup(dataset: Any, keyword: str) -> Lookup | None:
    """The first table of a sequence that can be used; None if there is none."""
    try:
        if not dicom_limits.is_table_sequence(dataset, keyword):
            return None
        items = list(dataset.get(keyword))
    except Exception:  # no sequence, or a damaged one
        return None
    tables = (_table(item, dataset) for item in items)
    return next((table for table in tables if table is not None), None)


def _table(item: Any, dataset: Any) -> Lookup | None:
    """The table of an item; None if it has less than two entries, or is damaged."""
    try:
        count, first, depth = _words(item.LUTDescriptor, dataset)[:3].tolist()
        entries = _words(item.LUTData, dataset)
        if len(entries) == ((count or 1 << 16) + 1) // 2:  # two in a word, the lower byte first
            entries = entries.astype("<u2").view(np.uint8)
    except Exception:  # whatever pydicom or NumPy trip over
        return None
    entries = entries[: count or 1 << 16]
    return Lookup(first, entries, depth) if len(entries) > 1 else None


def _words(value: Any, dataset: Any) -> npt.NDArray[np.uint16]:
    """The words of 16 bits that a file may have as numbers of either sign, or as bytes."""
    if not isinstance(value, bytes):
        return np.atleast_1d(np.asarray(value, np.int64)).astype(np.uint16)
    _, little = dataset.original_encoding
    return np.frombuffer(value, "<u2" if little else ">u2", len(value) // 2)

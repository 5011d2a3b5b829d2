"""Which DICOM images are radiographs as they are shown to people."""

from __future__ import annotations

from typing import Any, Final

from pydicom import uid

from knee.reading import dicom_header
from knee.reading.decoded import UnreadableImage

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


def check(dataset: Any) -> None:
    """Raise `UnreadableImage` for a raw image, or one that is certainly no radiograph."""
    named = dicom_header.text(dataset, "SOPClassUID")
    kind = uid.UID(named or dicom_header.text(dataset.file_meta, "MediaStorageSOPClassUID"))
    intent = dicom_header.text(dataset, "PresentationIntentType").upper()
    if kind.keyword.endswith("ForProcessing") or intent == "FOR PROCESSING":
        raise UnreadableImage("a raw image (FOR PROCESSING): export the one FOR PRESENTATION")
    if kind.type == "SOP Class" and kind.keyword not in (*RADIOGRAPHS, *CAPTURES):
        raise UnreadableImage(f"{kind.name.removesuffix(' Storage')} is no radiograph")
    modality = dicom_header.text(dataset, "Modality").upper()
    if kind.keyword not in RADIOGRAPHS and modality in NO_RADIOGRAPHS:
        raise UnreadableImage(f"an image of the modality {modality} is no radiograph")

import pytest
from pydicom import uid

from knee.reading import dicom_header
from knee.reading.canonical_image import DicomRule
from knee.reading.decoded import UnreadableImage
from tests.reading.dicom_files import header

RAW = r"a raw image \(FOR PROCESSING\): export the one FOR PRESENTATION"


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"SOPClassUID": uid.DigitalXRayImageStorageForProcessing}, RAW),
        ({"SOPClassUID": uid.DigitalMammographyXRayImageStorageForProcessing}, RAW),
        ({"PresentationIntentType": "FOR PROCESSING"}, RAW),
        (
            {
                "SOPClassUID": uid.DigitalXRayImageStorageForPresentation,
                "PresentationIntentType": "for processing ",
            },
            RAW,
        ),
        ({"SOPClassUID": uid.CTImageStorage}, "CT Image is no radiograph"),
        ({"SOPClassUID": uid.EnhancedMRImageStorage, "Modality": "DX"}, "Enhanced MR Image is no"),
        ({"SOPClassUID": uid.UltrasoundImageStorage}, "Ultrasound Image is no radiograph"),
        ({"SOPClassUID": uid.SecondaryCaptureImageStorage, "Modality": "CT"}, "the modality CT is"),
        ({"Modality": "us"}, "the modality US is no radiograph"),
    ],
)
def test_raw_images_and_those_of_other_modalities_are_refused(
    elements: dict[str, str], reason: str
) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        dicom_header.check_kind(header(**elements), DicomRule())


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"SOPClassUID": "1.2.3.4", "Modality": "RG"},
        {"SOPClassUID": uid.ComputedRadiographyImageStorage, "Modality": "CR"},
        {"SOPClassUID": uid.DigitalXRayImageStorageForPresentation, "Modality": "CT"},  # filled in
        {"SOPClassUID": uid.SecondaryCaptureImageStorage, "Modality": "OT"},
        {"SOPClassUID": uid.SecondaryCaptureImageStorage, "Modality": ""},
        {"PresentationIntentType": "FOR PRESENTATION", "Modality": "DX"},
        {"BodyPartExamined": "CHEST"},
    ],
)
def test_what_may_be_a_radiograph_is_read(elements: dict[str, str]) -> None:
    dicom_header.check_kind(header(**elements), DicomRule())


def test_without_a_class_of_its_own_a_data_set_is_of_that_of_its_file() -> None:
    made = header()
    made.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForProcessing
    with pytest.raises(UnreadableImage, match=RAW):
        dicom_header.check_kind(made, DicomRule())


KNEES = DicomRule(body_parts=("Knee", "LOWER  LIMB"))
FRONTAL = DicomRule(views=("AP", "pa"))
CAPTURE = uid.SecondaryCaptureImageStorage
ANGIOGRAPHY = uid.XRayAngiographicImageStorage


@pytest.mark.parametrize(
    ("elements", "rule", "reason"),
    [
        ({"BodyPartExamined": "chest"}, KNEES, "its body part CHEST is none of ingest.body_parts"),
        ({"BodyPartExamined": "DOE JOHN"}, KNEES, "its body part is none of ingest.body_parts"),
        ({"ViewPosition": "LL"}, FRONTAL, "its view LL is none of ingest.views"),
        ({"ViewPosition": "lateral"}, FRONTAL, "its view LATERAL is none of ingest.views"),
        ({"ViewPosition": "PAT. DOE"}, FRONTAL, "its view is none of ingest.views"),
        ({"SOPClassUID": CAPTURE}, DicomRule(secondary_capture=False), "a secondary capture: "),
        (
            {"SOPClassUID": ANGIOGRAPHY, "Modality": "XA"},
            DicomRule(modalities=("CT",)),
            "X-Ray Ang",
        ),
        (
            {"SOPClassUID": uid.DigitalXRayImageStorageForProcessing, "Modality": "DX"},
            DicomRule(modalities=("DX",)),
            RAW,
        ),
    ],
)
def test_what_the_rule_does_not_take_is_refused_and_free_text_is_not_quoted(
    elements: dict[str, str], rule: DicomRule, reason: str
) -> None:
    with pytest.raises(UnreadableImage, match=f"^{reason}") as refusal:
        dicom_header.check_kind(header(**elements), rule)
    assert "DOE" not in str(refusal.value)


@pytest.mark.parametrize(
    ("elements", "rule"),
    [
        ({"BodyPartExamined": "KNEE"}, KNEES),
        ({"BodyPartExamined": "lower limb "}, KNEES),
        ({"BodyPartExamined": ""}, KNEES),
        ({}, KNEES),
        ({"ViewPosition": "PA"}, FRONTAL),
        ({"ViewPosition": "AP_STANDING"}, FRONTAL),
        ({"ViewPosition": ""}, FRONTAL),
        ({"ViewPosition": "LL"}, DicomRule()),
        ({"SOPClassUID": CAPTURE, "Modality": "OT"}, DicomRule(secondary_capture=True)),
        ({"SOPClassUID": ANGIOGRAPHY, "Modality": "xa"}, DicomRule(modalities=("XA",))),
        ({"Modality": "CT"}, DicomRule(modalities=("CT",))),
    ],
)
def test_what_the_rule_takes_is_read_as_is_a_file_that_tells_neither_part_nor_view(
    elements: dict[str, str], rule: DicomRule
) -> None:
    dicom_header.check_kind(header(**elements), rule)

import pytest
from pydicom import uid

from knee.reading import dicom_header
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
        dicom_header.check_kind(header(**elements))


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
    ],
)
def test_what_may_be_a_radiograph_is_read(elements: dict[str, str]) -> None:
    dicom_header.check_kind(header(**elements))


def test_without_a_class_of_its_own_a_data_set_is_of_that_of_its_file() -> None:
    made = header()
    made.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForProcessing
    with pytest.raises(UnreadableImage, match=RAW):
        dicom_header.check_kind(made)

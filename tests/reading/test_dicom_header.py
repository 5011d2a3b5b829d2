import ast
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from knee.reading import dicom, dicom_header
from knee.reading.decoded import UnreadableImage


def header(**elements: Any) -> Dataset:
    made = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom about what is wrong on purpose
        for keyword, value in elements.items():
            setattr(made, keyword, value)
    return made


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("063Y", 63),
        ("010M", 0.83),
        ("026W", 0.5),
        ("030D", 0.08),
        ("000Y", 0),
        ("90Y", 90),
        ("091Y", 90),
        ("114Y", 90),
        ("", math.nan),
        ("Y", math.nan),
        ("sixty", math.nan),
        ("-5Y", math.nan),
    ],
)
def test_ages_are_in_years_and_none_is_above_90(text: str, years: float) -> None:
    assert dicom_header.age_years(header(PatientAge=text)) == pytest.approx(years, nan_ok=True)


@pytest.mark.parametrize(
    ("elements", "side"),
    [
        ({"ImageLaterality": "R"}, "right"),
        ({"Laterality": "l"}, "left"),
        ({"ImageLaterality": "L", "Laterality": "R"}, "left"),
        ({"ImageLaterality": "U", "Laterality": "R"}, "right"),
        ({"ImageLaterality": "B"}, ""),
        ({}, ""),
    ],
)
def test_the_side_is_the_images_else_the_body_parts(elements: dict[str, str], side: str) -> None:
    assert dicom_header.side(header(**elements)) == side


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [
        ({"PixelSpacing": ["0.2", "0.3"], "ImagerPixelSpacing": ["0.4", "0.4"]}, 0.2),
        ({"ImagerPixelSpacing": ["0.4", "0.5"]}, 0.4),
        ({"PixelSpacing": ["0", "0"], "ImagerPixelSpacing": ["0.4", "0.4"]}, 0.4),
        ({"PixelSpacing": "0.2"}, 0.2),
        ({"PixelSpacing": None}, math.nan),
        ({"PixelSpacing": []}, math.nan),
        ({}, math.nan),
    ],
)
def test_the_spacing_is_that_of_rows(elements: dict[str, Any], spacing: float) -> None:
    found = dicom_header.pixel_spacing_mm(header(**elements))
    assert found == pytest.approx(spacing, nan_ok=True)


@pytest.mark.parametrize("number", ["4711", "P-1", "ANNA", "10X", "00100"])
def test_a_patients_number_is_kept(number: str) -> None:
    assert dicom_header.patient(header(PatientID=f" {number} ")) == number


@pytest.mark.parametrize(
    "filler", ["", "ANONYMOUS", "anon", "Anonymized", "Unknown", "n/a", "0", "000", "XXX", "----"]
)
def test_an_anonymisers_filler_is_nobody(filler: str) -> None:
    assert dicom_header.patient(header(PatientID=filler)) == ""


@pytest.mark.parametrize(
    ("maker", "model", "origin"),
    [
        ("Maker", "Model 7", "Maker Model 7"),
        ("Maker", "Maker DX", "Maker DX"),
        ("Maker", "", "Maker"),
        ("", "Model", "Model"),
        (None, None, ""),
        ("Two\r\nlines\0", "", "Two lines"),
        ("x" * 300, "", "x" * 64),
    ],
)
def test_the_origin_is_the_device_in_one_short_line(
    maker: str | None, model: str | None, origin: str
) -> None:
    made = header(Manufacturer=maker, ManufacturerModelName=model)
    assert dicom_header.origin(made) == origin


def test_an_element_of_another_representation_tells_nothing_and_raises_nothing() -> None:
    made = Dataset()
    for keyword, value in (("Manufacturer", "A^B"), ("PatientAge", "1^2"), ("PixelSpacing", "3^4")):
        made.add_new(keyword, "PN", value)
    assert math.isnan(dicom_header.age_years(made))
    assert math.isnan(dicom_header.pixel_spacing_mm(made))
    assert dicom_header.origin(made) == ""
    made = Dataset()
    made.add_new("Manufacturer", "SQ", [header(PatientName="Planted^Person")])
    assert dicom_header.origin(made) == ""


def test_sex_is_f_or_m_or_unknown() -> None:
    found = [dicom_header.sex(header(PatientSex=text)) for text in ("F", "M", "O", "", "f")]
    assert found == ["F", "M", "", "", "F"]


@pytest.mark.parametrize(("stored", "bits"), [(12, 12), (0, 16), (99, 16), (None, 16)])
def test_bits_are_those_stored_if_that_can_be(stored: int | None, bits: int) -> None:
    assert dicom_header.bits(header(BitsAllocated=16, BitsStored=stored)) == bits


def test_a_damaged_table_is_left_out() -> None:
    for item in (header(), header(LUTDescriptor=[2, 0, 16]), header(LUTData=b"\0\0")):
        made = header(
            PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, VOILUTSequence=[item]
        )
        assert dicom_header.display(made).interest is None


def test_every_element_that_the_header_functions_ask_for_is_read() -> None:
    tree = ast.parse(Path(dicom_header.__file__).read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    asked = {text for text in texts if isinstance(text, str) and text and tag_for_keyword(text)}
    assert asked - {"LUTDescriptor", "LUTData"} <= set(dicom.KEYWORDS)


@given(st.integers(1, 16), st.integers(0, 15), st.booleans(), st.integers(0, 2**32 - 1))
def test_stored_values_are_the_bits_up_to_high_bit(
    stored: int, above: int, signed: bool, seed: int
) -> None:
    high = min(stored - 1 + above, 15)
    random = np.random.default_rng(seed)
    least = -(2 ** (stored - 1)) if signed else 0
    values = random.integers(least, least + 2**stored, (8, 9))
    values[0, 0] = least + 2**stored - 1 if not signed else least  # all bits are needed
    below = high + 1 - stored
    beside = random.integers(0, 2**16, (8, 9))
    mask = ((1 << stored) - 1) << below
    cells = ((values << below) & mask) | (beside & ~mask & 0xFFFF)
    made = header(
        BitsAllocated=16, BitsStored=stored, HighBit=high, PixelRepresentation=int(signed)
    )
    for kind in (np.uint16, np.int16):
        found, _ = dicom_header.stored_values(made, cells.astype(kind), None)
        if cells.max() >= 2**stored:
            np.testing.assert_array_equal(found, values)


def test_bits_beside_the_value_are_noted_and_a_continued_sign_is_not() -> None:
    made = header(BitsAllocated=16, BitsStored=12, HighBit=11, PixelRepresentation=1)
    for cells, noted in (
        ([-2000, 5], []),  # the sign continued
        ([2096, 5], []),  # the same value, with zeros above
        ([0x1005, 5], ["bits above High Bit: left out, as an overlay"]),
    ):
        found, notes = dicom_header.stored_values(made, np.array([cells], np.int16), None)
        assert notes == noted
        assert found.tolist() == [[5 if noted else -2000, 5]]


def test_a_high_bit_that_the_values_contradict_is_noted_and_left_out() -> None:
    cells = np.array([[1, 2, 4095]], np.uint16)
    made = header(BitsAllocated=16, BitsStored=12, HighBit=15, PixelRepresentation=0)
    found, notes = dicom_header.stored_values(made, cells, None)
    assert found.tolist() == cells.tolist()
    assert notes == ["High Bit: 15 of 12 bits, shown as 11"]
    found, notes = dicom_header.stored_values(made, cells * 16, None)
    assert (found.tolist(), notes) == (cells.tolist(), [])
    found, notes = dicom_header.stored_values(made, cells, 12)  # a codestream of 12 bits
    assert (found.tolist(), notes) == (cells.tolist(), [])


@pytest.mark.parametrize("high", [None, 0, 5, 16, 99])
def test_an_impossible_high_bit_is_that_of_right_aligned_values(high: int | None) -> None:
    made = header(BitsAllocated=16, BitsStored=12, HighBit=high, PixelRepresentation=0)
    found, notes = dicom_header.stored_values(made, np.array([[0xF005]], np.uint16), None)
    assert found.tolist() == [[5]]
    assert notes


@pytest.mark.parametrize(
    ("kind", "value", "limit", "expected"),
    [
        (np.int16, -2000, None, [1, 0, 0, 0]),
        (np.int16, 63_536, None, [1, 0, 0, 0]),  # -2000 in the other sign
        (np.int16, 63_536, 65_535, [1, 1, 0, 0]),
        (np.int16, -1, 63_536, [1, 1, 0, 0]),
        (np.uint16, -1, None, [0, 1, 0, 0]),
        (np.uint16, 65_535, 63_536, [1, 1, 0, 0]),
        (np.uint16, -2000, -1, [1, 1, 0, 0]),
        (np.uint16, 7, 0, [0, 0, 1, 1]),
        (np.float32, 7, None, [0, 0, 0, 1]),
    ],
)
def test_padding_is_found_in_either_sign(
    kind: type[np.generic], value: int, limit: int | None, expected: list[int]
) -> None:
    stored = np.array([[-2000, -1, 0, 7]]).astype(kind)
    made = Dataset()
    made.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    if limit is not None:
        made.add_new("PixelPaddingRangeLimit", "SS" if limit < 0 else "US", limit)
    found = dicom_header.padding(made, stored, stored)
    assert found.tolist() == [[bool(one) for one in expected]]


def test_padding_may_be_a_cell_of_more_bits_than_a_value() -> None:
    made = header(
        BitsAllocated=16, BitsStored=12, HighBit=11, PixelRepresentation=0, PixelPaddingValue=0xF830
    )
    cells = np.array([[0xF830, 0x0830, 5]], np.uint16)
    stored, _ = dicom_header.stored_values(made, cells, None)
    assert dicom_header.padding(made, stored, cells).tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("elements", "aspect", "spacing"),
    [
        ({"PixelSpacing": ["0.4", "0.2"]}, 2, 0.2),
        ({"PixelSpacing": ["0.2", "0.4"]}, 0.5, 0.2),
        ({"ImagerPixelSpacing": ["0.3", "0.2"]}, 1.5, 0.2),
        ({"NominalScannedPixelSpacing": ["0.3", "0.2"]}, 1.5, 0.2),
        ({"PixelSpacing": ["0.2", "0.201"]}, 1, 0.2),
        ({"PixelAspectRatio": ["2", "1"]}, 2, math.nan),
        ({"PixelAspectRatio": ["3", "4"]}, 0.75, math.nan),
        ({"PixelAspectRatio": ["0", "4"]}, 1, math.nan),
        ({"PixelAspectRatio": "2"}, 1, math.nan),
        ({"PixelSpacing": ["0.2", "0.2"], "PixelAspectRatio": ["2", "1"]}, 1, 0.2),
        ({}, 1, math.nan),
    ],
)
def test_the_shape_of_pixels_is_by_the_first_spacing_else_the_ratio(
    elements: dict[str, Any], aspect: float, spacing: float
) -> None:
    made = header(**elements)
    assert dicom_header.pixel_aspect(made) == pytest.approx(aspect)
    assert dicom_header.pixel_spacing_mm(made) == pytest.approx(spacing, nan_ok=True)


@pytest.mark.parametrize("ratio", [["5", "1"], ["1", "100"]])
def test_pixels_of_no_film_are_refused(ratio: list[str]) -> None:
    with pytest.raises(UnreadableImage, match=r"times as high as wide"):
        dicom_header.pixel_aspect(header(PixelAspectRatio=ratio))


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


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted", "noted"),
    [
        ("MONOCHROME1", "", True, False),
        ("MONOCHROME1", "INVERSE", True, False),
        ("MONOCHROME1", "IDENTITY", True, True),
        ("MONOCHROME2", "", False, False),
        ("MONOCHROME2", "IDENTITY", False, False),
        ("MONOCHROME2", "INVERSE", True, True),
        ("MONOCHROME2", "inverse ", True, True),
        ("MONOCHROME2", "OTHER", False, False),
    ],
)
def test_low_values_are_white_if_either_element_says_so(
    photometric: str, shape: str, inverted: bool, noted: bool
) -> None:
    made = header(
        PhotometricInterpretation=photometric,
        PresentationLUTShape=shape,
        BitsAllocated=16,
        SamplesPerPixel=1,
    )
    assert dicom_header.display(made).inverted == inverted
    notes = dicom_header.contradictions(made)
    assert [note.partition(":")[0] for note in notes] == ["polarity"] * noted


@pytest.mark.parametrize(
    ("samples", "photometric", "noted"),
    [(1, "RGB", True), (1, "MONOCHROME2", False), (3, "MONOCHROME2", True), (3, "RGB", False)],
)
def test_a_photometric_interpretation_of_other_samples_is_noted(
    samples: int, photometric: str, noted: bool
) -> None:
    made = header(PhotometricInterpretation=photometric, BitsAllocated=8, SamplesPerPixel=samples)
    assert bool(dicom_header.contradictions(made)) == noted


@pytest.mark.parametrize(
    ("centers", "widths", "expected"),
    [
        (["100", "200"], ["50", "60"], (100, 50)),
        (["100", "200"], ["0", "60"], (200, 60)),
        (["", "200"], ["50", "60"], (200, 60)),
        (["100", "200"], ["50"], (100, 50)),
        (["100"], ["0.5"], None),
        ([], ["5"], None),
    ],
)
def test_the_first_usable_window_is_taken(
    centers: list[str], widths: list[str], expected: tuple[float, float] | None
) -> None:
    made = header(
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16,
        WindowCenter=centers,
        WindowWidth=widths,
    )
    found = dicom_header.display(made)
    assert found.wants_window
    window = found.interest
    assert (window and (window.center, window.width)) == expected  # type: ignore[union-attr]

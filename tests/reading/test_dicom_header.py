import ast
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from knee.reading import dicom, dicom_header


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


@pytest.mark.parametrize("number", ["4711", "P-1", "ANNA", "10X", "00100", "ANONYMOUS"])
def test_a_patients_number_is_read_as_written(number: str) -> None:
    assert dicom_header.patient(header(PatientID=f" {number} ")) == number


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

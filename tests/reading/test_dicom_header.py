import ast
import math
from pathlib import Path
from typing import Any

import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from knee.reading import dicom, dicom_cells, dicom_header
from knee.reading.decoded import UnreadableImage
from tests.reading.dicom_files import dataset, header, written


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
        ({"FrameLaterality": "L", "Laterality": "R"}, "left"),
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


@pytest.mark.parametrize(
    ("elements", "plane"),
    [
        ({"PixelSpacing": ["0.13", "0.13"], "ImagerPixelSpacing": ["0.15", "0.15"]}, "patient"),
        ({"PixelSpacing": ["0.13", "0.13"], "NominalScannedPixelSpacing": ["0.1"] * 2}, "patient"),
        ({"PixelSpacing": ["0.1", "0.1"], "PixelSpacingCalibrationType": "FIDUCIAL"}, "patient"),
        ({"PixelSpacing": ["0.15", "0.15"], "ImagerPixelSpacing": ["0.150", "0.15"]}, "detector"),
        ({"ImagerPixelSpacing": ["0.15", "0.15"]}, "detector"),
        ({"ImagerPixelSpacing": ["0.1"] * 2, "PixelSpacingCalibrationType": "X"}, "detector"),
        ({"NominalScannedPixelSpacing": ["0.1", "0.1"]}, "detector"),
        ({"PixelSpacing": ["0.15", "0.15"]}, ""),
        ({}, ""),
    ],
)
def test_a_spacing_holds_in_the_patient_only_where_it_was_corrected(
    elements: dict[str, Any], plane: str
) -> None:
    assert dicom_header.spacing_plane(header(**elements)) == plane


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
    modules = (dicom_cells, dicom_header)
    trees = [ast.parse(Path(str(one.__file__)).read_text(encoding="utf-8")) for one in modules]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
    asked = {text for text in texts if isinstance(text, str) and text and tag_for_keyword(text)}
    others = {"LUTDescriptor", "LUTData", "MediaStorageSOPClassUID"}  # of items, of the file
    assert asked - others <= set(dicom.KEYWORDS)


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


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"WindowCenter": b"2000,0", "WindowWidth": b"3000,0"}, "window: none"),
        ({"WindowCenter": b"2000/10", "WindowWidth": b"3000/10"}, "window: none"),
        ({"WindowCenter": b"2000"}, "window: none"),
        ({"WindowCenter": b" ", "WindowWidth": b" \\ "}, ""),
        ({"RescaleSlope": b"2,0", "RescaleIntercept": b"0"}, "rescale: RescaleSlope missing"),
        ({"RescaleIntercept": b"-1024 "}, "rescale: RescaleSlope missing"),
        ({"RescaleSlope": b"2 "}, "rescale: RescaleIntercept missing"),
        ({"RescaleSlope": b" ", "RescaleIntercept": b""}, ""),
    ],
)
def test_a_window_or_rescale_that_cannot_be_read_is_noted(
    elements: dict[str, bytes], expected: str
) -> None:
    made = dataset()
    for keyword, value in elements.items():
        made.add(RawDataElement(Tag(keyword), "DS", len(value), value, 0, False, True))
    read = dicom.read(written(made), 1)
    assert dicom.decompressed(read).note.startswith(expected)
    assert bool(dicom.decompressed(read).note) == bool(expected)

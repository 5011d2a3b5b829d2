"""What is mutated: small whole files, generated here and from the corpora, by format."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from knee.reading.source_files import list_sources

MOST_BYTES: Final = 160_000  # of a base: most mutations of a large file change pixels alone
STARTS: Final = (
    ("JPEG", b"\xff\xd8\xff"),
    ("PNG", b"\x89PNG"),
    ("TIFF", b"II*"),
    ("TIFF", b"MM\0*"),
    ("BMP", b"BM"),
)
HEIGHT, WIDTH = 96, 80
PATIENT: Final = "Canary^Jane"  # no reason may ever say it
STUDY: Final = {  # GDCM would make up others each time
    "StudyInstanceUID": "1.2.4",
    "SeriesInstanceUID": "1.2.5",
    "StudyDate": "20200101",
    "StudyTime": "120000",
}
PIXEL_TAGS: Final = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")  # in either byte order
# Transfer syntaxes by GDCM's names, for files that only it decodes.
GDCM_SYNTAXES: Final = (
    *("JPEGBaselineProcess1", "JPEGLosslessProcess14", "JPEGLosslessProcess14_1"),
    *("JPEGLSLossless", "JPEGLSNearLossless", "JPEG2000Lossless", "RLELossless"),
    *("ExplicitVRBigEndian", "ImplicitVRLittleEndian", "DeflatedExplicitVRLittleEndian"),
)


@dataclass(frozen=True)
class Base:
    """A file before it is mutated; `name` says where it is from."""

    name: str
    content: bytes


Bases = dict[str, list[Base]]


def bases(corpora: Path) -> Bases:
    """By format, in a stable order; of the corpora's DICOM files those with pixels."""
    found: Bases = {"DICOM": [], "JPEG": [], "PNG": [], "TIFF": [], "BMP": []}
    for file_format, base in _generated():
        found[file_format].append(base)
    for source in list_sources(corpora, labelled=False):
        if source.obstacle or source.path.stat().st_size > MOST_BYTES:
            continue
        content = source.path.read_bytes()
        file_format = _format(content)
        if file_format:
            found[file_format].append(Base(source.name, content))
    return found


def _format(content: bytes) -> str:
    if content[128:132] == b"DICM":
        return "DICOM" if any(tag in content for tag in PIXEL_TAGS) else ""
    return next((name for name, start in STARTS if content.startswith(start)), "")


def _generated() -> Iterator[tuple[str, Base]]:
    for name, file_format, options, mode in (
        ("gray", "PNG", {}, "L"),
        ("palette", "PNG", {}, "P"),
        ("colour", "PNG", {}, "RGB"),
        ("alpha", "PNG", {}, "LA"),
        ("deep", "PNG", {}, "I;16"),
        ("gray", "JPEG", {}, "L"),
        ("colour", "JPEG", {}, "RGB"),
        ("progressive", "JPEG", {"progressive": True}, "RGB"),
        ("restarts", "JPEG", {"restart_marker_rows": 1}, "L"),
        ("print", "JPEG", {}, "CMYK"),
        ("plain", "TIFF", {}, "L"),
        ("deep", "TIFF", {}, "I;16"),
        ("lzw", "TIFF", {"compression": "tiff_lzw"}, "L"),
        ("jpeg", "TIFF", {"compression": "jpeg"}, "RGB"),
        ("plain", "BMP", {}, "L"),
    ):
        yield (
            file_format,
            Base(f"generated {name} {file_format}", _raster(file_format, mode, options)),
        )
    for name, content in _dicoms():
        yield "DICOM", Base(f"generated {name} DICOM", content)


def film() -> npt.NDArray[np.uint16]:
    """uint16 (96, 80), 12 bits: two bones, a joint line and noise."""
    canvas = Image.new("L", (WIDTH, HEIGHT), 30)
    draw = ImageDraw.Draw(canvas)
    draw.rounded_rectangle((26, -10, 54, 44), 8, fill=170)
    draw.rounded_rectangle((28, 50, 52, 110), 8, fill=190)
    noise = np.random.default_rng(0).integers(0, 320, (HEIGHT, WIDTH))
    return (np.asarray(canvas, np.uint16) * 14 + noise).astype(np.uint16)


def _raster(file_format: str, mode: str, options: dict[str, Any]) -> bytes:
    deep = film()
    gray = Image.fromarray((deep >> 4).astype(np.uint8))
    image = Image.fromarray(deep << 4) if mode == "I;16" else gray.convert(mode)
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, PATIENT  # orientation, artist
    stream = io.BytesIO()
    if file_format != "BMP":
        options = {**options, "exif": exif}
    image.save(stream, file_format, **options)
    return stream.getvalue()


def _dicoms() -> Iterator[tuple[str, bytes]]:
    from tests.reading import dicom_files as make

    deep = film()
    shallow = (deep >> 4).astype(np.uint8)
    person = {"PatientID": PATIENT, "PatientName": PATIENT, "PatientAge": "067Y", **STUDY}
    window = {"WindowCenter": [2000, 1000], "WindowWidth": [1500, 300]}
    falling = np.linspace(4095, 0, 4096).astype(np.uint16)
    plain = make.dicom(deep, **person, **window)
    yield "window", plain
    yield "8 bits", make.dicom(shallow, **person, BitsStored=8)
    yield "film", make.dicom(deep, **person, PhotometricInterpretation="MONOCHROME1")
    yield "rescale", make.dicom(deep, RescaleSlope="-1.5", RescaleIntercept="-1024", **window)
    yield (
        "tables",
        make.dicom(
            deep,
            ModalityLUTSequence=make.table(falling, 0),
            VOILUTSequence=make.table((falling // 4).astype(np.uint16), 0, 10),
        ),
    )
    yield "padding", make.dicom(deep, PixelPaddingValue=0, PixelPaddingRangeLimit=500)
    yield "colour", make.dicom(np.dstack([shallow] * 3), BitsStored=8, **person)
    yield "signed", make.dicom(deep.astype(np.int16) - 2000, BitsStored=16, **window)
    baseline = make.dataset(shallow, BitsStored=8, **person)
    from pydicom import uid

    frame = make.jpeg(shallow)
    yield "JPEGBaseline8Bit", make.encapsulated(frame, uid.JPEGBaseline8Bit, baseline)
    wavelet = make.jpeg_2000(shallow)
    yield "JPEG2000", make.encapsulated(wavelet, uid.JPEG2000Lossless, baseline)
    eight = make.dicom(shallow, **person, BitsStored=8)
    with tempfile.TemporaryDirectory(prefix="bases-") as folder:
        for syntax in GDCM_SYNTAXES:
            content = eight if syntax == "JPEGBaselineProcess1" else plain
            yield syntax, make.transcoded(content, syntax, Path(folder))

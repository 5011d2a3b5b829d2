"""A DICOM file's bytes to its data set, its 8-bit gray pixels, and the little kept of its header.

Only the elements in KEYWORDS are read at all: names, dates and numbers that identify a person stay
in the file, except the patient's number, which is handed on for its keyed hash. What pydicom says
about a damaged file can quote its header, so it goes neither into a reason nor into a log.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import config, encaps, filereader, uid
from pydicom import pixels as pydicom_pixels
from pydicom.pixels.utils import get_expected_length

from knee.reading import canonical_image, dicom_cells, dicom_header, dicom_limits, dicom_lut
from knee.reading.decoded import (
    COLOURED,
    Decoded,
    UnreadableImage,
    check_size,
    error_name,
    is_coloured,
)
from knee.reading.parts import check_scans
from knee.storage.arrays import Pixels

PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
KEYWORDS: Final = (
    *("SOPClassUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated"),
    *("Modality", "BodyPartExamined", "ViewPosition"),
    *("PresentationIntentType", "PresentationLUTShape"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation"),
    *("PlanarConfiguration", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *PIXELS,
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
    *(
        f"{kind}{colour}PaletteColorLookupTable{part}"
        for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
        for colour in dicom_limits.COLOURS
    ),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
    "PixelSpacingCalibrationType",
    *("ImageLaterality", "FrameLaterality", "Laterality"),
    *("PatientID", "PatientSex", "PatientAge", "Manufacturer", "ManufacturerModelName"),
)
# Of an enhanced object: where elements of KEYWORDS stand instead of at its top level.
FUNCTIONAL_GROUPS: Final = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
MACROS: Final = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "FrameAnatomySequence": ("FrameLaterality",),
}
# pydicom's decoders that damaged files cannot bring down; all other syntaxes are GDCM's.
IN_THIS_PROCESS: Final = {
    uid.ImplicitVRLittleEndian: "",
    uid.ExplicitVRLittleEndian: "",
    uid.DeflatedExplicitVRLittleEndian: "",
    uid.ExplicitVRBigEndian: "",
    uid.RLELossless: "",
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEG2000Lossless: "pillow",
    uid.JPEG2000: "pillow",
}


@dataclasses.dataclass(frozen=True)
class Shown:
    """A DICOM file's image as it is shown, and what was doubtful about that."""

    pixels: Pixels  # (height, width)
    note: str = ""  # as in `Decoded`


def read(content: bytes, maximum_megapixels: float) -> Any:
    """Return the data set of a file with one image of an allowed size, or raise UnreadableImage."""
    _silence()
    try:
        dataset = _read(content, maximum_megapixels)
        _check(dataset, maximum_megapixels)
    except Exception as error:
        raise _reason(error) or _damaged_header(error) from None
    return dataset


def shown(dataset: Any) -> Shown | None:
    """Return what `decompressed` does; None if no decoder that is safe in this process can."""
    plugin = IN_THIS_PROCESS.get(dataset.file_meta.TransferSyntaxUID)
    try:
        return None if plugin is None else decompressed(dataset, plugin)
    except UnreadableImage:
        if plugin != "pillow":  # some that Pillow does not read, GDCM does
            raise
    return None


def decompressed(dataset: Any, plugin: str = "") -> Shown:
    """Return the image, shown as its header asks, with square pixels.

    `plugin` is pydicom's name for the decoder; "" tries all there are. `UnreadableImage` if none
    decodes it.
    """
    try:
        return _shown(dataset, plugin)
    except UnreadableImage:
        raise
    except Exception as error:
        name = f"{_name(dataset.file_meta.TransferSyntaxUID)}: {error_name(error)}"
        raise UnreadableImage(f"DICOM pixels cannot be decoded ({name})") from None


def described(dataset: Any, image: Shown) -> Decoded:
    """Return `image` with what the header says; `UnreadableImage` if it is damaged."""
    try:
        return Decoded(
            pixels=image.pixels,
            mode=dicom_header.photometric(dataset),
            format="DICOM",
            bits=dicom_header.bits(dataset),
            compression=_name(dataset.file_meta.TransferSyntaxUID),
            pixel_spacing_mm=dicom_header.pixel_spacing_mm(dataset),
            spacing_plane=dicom_header.spacing_plane(dataset),
            patient=dicom_header.patient(dataset),
            side=dicom_header.side(dataset),
            sex=dicom_header.sex(dataset),
            age_years=dicom_header.age_years(dataset),
            origin=dicom_header.origin(dataset),
            note=image.note,
        )
    except Exception as error:
        raise _damaged_header(error) from None


def _damaged_header(error: Exception) -> UnreadableImage:
    return UnreadableImage(f"damaged DICOM header ({error_name(error)})")


def _reason(error: BaseException | None) -> UnreadableImage | None:
    """The reason that pydicom has made another error of, if there is one."""
    while error is not None and not isinstance(error, UnreadableImage):
        error = error.__context__
    return error


@functools.cache
def _silence() -> None:
    """Silence the libraries: their messages about a file can quote it."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    config.settings.reading_validation_mode = config.IGNORE
    with contextlib.suppress(ImportError):
        import gdcm

        for silence in (gdcm.Trace.ErrorOff, gdcm.Trace.WarningOff, gdcm.Trace.DebugOff):
            silence()


def _read(content: bytes, maximum_megapixels: float) -> Any:
    """The data set of KEYWORDS, with a transfer syntax even if the file names none."""
    stream = dicom_limits.Stream(content)
    filereader.read_preamble(stream, force=True)
    meta = filereader.read_dataset(
        stream,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, *_: int(tag) >> 16 != 2,  # the group of the meta information
    )
    syntax = meta.get("TransferSyntaxUID")
    if meta.get("MediaStorageSOPClassUID") == uid.MediaStorageDirectoryStorage:
        raise UnreadableImage("a DICOM directory, no image")
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        content = dicom_limits.inflated(content[stream.tell() :], maximum_megapixels)
    dataset = pydicom.dcmread(
        dicom_limits.Stream(content),
        force=True,
        specific_tags=[*KEYWORDS, *FUNCTIONAL_GROUPS],
    )
    _flatten(dataset)
    if not syntax:
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        syntax = uid.ImplicitVRLittleEndian if implicit else explicit
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def _flatten(dataset: Any) -> None:
    """Put what the functional groups of an enhanced object say where other objects say it."""
    for groups in FUNCTIONAL_GROUPS:
        if groups not in dataset:
            continue
        if not dicom_limits.is_table_sequence(dataset, groups):
            raise UnreadableImage("an enhanced DICOM object: export it as DX")
        for group in list(dataset.get(groups) or ())[:1]:
            for macro, keywords in MACROS.items():
                for item in list(group.get(macro) or ())[:1]:
                    for keyword in keywords:
                        if keyword in item:
                            dataset.add(item[keyword])
        del dataset[groups]


def _check(dataset: Any, maximum_megapixels: float) -> None:
    """Refuse a data set without an image, with several or too large a one, before any decoding."""
    if not any(keyword in dataset for keyword in PIXELS):
        missing = "its pixels" if "Rows" in dataset else "an image, or one that is cut short"
        raise UnreadableImage(f"a DICOM file without {missing}")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise UnreadableImage("holds several images: export one a file")
    check_size(int(dataset.Columns), int(dataset.Rows), maximum_megapixels)
    height, width = _square_size(dataset)
    check_size(width, height, maximum_megapixels)
    if int(dataset.SamplesPerPixel) not in (1, 3):
        raise UnreadableImage("DICOM pixels of neither one sample nor three")
    # The decoders know capital letters only.
    dataset.PhotometricInterpretation = dicom_header.photometric(dataset)
    syntax = dataset.file_meta.TransferSyntaxUID
    supported = False
    with contextlib.suppress(NotImplementedError):  # of another kind, such as video, or unknown
        supported = pydicom_pixels.get_decoder(syntax).is_available
    if not supported:
        raise UnreadableImage(f"DICOM transfer syntax {_name(syntax)} is not supported")
    if syntax.is_encapsulated:
        _check_codestream(dataset)
    elif "PixelData" in dataset and len(dataset.PixelData) < get_expected_length(dataset):
        raise UnreadableImage("its pixels are cut short")


def _check_codestream(dataset: Any) -> None:
    """Refuse compressed pixels of another size than the header's, or of too many scans."""
    dicom_limits.check_fragments(dataset.PixelData)
    frame = _only_frame(dataset)
    if frame.startswith(b"\xff\xd8"):
        check_scans(frame)
    codestream = _codestream(frame)
    if codestream is not None and codestream[:2] != (dataset.Columns, dataset.Rows):
        raise UnreadableImage(
            f"its header tells of {dataset.Columns} x {dataset.Rows} px, "
            f"its pixels of {codestream[0]} x {codestream[1]}"
        )
    if codestream is not None and codestream[3] != int(dataset.SamplesPerPixel):
        raise UnreadableImage(
            f"its header tells of {dataset.SamplesPerPixel} samples a pixel, "
            f"its pixels of {codestream[3]}"
        )


def _codestream(frame: bytes) -> tuple[int, int, int, int] | None:
    """Width, height, bits a sample and samples a pixel of any JPEG; None without a header."""
    start = frame.find(b"\xff\x4f\xff\x51")  # start of codestream, image and tile size
    if start >= 0 and not frame.startswith(b"\xff\xd8"):
        right, bottom, left, top = (
            int.from_bytes(frame[start + at : start + at + 4], "big") for at in (8, 12, 16, 20)
        )
        sample = int.from_bytes(frame[start + 42 : start + 43], "big")  # its sign, and bits less 1
        samples = int.from_bytes(frame[start + 40 : start + 42], "big")
        return right - left, bottom - top, (sample & 127) + 1, samples
    at = 2
    while frame.startswith(b"\xff\xd8") and at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = frame[at + 5 : at + 7], frame[at + 7 : at + 9]
            columns, rows = int.from_bytes(width, "big"), int.from_bytes(height, "big")
            return columns, rows, frame[at + 4], frame[at + 9]
        filled = marker == 0xFF  # a fill byte before the marker
        at += 1 if filled else 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None


def _only_frame(dataset: Any) -> bytes:
    """The compressed bytes of the one frame."""
    return bytes(next(encaps.generate_frames(dataset.PixelData, number_of_frames=1)))


def _shown(dataset: Any, plugin: str) -> Shown:
    syntax = dataset.file_meta.TransferSyntaxUID
    codestream = _codestream(_only_frame(dataset)) if syntax.is_encapsulated else None
    precision = None if codestream is None else codestream[2]
    cells, name = _cells(dataset, plugin, precision)
    palette = dicom_header.photometric(dataset) == "PALETTE COLOR"
    if cells.shape[:2] != (dataset.Rows, dataset.Columns) or cells.ndim > (2 if palette else 3):
        raise UnreadableImage("its pixels have not the shape that its header tells of")
    stored, notes = dicom_cells.stored_values(dataset, cells, precision)
    notes += dicom_header.contradictions(dataset)
    if palette:
        dicom_limits.check_palette(dataset)
        colour = pydicom_pixels.apply_color_lut(stored, dataset)
        gray = dicom_lut.luma(colour, 8 * colour.dtype.itemsize)
    elif stored.ndim == 3:
        gray, doubts = _gray_of_colour(stored, name, dicom_header.bits(dataset))
        notes += doubts
    else:
        display = dicom_header.display(dataset)
        padding = dicom_cells.padding(dataset, stored, cells)
        gray, doubts = dicom_lut.render_or_range(stored, display, padding)
        notes += doubts
    gray = canonical_image.resize(gray, *_square_size(dataset))
    return Shown(gray, "; ".join(notes))


def _gray_of_colour(stored: npt.NDArray[Any], name: str, bits: int) -> tuple[Pixels, list[str]]:
    """The luma of three samples, which are what `name` says, and what is doubtful about that."""
    if name.startswith("YBR_FULL"):
        return dicom_lut.luma(stored, bits, dicom_lut.FIRST), []
    if dicom_lut.is_gray_ybr(stored, bits):
        note = f"photometric interpretation: {name}, shown as YBR_FULL"
        return dicom_lut.luma(stored, bits, dicom_lut.FIRST), [note]
    notes = [COLOURED] if stored.dtype == np.uint8 and is_coloured(stored) else []
    return dicom_lut.luma(stored, bits), notes


def _cells(dataset: Any, plugin: str, precision: int | None) -> tuple[npt.NDArray[Any], str]:
    """The decoded pixels, (rows, columns) or (rows, columns, 3), and what their samples are.

    Unlike the values in them, the cells keep what stands beside the bits of the value; colours are
    those of the codestream, except that JPEG 2000's become RGB.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == uid.JPEGExtended12Bit and dataset.BitsStored > 8:
        return _wide_jpeg(dataset), dicom_header.photometric(dataset)
    cells, properties = pydicom_pixels.get_decoder(syntax).as_array(
        dataset,
        raw=True,
        decoding_plugin=plugin,
        correct_unused_bits=False,
        view_only=True,
        # GDCM cuts off what is above them.
        bits_stored=max(dicom_header.bits(dataset), precision or 0),
    )
    return cells, str(properties["photometric_interpretation"])


def _square_size(dataset: Any) -> tuple[int, int]:
    """Height and width of the image with square pixels, as small as its smaller spacing."""
    aspect = dicom_header.pixel_aspect(dataset)
    return round(dataset.Rows * max(aspect, 1)), round(dataset.Columns * max(1 / aspect, 1))


def _wide_jpeg(dataset: Any) -> npt.NDArray[np.uint16]:
    """Lossy 12-bit JPEG, for which pydicom does not ask GDCM, as uint16 (rows, columns)."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(_only_frame(dataset))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    colours = gdcm.PhotometricInterpretation.GetPIType(dicom_header.photometric(dataset))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(colours))
    syntax = gdcm.TransferSyntax.GetTSType(str(dataset.file_meta.TransferSyntaxUID))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits = dicom_header.bits(dataset)
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, 0))
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM gives bytes as text
    return np.frombuffer(decoded, np.uint16).reshape(dataset.Rows, dataset.Columns)


def _name(syntax: uid.UID) -> str:
    """The standard's keyword of the transfer syntax; never the text that the file has for it."""
    return str(syntax.keyword) if syntax in uid.AllTransferSyntaxes else "unknown"

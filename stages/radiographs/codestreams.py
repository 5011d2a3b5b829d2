"""Compressed pixels of a DICOM file, below what pydicom does with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import encaps

from stages.radiographs import dicom_header


def only_frame(dataset: Any) -> bytes:
    """The compressed bytes of the one frame."""
    return bytes(next(encaps.generate_frames(dataset.PixelData, number_of_frames=1)))


def size(frame: bytes) -> tuple[int, int] | None:
    """Width and height by the header of JPEG, JPEG-LS or JPEG 2000; None if there is none."""
    start = frame.find(b"\xff\x4f\xff\x51")  # start of codestream, image and tile size
    if start >= 0 and not frame.startswith(b"\xff\xd8"):
        right, bottom, left, top = (
            int.from_bytes(frame[start + at : start + at + 4], "big") for at in (8, 12, 16, 20)
        )
        return right - left, bottom - top
    at = 2
    while frame.startswith(b"\xff\xd8") and at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = frame[at + 5 : at + 7], frame[at + 7 : at + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        filled = marker == 0xFF  # a fill byte before the marker
        at += 1 if filled else 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None


def wide_jpeg(dataset: Any) -> npt.NDArray[np.uint16]:
    """uint16 (rows, columns) of lossy 12-bit JPEG, for which pydicom does not ask GDCM."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(only_frame(dataset))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(
            gdcm.PhotometricInterpretation.GetPIType(dicom_header.photometric(dataset))
        )
    )
    syntax = gdcm.TransferSyntax.GetTSType(str(dataset.file_meta.TransferSyntaxUID))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits = dicom_header.bits(dataset)
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, 0))
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM gives bytes as text
    return np.frombuffer(decoded, np.uint16).reshape(dataset.Rows, dataset.Columns)

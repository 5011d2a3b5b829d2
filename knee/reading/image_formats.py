"""The reader of any image file: bytes to upright 8-bit gray pixels and what the file says of them.

The content decides who is asked, not the file's name: `raster`, or `dicom` and, where damaged files
can bring its decoder down, `dicom_worker`.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from typing import Final

from PIL import UnidentifiedImageError

from knee.reading import content_check, raster
from knee.reading.canonical_image import DicomRule
from knee.reading.decoded import Decoded, UnreadableImage

# A DICOM data set without preamble begins with an element of group 2 or 8, in either byte order.
DICOM_STARTS: Final = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
ANY_RADIOGRAPH: Final = DicomRule()


def decode_radiograph(
    content: bytes, maximum_megapixels: float, dicom_rule: DicomRule = ANY_RADIOGRAPH
) -> Decoded:
    """Return what `decode` does; `UnreadableImage` also for what is no radiograph, as a blank."""
    decoded = decode(content, maximum_megapixels, dicom_rule)
    content_check.check(decoded.pixels)
    return decoded


def decode(
    content: bytes, maximum_megapixels: float, dicom_rule: DicomRule = ANY_RADIOGRAPH
) -> Decoded:
    """Return the one image in a file's bytes; of a DICOM file one that `dicom_rule` takes.

    Rotation by the EXIF tag is applied. Colour becomes gray by ITU-R BT.601; transparent parts
    become black. Deeper than 8 bits: scaled so that the image's own range fills 0-255, a few values
    far from all others left out.

    Raises:
        UnreadableImage: with the reason, which quotes nothing of the file.
    """
    with _QUIET:
        if not content:
            raise UnreadableImage("empty file")
        if content[128:132] == b"DICM":
            return _dicom(content, maximum_megapixels, dicom_rule)
        try:
            return raster.decode(content, maximum_megapixels)
        except UnidentifiedImageError:
            if content.startswith(DICOM_STARTS):
                return _dicom(content, maximum_megapixels, dicom_rule)
            raise UnreadableImage(raster.unidentified(content)) from None


def begins_as_image(head: bytes) -> bool:
    """Whether the first 132 bytes of a file are those of an image of a known format."""
    return head[128:132] == b"DICM" or head.startswith(tuple(raster.STARTS))


class _Quiet:
    """A context without warnings, for many threads: an image that decodes is used in any case.

    warnings.catch_warnings restores the filters of its start, so overlapping threads would restore
    each other's: here the first thread in saves the filters, and the last one out restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._saved.close()


_QUIET: Final = _Quiet()


def _dicom(content: bytes, maximum_megapixels: float, rule: DicomRule) -> Decoded:
    # pydicom takes half a second
    from knee.reading import dicom, dicom_header, dicom_worker

    dataset = dicom.read(content, maximum_megapixels)
    dicom_header.check_kind(dataset, rule)
    shown = dicom.shown(dataset)
    if shown is None:
        shown = dicom_worker.shown(content, maximum_megapixels)
    return dicom.described(dataset, shown)

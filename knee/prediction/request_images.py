"""Preparation of a request's image for the model, by the readers and in the order of ingest."""

from __future__ import annotations

import base64
import binascii
import operator
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.reading import content_check, image_formats, prepare
from knee.reading.canonical_image import Canonical
from knee.reading.decoded import Decoded, UnreadableImage, blocks, check_size
from knee.run.errors import UserError
from knee.storage.arrays import Pixels

# Limits of one request.
FILE_BYTES: Final = 128 << 20  # of one file: 64 megapixels of 16 bits, uncompressed
BODY_BYTES: Final = 176 << 20  # base64 of such a file, in lines
MEGAPIXELS: Final = 64.0  # of one image, as in stages.predict
GRAY_VALUES: Final = 8_000_000  # of all images that are rows of gray values
ROWS: Final = 1 << 16  # of all these images
ROW_CHARACTERS: Final = 1 << 20
IMAGES: Final = 16  # in one request
BODY_SECONDS: Final = 30.0  # until the whole body has to be here
BODY_PAUSE_SECONDS: Final = 5.0  # between two parts of a body
DRAIN_SECONDS: Final = 5.0  # in which the rest of a refused body may pass
ANSWER_SECONDS: Final = 120.0  # until the answer has to be there
EXPLAIN_SECONDS: Final = 60.0  # for one Grad-CAM map

# Limits of all requests together; what is beyond them gets 503.
SMALL_BODY_BYTES: Final = 16 << 20  # larger bodies never take the room of those up to this
SMALL_BODIES_BYTES: Final = 256 << 20
LARGE_BODIES_BYTES: Final = 2 * BODY_BYTES
ANSWERS: Final = 32  # under way, with those that wait
EXPLAINING: Final = 2  # requests for Grad-CAM that are worked on at once
EXPLANATIONS: Final = 8  # and with them those that wait
CONNECTIONS: Final = 256  # beyond, the one that has been silent for longest is closed
SILENT_SECONDS: Final = 10.0  # until a connection has sent a request's whole header


PIECE: Final = 1 << 20  # characters
EXPECTED: Final = "expected base64 text, or gray values of 0-255 as rows of equal length"
NOT_GRAY: Final = "gray values have to be whole numbers of 0-255"
NOT_BASE64: Final = "not base64 text of a file"


class RefusedError(UserError):
    """A request that cannot be answered; the message quotes nothing of it."""


def canonical_pixels(image: object, canonical: Canonical) -> Pixels:
    """Return the canonical pixels, uint8 (side, side), of one image of a request.

    `image` is as `decoded` takes it, `canonical` how training's images were made canonical.
    `RefusedError` as there.
    """
    film = decoded(image, canonical)
    try:
        return prepare.from_gray(film.pixels, canonical)
    except UnreadableImage as reason:
        raise RefusedError(str(reason)) from None


def decoded(image: object, canonical: Canonical) -> Decoded:
    """Return the gray pixels of an image, with what its file says of them.

    Args:
        image: base64 text of a PNG, JPEG, TIFF, BMP or DICOM file, the file's bytes, or decoded
            gray values, whole numbers of 0-255, (height, width) or (height, width, 1).
        canonical: what is refused: too large images, DICOM files that its rule does not take.

    Raises:
        RefusedError: it is none of these, or refused.
    """
    try:
        if isinstance(image, str):
            image = _decoded(image)
        if isinstance(image, bytes):
            _check_length(image, FILE_BYTES)
            return image_formats.decode_radiograph(
                image, canonical.maximum_megapixels, canonical.dicom
            )
        gray = _gray(image, canonical.maximum_megapixels)
        content_check.check(gray)  # as of a file's pixels
    except UnreadableImage as reason:
        raise RefusedError(str(reason)) from None
    return Decoded(gray, mode="L", format="", bits=8, compression="")


def gray_row(row: bytearray | Sequence[Any] | npt.NDArray[Any]) -> bytearray:
    """Return a row of gray values as one byte each; a bytearray is such a row already.

    Types are looked at first: an array of text and numbers may be many times as large as they are.

    Raises:
        RefusedError: it holds anything else than whole numbers of 0-255.
    """
    if isinstance(row, bytearray):
        return row
    if isinstance(row, np.ndarray) and row.dtype != object:
        return bytearray(_whole(row))
    kinds = set(map(type, row))
    if not all(map(_is_number, kinds)):
        raise RefusedError(EXPECTED)
    try:
        gray = bytearray(row if kinds == {int} else map(int, row))
    except (ValueError, OverflowError):  # out of range, NaN, infinity
        raise RefusedError(NOT_GRAY) from None
    if kinds != {int} and not all(map(operator.eq, gray, row)):
        raise RefusedError(NOT_GRAY)
    return gray


def _decoded(text: str) -> bytes:
    """Decode the base64 text of a file; it may have line ends, and nothing else beside.

    In pieces, since other threads wait for each.
    """
    _check_length(text, BODY_BYTES)
    if text[:5].lower() == "data:":
        raise RefusedError("leave out the prefix data:...;base64, and send the base64 text only")
    padding = text.find("=")
    if padding >= 0 and text[padding:].strip("=\r\n"):
        raise RefusedError(NOT_BASE64)
    content, rest = bytearray(), b""
    try:
        for start in range(0, len(text), PIECE):
            piece = text[start : start + PIECE].encode("ascii").translate(None, b"\r\n")
            piece = rest + piece
            whole = len(piece) - len(piece) % 4
            content += base64.b64decode(piece[:whole], validate=True)
            rest = piece[whole:]
    except (UnicodeEncodeError, binascii.Error):
        raise RefusedError(NOT_BASE64) from None
    if rest:
        raise RefusedError(NOT_BASE64)
    return bytes(content)


def _check_length(content: str | bytes, most: int) -> None:
    if len(content) > most:
        raise RefusedError(f"larger than {FILE_BYTES >> 20} MiB")


def _gray(values: object, maximum_megapixels: float) -> Pixels:
    """Return gray values as uint8 (height, width)."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        gray = values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values
        if gray.ndim != 2 or not gray.size:
            raise RefusedError(EXPECTED)
        check_size(gray.shape[1], gray.shape[0], maximum_megapixels)
        return _whole(gray)
    if not isinstance(values, list | tuple | np.ndarray):
        raise RefusedError(EXPECTED)
    width = _width(values[0]) if len(values) else 0
    if not width or {width} != set(map(_width, values)):
        raise RefusedError(EXPECTED)
    check_size(width, len(values), maximum_megapixels)
    content = bytearray().join(map(gray_row, values))
    return np.frombuffer(content, np.uint8).reshape(len(values), width)


def _width(row: object) -> int:
    """Return the number of values in a row; 0 for what is no row."""
    if isinstance(row, np.ndarray):
        return len(row) if row.ndim == 1 else 0
    return len(row) if isinstance(row, bytearray | list | tuple) else 0


def _whole(values: npt.NDArray[Any]) -> Pixels:
    if values.dtype.kind not in "iuf":
        raise RefusedError(EXPECTED)
    if not all(
        (
            (values[rows] >= 0) & (values[rows] <= 255) & (np.floor(values[rows]) == values[rows])
        ).all()
        for rows in blocks(values.shape)
    ):
        raise RefusedError(NOT_GRAY)
    return values.astype(np.uint8)


def _is_number(kind: type) -> bool:
    return kind is not bool and issubclass(kind, int | float | np.integer | np.floating)

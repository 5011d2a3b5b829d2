"""Preparation of a request's image for the model, by the readers and in the order of ingest."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.reading import content_check, prepare
from knee.reading.canonical_image import Canonical
from knee.reading.decoded import UnreadableImage, check_size
from knee.run.errors import UserError
from knee.storage.arrays import Pixels

# Limits of one request.
BODY_BYTES: Final = 32 << 20  # base64 of a 24 MB file: a 12-bit image of 12 megapixels
FILE_BYTES: Final = 24 << 20  # of one uploaded file
MEGAPIXELS: Final = 64.0  # of one image, as in stages.predict
IMAGES: Final = 16  # in one request
BODY_SECONDS: Final = 30.0  # until the whole body has to be here
DRAIN_SECONDS: Final = 5.0  # in which the rest of a body that is too large may pass
ANSWER_SECONDS: Final = 120.0  # until the answer has to be there
CONNECTIONS: Final = 32  # at once, and with them the bodies in memory; further ones get 503
EXPLAIN_SECONDS: Final = 60.0  # for one Grad-CAM map


class RefusedError(UserError):
    """A request that cannot be answered; the message quotes nothing of it."""


def canonical_pixels(image: object, canonical: Canonical) -> Pixels:
    """Return the canonical pixels, uint8 (side, side), of one image of a request.

    Args:
        image: base64 text of a PNG, JPEG, TIFF, BMP or DICOM file, the file's bytes, or decoded
            gray values, whole numbers of 0-255, (height, width) or (height, width, 1).
        canonical: how training's images were made canonical.

    Raises:
        RefusedError: it is none of these, or too large.
    """
    try:
        if isinstance(image, str):
            image = _decoded(image)
        if isinstance(image, bytes):
            _check_length(image, FILE_BYTES)
            return prepare.from_bytes(image, canonical)
        gray = _gray(image, canonical.maximum_megapixels)
        content_check.check(gray)  # as of a file's pixels
        return prepare.from_gray(gray, canonical)
    except UnreadableImage as reason:
        raise RefusedError(str(reason)) from None


def _decoded(text: str) -> bytes:
    """Decode the base64 text of a file; it may have line ends, and nothing else beside."""
    _check_length(text, BODY_BYTES)
    try:
        content = text.translate({10: None, 13: None}).encode("ascii")
        return base64.b64decode(content, validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise RefusedError("not base64 text of a file") from None


def _check_length(content: str | bytes, most: int) -> None:
    if len(content) > most:
        raise RefusedError(f"larger than {FILE_BYTES >> 20} MiB")


def _gray(values: object, maximum_megapixels: float) -> Pixels:
    """Return gray values as uint8 (height, width)."""
    expected = "expected base64 text, or gray values of 0-255 as rows of equal length"
    try:
        gray: npt.NDArray[Any] = np.asarray(values)
        if gray.dtype == object and gray.ndim == 1 and len(gray):  # NumPy rows in a NumPy array
            gray = np.stack([np.asarray(row) for row in gray])
    except (ValueError, OverflowError):  # rows of several lengths, numbers beyond 64 bits
        raise RefusedError(expected) from None
    if gray.ndim == 3 and gray.shape[-1] == 1:
        gray = gray[..., 0]
    if gray.ndim != 2 or gray.dtype.kind not in "iuf" or not math.prod(gray.shape):
        raise RefusedError(expected)
    check_size(gray.shape[1], gray.shape[0], maximum_megapixels)
    whole = np.isfinite(gray).all() and (gray == np.floor(gray)).all()
    if not whole or gray.min() < 0 or gray.max() > 255:
        raise RefusedError("gray values have to be whole numbers of 0-255")
    return gray.astype(np.uint8)

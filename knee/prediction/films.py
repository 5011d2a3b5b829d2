"""What a request calls an image -> canonical pixels, by the readers and in the order of ingest."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from knee.prediction import request_limits
from knee.reading import prepare
from knee.reading.canonical_image import Canonical
from knee.reading.decoded import UnreadableImage, check_size
from knee.run.errors import UserError
from knee.storage.arrays import Pixels


class RefusedError(UserError):
    """A request that cannot be answered; the message quotes nothing of it."""


def canonical_pixels(image: object, canonical: Canonical) -> Pixels:
    """uint8 (side, side) of one image of a request.

    Args:
        image: base64 text of a PNG, JPEG, TIFF, BMP or DICOM file, the file's bytes, or decoded
            gray values, whole numbers of 0-255, (height, width) or (height, width, 1).
        canonical: how training's images were made canonical.

    Raises:
        RefusedError: it is none of these, or too large.
    """
    try:
        if isinstance(image, str):
            return prepare.from_bytes(file_bytes(image), canonical)
        if isinstance(image, bytes):
            return prepare.from_bytes(_small(image), canonical)
        return prepare.from_gray(_gray(image, canonical.maximum_megapixels), canonical)
    except UnreadableImage as reason:
        raise RefusedError(str(reason)) from None


def file_bytes(text: str) -> bytes:
    """The file in its base64 text; line ends in it are allowed, nothing else is.

    Raises:
        RefusedError: it is no base64, or too large.
    """
    if len(text) > request_limits.BODY_BYTES:
        raise RefusedError(f"larger than {request_limits.FILM_BYTES >> 20} MiB")
    try:
        content = text.translate({10: None, 13: None}).encode("ascii")
        return _small(base64.b64decode(content, validate=True))
    except (UnicodeEncodeError, binascii.Error):
        raise RefusedError("not base64 text of a file") from None


def _small(content: bytes) -> bytes:
    if len(content) > request_limits.FILM_BYTES:
        raise RefusedError(f"larger than {request_limits.FILM_BYTES >> 20} MiB")
    return content


def _gray(values: object, maximum_megapixels: float) -> Pixels:
    """uint8 (height, width), where `values` are gray values."""
    expected = "expected base64 text, or gray values of 0-255 as rows of equal length"
    try:
        found: npt.NDArray[Any] = np.asarray(values)
    except (ValueError, OverflowError):  # rows of several lengths, numbers beyond 64 bits
        raise RefusedError(expected) from None
    if found.dtype == object and found.ndim == 1 and len(found):  # NumPy rows in a NumPy array
        found = _stacked(found, expected)
    if found.ndim == 3 and found.shape[-1] == 1:
        found = found[..., 0]
    if found.ndim != 2 or found.dtype.kind not in "iuf" or not math.prod(found.shape):
        raise RefusedError(expected)
    check_size(found.shape[1], found.shape[0], maximum_megapixels)
    whole = np.isfinite(found).all() and (found == np.floor(found)).all()
    if not whole or found.min() < 0 or found.max() > 255:
        raise RefusedError("gray values have to be whole numbers of 0-255")
    return found.astype(np.uint8)


def _stacked(rows: npt.NDArray[Any], expected: str) -> npt.NDArray[Any]:
    try:
        return np.stack([np.asarray(row) for row in rows])
    except ValueError:
        raise RefusedError(expected) from None

"""The reader of JPEG, PNG, TIFF and BMP: bytes to upright 8-bit gray pixels."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from knee.reading import parts
from knee.reading.decoded import (
    COLOURED,
    SAMPLE_SIDE_PIXELS,
    Decoded,
    UnreadableImage,
    check_size,
    error_name,
    is_coloured,
    stretched,
)

FORMATS: Final = ("JPEG", "PNG", "TIFF", "BMP")
PNG_BITS: Final = 24  # position of the bit depth: signature, chunk length and name, two sizes
BMP_BITS: Final = 28  # position of the bits a pixel
TIFF_BITS: Final = 258
TIFF_PHOTOMETRIC: Final = 262
TIFF_SAMPLE_FORMAT: Final = 339
UNSIGNED: Final = 1
SIGNED: Final = 2
FEWEST_LEVELS: Final = 64  # Of 16 bits a colour Pillow reads the upper 8: fewer levels are coarse.
BMP_RUN_LENGTHS: Final = (1, 2)  # of 8 and 4 bits
STARTS: Final = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"II*": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
}
GRAY: Final = ("1", "L", "LA", "La")  # beside those that begin with I or F
WITH_ALPHA: Final = ("LA", "PA", "RGBA", "RGBa", "La")
# Decoders quote what they stumble over, and that may be a name: only these texts get out.
SAFE_MESSAGE: Final = re.compile(
    r"image file is truncated( \(\d+ bytes not processed\))?|[a-z ]+ when reading image file"
)


def decode(content: bytes, maximum_megapixels: float) -> Decoded:
    """Return an image that Pillow reads.

    Raises:
        UnidentifiedImageError: it knows no such format.
        UnreadableImage: all other faults.
    """
    parts.check(content)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            name = str(image.format)
            check_size(*image.size, maximum_megapixels)
            if getattr(image, "is_animated", False):
                raise UnreadableImage("holds several images: export one a file")
            mode, (bits, compression, inverted) = image.mode, _storage(image, content)
            sample_format = _sample_format(image)
            image.draft("L", None)  # of JPEG's colour the luminance alone, at a third of the cost
            image.load()
            note = COLOURED if is_coloured(_colours(image, mode, content)) else ""
            parts.check_tags(bytes(image.info.get("exif", b"")).removeprefix(b"Exif\0\0"))
            with contextlib.suppress(Exception):  # damaged EXIF is ignored
                ImageOps.exif_transpose(image, in_place=True)
            gray = _gray(image, bits, sample_format)
    except (UnreadableImage, UnidentifiedImageError):
        raise
    except Exception as error:  # damaged files raise whatever the decoder trips over
        raise UnreadableImage(_reason(error, _started(content) or "image")) from None
    shown = 255 - gray if inverted else gray
    return Decoded(shown, mode, name, bits, compression, note=note)


def unidentified(content: bytes) -> str:
    """Return the reason for a file that is of no known format."""
    name = _started(content)
    if name:
        return f"damaged {name}, or a kind of it that is not supported"
    return f"not a {', '.join(FORMATS)} or DICOM image"


def _reason(error: Exception, name: str) -> str:
    """The reason for a damaged file, without quoting it."""
    text = str(error)
    if isinstance(error, Image.DecompressionBombError):
        return "its header tells of more pixels than any film has"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    if "too large" in text or "Too much memory" in text:
        return "holds a text or profile that unpacks to too much"
    return text if SAFE_MESSAGE.fullmatch(text) else f"damaged {name} ({error_name(error)})"


def _storage(image: Image.Image, content: bytes) -> tuple[int, str, bool]:
    """Bits a sample or palette index, compression as in `Decoded`, and whether 0 is white."""
    named = image.info.get("compression", 0)
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        bits = int(max(tags.get(TIFF_BITS, (1,))))
        text = str(named).removeprefix("tiff_")
        # Pillow inverts only those of up to 8 bits itself.
        inverted = image.mode.startswith(("I", "F")) and tags.get(TIFF_PHOTOMETRIC, 1) == 0
        return bits, "none" if text == "raw" else f"tiff_{text}", inverted
    if image.format == "BMP":
        bits = content[BMP_BITS] if content[BMP_BITS] in (1, 4) else 8
        return bits, "bmp_rle" if named in BMP_RUN_LENGTHS else "none", False
    not_8 = image.format == "PNG" and content[PNG_BITS] in (1, 2, 4, 16)
    return content[PNG_BITS] if not_8 else 8, str(image.format).lower(), False


def _colours(image: Image.Image, mode: str, content: bytes) -> npt.NDArray[np.uint8]:
    """Some pixels of a loaded image as colours, uint8 (height, width, 3); `mode` is the file's."""
    if mode in GRAY or mode.startswith(("I", "F")):
        return np.zeros((1, 1, 3), np.uint8)
    side = (SAMPLE_SIDE_PIXELS, SAMPLE_SIDE_PIXELS)
    if image.mode == mode:
        small = image.resize(side, Image.Resampling.NEAREST)
        return np.asarray(small.convert("RGB"), dtype=np.uint8)
    with Image.open(io.BytesIO(content), formats=FORMATS) as again:  # of JPEG there is no colour
        again.draft("RGB", side)
        return np.asarray(again.convert("RGB"), dtype=np.uint8)


def _sample_format(image: Image.Image) -> int:
    """Whether a TIFF's values have a sign, by its tag; 0 for other formats."""
    if image.format != "TIFF":
        return 0
    tags = image.tag_v2  # type: ignore[attr-defined]
    return int(max(tags.get(TIFF_SAMPLE_FORMAT, (UNSIGNED,))))


def _gray(image: Image.Image, bits: int, sample_format: int) -> npt.NDArray[np.uint8]:
    """The image as gray values, uint8 (height, width)."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        # Pillow reads 32 bits without a sign as such with one, and 8 bits with a sign without it.
        unsigned = sample_format == UNSIGNED and values.dtype == np.int32
        return stretched(values.view(np.uint32) if unsigned else values)
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        opaque = image.convert("RGBA")
        black = Image.new("RGBA", opaque.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, opaque)
    gray = np.asarray(image if image.mode == "L" else image.convert("L"), dtype=np.uint8)
    if sample_format == SIGNED:
        return gray ^ np.uint8(128)
    if bits > 8 and int(gray.max()) - int(gray.min()) < FEWEST_LEVELS:
        raise UnreadableImage(
            f"uses too few of its {bits} bits a colour: save it as {bits}-bit gray"
        )
    return stretched(gray) if bits > 8 else gray


def _started(content: bytes) -> str:
    """The format that the first bytes promise, or ""."""
    return next((name for start, name in STARTS.items() if content.startswith(start)), "")

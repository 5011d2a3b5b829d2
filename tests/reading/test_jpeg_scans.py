import io

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from knee.reading import image_formats, raster
from knee.reading.decoded import UnreadableImage
from tests.films import encoded
from tests.reading.dicom_files import dataset, encapsulated

GRAY = np.full((48, 64), 128, np.uint8)


def progressive(more_scans: int) -> bytes:
    """A JPEG whose last scan is there so many times more."""
    whole = encoded(Image.fromarray(GRAY), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * more_scans + whole[-2:]


def test_pictures_of_some_scans_are_read() -> None:
    for content in (progressive(0), progressive(raster.MAXIMUM_SCANS - 20)):
        assert image_formats.decode(content, 1).pixels.shape == GRAY.shape


def test_a_jpeg_of_scans_without_end_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="a JPEG of more than 100 scans"):
        image_formats.decode(progressive(101), 1)


def test_the_same_in_dicom_is_refused() -> None:
    content = encapsulated(progressive(101), uid.JPEGBaseline8Bit, dataset(GRAY, BitsStored=8))
    with pytest.raises(UnreadableImage, match="a JPEG of more than 100 scans"):
        image_formats.decode(content, 1)


def test_what_only_looks_like_scans_is_none() -> None:
    """In a comment, and behind the end of the picture, as in films of a phone's motion."""
    whole = encoded(Image.fromarray(GRAY), "JPEG", comment=b"\xff\xda" * 500)
    raster.check_scans(whole + b"\xff\xda\0\x02" * 500)


def test_a_scan_between_restarts_is_one() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.tile(GRAY, (8, 8))).save(stream, "JPEG", restart_marker_blocks=1)
    assert stream.getvalue().count(b"\xff\xd0") > 100
    raster.check_scans(stream.getvalue())

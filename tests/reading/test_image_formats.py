import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from knee.reading import image_formats
from knee.reading.decoded import UnreadableImage
from tests.films import encoded, film
from tests.reading.dicom_files import dicom

NONE_OF_THEM = "not a JPEG, PNG, TIFF, BMP or DICOM image"

refused = {
    "nothing": (b"", "empty file"),
    "text": (b"the patient's name", NONE_OF_THEM),
    "long text": (b"a report about a knee\n" * 100, NONE_OF_THEM),
    "another format": (encoded(film(0), "GIF"), NONE_OF_THEM),
    "the first bytes of a JPEG": (
        encoded(film(0), "JPEG")[:20],
        "damaged JPEG, or a kind of it that is not supported",
    ),
    "the first bytes of a PNG": (
        encoded(film(0))[:12],
        "damaged PNG, or a kind of it that is not supported",
    ),
    "zeros": (bytes(5000), NONE_OF_THEM),
    "what begins like a data set": (
        b"\x08\0" + b"x" * 500,
        "a DICOM file without an image, or one that is cut short",
    ),
}


@pytest.mark.parametrize("case", refused)
def test_what_is_no_image_is_refused_with_its_reason(case: str) -> None:
    content, reason = refused[case]
    with pytest.raises(UnreadableImage) as raised:
        image_formats.decode(content, 1)
    assert str(raised.value) == reason


def test_the_content_decides_on_the_format() -> None:
    formats = [encoded(film(0), name) for name in ("JPEG", "PNG", "TIFF", "BMP")] + [dicom()]
    names = [image_formats.decode(content, 1).format for content in formats]
    assert names == ["JPEG", "PNG", "TIFF", "BMP", "DICOM"]


def test_an_image_that_decodes_is_used_whatever_pillow_warns_of() -> None:
    image = Image.new("P", (300, 300))
    image.info["transparency"] = bytes(range(256))
    content = encoded(image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_formats.decode(content, 1).pixels.shape == (300, 300)


def test_threads_that_overlap_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    both_inside, go_on = threading.Barrier(2), threading.Event()

    def first() -> None:
        with image_formats._QUIET:
            both_inside.wait()

    def second() -> None:
        with image_formats._QUIET:
            both_inside.wait()
            go_on.wait()
            warnings.warn("of the second, while the first is out", stacklevel=1)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    threads[0].join()
    go_on.set()
    threads[1].join()
    assert warnings.filters == before


def test_pydicom_is_imported_for_dicom_alone() -> None:
    script = (
        "import io, sys; from PIL import Image; from knee.reading import image_formats;"
        "stream = io.BytesIO(); Image.new('L', (9, 9)).save(stream, 'PNG');"
        "image_formats.decode(stream.getvalue(), 1); print('pydicom' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout.strip() == "False"


SMALL = film(0).resize((8, 6))
contents = {
    name: dicom(np.asarray(SMALL), BitsStored=8) if name == "DICOM" else encoded(SMALL, name)
    for name in ("JPEG", "PNG", "TIFF", "BMP", "DICOM")
}


@given(
    st.sampled_from(sorted(contents)),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
)
@example("TIFF", [(4, 255)])
def test_damaged_bytes_give_pixels_or_one_line_that_repeats(
    name: str, damages: list[tuple[int, int]]
) -> None:
    content = bytearray(contents[name])
    for position, value in damages:
        content[position % len(content)] = value
    outcomes = [outcome(bytes(content)) for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    assert "\n" not in outcomes[0]
    assert "0x" not in outcomes[0]


def outcome(content: bytes) -> str:
    try:
        return str(image_formats.decode(content, 1).pixels.tolist())
    except UnreadableImage as reason:
        return str(reason)

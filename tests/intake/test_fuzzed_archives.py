"""Archives of any bytes, and archives that are nearly right: unpacked, or one line that says why.

`--hypothesis-profile=hostile` tries many more examples (tests/conftest.py).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from knee.intake.archives import ArchiveError, ArchiveLimits, opened, unpack
from knee.reading import source_files
from tests.intake.packing import FORMATS

LIMITS = ArchiveLimits(files=20, gigabytes=0.001)
MOST_BYTES = 1_000_000 + (1 << 20)  # the limit, and the chunk in which it is passed
MOST_SECONDS = 60.0  # of processor time, on a slow machine
TAR_KINDS = (
    *(tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE),
    *(tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, b"Z"),
)


def check(content: bytes) -> None:
    """All is below the target, of files and folders alone and within the limits, or refused."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        archive, target = parent / "archive", parent / "inside" / "unpacked"
        archive.write_bytes(content)
        target.mkdir(parents=True)
        told = refusal(archive, target)
        assert told.isprintable()
        assert not told or str(archive) in told
        assert {path.name for path in parent.iterdir()} == {"archive", "inside"}
        assert [path.name for path in (parent / "inside").iterdir()] == ["unpacked"]
        modes = [path.lstat() for path in target.rglob("*")]
        assert all(stat.S_ISREG(one.st_mode) or stat.S_ISDIR(one.st_mode) for one in modes)
        assert sum(one.st_size for one in modes if stat.S_ISREG(one.st_mode)) <= MOST_BYTES
        assert archive.read_bytes() == content
        if not told:
            check_listing(archive)
    assert time.process_time() - start < MOST_SECONDS


def refusal(archive: Path, target: Path) -> str:
    """Why the archive is refused, "" if it is not."""
    try:
        unpack(archive, target, LIMITS)
    except ArchiveError as error:
        return str(error)
    return ""


def check_listing(archive: Path) -> None:
    """What was unpacked can be listed, and is gone afterwards."""
    with opened(archive, LIMITS, ()) as found:
        source_files.list_sources(found.folder)
    assert not found.folder.exists()


parts = st.sampled_from(
    ["a", "b.png", "..", ".", "", " ", "~", "C:", "C:\\x", "\\", "nul", "a" * 300, "\ud800", "\0x"]
) | st.text(max_size=5)
names = st.tuples(
    st.sampled_from(["", "/", "//", "./", "../", "\\\\host\\"]), st.lists(parts, max_size=5)
)
paths = names.map(lambda found: found[0] + "/".join(found[1]))
contents = st.sampled_from([b"", b"film", bytes(300_000), bytes(2_000_000)]) | st.binary(
    max_size=50
)
extremes = st.sampled_from([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
damages = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4)


def damaged(content: bytes, where: list[tuple[int, int]], cut: int) -> bytes:
    made = bytearray(content)
    for position, value in where:
        made[position % len(made)] = value
    return bytes(made[: len(made) - cut % len(made)])


@st.composite
def nearly_zip(draw: st.DrawFn) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # a name twice
        for _ in range(draw(st.integers(0, 4))):
            member = zipfile.ZipInfo("x")
            member.filename = draw(paths).encode("utf-8", "replace").decode()
            member.external_attr = (
                draw(st.sampled_from([0, 0o644, 0o120777, 0o60644, 0o10644])) << 16
            )
            member.extra = draw(st.sampled_from([b"", b"\x01\x00\x04\x00abcd", b"up\x05\x00\x01"]))
            method = draw(st.sampled_from([0, 8, 12, 14]))
            archive.writestr(member, draw(contents), method)
    made = bytearray(stream.getvalue())
    for signature, places in (
        (b"PK\x01\x02", (8, 10, 20, 24, 28, 38, 42)),
        (b"PK\x05\x06", (8, 12, 16)),
    ):
        at = made.find(signature)
        if at >= 0 and draw(st.booleans()):
            struct.pack_into("<I", made, at + draw(st.sampled_from(places)), draw(extremes))
    made = made if draw(st.booleans()) else made + made
    return damaged(bytes(made), draw(damages), draw(st.sampled_from([0, 0, 0, 30])))


@st.composite
def nearly_tar(draw: st.DrawFn) -> bytes:
    formats: list[Literal[0, 1, 2]] = [0, 1, 2]  # ustar, GNU, pax
    kind = draw(st.sampled_from(formats))
    blocks = [b""]
    for _ in range(draw(st.integers(0, 4))):
        header = tarfile.TarInfo("x")
        header.type = draw(st.sampled_from((*TAR_KINDS, tarfile.REGTYPE, tarfile.REGTYPE)))
        content = draw(contents)
        header.size = draw(st.sampled_from([len(content)] * 4 + [0, 8**11 - 1, len(content) + 600]))
        header.linkname = draw(paths)[:90].replace("\ud800", "")
        header.name = draw(paths).replace("\ud800", "\udc80")
        header.mode = draw(st.sampled_from([0o644, 0o7777, 0]))
        fields = st.sampled_from(
            ["path", "size", "GNU.sparse.map", "GNU.sparse.size", "hdrcharset", "GNU.sparse.major"]
        )
        texts = st.sampled_from(
            ["../x", "/x", "-1", "1e9", "0,1,2", "9" * 30, "BINARY", "utf-8", ""]
        )
        header.pax_headers = draw(st.dictionaries(fields, texts, max_size=2))
        try:
            block = header.tobuf(kind, "utf-8", "surrogateescape")
        except (ValueError, OverflowError):  # not in this format
            continue
        blocks.append(block + content + bytes(-len(content) % 512))
    made = b"".join(blocks) + draw(st.sampled_from([bytes(1024), b"", bytes(10_240), bytes(512)]))
    made = damaged(made or bytes(1024), draw(damages), draw(st.sampled_from([0, 0, 0, 700])))
    pack = draw(st.sampled_from([lambda c: c, gzip.compress, bz2.compress, lzma.compress]))
    packed = bytes(pack(made))
    return damaged(packed, draw(damages), 0) if draw(st.booleans()) else packed


starts = st.sampled_from(
    [
        b"",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x1f\x8b\x08\0",
        b"BZh9",
        b"\xfd7zXZ\0",
        bytes(257) + b"ustar",
    ]
)


@given(starts, st.binary(max_size=1500))
def test_any_bytes_are_unpacked_or_refused_in_one_line(start: bytes, content: bytes) -> None:
    check(start + content)


@given(nearly_zip())
def test_what_is_nearly_a_zip_stays_in_its_folder_and_its_limits(content: bytes) -> None:
    check(content)


@given(nearly_tar())
def test_what_is_nearly_a_tar_stays_in_its_folder_and_its_limits(content: bytes) -> None:
    check(content)


@given(st.sampled_from(list(FORMATS.values())), damages, st.integers(0, 3))
def test_a_damaged_archive_is_unpacked_or_refused_in_one_line(
    pack: Callable[[dict[str, bytes]], bytes], where: list[tuple[int, int]], cut: int
) -> None:
    check(damaged(pack({"a/1.png": b"film", "b/2.png": bytes(900)}), where, cut))

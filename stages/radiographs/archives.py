"""A zip or tar from anywhere -> a temporary folder with its files, or a refusal.

Nothing in an archive is trusted: names, links, declared sizes. One unsafe member and all of it is
refused. Members are written one by one below a fresh folder; the unpacking of zipfile and tarfile
themselves is never called. An archive inside the archive stays one.
"""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import gzip
import logging
import lzma
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

from stages.radiographs.unpacking import CHUNK_BYTES, ArchiveError, Counted, Limits, Target

MAXIMUM_HEADER_BYTES: Final = 1 << 20  # of a tar's extended header, which is read as a whole
EXTENDED_HEADERS: Final = (b"x", b"g", b"X", b"L", b"K")
OTHER_ARCHIVES: Final = (b"7z\xbc\xaf\x27\x1c", b"Rar!")
DAMAGES: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RecursionError,  # a chain of extended headers
    ValueError,
)
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Opened:
    """A folder with the data.

    Attributes:
        folder: where the files are.
        shown: the folder or archive that the user named.
        top: the archive's single top folder, which `folder` then is; "" if there is none.
    """

    folder: Path
    shown: Path
    top: str = ""


@contextlib.contextmanager
def opened(
    path: Path, limits: Limits, classes: Sequence[str], *, flat: bool = False
) -> Iterator[Opened]:
    """The folder `path` itself, or the archive `path` in a folder that is gone afterwards.

    A single top folder in an archive is looked through, unless it is one of the `classes`, or has
    no folder in it: then it is a class. With `flat` no folder is a class.

    Raises:
        ArchiveError: no archive, or one that is unsafe, too large, encrypted or damaged.
    """
    if not path.is_file():
        yield Opened(path, path)
        return
    with tempfile.TemporaryDirectory(prefix="knee-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        unpack(path, folder, limits)
        top = _top_folder(folder)
        if top and top.name not in classes and (flat or any(p.is_dir() for p in top.iterdir())):
            yield Opened(top, path, top.name)
        else:
            yield Opened(folder, path)


def unpack(path: Path, folder: Path, limits: Limits) -> None:
    """Write every file of the archive `path` below the empty `folder`.

    Raises:
        ArchiveError: as `opened`.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error
    target = Target(path, folder, limits)
    target.check_disk(path.stat().st_size)
    try:
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            _unpack_zip(path, target)
        else:
            _unpack_tar(path, head, target)
    except ArchiveError:
        raise
    except DAMAGES as error:
        raise _damaged(path, error) from error
    except OSError as error:
        # bz2 says so of damage, without a number.
        raise (_damaged(path, error) if error.errno is None else target.failed(error)) from error
    if target.left_out:
        log.info("%s: %d resource forks of macOS left out", path, target.left_out)


def _top_folder(folder: Path) -> Path | None:
    """The only thing in `folder`, if it is a folder that is not hidden."""
    entries = list(folder.iterdir())
    only = entries[0] if len(entries) == 1 else None
    return only if only and only.is_dir() and not only.name.startswith(".") else None


def _unpack_zip(path: Path, target: Target) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:  # nothing is written before all have been looked at
            _check_zip_member(member, target)
        declared_bytes = sum(member.file_size for member in members)
        target.check_size(declared_bytes)
        target.check_disk(declared_bytes)
        for member in members:
            name = _zip_name(member)
            if name.endswith("/"):
                target.make_folder(name)
                continue
            with archive.open(member) as content:
                target.write(name, Counted(content, target))


def _check_zip_member(member: zipfile.ZipInfo, target: Target) -> None:
    target.place(_zip_name(member))
    if member.flag_bits & 1:
        raise ArchiveError(
            f"{target.archive} is encrypted: unpack it yourself, or pack it without a password"
        )
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise target.unsafe("is a link or a device")


def _zip_name(member: zipfile.ZipInfo) -> str:
    """Some programs for Windows write the backslash."""
    return member.filename.replace("\\", "/")


class _StrictHeader(tarfile.TarInfo):
    """A tar header that is whole, and whose extension is not too large to be read.

    tarfile takes any broken header but the first for the end: the files behind it would vanish.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _StrictHeader:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # the end, as it should be
            raise ValueError(f"tar header: {error}") from error
        if header.type in EXTENDED_HEADERS and header.size > MAXIMUM_HEADER_BYTES:
            raise ValueError("an extended header is larger than 1 MiB")
        return header


def _unpack_tar(path: Path, head: bytes, target: Target) -> None:
    with contextlib.ExitStack() as stack:
        stream = Counted(stack.enter_context(_decompressed(path, head)), target)
        archive = stack.enter_context(
            tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", tarinfo=_StrictHeader)
        )
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep every header
            if member.isdir():
                target.make_folder(member.name)
                continue
            content = archive.extractfile(member) if member.isreg() else None
            if content is None or member.issparse():
                target.place(member.name)
                raise target.unsafe("is a link, a device or a sparse file")
            target.write(member.name, content)
        while stream.read(CHUNK_BYTES):
            pass  # the checksum of what is compressed stands behind it
        if stream.content_bytes > archive.offset:
            raise ArchiveError(f"{path} goes on behind its end: pack its parts one by one")


def _decompressed(path: Path, head: bytes) -> BinaryIO:
    """The tar inside; tarfile's own detection would not say what is wrong."""
    if head.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if head.startswith(b"BZh"):
        return cast(BinaryIO, bz2.open(path, "rb"))
    if head.startswith(b"\xfd7zXZ\0"):
        return cast(BinaryIO, lzma.open(path, "rb"))
    if head[257:262] == b"ustar":
        return path.open("rb")
    advice = "unpack it yourself" if head.startswith(OTHER_ARCHIVES) else "check data.path"
    raise ArchiveError(f"{path} is no folder and no zip, tar, tar.gz, tar.bz2 or tar.xz: {advice}")


def _damaged(path: Path, error: Exception) -> ArchiveError:
    what = " ".join(str(error).split())[:100] or type(error).__name__
    return ArchiveError(
        f"{path} is damaged, cut off or no archive ({what}): fetch or pack it again"
    )

"""A zip or tar from anywhere to a temporary folder with its files, or a refusal.

Nothing in an archive is trusted: names, links, declared sizes. One unsafe member and all of it is
refused. Members are written one by one below a fresh folder; the unpacking of zipfile and tarfile
themselves is never called. An archive inside the archive stays one. What a killed process has
unpacked is found by its lock, which nobody holds, and removed by the next that unpacks.
"""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import errno
import gzip
import logging
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

from knee.reading import image_formats
from knee.run import locks
from knee.run.errors import UserError
from knee.run.messages import folded, listed, quoted

MAXIMUM_HEADER_BYTES: Final = 1 << 20  # of a tar's extended header, which is read as a whole
CHUNK_BYTES: Final = 1 << 20
GIGABYTE: Final = 10**9
# Radiographs compress up to about tenfold, blank ones in 16 bits a hundredfold; deflate's limit,
# which bombs come near, is a thousandfold. Below the grace nothing is at stake.
MAXIMUM_RATIO: Final = 200
RATIO_GRACE_BYTES: Final = 100 * 10**6
RESOURCE_FORKS: Final = "__MACOSX"  # what macOS adds to its zips: no file of the user's
UTF8_FLAG: Final = 0x800  # of a member of a zip
UNICODE_PATH: Final = 0x7075  # extra field of a zip with the name in UTF-8
TEMPORARY_PREFIX: Final = "knee-archive-"
EXTENDED_HEADERS: Final = (b"x", b"g", b"X", b"L", b"K")
OTHER_ARCHIVES: Final = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "RAR",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"MSCF": "CAB",
}
log = logging.getLogger(__name__)


class ArchiveError(UserError):
    """The archive is not opened, or not to its end; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may hold at most: members, and gigabytes (10^9 bytes) once unpacked."""

    files: int
    gigabytes: float


@dataclasses.dataclass(frozen=True)
class DataFolder:
    """A folder with the data."""

    folder: Path  # where the files are
    shown: Path  # the folder or archive that the user named
    top: str = ""  # folders around the data in an archive, which were looked through: "a/b"


@contextlib.contextmanager
def opened(
    path: Path, limits: ArchiveLimits, kept: Sequence[str], *, flat: bool = False
) -> Iterator[DataFolder]:
    """Yield the folder `path` itself, or the archive `path` in a folder that is gone afterwards.

    A single folder in an archive is looked through, and a single folder in that one, unless it is
    one of `kept`, or has no folder in it: then it is a class. Files beside it that are no images
    (a README, a licence) do not hide it. With `flat` no folder is a class, and one is looked
    through.

    Raises:
        ArchiveError: no archive, or one that is unsafe, too large, encrypted or damaged, or has
            images beside its single folder.
    """
    if not path.is_file():
        yield DataFolder(path, path)
        return
    for leftover in leftovers():
        remove(leftover)
        log.info("%s: left by a killed ingest, removed", leftover)
    with (
        tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, ignore_cleanup_errors=True) as name,
        locks.held(_lock(Path(name)), name, keep=True),
    ):
        root = Path(name) / "files"
        root.mkdir()
        unpack(path, root, limits)
        top = _looked_through(path, root, kept, flat=flat)
        yield DataFolder(root / top, path, top)


def leftovers() -> list[Path]:
    """Return the folders of archives that killed processes of this user have left unpacked."""
    folders = sorted(Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"))
    return [folder for folder in folders if _is_left(folder)]


def _is_left(folder: Path) -> bool:
    """Whether `folder` is this user's and nobody holds its lock."""
    with contextlib.suppress(OSError):  # it is removed just now
        own = not folder.is_symlink() and folder.stat().st_uid == os.getuid()
        return own and _lock(folder).is_file() and locks.holder(_lock(folder)) is None
    return False


def remove(leftover: Path) -> None:
    """Remove one of the `leftovers`, unless somebody has begun to use it."""
    with contextlib.suppress(locks.BusyError), locks.held(_lock(leftover), "", 0, keep=True):
        shutil.rmtree(leftover, ignore_errors=True)


def _lock(folder: Path) -> Path:
    return folder / "lock"


def unpack(path: Path, folder: Path, limits: ArchiveLimits) -> None:
    """Write every file of the archive `path` below the empty `folder`, or raise as `opened`."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error
    target = _Target(path, folder, limits)
    target.check_disk(path.stat().st_size)
    try:
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            _unpack_zip(path, target)
        else:
            _unpack_tar(path, head, target)
    except ArchiveError:
        raise
    except Exception as error:  # damaged files raise whatever the parser trips over
        if isinstance(error, OSError) and error.errno is not None:  # bz2's has no number
            raise target.failed(error) from error
        cause = " ".join(str(error).split())[:100] or type(error).__name__
        if isinstance(error, NotImplementedError):  # Deflate64, which Windows uses for large zips
            raise ArchiveError(
                f"{path} is packed in a way that is not read here ({cause}): unpack it yourself"
            ) from error
        raise ArchiveError(
            f"{path} is damaged, cut off or no archive ({cause}): fetch or pack it again"
        ) from error
    if target.left_out:
        log.info("%s: %d resource forks of macOS left out", path, target.left_out)


def _looked_through(path: Path, root: Path, kept: Sequence[str], *, flat: bool) -> str:
    """The single folders around the data, as `DataFolder.top`, from the outside in."""
    top = root
    while inner := _single_folder(top, kept, flat=flat):
        beside = sorted(p.name for p in top.iterdir() if p != inner)
        images = [name for name in beside if _begins_as_image(top / name)]
        if images:
            raise ArchiveError(
                f"{path} has images beside its only folder, {quoted(inner.name)}: "
                f"{listed([quoted(name) for name in images], 3)}: pack it again without them, or "
                "unpack it and set data.path"
            )
        if beside:
            shown = listed([quoted(name) for name in beside], 3)
            log.info("%s: beside %s, left out: %s", path, quoted(inner.name), shown)
        top = inner
        if flat:
            break
    return top.relative_to(root).as_posix() if top != root else ""


def _single_folder(top: Path, kept: Sequence[str], *, flat: bool) -> Path | None:
    """The only visible folder in `top`, if it is no class."""
    folders = _visible_folders(top)
    if len(folders) != 1 or folded(folders[0].name) in map(folded, kept):
        return None
    return folders[0] if flat or _visible_folders(folders[0]) else None


def _visible_folders(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]


def _begins_as_image(path: Path) -> bool:
    if not path.is_file() or path.name.startswith("."):
        return False
    with path.open("rb") as stream:
        return image_formats.begins_as_image(stream.read(132))


def _unpack_zip(path: Path, target: _Target) -> None:
    with zipfile.ZipFile(path) as archive:
        # Some programs for Windows write the backslash.
        members = [
            (_zip_name(path, member).replace("\\", "/"), member) for member in archive.infolist()
        ]
        for name, member in members:  # nothing is written before all have been looked at
            target.place(name)
            if member.flag_bits & 1:
                raise ArchiveError(
                    f"{path} is encrypted: unpack it yourself, or pack it without a password"
                )
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise target.unsafe("is a link or a device")
        declared_bytes = sum(member.file_size for _, member in members)
        target.check_size(declared_bytes)
        target.check_disk(declared_bytes)
        for name, member in members:
            if name.endswith("/"):
                target.write(name, None)
                continue
            with archive.open(member) as content:
                target.write(name, _Counted(content.read, target).read)


def _zip_name(path: Path, member: zipfile.ZipInfo) -> str:
    """The name of a member, which is UTF-8 whether its flag says so or not.

    macOS does not set the flag. zipfile would read such names, and those in a code page of
    Windows, as the letters of MS-DOS.
    """
    if member.flag_bits & UTF8_FLAG:
        return member.orig_filename
    raw = member.orig_filename.encode("cp437")
    try:
        return (_unicode_path(member.extra, raw) or raw).decode("utf-8")
    except UnicodeDecodeError:
        shown = quoted(raw.decode("ascii", "backslashreplace"))
        raise ArchiveError(
            f"{path} has names in an unknown code page, such as {shown}: pack it again with UTF-8 "
            "names (7-Zip: parameter cu=on), or unpack it where it was packed"
        ) from None


def _unicode_path(extra: bytes, raw: bytes) -> bytes:
    """The name in the extra field for it, where that belongs to the name `raw`; else empty."""
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        # A version, the CRC-32 of the other name, the name.
        if kind == UNICODE_PATH and field[:5] == b"\1" + struct.pack("<I", zlib.crc32(raw)):
            return field[5:]
    return b""


def _unpack_tar(path: Path, head: bytes, target: _Target) -> None:
    with contextlib.ExitStack() as stack:
        stream = _Counted(stack.enter_context(_decompressed(path, head)).read, target)
        archive = stack.enter_context(
            tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", tarinfo=_StrictHeader)
        )
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep every header
            content = archive.extractfile(member) if member.isreg() else None
            if not member.isdir() and (content is None or member.issparse()):
                target.place(member.name)
                raise target.unsafe("is a link, a device or a sparse file")
            target.write(member.name, content.read if content else None)
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
    other = next((name for start, name in OTHER_ARCHIVES.items() if head.startswith(start)), "")
    advice = f"unpack this {other} archive yourself" if other else "give one of these"
    raise ArchiveError(f"{path} is no folder and no zip, tar, tar.gz, tar.bz2 or tar.xz: {advice}")


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


class _Target:
    """The empty folder for the members of one archive, and what has been counted so far."""

    def __init__(self, archive: Path, folder: Path, limits: ArchiveLimits) -> None:
        self.archive = archive
        self.left_out = 0
        self._folder = folder
        self._limits = limits
        self._archive_bytes = archive.stat().st_size
        self._members = 0
        self._unpacked_bytes = 0
        self._current = ""  # name of the member at hand

    def place(self, name: str) -> Path | None:
        """Return where a member goes, None if nowhere; `ArchiveError` if out of the folder."""
        self._current = name
        if "\0" in name:
            raise self.unsafe("has a zero byte in its name")
        if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[\\/]", name):
            raise self.unsafe("has an absolute path")
        if ".." in re.split(r"[\\/]", name):
            raise self.unsafe("leads out of the archive (..)")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts or parts[0] == RESOURCE_FORKS:
            return None
        return self._folder.joinpath(*parts)

    def write(self, name: str, read: Callable[[int], bytes] | None) -> None:
        """Write a file, never over an earlier one, or make the folder where `read` is None."""
        self._members += 1
        if self._members > self._limits.files:
            raise ArchiveError(
                f"{self.archive} has more than ingest.maximum_archive_files = "
                f"{self._limits.files} members: raise it, or unpack the archive yourself"
            )
        place = self.place(name)
        if place is None:
            self.left_out += read is not None
        elif read is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as stream:
                while chunk := read(CHUNK_BYTES):
                    stream.write(chunk)

    def count(self, new_bytes: int) -> None:
        """Count bytes that were really read, whatever the archive declares."""
        self._unpacked_bytes += new_bytes
        self.check_size(self._unpacked_bytes)

    def check_disk(self, needed_bytes: int) -> None:
        """Refuse what cannot fit, before any of it is written."""
        free = shutil.disk_usage(self._folder).free
        if needed_bytes > free:
            raise ArchiveError(
                f"{self.archive} needs {needed_bytes / GIGABYTE:.1f} GB in the folder of temporary "
                f"files, {tempfile.gettempdir()}, where {free / GIGABYTE:.1f} GB are free: set "
                "TMPDIR to a folder with more room"
            )

    def check_size(self, unpacked_bytes: int) -> None:
        """Refuse more than the limit, and more than radiographs can shrink."""
        if unpacked_bytes > self._limits.gigabytes * GIGABYTE:
            raise ArchiveError(
                f"{self.archive} unpacks to more than ingest.maximum_archive_gigabytes = "
                f"{self._limits.gigabytes:g}: raise it, or unpack the archive yourself"
            )
        if unpacked_bytes > max(RATIO_GRACE_BYTES, MAXIMUM_RATIO * self._archive_bytes):
            raise ArchiveError(
                f"{self.archive} unpacks to more than {MAXIMUM_RATIO} times its size, which "
                "radiographs never do: do not trust it; unpack it yourself if you know better"
            )

    def unsafe(self, what: str) -> ArchiveError:
        """The refusal of the archive for its current member."""
        return ArchiveError(
            f"{self.archive} is refused: its member {quoted(self._current)} {what}: "
            "pack it again, with regular files only"
        )

    def failed(self, error: OSError) -> ArchiveError:
        """The refusal for what the file system says of the current member."""
        member = f"{self.archive}: its member {quoted(self._current)}"
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            return ArchiveError(f"{member} is there twice (or once in other case): rename one")
        if error.errno == errno.ENAMETOOLONG:
            return ArchiveError(f"{member} has too long a name for this file system: rename it")
        if error.errno == errno.ENOSPC:
            return ArchiveError(f"{member}: the disk is full: set TMPDIR to one with more room")
        return ArchiveError(f"{member} cannot be unpacked: {error.strerror or error}")


class _Counted:
    """A stream whose bytes count for a target; `content_bytes` is where only zeros are left."""

    def __init__(self, read: Callable[[int], bytes], target: _Target) -> None:
        self._read = read
        self._target = target
        self._position = 0
        self.content_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes and add them to the target's total."""
        chunk = self._read(size)
        self._target.count(len(chunk))
        if content := chunk.rstrip(b"\0"):
            self.content_bytes = self._position + len(content)
        self._position += len(chunk)
        return chunk

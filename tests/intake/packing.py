"""Archives of small files, honest and hostile."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from knee.intake.archives import ArchiveLimits, unpack

LIMITS = ArchiveLimits(files=50, gigabytes=0.001)
Members = Mapping[str, bytes]


def zipped(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip, deflated unless told otherwise."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def zipped_raw(members: Mapping[bytes, bytes], extra: bytes = b"") -> bytes:
    """A zip whose names are these bytes, without the flag that tells UTF-8."""

    class Raw(zipfile.ZipInfo):
        def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
            return self.filename.encode("latin-1"), 0

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            member = Raw("name")
            member.filename, member.extra = name.decode("latin-1"), extra
            archive.writestr(member, content)
    return stream.getvalue()


def tarred(members: Members) -> bytes:
    """A tar, not compressed."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return stream.getvalue()


def special(name: str, kind: bytes, target: str = "/etc/passwd") -> bytes:
    """A tar with one member that is no regular file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        header = tarfile.TarInfo(name)
        header.type, header.linkname = kind, target
        archive.addfile(header)
    return stream.getvalue()


FORMATS: dict[str, Callable[[Members], bytes]] = {
    "films.zip": zipped,
    "films.tar": tarred,
    "films.tar.gz": lambda members: gzip.compress(tarred(members)),
    "films.tar.bz2": lambda members: bz2.compress(tarred(members)),
    "films.tar.xz": lambda members: lzma.compress(tarred(members)),
}


def zipped_link(name: str) -> bytes:
    """A zip with a symbolic link, as Unix programs store it."""
    link = zipfile.ZipInfo(name)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    return stream.getvalue()


def encrypted(members: Members) -> bytes:
    """A zip whose first member says that it is encrypted."""
    content = bytearray(zipped(members))
    content[6] |= 1  # the flag in the member's header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    return bytes(content)


def unpacked(folder: Path, content: bytes, limits: ArchiveLimits = LIMITS) -> dict[str, bytes]:
    """The files that come out of an archive, below `folder`/inside/unpacked."""
    archive, target = folder / "archive", folder / "inside" / "unpacked"
    archive.write_bytes(content)
    target.mkdir(parents=True)
    unpack(archive, target, limits)
    files = [path for path in target.rglob("*") if path.is_file()]
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in files}

"""The folder that an archive's members are written to: where each goes, and when it is too much."""

from __future__ import annotations

import dataclasses
import errno
import re
import shutil
from pathlib import Path
from typing import Final, Protocol

CHUNK_BYTES: Final = 1 << 20
GIGABYTE: Final = 10**9
# Films compress up to about tenfold, blank ones in 16 bits a hundredfold; deflate's limit, which
# bombs come near, is a thousandfold. Below the grace nothing is at stake.
MAXIMUM_RATIO: Final = 200
RATIO_GRACE_BYTES: Final = 100 * 10**6
RESOURCE_FORKS: Final = "__MACOSX"  # what macOS adds to its zips: no file of the user's
SHOWN_CHARACTERS: Final = 100


class ArchiveError(ValueError):
    """The archive is not opened, or not to its end; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What an archive may hold at most: members, and gigabytes (10^9 bytes) once unpacked."""

    files: int
    gigabytes: float


class Readable(Protocol):
    """What gives bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""


class Target:
    """An empty folder for the members of one archive, and what has been counted so far."""

    def __init__(self, archive: Path, folder: Path, limits: Limits) -> None:
        self.archive = archive
        self.left_out = 0
        self._folder = folder
        self._limits = limits
        self._archive_bytes = archive.stat().st_size
        self._members = 0
        self._unpacked_bytes = 0
        self._current = ""

    def place(self, name: str) -> Path | None:
        """Where the member `name` goes; None if it is left out.

        Raises:
            ArchiveError: it would leave the folder.
        """
        self._current = name
        if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[\\/]", name):
            raise self.unsafe("has an absolute path")
        if ".." in re.split(r"[\\/]", name):
            raise self.unsafe("leads out of the archive (..)")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts or parts[0] == RESOURCE_FORKS:
            return None
        return self._folder.joinpath(*parts)

    def make_folder(self, name: str) -> None:
        """A member that is a folder."""
        self._count_member()
        place = self.place(name)
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, content: Readable) -> None:
        """A member that is a file; an earlier one of its name is never overwritten."""
        self._count_member()
        place = self.place(name)
        if place is None:
            self.left_out += 1
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as stream:
            while chunk := content.read(CHUNK_BYTES):
                stream.write(chunk)

    def check_disk(self, needed_bytes: int) -> None:
        """Refuse what cannot fit, before any of it is written."""
        free = shutil.disk_usage(self._folder).free
        if needed_bytes > free:
            raise ArchiveError(
                f"{self.archive} needs {needed_bytes / GIGABYTE:.1f} GB in {self._folder.parent}, "
                f"where {free / GIGABYTE:.1f} GB are free: set TMPDIR to a folder with more room"
            )

    def check_size(self, unpacked_bytes: int) -> None:
        """Refuse more than the limit, and more than films can shrink."""
        if unpacked_bytes > self._limits.gigabytes * GIGABYTE:
            raise ArchiveError(
                f"{self.archive} unpacks to more than ingest.maximum_archive_gigabytes = "
                f"{self._limits.gigabytes:g}: raise it, or unpack the archive yourself"
            )
        if unpacked_bytes > max(RATIO_GRACE_BYTES, MAXIMUM_RATIO * self._archive_bytes):
            raise ArchiveError(
                f"{self.archive} unpacks to more than {MAXIMUM_RATIO} times its size, which films "
                "never do: do not trust it; unpack it yourself if you know better"
            )

    def unsafe(self, what: str) -> ArchiveError:
        """The refusal of the archive for its current member."""
        return ArchiveError(
            f"{self.archive} is refused: its member {self._shown()} {what}: "
            "pack it again, with regular files only"
        )

    def failed(self, error: OSError) -> ArchiveError:
        """What the file system says of the current member."""
        member = f"{self.archive}: its member {self._shown()}"
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            return ArchiveError(f"{member} is there twice (or once in other case): rename one")
        if error.errno == errno.ENAMETOOLONG:
            return ArchiveError(f"{member} has too long a name for this file system: rename it")
        if error.errno == errno.ENOSPC:
            return ArchiveError(f"{member}: the disk is full: set TMPDIR to one with more room")
        return ArchiveError(f"{member} cannot be unpacked: {error.strerror or error}")

    def count(self, new_bytes: int) -> None:
        """Bytes that were really read, whatever the archive declares."""
        self._unpacked_bytes += new_bytes
        self.check_size(self._unpacked_bytes)

    def _count_member(self) -> None:
        self._members += 1
        if self._members > self._limits.files:
            raise ArchiveError(
                f"{self.archive} has more than ingest.maximum_archive_files = "
                f"{self._limits.files} members: raise it, or unpack the archive yourself"
            )

    def _shown(self) -> str:
        """The current member's name for a message: no control characters, not endless."""
        return ascii(self._current[:SHOWN_CHARACTERS])


class Counted:
    """A stream whose bytes count for a target; `content_bytes` is where only zeros are left."""

    def __init__(self, stream: Readable, target: Target) -> None:
        self._stream = stream
        self._target = target
        self._position = 0
        self.content_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        """As the stream, counted."""
        chunk = self._stream.read(size)
        self._target.count(len(chunk))
        if content := chunk.rstrip(b"\0"):
            self.content_bytes = self._position + len(content)
        self._position += len(chunk)
        return chunk

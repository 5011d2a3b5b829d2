"""Known results: what an earlier run computed of the same content is not computed again.

A folder holds the results of the last run that was given it, and those of one that was killed or
failed since, which the next run so goes on with. A result is used only if all that it was made with
is the same, and its bytes are those that were written; everything else is computed again. So no
output depends on the folder, and it may be removed at any time. Nothing in it is patient data in
the clear: a key is a digest of content, and a value what the caller gives.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np

from knee.storage.arrays import Integers
from knee.storage.artifacts import link
from knee.storage.numbered_files import NumberedFiles

log = logging.getLogger(__name__)

INDEX: Final = "index.bin"  # where each result lies in VALUES
VALUES: Final = "values"  # a folder: 0.bin, 1.bin, ...
MADE_WITH: Final = "made_with.json"
ENTRY: Final = np.dtype(
    [("key", "V32"), ("file", "<i4"), ("start", "<i8"), ("bytes", "<i8"), ("check", "V16")]
)
PACKED_ENTRY: Final = "<32siqq16s"  # the same
PACKAGES: Final = ("imagehash", "numpy", "pillow", "pydicom", "python-gdcm", "scipy")
THREADS: Final = ("OMP_", "OPENBLAS_")  # variables that change the last digits of products


def made_with(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return `facts`, JSON values, with the code, packages and machine that results depend on."""
    library = Path(__file__).parents[1]
    code = hashlib.sha256()
    for file in sorted(library.rglob("*.py")):
        code.update(f"{file.relative_to(library)}\n".encode() + file.read_bytes())
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "code": code.hexdigest(),
        "python": list(sys.version_info[:3]),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "processor": _processor(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "threads": {name: os.environ[name] for name in sorted(os.environ) if _is_of_threads(name)},
        **facts,
    }


class _Kept:
    """The results that lie in a folder: an array, since a million images have 13 million pairs."""

    def __init__(self, folder: Path) -> None:
        """Read the index; `OSError` if there is none. What lies outside of its file is damaged."""
        content = (folder / INDEX).read_bytes()
        entries = np.frombuffer(content, ENTRY, len(content) // ENTRY.itemsize)
        sizes = _file_sizes(folder / VALUES)
        is_there = (entries["file"] >= 0) & (entries["file"] < len(sizes))
        limit = np.where(is_there, sizes[np.where(is_there, entries["file"], 0)], -1)
        start, end = entries["start"], entries["start"] + entries["bytes"]
        is_sound = (start >= 0) & (start <= end) & (end <= limit)
        self.damaged = [key.tobytes() for key in entries["key"][~is_sound]]
        entries = entries[is_sound]
        prefixes = (
            entries.view(np.uint8).reshape(-1, ENTRY.itemsize)[:, :8].copy().view("<u8")[:, 0]
        )
        order = np.argsort(prefixes, kind="stable")
        self.prefixes, self._entries = prefixes[order], entries[order]
        self._files = NumberedFiles(functools.partial(_values_file, folder))

    def find(self, key: bytes) -> tuple[bytes, bytes] | None:
        """Return a result as it lies there, with its check; None if there is none."""
        prefix = _prefix(key)
        place = int(np.searchsorted(self.prefixes, np.uint64(prefix)))
        while place < len(self.prefixes) and self.prefixes[place] == prefix:
            entry = self._entries[place]
            if entry["key"].tobytes() == key:
                size, start = int(entry["bytes"]), int(entry["start"])
                with contextlib.suppress(OSError):
                    value = self._files.read(int(entry["file"]), size, start)
                    return value, entry["check"].tobytes()
                return b"", b""
            place += 1
        return None


def _file_sizes(folder: Path) -> Integers:
    """Bytes of the files 0.bin, 1.bin, ... up to the first one that is missing."""
    sizes: list[int] = []
    with contextlib.suppress(FileNotFoundError):
        while True:
            sizes.append((folder / f"{len(sizes)}.bin").stat().st_size)
    return np.array([*sizes, -1], np.int64)[: len(sizes) or 1]


def _values_file(folder: Path, number: int) -> Path:
    return folder / VALUES / f"{number}.bin"


def _prefix(key: bytes) -> int:
    """The first eight bytes of a key, which no two keys of a folder share but by a rare chance."""
    return int.from_bytes(key[:8], "little")


class KnownResults:
    """The results in `folder`; those that are added take their place when the block ends well.

    When it does not, they are known to the next run beside those.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Open the folder, which need not be there.

        Args:
            folder: of this kind of result alone.
            facts: what these results depend on beside their content and `made_with`.
        """
        self._folder = folder
        self._staged = folder.with_name(f".{folder.name}.staged")
        self._unfinished = folder.with_name(f".{folder.name}.unfinished")
        self._made_with = json.loads(json.dumps(made_with(facts)))
        self._mark = hashlib.sha256(json.dumps(self._made_with, sort_keys=True).encode()).digest()
        self._known: list[_Kept] = []
        self._added: set[int] = set()  # prefixes; of two alike the second is not kept
        self._files = 0  # those of others that hold values
        self._stream: BinaryIO | None = None
        self._index: BinaryIO | None = None
        self._lock = threading.Lock()  # of the writing
        self._is_kept = True
        self._damaged: list[bytes] = []

    def __enter__(self) -> Self:
        with self._forgiven():
            self._set_unfinished_aside()
            self._known = [*self._read(self._folder), *self._read(self._unfinished)]
            self._staged.mkdir(parents=True, mode=0o700)
            (self._staged / VALUES).mkdir()
            (self._staged / MADE_WITH).write_text(json.dumps(self._made_with, indent=2) + "\n")
            self._index = (self._staged / INDEX).open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (self._stream, self._index):
            if file is not None:
                with self._forgiven():  # what is still in its buffer is written now
                    file.close()
        if not self._is_kept:  # a full disk, perhaps
            shutil.rmtree(self._staged, ignore_errors=True)
        if kind is None:
            if self._is_kept:
                with self._forgiven():
                    shutil.rmtree(self._folder, ignore_errors=True)
                    self._staged.replace(self._folder)
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._report()

    def get(self, key: bytes) -> bytes | None:
        """Return the result of the content whose SHA-256 is `key`; None if it is not known."""
        for known in self._known:
            found = known.find(key)
            if found is not None and self._check(key, found[0]) == found[1]:
                return found[0]
            if found is not None:
                self._damaged.append(key)
        return None

    def add(self, key: bytes, value: bytes, place: tuple[int, int] | None = None) -> None:
        """Keep `value`; with a `place` it lies in the file of that number, from that byte on.

        Files are numbered as they come, by `keep_file`: before or after, but within the run.
        """
        check = self._check(key, value)
        with self._lock, self._forgiven():
            if self._index is None or not self._is_kept or _prefix(key) in self._added:
                return
            if place is None:
                if self._stream is None:
                    self._stream = _values_file(self._staged, 0).open("wb")
                place = 0, self._stream.tell()
                self._stream.write(value)
            self._index.write(struct.pack(PACKED_ENTRY, key, *place, len(value), check))
            self._added.add(_prefix(key))

    def keep_file(self, path: Path) -> None:
        """Keep a link to an output that holds values anyway, whatever becomes of its name."""
        with self._lock, self._forgiven():
            if self._index is not None and self._is_kept:
                link(path, _values_file(self._staged, self._files))
                self._index.flush()
            self._files += 1

    def _set_unfinished_aside(self) -> None:
        """Keep what a run left that did not end, unless an earlier such run got further."""
        if not self._staged.exists():
            return
        sizes = [
            (folder / INDEX).stat().st_size if (folder / INDEX).exists() else -1
            for folder in (self._staged, self._unfinished)
        ]
        if sizes[0] > sizes[1]:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._staged.replace(self._unfinished)
        else:
            shutil.rmtree(self._staged)

    def _read(self, folder: Path) -> list[_Kept]:
        """The results in `folder`, if there are any that were made with the same."""
        try:
            if not folder.exists():
                return []
            told = json.loads((folder / MADE_WITH).read_text(encoding="utf-8"))
            if told != self._made_with:
                names = [
                    name for name in self._made_with if told.get(name) != self._made_with[name]
                ]
                log.info("%s: made with other %s: not used", folder, ", ".join(names))
                return []
            known = _Kept(folder)
        except (OSError, ValueError, AttributeError) as error:
            log.warning("%s cannot be read (%s): not used", folder, type(error).__name__)
            return []
        if folder == self._folder:  # of unfinished ones the last files are expected to be short
            self._damaged += known.damaged
        return [known]

    def _report(self) -> None:
        if self._damaged:
            text = "%s: %d damaged results were not used"
            log.warning(text, self._folder, len(self._damaged))
        damaged = np.array([_prefix(key) for key in self._damaged], np.uint64)
        added = np.fromiter(self._added, np.uint64, len(self._added))
        prefixes = [known.prefixes for known in self._known]
        sound = np.setdiff1d(np.concatenate([*prefixes, np.empty(0, np.uint64)]), damaged)
        known = int(np.isin(added, sound).sum())
        log.info("%s: %d known results, %d new", self._folder, known, len(self._added) - known)

    def _check(self, key: bytes, value: bytes) -> bytes:
        return hashlib.sha256(self._mark + key + value).digest()[: ENTRY["check"].itemsize]

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        """Say that nothing can be kept after an error of the system, and go on."""
        try:
            yield
        except OSError as error:
            if self._is_kept:
                log.warning("%s cannot be written (%s): not kept", self._folder, error.strerror)
            self._is_kept = False


def _processor() -> str:
    """A digest of the model and its instructions, where the system tells them."""
    told = {platform.machine(), platform.processor()}
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        told |= {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()


def _is_of_threads(name: str) -> bool:
    return name.startswith(THREADS)

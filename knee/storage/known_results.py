"""Known results: what an earlier run computed of the same content is not computed again.

A folder holds the results of the last run that was given it, and no others. A result is used only
if all that it was made with is the same, and its bytes are those that were written; everything else
is computed again. So no output depends on the folder, and it may be removed at any time. Nothing
in it is patient data in the clear: a key is a digest of content, and a value what the caller gives.
"""

from __future__ import annotations

import contextlib
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
import numpy.typing as npt

log = logging.getLogger(__name__)

INDEX: Final = "index.bin"  # where each result lies in VALUES
VALUES: Final = "values.bin"
MADE_WITH: Final = "made_with.json"
ENTRY: Final = np.dtype([("key", "V32"), ("start", "<i8"), ("bytes", "<i8"), ("check", "V16")])
PACKED_ENTRY: Final = "<32sqq16s"  # the same
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


class _Places:
    """Where results lie, by their keys: an array, since a million images have 13 million pairs."""

    def __init__(self, entries: npt.NDArray[np.void]) -> None:
        """Take `entries` of the dtype `ENTRY`."""
        prefixes = (
            entries.view(np.uint8).reshape(-1, ENTRY.itemsize)[:, :8].copy().view("<u8")[:, 0]
        )
        order = np.argsort(prefixes, kind="stable")
        self.prefixes = prefixes[order]
        self._entries = entries[order]

    def find(self, key: bytes) -> tuple[int, int, bytes] | None:
        """Return start, size and check of a result; None if there is none."""
        prefix = _prefix(key)
        place = int(np.searchsorted(self.prefixes, np.uint64(prefix)))
        while place < len(self.prefixes) and self.prefixes[place] == prefix:
            entry = self._entries[place]
            if entry["key"].tobytes() == key:
                return int(entry["start"]), int(entry["bytes"]), entry["check"].tobytes()
            place += 1
        return None


def _prefix(key: bytes) -> int:
    """The first eight bytes of a key, which no two keys of a folder share but by a rare chance."""
    return int.from_bytes(key[:8], "little")


class KnownResults:
    """The results in `folder`; those that are added take their place when the block ends well."""

    def __init__(self, folder: Path, facts: Mapping[str, Any], rows_of: Path | None = None) -> None:
        """Open the folder, which need not be there.

        Args:
            folder: of this kind of result alone.
            facts: what these results depend on beside their content and `made_with`.
            rows_of: an output that holds the values anyway: the folder then has a link to it.
        """
        self._folder, self._rows_of = folder, rows_of
        self._staged = folder.with_name(f".{folder.name}.staged")
        self._made_with = json.loads(json.dumps(made_with(facts)))
        self._mark = hashlib.sha256(json.dumps(self._made_with, sort_keys=True).encode()).digest()
        self._places = _Places(np.empty(0, ENTRY))
        self._added: set[int] = set()  # prefixes; of two alike the second is not kept
        self._values: BinaryIO | None = None
        self._stream: BinaryIO | None = None
        self._index: BinaryIO | None = None
        self._lock = threading.Lock()  # of the writing
        self._is_kept = True
        self._damaged: list[bytes] = []

    def __enter__(self) -> Self:
        self._read()
        with self._forgiven():
            shutil.rmtree(self._staged, ignore_errors=True)
            self._staged.mkdir(parents=True, mode=0o700)
            self._stream = (self._staged / VALUES).open("wb")
            self._index = (self._staged / INDEX).open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (self._stream, self._index, self._values):
            if file is not None:
                with self._forgiven():  # what is still in its buffer is written now
                    file.close()
        if kind is None:
            if self._is_kept:
                with self._forgiven():
                    self._keep()
            self._report()
        shutil.rmtree(self._staged, ignore_errors=True)

    def get(self, key: bytes) -> bytes | None:
        """Return the result of the content whose SHA-256 is `key`; None if it is not known."""
        found = self._places.find(key)
        if self._values is None or found is None:
            return None
        start, size, check = found
        with contextlib.suppress(OSError):
            value = os.pread(self._values.fileno(), size, start)
            if self._check(key, value) == check:
                return value
        self._damaged.append(key)
        return None

    def add(self, key: bytes, value: bytes, start: int = 0) -> None:
        """Keep `value`, which with `rows_of` begins at the byte `start` of that file."""
        check = self._check(key, value)
        with self._lock, self._forgiven():
            if self._stream is None or self._index is None or not self._is_kept:
                return
            if _prefix(key) in self._added:
                return
            if self._rows_of is None:
                start = self._stream.tell()
                self._stream.write(value)
            self._index.write(struct.pack(PACKED_ENTRY, key, start, len(value), check))
            self._added.add(_prefix(key))

    def _read(self) -> None:
        """Read the index, if it was made with the same; damaged entries are left out."""
        try:
            if not self._folder.exists():
                return
            told = json.loads((self._folder / MADE_WITH).read_text(encoding="utf-8"))
            if told != self._made_with:
                names = [
                    name for name in self._made_with if told.get(name) != self._made_with[name]
                ]
                log.info("%s: made with other %s: not used", self._folder, ", ".join(names))
                return
            content = (self._folder / INDEX).read_bytes()
            self._values = (self._folder / VALUES).open("rb")
            limit = os.fstat(self._values.fileno()).st_size
        except (OSError, ValueError, AttributeError) as error:
            log.warning("%s cannot be read (%s): not used", self._folder, type(error).__name__)
            return
        entries = np.frombuffer(content, ENTRY, len(content) // ENTRY.itemsize)
        start, end = entries["start"], entries["start"] + entries["bytes"]
        is_sound = (start >= 0) & (start <= end) & (end <= limit)
        self._damaged += [key.tobytes() for key in entries["key"][~is_sound]]
        self._places = _Places(entries[is_sound])

    def _keep(self) -> None:
        """Put what was added in the place of what was there."""
        if self._rows_of is not None:
            (self._staged / VALUES).unlink()
            _link(self._rows_of, self._staged / VALUES)
        (self._staged / MADE_WITH).write_text(json.dumps(self._made_with, indent=2) + "\n")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._staged.replace(self._folder)

    def _report(self) -> None:
        if self._damaged:
            text = "%s: %d damaged results were not used"
            log.warning(text, self._folder, len(self._damaged))
        damaged = np.array([_prefix(key) for key in self._damaged], np.uint64)
        added = np.fromiter(self._added, np.uint64, len(self._added))
        known = int(np.isin(added, np.setdiff1d(self._places.prefixes, damaged)).sum())
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


def _link(output: Path, place: Path) -> None:
    """A second name of the file, or a copy where there are no links; outputs are never changed."""
    try:
        os.link(output, place)
    except OSError:
        shutil.copyfile(output, place)


def _processor() -> str:
    """A digest of the model and its instructions, where the system tells them."""
    told = {platform.machine(), platform.processor()}
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        told |= {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()


def _is_of_threads(name: str) -> bool:
    return name.startswith(THREADS)

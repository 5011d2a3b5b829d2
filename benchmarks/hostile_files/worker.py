"""A process that reads mutated files as ingest does, and says of each what came of it.

python -m benchmarks.hostile_files.worker --corpora FOLDER --megapixels N

Seeds come in by standard input, one a line; for each a line of JSON goes out. If a reader brings
the process down, the one who started it knows which seed it was.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.hostile_files.bases import PATIENT, bases
from benchmarks.hostile_files.mutations import mutated
from knee.intake.examination import ExaminedFile, Examiner
from knee.reading import dicom_worker
from knee.reading.canonical_image import Canonical
from knee.reading.source_files import SourceFile
from knee.records.records_table import REJECTED, USED

SIDE_PIXELS: Final = 96
ADDRESS_BYTES: Final = 12 << 30  # for the machine's sake; the bound is on what is touched
LONGEST_REASON: Final = 200
KEY: Final = bytes(32)


def outcome(source: SourceFile, canonical: Canonical) -> dict[str, Any]:
    """Of one file: its status and reason, or the error; seconds, peak megabytes of each process."""
    _reset_peaks()
    gone_before = _gone_megabytes()
    start = time.perf_counter()
    try:
        examined = Examiner(canonical, KEY).examine(source)
        found = {"status": examined.columns["status"], "reason": examined.columns["reason"]}
        broken = broken_promise(examined, source)
        if broken:
            found = {"error": broken}
    except BaseException as error:  # the very thing that must not happen
        found = {"error": f"{type(error).__module__}.{type(error).__name__}: {error}"[:300]}
    seconds = round(time.perf_counter() - start, 3)
    gone = _gone_megabytes()
    decoders = [_peak_megabytes(process) for process in _decoders()]
    decoders.append(gone if gone > gone_before else 0.0)
    return {
        **found,
        "seconds": seconds,
        "megabytes": round(_peak_megabytes("self"), 1),
        "decoder_megabytes": round(max(decoders), 1),
    }


def broken_promise(examined: ExaminedFile, source: SourceFile) -> str:
    """What is wrong with a record, by ingest's own contract; "" if nothing."""
    status, reason = examined.columns["status"], examined.columns["reason"]
    if status == REJECTED:
        if not reason or len(reason) > LONGEST_REASON or not reason.isprintable():
            return f"reason is no short line: {reason!r}"
        if PATIENT.casefold() in reason.casefold() or str(source.path.parent) in reason:
            return "the reason quotes the file"
        return "" if examined.canonical is None else "rejected, with pixels"
    pixels = examined.canonical
    if status != USED or pixels is None or examined.fingerprints is None:
        return "used, without pixels"
    if pixels.dtype != np.uint8 or pixels.shape != (SIDE_PIXELS, SIDE_PIXELS):
        return f"pixels are {pixels.dtype} {pixels.shape}"
    if examined.columns["width"] < 1 or examined.columns["height"] < 1:
        return "used, without a size"
    if np.isinf([examined.columns["pixel_spacing_mm"], examined.columns["age_years"]]).any():
        return "infinite numbers in the record"
    return ""


def _decoders() -> list[int]:
    """Identifiers of the waiting processes that decode DICOM pixels."""
    return [child.process.pid for child in dicom_worker.IDLE]


def _reset_peaks() -> None:
    """The kernel's high-water marks of memory, where it has them."""
    for process in ("self", *_decoders()):
        with contextlib.suppress(OSError):
            Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")


def _peak_megabytes(process: int | str) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((float(x.split()[1]) / 1024 for x in lines if x.startswith("VmHWM")), 0.0)


def _gone_megabytes() -> float:
    """The largest peak of all decoding processes that have ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def _answers() -> Iterator[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--megapixels", type=float, required=True)
    chosen = parser.parse_args()
    canonical = Canonical(SIDE_PIXELS, "letterbox", chosen.megapixels)
    known = bases(chosen.corpora)
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        source = SourceFile("mutated/film", Path(folder) / "film", "mutated")
        for line in sys.stdin:
            made = mutated(int(line), known)
            source.path.write_bytes(made.content)
            yield {
                "seed": int(line),
                "format": made.file_format,
                "steps": made.steps,
                **outcome(source, canonical),
            }


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, resource.RLIM_INFINITY))
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:  # no decoder writes among them
        os.dup2(2, 1)
        for answer in _answers():
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    _main()

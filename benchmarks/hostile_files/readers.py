"""Hostile files through ingest's reader, one by one: corpora, largest images, mutations."""

from __future__ import annotations

import io
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.hostile_files.pool import Answer, Bounds, answers, failure
from knee.reading.source_files import SourceFile, list_sources

LARGEST_SIDE: Final = 8000  # 64 megapixels
SHOWN_FAILURES: Final = 100


def corpora(folder: Path, bounds: Bounds) -> dict[str, Any]:
    """Every file of each corpus."""
    by_corpus = {}
    failures: list[dict[str, Any]] = []
    for corpus in sorted(folder.iterdir()):
        found = []
        sources = list_sources(corpus, labelled=False)
        for source in tqdm(sources, desc=corpus.name, unit="file", disable=None):
            answer = {"file": source.name, **_outcome(source, bounds)}
            found.append(answer)
        by_corpus[corpus.name] = _counted(found)
        failures += _failures(found, bounds)
    return {"by_corpus": by_corpus, "failures": failures}


def mutations(seeds: Sequence[int], folder: Path, bounds: Bounds, workers: int) -> dict[str, Any]:
    """The mutated files of `seeds`, in `workers` processes."""
    stream = answers(seeds, folder, bounds, workers)
    bar = tqdm(stream, total=len(seeds), desc="mutations", unit="file", disable=None)
    found = []
    for answer in bar:
        found.append(answer)
        why = failure(answer, bounds)
        if why:
            bar.write(f"seed {answer['seed']}: {why}")
    formats = Counter(answer["format"] for answer in found if "format" in answer)
    steps = Counter(step for answer in found for step in answer.get("steps", ()))
    return {
        "seeds": [min(seeds), max(seeds)],
        "workers": workers,
        "formats": dict(formats.most_common()),
        "steps": dict(steps.most_common()),
        **_counted(found),
        "failures": _failures(found, bounds),
    }


def largest(temporary: Path, bounds: Bounds) -> dict[str, Any]:
    """Images of 64 megapixels, in the kinds that cost the most."""
    kinds, found = {}, []
    with tempfile.TemporaryDirectory(dir=temporary) as folder:
        path = Path(folder) / "film"
        for name, content in _largest():
            path.write_bytes(content)
            answer = {"file": name, **_outcome(SourceFile("film", path, ""), bounds)}
            found.append(answer)
            kinds[name] = {
                "status": answer.get("status", "failed"),
                "reason": answer.get("reason", answer.get("error", "")),
                "seconds": answer["seconds"],
                "megabytes": answer["megabytes"],
                "decoder_megabytes": answer["decoder_megabytes"],
            }
    return {"kinds": kinds, "failures": _failures(found, bounds)}


def _outcome(source: SourceFile, bounds: Bounds) -> Answer:
    from benchmarks.hostile_files.worker import SIDE_PIXELS, outcome
    from knee.reading.canonical_image import Canonical

    return outcome(source, Canonical(SIDE_PIXELS, "letterbox", bounds.megapixels))


def _counted(found: Sequence[Answer]) -> dict[str, Any]:
    """How many files there were of each status and reason, and what they cost."""
    statuses = Counter(answer.get("status", "failed") for answer in found)
    reasons = Counter(kind(answer.get("reason", "")) for answer in found)
    reasons.pop("", None)
    costs = {
        f"largest_{name}": max((answer.get(name, 0) for answer in found), default=0)
        for name in ("seconds", "megabytes", "decoder_megabytes")
    }
    return {"files": len(found), **statuses, "reasons": dict(reasons.most_common()), **costs}


def kind(reason: str) -> str:
    """A reason without the numbers in it."""
    sizes = re.sub(r"\d+ x \d+", "N x N", reason)
    return re.sub(r"\(\d+ bytes", "(N bytes", sizes)


def _failures(found: Iterable[Answer], bounds: Bounds) -> list[dict[str, Any]]:
    failed = ((answer, failure(answer, bounds)) for answer in found)
    named = ("seed", "file")
    listed = [
        {**{name: answer[name] for name in named if name in answer}, "what": why}
        for answer, why in failed
        if why
    ]
    return listed[:SHOWN_FAILURES]


def _largest() -> Iterator[tuple[str, bytes]]:
    """One after the other: each takes up to 250 MB."""
    from pydicom import uid

    from tests.reading import dicom_files as make

    line = np.arange(LARGEST_SIDE, dtype=np.uint16)
    deep = (line[:, None] * 7 + line * 13) % 4096
    shallow = (deep >> 4).astype(np.uint8)

    def colour(channels: int) -> Any:
        return np.repeat(shallow[..., None], channels, axis=2)

    makers: dict[str, Callable[[], bytes]] = {
        "JPEG, gray": lambda: _file(shallow, "JPEG"),
        "JPEG, colour": lambda: _file(colour(3), "JPEG"),
        "PNG, 16 bits": lambda: _file(deep, "PNG", compress_level=1),
        "PNG, colour with transparency": lambda: _file(colour(4), "PNG", compress_level=1),
        "TIFF, 32-bit floats": lambda: _file(deep.astype(np.float32), "TIFF"),
        "DICOM, 12 bits with a window": lambda: make.dicom(
            deep, WindowCenter=2000, WindowWidth=1000
        ),
        "DICOM, with padding": lambda: make.dicom(deep, PixelPaddingValue=0),
        "DICOM, colour": lambda: make.dicom(colour(3), BitsStored=8),
        "DICOM, JPEG 2000": lambda: make.encapsulated(
            make.jpeg_2000(shallow), uid.JPEG2000Lossless, make.dataset(shallow, BitsStored=8)
        ),
    }
    for name, made in makers.items():
        yield name, made()
    for syntax in ("JPEGLosslessProcess14_1", "JPEGLSLossless"):
        with tempfile.TemporaryDirectory() as folder:
            yield f"DICOM, {syntax}", make.transcoded(make.dicom(deep), syntax, Path(folder))


def _file(pixels: Any, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)
    return stream.getvalue()

"""A source file, read once, to what is known of it: its columns, canonical pixels, fingerprints.

This process reads and hashes every file, and knows what an earlier run has made of it. Decoding is
most of the work where files are large: nodes that open the same files may do it. They are told
which files, and by which rules; here the patient's number in a header becomes a keyed hash. So the
key stays in this process, as do known results.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import logging
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from tqdm import tqdm

from knee.copies import copy_check, hash_search
from knee.copies.fingerprints import Fingerprints
from knee.execution.local import Threads
from knee.execution.ordered import ordered
from knee.execution.place import ExecutionError, Place
from knee.intake import manifest, patients
from knee.reading import borders, canonical_image, image_formats, source_files
from knee.reading.canonical_image import Canonical
from knee.reading.decoded import Decoded, UnreadableImage
from knee.reading.source_files import SourceFile
from knee.records.records_table import COLUMNS, REJECTED, UNLISTED, USED
from knee.run.errors import UserError
from knee.storage.arrays import Pixels
from knee.storage.known_results import KnownResults

UNKNOWN: Final[dict[str, Any]] = {"str": "", "int64": 0, "float64": np.nan}  # by type
TASK_FILES: Final = 4  # of a thread here: few, so that all end at once
NODES_FROM_BYTES: Final = 1e6  # mean size of a file: smaller ones cost more to hand out than to do
NODE_TASK_BYTES: Final = 64e6  # of files: some seconds of decoding
SAMPLED_FILES: Final = 1000  # whose mean size stands for that of all
TRIAL: Final = Canonical(side_pixels=64, fit="letterbox", maximum_megapixels=1, crop_borders=True)
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ExaminedFile:
    """One file: its row of the records table and, if it is an image, pixels and fingerprints."""

    columns: dict[str, Any]
    canonical: Pixels | None = None
    fingerprints: Fingerprints | None = None

    def packed(self) -> bytes:
        """Return all of an image, one after the other."""
        if self.canonical is None or self.fingerprints is None:
            raise ValueError("a file that is no image has no pixels")
        pixels = (self.canonical, *self.fingerprints)
        return b"\n".join(
            [json.dumps(self.columns).encode(), b"".join(one.tobytes() for one in pixels)]
        )

    @classmethod
    def unpacked(cls, value: bytes, side_pixels: int) -> ExaminedFile:
        """Return the image whose `packed` is `value`."""
        columns, _, pixels = value.partition(b"\n")
        side, reduced = side_pixels, copy_check.REDUCED_SIDE_PIXELS
        sizes = (side * side, hash_search.HASH_BYTES, hash_search.HASH_BYTES, reduced * reduced)
        parts = np.split(np.frombuffer(pixels, np.uint8), np.cumsum(sizes))
        # Copies: fingerprints stay in memory, the canonical pixels must not.
        square, upright, mirrored, small, views = (part.copy() for part in parts)
        small, views = small.reshape(reduced, reduced), views.reshape(-1, reduced, reduced)
        fingerprints = Fingerprints(upright, mirrored, small, views)
        return cls(json.loads(columns), square.reshape(side, side), fingerprints)


@dataclasses.dataclass(frozen=True)
class _BegunFile:
    """A file that was read once.

    Attributes:
        source: with the SHA-256 of what was read.
        columns: of its row, as far as they are known without decoding.
        image: known from an earlier run, or the reason why there is none; None: to be decoded.
    """

    source: SourceFile
    columns: dict[str, Any]
    image: ExaminedFile | None

    def shared(self) -> SourceFile:
        """Return the file as another machine opens it."""
        return dataclasses.replace(self.source, path=self.source.path.absolute())

    def with_image(self, image: ExaminedFile) -> ExaminedFile:
        """Return `image` with all columns of the file."""
        return dataclasses.replace(image, columns=self.columns | image.columns)


@dataclasses.dataclass(frozen=True)
class DecodedFile:
    """What decoding adds to a begun file: columns and pixels, or the reason why it is no image."""

    image: ExaminedFile
    patient: str = dataclasses.field(default="", repr=False)  # in the clear: for memory alone


@dataclasses.dataclass(frozen=True)
class Examiner:
    """Examines source files: images that are `known` by their SHA-256 are not decoded.

    Attributes:
        canonical: what images become.
        key: of the patients' hashes.
        known: results of an earlier run, and those of this one.
        nodes_of: opens a place of work on other machines that open the same files; None: there is
            none, threads of this process do it all.
    """

    canonical: Canonical
    key: bytes = dataclasses.field(repr=False)
    known: KnownResults | None = None
    nodes_of: Callable[[], Place] | None = None

    def examine(self, source: SourceFile) -> ExaminedFile:
        """Read one file once; whatever is wrong with it becomes its reason.

        `ManifestError` if it is not what the manifest says.

        The patient that a DICOM header tells is in the columns as a hash. pixel_sha256 is of the
        whole image; pixels and fingerprints are without its margins if these are cut off.
        """
        file, content = self._begin(source)
        return file.with_image(
            file.image or self._finished(file, _decode(source, content, self.canonical))
        )

    def examine_all(self, sources: Sequence[SourceFile]) -> Iterator[ExaminedFile]:
        """Yield every source in order, each as `examine` returns it.

        Files that are large on average are decoded by nodes, if there are any. `ExecutionError`
        where a node has not the same files.
        """
        mean = _mean_bytes(sources) if self.nodes_of else 0.0
        by_nodes = mean >= NODES_FROM_BYTES
        if self.nodes_of:
            who = "nodes decode" if by_nodes else "this machine decodes"
            log.info("%.1f MB a file on average: %s", mean / 1e6, who)
        with (
            Threads() as threads,
            tqdm(total=len(sources), desc="ingest", unit="file", disable=None) as bar,
        ):
            if self.nodes_of and by_nodes:
                chunks = _cut(sources, max(1, int(NODE_TASK_BYTES / mean)))
                found = self._decoded_by_nodes(chunks, threads, self.nodes_of)
            else:
                found = ordered(
                    threads, self._examine_some, [], _cut(sources, TASK_FILES), name=_name
                )
            for examined in itertools.chain.from_iterable(found):
                bar.update()
                yield examined

    def _examine_some(self, sources: Sequence[SourceFile]) -> list[ExaminedFile]:
        # The decoders release the interpreter's lock.
        return [self.examine(source) for source in sources]

    def _decoded_by_nodes(
        self,
        chunks: Iterable[Sequence[SourceFile]],
        threads: Place,
        nodes_of: Callable[[], Place],
    ) -> Iterator[Sequence[ExaminedFile]]:
        """Yield the chunks; where all is known, no place of work is asked for."""
        begun = ordered(threads, self._begin_some, [], chunks, name=_name)
        waiting: deque[Sequence[_BegunFile]] = deque()

        def to_decode(some_begun: Iterable[Sequence[_BegunFile]]) -> Iterator[list[SourceFile]]:
            for files in some_begun:
                waiting.append(files)
                yield [file.shared() for file in files if file.image is None]

        for files in begun:
            if all(file.image for file in files):
                yield [file.with_image(file.image) for file in files if file.image]
                continue
            asked = to_decode(itertools.chain([files], begun))
            for decoded in ordered(nodes_of(), decode_some, [self.canonical], asked, name=_name):
                found = iter(decoded)
                yield [
                    file.with_image(file.image or self._finished(file, next(found)))
                    for file in waiting.popleft()
                ]

    def _begin_some(self, sources: Sequence[SourceFile]) -> list[_BegunFile]:
        """Begin some files without keeping what was read."""
        return [self._begin(source)[0] for source in sources]

    def _begin(self, source: SourceFile) -> tuple[_BegunFile, bytes]:
        """Read a file and look for its image in what is known; the file's content too."""
        row = {name: UNKNOWN[kind] for name, kind in COLUMNS.items()}
        row |= dict.fromkeys(("class_index", "pixel_row", "picture", "group"), -1)
        row |= {"source": source.name, "label": source.label, "part": source.part, "status": USED}
        try:
            content = source_files.read(source)
        except UnreadableImage as reason:
            return _BegunFile(source, row, _refused(source, reason)), b""
        row |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        manifest.check_content(source, row["sha256"])
        source = dataclasses.replace(source, sha256=row["sha256"])
        return _BegunFile(source, row, self._known_image(row["sha256"])), content

    def _known_image(self, sha256: str) -> ExaminedFile | None:
        digest = bytes.fromhex(sha256)
        value = self.known.get(digest) if self.known else None
        if self.known is None or value is None:
            return None
        self.known.add(digest, value)
        return ExaminedFile.unpacked(value, self.canonical.side_pixels)

    def _finished(self, file: _BegunFile, decoded: DecodedFile) -> ExaminedFile:
        """The image of a file with the hash of its patient's number; kept for the next run."""
        image = decoded.image
        if image.canonical is None:
            return image
        patient = patients.hashed(decoded.patient, self.key)
        image = dataclasses.replace(image, columns={**image.columns, "patient": patient})
        if self.known:
            self.known.add(bytes.fromhex(file.source.sha256), image.packed())
        return image


def decode_some(canonical: Canonical, sources: Sequence[SourceFile]) -> list[DecodedFile]:
    """Decode some files that another machine has begun; a task of a place of work.

    Raises:
        ExecutionError: a file is not here, or another one.
    """
    return [_decode(source, _same_content(source), canonical) for source in sources]


def trial() -> str:
    """Return a digest of what some generated films are decoded to, and of registered pairs."""
    digest = hashlib.sha256(copy_check.trial().encode())
    for content in _trial_files():
        image = _decode(SourceFile("trial", Path(), ""), content, TRIAL).image
        is_read = image.canonical is not None
        digest.update(image.packed() if is_read else str(image.columns).encode())
    return digest.hexdigest()


def _decode(source: SourceFile, content: bytes, canonical: Canonical) -> DecodedFile:
    try:
        image = image_formats.decode_radiograph(
            content, canonical.maximum_megapixels, canonical.dicom
        )
        margins = borders.measure(image.pixels)
        pixels = borders.crop(image.pixels, margins) if canonical.crop_borders else image.pixels
        fingerprints = Fingerprints.of(pixels)
    except UnreadableImage as reason:
        return DecodedFile(_refused(source, reason))
    columns = {
        "pixel_sha256": _pixel_sha256(image.pixels),
        "perceptual_hash": fingerprints.upright.tobytes().hex(),
        **_header_columns(image),
        **{f"border_{name}": width for name, width in dataclasses.asdict(margins).items()},
    }
    square = canonical_image.fit(pixels, canonical.side_pixels, canonical.fit)
    return DecodedFile(ExaminedFile(columns, square, fingerprints), image.patient)


def _refused(source: SourceFile, reason: UnreadableImage) -> ExaminedFile:
    status = REJECTED if source.listed else UNLISTED
    return ExaminedFile({"status": status, "reason": str(reason)})


def _header_columns(image: Decoded) -> dict[str, Any]:
    """What the file itself says, but for its patient."""
    height, width = image.pixels.shape
    names = (field.name for field in dataclasses.fields(image) if field.name in COLUMNS)
    told = {name: getattr(image, name) for name in names if name != "patient"}
    return {**told, "width": width, "height": height}


def _pixel_sha256(image: Pixels) -> str:
    """The hash of the shape as text and the gray values, row by row."""
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _same_content(source: SourceFile) -> bytes:
    """The content of a file on this machine, if it is that of the machine that began it."""
    try:
        content = source_files.read(source)
    except UserError as error:
        raise ExecutionError(f"{platform.node()}: {error}: give execution.files=sent") from error
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise ExecutionError(
            f"{source.path} is another file on {platform.node()}: give execution.files=sent"
        )
    return content


def _cut(sources: Sequence[SourceFile], count: int) -> Iterator[Sequence[SourceFile]]:
    return (sources[start : start + count] for start in range(0, len(sources), count))


def _name(file: SourceFile) -> str:
    return file.name


def _mean_bytes(sources: Sequence[SourceFile]) -> float:
    """Mean size of some of the files, evenly spread."""
    sizes = [0]
    for source in sources[:: len(sources) // SAMPLED_FILES + 1]:
        with contextlib.suppress(OSError):
            sizes.append(0 if source.obstacle else source.path.stat().st_size)
    return sum(sizes) / max(1, len(sizes) - 1)


def _trial_files() -> Iterator[bytes]:
    """Yield a generated film as PNG, as JPEG 2000 and as JPEG in DICOM, the last for GDCM."""
    from pydicom import uid

    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 8), np.uint8))
    shown = coarse.resize((96, 120), Image.Resampling.BILINEAR)
    deep = Image.fromarray(np.asarray(shown, np.uint16) * 16)
    yield _encoded(deep, "PNG")
    yield _dicom(deep, _encoded(deep, "JPEG2000", no_jp2=True), uid.JPEG2000Lossless)
    yield _dicom(shown, _encoded(shown, "JPEG"), uid.JPEGExtended12Bit)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _dicom(image: Image.Image, frame: bytes, syntax: str) -> bytes:
    """A DICOM file of `image`, of which `frame` is the codestream."""
    import pydicom
    from pydicom import encaps, uid

    made, stream = pydicom.Dataset(), io.BytesIO()
    made.SOPClassUID, made.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, "1.2.3"
    made.Columns, made.Rows = image.size
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored = (8, 8) if image.mode == "L" else (16, 12)
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, 0
    made.PixelData = encaps.encapsulate([frame])
    made["PixelData"].VR = "OB"
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()

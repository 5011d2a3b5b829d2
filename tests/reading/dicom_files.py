"""DICOM files by hand, with whatever elements a test asks for."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

RAMP: npt.NDArray[np.uint16] = np.arange(48, dtype=np.uint16).reshape(6, 8) * 85 + 20  # 12 bits


def dataset(stored: npt.NDArray[Any] = RAMP, **elements: Any) -> FileDataset:
    """An uncompressed image of `stored`, 12 bits unless the elements say otherwise."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, UID("1.2.3")
    made.Rows, made.Columns = stored.shape[:2]
    made.SamplesPerPixel = stored.shape[2] if stored.ndim == 3 else 1
    if stored.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = 8 * stored.dtype.itemsize
    made.BitsStored = min(12, made.BitsAllocated)
    made.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
    made.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
    made.PixelData = stored.tobytes()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.HighBit = elements.get("HighBit", made.BitsStored - 1)
    return made


def header(**elements: Any) -> Dataset:
    """A data set of these elements."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom about what is wrong on purpose
        for keyword, value in elements.items():
            setattr(made, keyword, value)
    return made


def dicom(stored: npt.NDArray[Any] = RAMP, **elements: Any) -> bytes:
    """The bytes of such a file."""
    return written(dataset(stored, **elements))


def written(made: FileDataset) -> bytes:
    """The bytes of a file with this data set."""
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def encapsulated(frame: bytes, syntax: UID, made: FileDataset) -> bytes:
    """The bytes of a file with `frame` as its compressed pixels."""
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate([frame])
    made["PixelData"].VR = "OB"
    return written(made)


def transcoded(content: bytes, syntax: str, folder: Path) -> bytes:
    """The same file in GDCM's transfer syntax of that name."""
    import gdcm

    source, target = folder / "source.dcm", folder / "target.dcm"
    source.write_bytes(content)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target.read_bytes()


def table(
    entries: npt.NDArray[np.uint16], first: int, bits: int = 16, vr: str = "US"
) -> list[Dataset]:
    """A sequence with one lookup table, its descriptor in the representation `vr`."""
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return [item]


def jpeg(image: npt.NDArray[np.uint8], **options: Any) -> bytes:
    """A JPEG codestream."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", **options)
    return stream.getvalue()


def jpeg_2000(image: npt.NDArray[Any]) -> bytes:
    """A lossless JPEG 2000 codestream."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG2000", no_jp2=True, irreversible=False)
    return stream.getvalue()

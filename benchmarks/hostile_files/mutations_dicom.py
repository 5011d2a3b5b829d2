"""Damage to the attributes of DICOM files: extremes, other lengths, deep sequences, lies."""

from __future__ import annotations

import io
import random
import struct
import warnings
from collections.abc import Callable
from typing import Any, Final

import pydicom
from pydicom import config, encaps, uid

US: Final = (0, 1, 2, 3, 7, 8, 12, 16, 17, 32, 64, 4000, 8000, 32_767, 32_768, 65_535)
DS: Final = (
    *("", "0", "-0", "1", "-1", "-1.5", "0.5", "NaN", "inf", "-inf", "1e308", "-1e308", "1e-308"),
    *("1e999", "12345678901234567890", "0x10", "1,5", "1\\2\\3", "\\", " ", "x", "9" * 300),
)
NUMBERS: Final = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel"),
    *("PixelRepresentation", "PlanarConfiguration", "PixelPaddingValue", "PixelPaddingRangeLimit"),
)
DECIMALS: Final = (
    *("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelSpacing"),
    *("ImagerPixelSpacing", "NumberOfFrames"),
)
TEXTS: Final = (
    *("PhotometricInterpretation", "VOILUTFunction", "PatientAge", "PatientSex", "PatientID"),
    *("ImageLaterality", "Manufacturer", "ManufacturerModelName", "SpecificCharacterSet"),
)
PHRASES: Final = (
    *(
        "",
        "MONOCHROME1",
        "MONOCHROME2",
        "PALETTE COLOR",
        "RGB",
        "YBR_FULL",
        "YBR_FULL_422",
        "YBR_RCT",
    ),
    *("ARGB", "SIGMOID", "LINEAR_EXACT", "999Y", "000D", "L", "ISO_IR 999", "ISO 2022 IR 87"),
    *("\x1b$B", "\n\n", "a\\b\\c", "x" * 10_000, "../../etc/passwd", "<script>", "%s%n", "\udcff"),
)
REPRESENTATIONS: Final = ("US", "SS", "UL", "OB", "OW", "UN", "DS", "IS", "LO", "SQ", "AT", "FD")
DEPTHS: Final = (3, 50, 1500, 20_000)
Step = Callable[[random.Random, Any], None]


def damaged(dice: random.Random, content: bytes) -> bytes:
    """Attributes changed and the file written anew, or its bytes where pydicom cannot."""
    if dice.random() < 0.15:
        return _with_deep_sequence(dice, content)
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(content), force=True)
            for _ in range(dice.choice((1, 1, 2, 4))):
                dice.choice(STEPS)(dice, dataset)
            stream = io.BytesIO()
            dataset.save_as(stream, enforce_file_format=False)
            return stream.getvalue()
    except Exception:  # what cannot be written is patched
        return _patched(dice, content)


def _number(dice: random.Random, dataset: Any) -> None:
    setattr(dataset, dice.choice(NUMBERS), dice.choice(US))


def _decimal(dice: random.Random, dataset: Any) -> None:
    """As bytes: pydicom would refuse most of these."""
    keyword, text = dice.choice(DECIMALS), dice.choice(DS)
    _set_raw(dataset, keyword, "IS" if keyword == "NumberOfFrames" else "DS", text.encode())


def _text(dice: random.Random, dataset: Any) -> None:
    text = dice.choice(PHRASES).encode("utf-8", "surrogateescape")
    _set_raw(dataset, dice.choice(TEXTS), "LO", text)


def _set_raw(dataset: Any, keyword: str, representation: str, value: bytes) -> None:
    tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(keyword))
    padded = value + b" " * (len(value) % 2)
    implicit, little = dataset.original_encoding
    dataset[tag] = pydicom.dataelem.RawDataElement(
        tag, representation, len(padded), padded, 0, bool(implicit), little is not False
    )


def _representation(dice: random.Random, dataset: Any) -> None:
    """An attribute with the bytes of another kind."""
    keyword = dice.choice((*NUMBERS, *DECIMALS, *TEXTS))
    size = dice.choice((0, 1, 2, 4, 6, 40))
    _set_raw(dataset, keyword, dice.choice(REPRESENTATIONS), dice.randbytes(size))


def _without(dice: random.Random, dataset: Any) -> None:
    tag = dice.choice(list(dataset.keys()))
    del dataset[tag]


def _pixels(dice: random.Random, dataset: Any) -> None:
    """Too few, too many, of another kind, or in odd fragments."""
    if "PixelData" not in dataset:
        return
    data = bytes(dataset.PixelData)
    at = dice.randrange(max(len(data), 1))
    made = dice.choice(
        (
            data[:at],
            data * 2,
            b"",
            encaps.encapsulate([data[:at], data[at:]] if at > 0 else [data or b"\0"]),
            data[:at] + dice.randbytes(16) + data[at + 16 :],
            data[:at] + struct.pack("<I", dice.choice((0, 1, 2**31, 2**32 - 1))) + data[at + 4 :],
        )
    )
    dataset["PixelData"].value = made + b"\0" * (len(made) % 2)


def _syntax(dice: random.Random, dataset: Any) -> None:
    """A transfer syntax that is not that of the bytes."""
    syntax = dice.choice((*map(str, uid.AllTransferSyntaxes), "1.2.3", ""))
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)


def _table(dice: random.Random, dataset: Any) -> None:
    """A lookup table whose descriptor and data disagree."""
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [dice.choice(US) for _ in range(dice.choice((1, 3, 3, 4)))])
    item.add_new("LUTData", "OW", dice.randbytes(2 * dice.choice((0, 1, 16, 256, 4096))))
    keyword = dice.choice(("ModalityLUTSequence", "VOILUTSequence"))
    setattr(dataset, keyword, [item] * dice.choice((0, 1, 2)))


def _palette(dice: random.Random, dataset: Any) -> None:
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        descriptor = [
            dice.choice((0, 1, 256, 65_535)),
            dice.choice(US),
            dice.choice((0, 8, 16, 99)),
        ]
        dataset.add_new(f"{name}Descriptor", "US", descriptor)
        segmented = dice.choice(("Segmented", ""))
        data = dice.randbytes(dice.choice((0, 2, 512, 131_072)))
        dataset.add_new(f"{segmented}{name}Data", "OW", data)


STEPS: Final[tuple[Step, ...]] = (
    *(_number, _number, _number, _decimal, _decimal, _text, _representation, _without),
    *(_pixels, _pixels, _syntax, _table, _palette),
)


def _with_deep_sequence(dice: random.Random, content: bytes) -> bytes:
    """Sequences within sequences before the rest, or behind it, closed or not."""
    depth = dice.choice(DEPTHS)
    tag = dice.choice(((0x0028, 0x3010), (0x0028, 0x3000), (0x0008, 0x1140), (0x0040, 0xA730)))
    begin = struct.pack("<HH2sHI", *tag, b"SQ", 0, 0xFFFFFFFF)
    begin += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    nest = begin * depth + (end * depth if dice.random() < 0.7 else b"")
    at = _after_meta(content) if dice.random() < 0.7 else len(content)
    return content[:at] + nest + content[at:]


def _after_meta(content: bytes) -> int:
    """Where the data set begins, by the group's length that stands first."""
    size = int.from_bytes(content[140:144], "little") if content[128:132] == b"DICM" else 0
    return min(144 + size, len(content))


def _patched(dice: random.Random, content: bytes) -> bytes:
    """An attribute's length, or what follows its tag, with an extreme in place."""
    tag = dice.choice(((0x28, 0x10), (0x28, 0x11), (0x28, 0x100), (0x28, 0x101), (0x7FE0, 0x10)))
    at = content.find(struct.pack("<HH", *tag))
    if at < 0:
        at = dice.randrange(max(len(content) - 12, 1))
    place, size = dice.choice(((4, 2), (6, 2), (8, 2), (8, 4), (4, 4)))
    number = dice.choice((0, 1, 255, 2 ** (8 * size - 1), 2 ** (8 * size) - 1))
    made = bytearray(content.ljust(at + 12, b"\0"))
    made[at + place : at + place + size] = number.to_bytes(size, "little")
    return bytes(made)

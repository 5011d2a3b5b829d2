"""Names of models and baselines as people write them."""

from __future__ import annotations

from typing import Final

NAMES: Final = {"mobilenet": "MobileNet", "xception": "Xception"}
SHORTCUTS: Final = {  # what each sees, for who has not read the audit
    "majority": "always answering the most frequent class",
    "metadata": "a model that sees only the size and format of the file",
    "border": "a model that sees only the image border",
    "nearest_neighbour": "a look-up of the most similar image",
    "origin": "a model that knows only where the image comes from",
}


def called(name: str) -> str:
    """Return a model's or a baseline's name as people write it."""
    if name in SHORTCUTS:
        return SHORTCUTS[name]
    text = name.replace("_", " ")
    for written, spoken in NAMES.items():  # also in "linear probe on mobilenet"
        text = text.replace(written, spoken)
    return text


def capitalised(name: str) -> str:
    """Return the same for the beginning of a line."""
    text = called(name)
    return text[:1].upper() + text[1:]

"""Names and texts from users and files as messages show them: short, listed, on one line."""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

# Texts that Hydra takes as they are; others, such as null, it would take for something else.
PLAIN: Final = re.compile(r"(?!(?i:null|true|false|nan|inf)$)[A-Za-z_][\w.-]*|\d+", re.ASCII)


def shortened(text: str, longest: int) -> str:
    """Return `text` with at most `longest` characters, the last an ellipsis if it was cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def printable(text: str, instead: str = "?") -> str:
    """Return `text` with `instead` for every control character."""
    return "".join(letter if letter.isprintable() else instead for letter in text)


def escaped(name: str) -> str:
    """Return the name of a file with escapes for bytes that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def quoted(text: str, longest: int = 80) -> str:
    """Return `text` shortened and in quotation marks, with control characters escaped."""
    return repr(shortened(text, longest))


def listed(names: Sequence[object], most: int = 8, total: int | None = None) -> str:
    """Return the first `most` of `names` and how many more there are: "a, b and 3 more".

    `total` is the number of all names, where `names` are the first of them only.
    """
    more = (len(names) if total is None else total) - min(most, len(names))
    return ", ".join(map(str, names[:most])) + (f" and {more} more" if more > 0 else "")


def override(key: str, names: Sequence[str]) -> str:
    """Return words for the command line that set a list, in the quotes that Hydra needs, too."""
    if all(PLAIN.fullmatch(name) for name in names):
        return f"-S '{key}=[{','.join(names)}]'"
    in_quotes = ",".join("'" + name.replace("'", "\\'") + "'" for name in names)
    for_the_shell = re.sub('[`$"]', r"\\\g<0>", in_quotes)
    return f'-S "{key}=[{for_the_shell}]"'


@functools.lru_cache(1 << 12)
def folded(text: str) -> str:
    """Return what `text` has in common with every text that reads the same to a person.

    Case, Unicode form, the kind and number of blanks, and invisible characters do not count.
    """
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(letter for letter in once if unicodedata.category(letter) != "Cf")
    return " ".join(seen.split())

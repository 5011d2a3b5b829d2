"""What file names tell of copies: "knee 7_aug_2" is derived from "knee 7"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath


class LineageError(ValueError):
    """A pattern for the names of copies cannot be used."""


def compile_patterns(
    patterns: Sequence[str], key: str = "ingest.lineage_patterns"
) -> list[re.Pattern[str]]:
    """The parameter `key` as expressions.

    Raises:
        LineageError: one is not a regular expression.
    """
    try:
        return [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise LineageError(f"{key}: {error.pattern!r}: {error}") from error


def source_stem(stem: str, patterns: Sequence[re.Pattern[str]]) -> str:
    """`stem` without the marks of derived copies: "knee 7_aug_2" is derived from "knee 7"."""
    cut = stem
    for pattern in patterns:
        cut = pattern.sub("", cut) or cut
    return cut if cut == stem else source_stem(cut, patterns)


def lineage_keys(sources: Sequence[str], patterns: Sequence[re.Pattern[str]]) -> list[str]:
    """One key a source path: equal for an image and its copies in the same folder, else "".

    Copies without their source are still one family. The same stem with two extensions is no
    family by itself: their pixels decide.
    """
    keys: list[str] = []
    families: set[str] = set()
    for source in sources:
        path = PurePosixPath(source)
        key = str(path.with_name(source_stem(path.stem, patterns)))
        keys.append(key)
        if key != str(path.with_suffix("")):
            families.add(key)
    return [key if key in families else "" for key in keys]

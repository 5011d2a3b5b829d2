"""Copies by their file names: "knee 7_aug_2" is derived from "knee 7"."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from knee.run import parameters


@dataclasses.dataclass(frozen=True)
class Patterns:
    """Marks at the end of a copy's stem.

    Attributes:
        derived: such a name alone tells a copy, whether its source is there or not.
        copies: such a name tells a copy only beside its source: "knee (1)" and "knee (2)" may be
            two radiographs, "knee" and "knee (1)" are a file manager's copies.
    """

    derived: Sequence[re.Pattern[str]]
    copies: Sequence[re.Pattern[str]] = ()


def patterns_of(ingest: parameters.Ingest) -> Patterns:
    """Return the compiled patterns of the section ingest."""
    return compile_patterns(ingest.lineage_patterns, ingest.copy_patterns)


def compile_patterns(derived: Sequence[str], copies: Sequence[str] = ()) -> Patterns:
    """Return ingest.lineage_patterns and ingest.copy_patterns, compiled."""
    return Patterns(
        [re.compile(pattern) for pattern in derived], [re.compile(pattern) for pattern in copies]
    )


def source_stem(stem: str, patterns: Patterns) -> str:
    """Return `stem` without the marks of copies: "knee 7" for "knee 7_aug_2"."""
    return _cut(stem, [*patterns.derived, *patterns.copies])


def originals(sources: Sequence[str], patterns: Patterns) -> npt.NDArray[np.bool_]:
    """Return bool (sources,): False for copies that their file names call derived."""
    stems = [PurePosixPath(source).stem for source in sources]
    return np.array([source_stem(stem, patterns) == stem for stem in stems], np.bool_)


def lineage_keys(sources: Sequence[str], patterns: Patterns) -> list[str]:
    """Return a key for each source: equal for an image and its copies in the same folder, else "".

    Derived images without their source are still one family. The same stem with two extensions is
    no family by itself: their pixels decide.
    """
    keys: list[str] = []
    families: set[str] = set()
    paths = [PurePosixPath(source).with_suffix("") for source in sources]
    present = set(paths)
    for path in paths:
        beside = path.with_name(_cut(path.name, patterns.copies))
        source = beside if beside in present else path
        key = source.with_name(_cut(source.name, patterns.derived))
        keys.append(str(key))
        if key != path:
            families.add(str(key))
    return [key if key in families else "" for key in keys]


def _cut(stem: str, patterns: Sequence[re.Pattern[str]]) -> str:
    """`stem` without what the patterns match, again and again; never empty."""
    cut = stem
    for pattern in patterns:
        cut = pattern.sub("", cut) or cut
    return cut if cut == stem else _cut(cut, patterns)

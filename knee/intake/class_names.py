"""Names of classes: which of them are one, which can be used, and the order of their scale."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from knee.run.errors import UserError
from knee.run.messages import folded, listed, quoted

MOST_CHARACTERS: Final = 60  # results, charts and files are named after classes
FORBIDDEN: Final = set("/\\|")  # folders; what stands between the names of a prediction set
WHO: Final = ("normal", "osteopenia", "osteoporosis")
WHOLE: Final = re.compile(r"(-?)(\d+)([.,]0+)?")  # pandas writes grade 2 as 2.0
GRADE: Final = re.compile(r"(?:((?:kl[ _-]?)?grade|kl|stage|level|class)[ _-]?)?(-?\d+)")
log = logging.getLogger(__name__)


class ClassNameError(UserError):
    """Classes whose names or order cannot be used."""


def key(name: str) -> str:
    """Return what `name` has in common with other spellings of the same class."""
    whole = WHOLE.fullmatch(folded(name))
    return f"{whole[1]}{int(whole[2])}" if whole else folded(name)


def spellings(labels: Iterable[str], classes: Sequence[str], shown: object) -> dict[str, str]:
    """Return the class of each label, as `classes` spell it, else as most of the labels do.

    Labels that differ in case, blanks or Unicode form, or as 2 and 2.0 do, are one class.
    """
    counts = Counter(labels)
    spelled: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label.encode())):
        whole = WHOLE.fullmatch(label)
        spelled.setdefault(key(label), key(label) if whole and whole[3] else label)
    spelled |= {key(name): name for name in classes}
    result = {label: spelled[key(label)] for label in counts}
    others = [
        f"{quoted(label)} ({counts[label]}) as {quoted(name)}"
        for label, name in result.items()
        if label != name
    ]
    if others:
        log.warning("%s: labels are read in one spelling: %s", shown, listed(others))
    return result


def check(names: Sequence[str], shown: object) -> None:
    """Refuse names that results cannot bear, and two that a reader takes for one.

    Raises:
        ClassNameError: it names them.
    """
    for name in names:
        usable = name.isprintable() and not set(name) & FORBIDDEN and not name.startswith("=")
        if not usable or len(name) > MOST_CHARACTERS:
            raise ClassNameError(
                f"{shown}: {quoted(name)} cannot be the name of a class: use at most "
                f"{MOST_CHARACTERS} letters, without / \\ | and without = at the start"
            )
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(key(name), name)
        if other != name:
            raise ClassNameError(
                f"{shown} has the classes {quoted(other)} and {quoted(name)}: give them one name, "
                "or names that differ in more than case, blanks and Unicode form"
            )


def in_order(names: Sequence[str], shown: object) -> list[str]:
    """Return the `names` of a scale from least to most severe; two are in the order of their bytes.

    Raises:
        ClassNameError: more names, whose order only a person knows.
    """
    known = known_order(names) or (sorted(names, key=str.encode) if len(names) <= 2 else [])
    if not known:
        raise ClassNameError(
            f"{shown} has the classes {listed(names)}, whose order is not known: give it, from "
            f"least to most severe, as in -S 'data.classes=[{','.join(names)}]'"
        )
    return known


def check_order(classes: Sequence[str]) -> None:
    """Raise `ClassNameError` for data.classes that are a known scale in another order."""
    known = known_order(classes)
    if known and list(classes) not in (known, known[::-1]):
        raise ClassNameError(
            f"data.classes has {listed(classes)} in this order, but their scale is {listed(known)}"
        )


def known_order(names: Sequence[str]) -> list[str]:
    """Return the names of numbered grades, or of the WHO's classes, in order; [] for others."""
    grades = {name: grade for name in names if (grade := GRADE.fullmatch(key(name)))}
    if len(grades) == len(names) and len({grade[1] for grade in grades.values()}) == 1:
        return sorted(names, key=lambda name: int(grades[name][2]))
    if {key(name) for name in names} == set(WHO):
        return sorted(names, key=lambda name: WHO.index(key(name)))
    return []

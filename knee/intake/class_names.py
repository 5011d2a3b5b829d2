"""Names of classes: which of them are one, which can be used, and the order of their scale."""

from __future__ import annotations

import difflib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from knee.intake.sheet_columns import LIKENESS
from knee.run.errors import UserError
from knee.run.messages import folded, listed, override, quoted

MOST_CHARACTERS: Final = 60  # results, charts and files are named after classes
FORBIDDEN: Final = set("/\\|")  # folders; what stands between the names of a prediction set
WHO: Final = ("normal", "osteopenia", "osteoporosis")
WHOLE: Final = re.compile(r"(-?)(\d+)([.,]0+)?")  # pandas writes grade 2 as 2.0
SYSTEM: Final = r"(?:klg?|k-l|kellgren[ _-]?(?:and|&)?[ _-]?lawrence)"
GRADE: Final = re.compile(
    rf"(?:((?:{SYSTEM}[ _-]?)?grade|{SYSTEM}|g|stage|level|class)[ _-]?)?(-?\d+)"
)
WORDS: Final = r"([\W_]*[^\W\d_].*)?"  # behind a grade: "0 Normal", "KL 1 (doubtful)"
NUMBERED: Final = re.compile(GRADE.pattern + WORDS)
FINDINGS: Final = re.compile(  # words of class names
    r"normal|abnormal|healthy|osteo\w*|oa|non?[ _-]?oa|none|doubtful|minimal|mild|moderate|severe"
    r"|positive|negative|controls?|cases?"
)
NO_FINDINGS: Final = re.compile(  # how else images are sorted: by side, view, sex, kind or delivery
    r"l|r|left|right|ap|pa|lat|lateral|m|f|male|female|internal|external"
    r"|images?|masks?|labels?|annotations?|img|jpe?g|png|dicom|dcm"
    r"|(part|fold|batch|set|subset|split|site|hospital|cent(er|re)|dataset)[ _-]?(\d+|[a-z])"
)
MOST_INNER: Final = 10  # more folders are those of patients
log = logging.getLogger(__name__)


class ClassNameError(UserError):
    """Classes whose names or order cannot be used."""


def key(name: str) -> str:
    """Return what `name` has in common with other spellings of the same class."""
    text = folded(name)
    if whole := WHOLE.fullmatch(text):
        return f"{whole[1]}{int(whole[2])}"
    if (grade := GRADE.fullmatch(text)) and grade[1]:
        return f"{re.sub('[ _-]', '', grade[1])} {int(grade[2])}"
    return re.sub(r"(?<=\w)[ _-]+(?=[^\W\d_])", " ", text)


def spellings(labels: Iterable[str], classes: Sequence[str], shown: object) -> dict[str, str]:
    """Return the class of each label, as `classes` spell it, else as most of the labels do.

    Labels that differ in case, blanks, hyphens or Unicode form, or as 2 and 2.0 do, are one class.
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
                "or names that differ in more than case, blanks, hyphens and Unicode form"
            )


def check_level(outer: Sequence[str], inner: Sequence[str], shown: object) -> None:
    """Refuse folders `outer`, perhaps sites or sides, where the `inner` in each may be the classes.

    Raises:
        ClassNameError: it tells how to say which of them are the classes.
    """
    certain = _likeness(outer) == 2 or _likeness(inner) < _likeness(outer)
    if len(outer) < 2 or not 2 <= len(inner) <= MOST_INNER or certain:
        return
    raise ClassNameError(
        f"{shown} has the folders {listed(outer)}, and in each {listed(inner)}: for classes "
        f"{listed(inner)} give {override('data.parts', outer)}, for classes {listed(outer)} "
        f"{override('data.classes', outer)} (from least to most severe)"
    )


def _likeness(names: Sequence[str]) -> int:
    """How much names are like those of classes: 2 by their words, 1 grades, 0 others, -1 not."""
    words = set(map(key, names))
    if words == set(WHO) or any(map(FINDINGS.fullmatch, words)):
        return 2
    return -1 if all(map(NO_FINDINGS.fullmatch, words)) else int(bool(_by_number(names)))


def in_order(names: Sequence[str], shown: object) -> list[str]:
    """Return the `names` of a scale from least to most severe; two are in the order of their bytes.

    Raises:
        ClassNameError: more names, whose order only a person knows.
    """
    if len(names) > 1 and _likeness(names) < 0:
        raise ClassNameError(
            f"{shown} has the classes {listed(names)}, which do not read like findings: set "
            "data.path to a folder above or below that holds a folder per class, or, if they are "
            f"classes, give {override('data.classes', names)}"
        )
    known = known_order(names) or _by_number(names)
    if not known and len(names) <= 2:
        known = sorted(names, key=str.encode)
    if not known:
        raise ClassNameError(
            f"{shown} has the classes {listed(names)}, whose order is not known{_misspelt(names)}: "
            f"give it, from least to most severe, as in {override('data.classes', names)} (after "
            "`make films` as classes in conf/data/mine.yaml)"
        )
    if len(known) > 2:
        log.info("%s: classes from least to most severe: %s", shown, listed(known))
    return known


def _misspelt(names: Sequence[str]) -> str:
    """A question about the first name that is nearly one of the WHO's classes, if there is one."""
    for name in names:
        near = difflib.get_close_matches(key(name), WHO, 1, LIKENESS)
        if near and key(name) not in WHO:
            return f" (is {quoted(name)} meant to be {near[0]}?)"
    return ""


def check_order(classes: Sequence[str]) -> None:
    """Raise `ClassNameError` for data.classes that are a known scale in another order."""
    known = known_order(classes)
    if known and list(classes) not in (known, known[::-1]):
        raise ClassNameError(
            f"data.classes has {listed(classes)} in this order, but their scale is {listed(known)}"
        )


def known_order(names: Sequence[str]) -> list[str]:
    """Return the names of numbered grades, or of the WHO's classes, in order; [] for others."""
    if grades := _by_number(names, GRADE):
        return grades
    if {key(name) for name in names} == set(WHO):
        return sorted(names, key=lambda name: WHO.index(key(name)))
    return []


def _by_number(names: Sequence[str], pattern: re.Pattern[str] = NUMBERED) -> list[str]:
    """The names in the order of their numbers, if each has its own, and all are alike before it."""
    found = {name: match for name in names if (match := pattern.fullmatch(key(name)))}
    before = {match[1] for match in found.values()}
    numbers = {int(match[2]) for match in found.values()}
    if len(before) != 1 or len(numbers) < len(names):
        return []
    return sorted(names, key=lambda name: int(found[name][2]))

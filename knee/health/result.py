"""What a check found, and the report of all of them."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from knee.run.errors import UserError
from knee.run.messages import printable
from knee.tracking.store import brief

NAMES_SHOWN = 8
WIDTH = 100  # letters of a line
INDENT = 28  # letters before what was found


class HealthError(UserError):
    """Something that a check needs cannot be read; the message says what and what to do."""


@dataclass(frozen=True)
class Result:
    """What a check found."""

    status: Literal["ok", "mended", "fault"]  # fault: something is left for a person to do
    found: str  # one sentence
    remedy: str = ""  # what to do about it, if anything
    names: tuple[str, ...] = ()  # files, runs or packages it is about; the first few are shown
    mending: Callable[[], str] | None = None  # returns what it did, "" if it could not


def guarded(look: Callable[[], Result], *, mend: bool) -> Result:
    """Return the result of `look`, with `mend` after mending; an error is a fault of its own."""
    try:
        result = look()
        if mend and result.mending is not None and (done := result.mending()):
            return Result("mended", f"{result.found}: {done}", names=result.names)
        return result
    except HealthError as error:
        return Result("fault", str(error))
    except Exception as error:
        remedy = "put that right first, then run the doctor again"
        return Result("fault", f"could not be checked: {brief(error)}", remedy)


def text(check: str, result: Result) -> str:
    """Return a result's lines: status, check and what was found, then names and remedy."""
    indent = " " * INDENT
    head = f"{result.status:<8}{check:<{INDENT - 8}}"
    lines = textwrap.wrap(f"{head}{printable(result.found)}", WIDTH, subsequent_indent=indent)
    lines += [f"{indent}- {printable(name)}" for name in result.names[:NAMES_SHOWN]]
    if len(result.names) > NAMES_SHOWN:
        lines.append(f"{indent}- and {len(result.names) - NAMES_SHOWN} more")
    if result.remedy:
        lines += textwrap.wrap(
            f"-> {printable(result.remedy)}",
            WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}   ",
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def summary(results: Sequence[Result]) -> str:
    """Return one line about all results."""
    counts = Counter(result.status for result in results)
    faults = plural(counts["fault"], "fault")
    return f"{len(results)} checks: {counts['ok']} ok, {counts['mended']} mended, {faults}"


def size(count: float) -> str:
    """Return a number of bytes as people read it: 1.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return (
                f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
            )
        count /= 1000
    return f"{count:.1f} TB"


def plural(count: int, noun: str) -> str:
    """Return count and noun: 1 file, 2 files."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

"""The result of a check, and the report of all of them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from knee.run.errors import UserError

Status = Literal["ok", "mended", "fault"]
NAMES_SHOWN = 8
WIDTH = 100  # letters of a line
INDENT = 28  # letters before what was found


class HealthError(UserError):
    """Something that a check needs cannot be read; the message says what and what to do."""


@dataclass(frozen=True)
class Result:
    """One check's line of the report.

    Attributes:
        check: what was looked at.
        status: ok, mended, or fault: something is left for a person to do.
        found: what was found, one sentence.
        remedy: what to do about it, if anything.
        names: files, runs or packages it is about; the first few are shown.
    """

    check: str
    status: Status
    found: str
    remedy: str = ""
    names: tuple[str, ...] = ()


def guarded(check: str, look: Callable[[], Result]) -> Result:
    """Return the result of `look`; an error is a fault of that check and ends no other."""
    try:
        return look()
    except HealthError as error:
        return Result(check, "fault", str(error))
    except Exception as error:
        lines = str(error).splitlines() or [""]
        found = f"could not be checked: {type(error).__name__}: {lines[0][:200]}"
        return Result(check, "fault", found, "put that right first, then run the doctor again")


def healthy(results: Sequence[Result]) -> bool:
    """Return whether nothing is left to do."""
    return all(result.status != "fault" for result in results)


def text(result: Result) -> str:
    """Return a result's lines: status, check and what was found, then names and remedy."""
    head = f"{result.status:<8}{result.check:<{INDENT - 8}}"
    lines = textwrap.wrap(f"{head}{printable(result.found)}", WIDTH, subsequent_indent=" " * INDENT)
    lines += [f"{'':{INDENT}}- {printable(name)}" for name in result.names[:NAMES_SHOWN]]
    if len(result.names) > NAMES_SHOWN:
        lines.append(f"{'':{INDENT}}- and {len(result.names) - NAMES_SHOWN} more")
    if result.remedy:
        indent = " " * INDENT
        lines += textwrap.wrap(
            f"-> {printable(result.remedy)}",
            WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}   ",
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def printable(words: str) -> str:
    """Return `words` without control characters: a file's name may hold any."""
    return "".join(letter if letter.isprintable() else "?" for letter in words)


def summary(results: Sequence[Result]) -> str:
    """Return one line about all results."""
    counts = dict.fromkeys(("ok", "mended", "fault"), 0)
    for result in results:
        counts[result.status] += 1
    parts = [f"{counts['ok']} ok", f"{counts['mended']} mended", plural(counts["fault"], "fault")]
    return f"{len(results)} checks: {', '.join(parts)}"


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

r"""Make a version of the registered model champion, whatever the gates say; it is recorded.

python -m stages.promote VERSION --reason "..." [--by NAME] [--params params.yaml]
python -m stages.promote --rollback --reason "..." [--by NAME]
python -m stages.promote --history

--rollback promotes the champion before the present one, --history lists all champions. The
version's description and tags say who promoted it and why, and whom it replaced.
"""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from knee import tracking
from knee.promotion import description
from knee.run import command, dvc_notes
from knee.statistics import scores
from knee.tracking.registry import PROMOTION_TAG

MAXIMUM_REASON_LETTERS = 1000
SHOWN: Final = ("macro_f1", "accuracy")  # of each champion, on its test subset
LAYOUT: Final = "%-20s  %7s  %-22s %-22s %-14s  %s"
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line: one of `version`, `rollback` and `history` is given."""

    params: Path
    version: str | None
    reason: str | None
    by: str
    rollback: bool
    history: bool


def run(chosen: Options) -> int:
    """Promote `chosen.version`, or the champion before the present one, or list the champions."""
    name = dvc_notes.registered_model(chosen.params)
    if chosen.version is not None:
        tracking.check_version(name, chosen.version)  # before MLflow starts
    registry = tracking.Registry(name)
    if chosen.reason is None:
        _log_history(registry)
        return 0
    version, done = chosen.version, "promoted"
    if version is None:
        version, done = registry.rollback(chosen.reason, chosen.by), "rolled back to"
    else:
        registry.override(version, chosen.reason, chosen.by)
    log.info(
        "%s %s is champion, %s by %s: %s",
        *(registry.model_name, version, done, chosen.by, chosen.reason),
    )
    return 0


def _log_history(registry: tracking.Registry) -> None:
    """Log a line a term as champion; the metrics are those of the version's own test subset."""
    terms, present = registry.history(), registry.champion()
    log.info(LAYOUT, "since (UTC)", "version", *(f"test {name}" for name in SHOWN), "by", "reason")
    figures = {number: _figures(registry.figures(number)) for number in {t.version for t in terms}}
    for term in terms:
        log.info(LAYOUT, term.at, term.version, *figures[term.version], term.by, term.reason)
    if present is not None and (not terms or terms[-1].version != present.version):
        unknown = ("not recorded", present.version, *_figures(registry.figures(present.version)))
        log.info(LAYOUT, *unknown, "", registry.tags(present).get(PROMOTION_TAG, ""))
    log.info("champion: %s", present.version if present else "none")


def _figures(metrics: Mapping[str, float]) -> list[str]:
    """Return the metrics `SHOWN` of an MLflow run, each with its interval."""
    keys = {name: f"test/{scores.title(name)}" for name in SHOWN}
    ends: dict[str, Any] = {
        name: {end: metrics.get(f"{key} {end}") for end in ("low", "high")}
        for name, key in keys.items()
    }
    test = {name: metrics.get(key) for name, key in keys.items()} | {"confidence_interval": ends}
    return [description.with_interval(test, name) for name in SHOWN]


def _user() -> str:
    """The name of whoever runs this; the number of a container's user who has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # before and from Python 3.13
        return f"user {os.getuid()}"


def _number(text: str) -> str:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a version's number, such as 3")
    return text


def _reason(text: str) -> str:
    if not text.strip() or len(text) > MAXIMUM_REASON_LETTERS:
        raise argparse.ArgumentTypeError(f"expected a reason of 1-{MAXIMUM_REASON_LETTERS} letters")
    return " ".join(text.split())


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    number = "its number, such as 3"
    what.add_argument("version", nargs="?", type=_number, metavar="VERSION", help=number)
    what.add_argument("--rollback", action="store_true", help="the champion before this one")
    what.add_argument("--history", action="store_true", help="all champions, the earliest first")
    reason = "why, for the record; required, except with --history"
    parser.add_argument("--reason", type=_reason, help=reason)
    parser.add_argument("--by", type=_reason, default=_user(), help="who, for the record")
    chosen = Options(**vars(parser.parse_args(argv)))
    if chosen.history == (chosen.reason is not None):
        parser.error("give --reason, except with --history")
    return command.exit_status("promote", lambda: run(chosen))


if __name__ == "__main__":
    raise SystemExit(main())

r"""Make a version of the registered model champion, whatever the gates say; it is recorded.

python -m stages.promote VERSION --reason "..." [--by NAME] [--params params.yaml]

The version's description and tags say who promoted it and why, and whom it replaced.
"""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import logging
from collections.abc import Sequence
from pathlib import Path

from knee import tracking
from knee.run import command, dvc_notes

MAXIMUM_REASON_LETTERS = 1000
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line."""

    params: Path
    version: str
    reason: str
    by: str


def run(chosen: Options) -> int:
    """Promote `chosen.version` of the registered model."""
    name = dvc_notes.registered_model(chosen.params)
    tracking.check_version(name, chosen.version)  # before MLflow starts
    registry = tracking.Registry(name)
    registry.override(chosen.version, chosen.reason, chosen.by)
    names = (registry.model_name, chosen.version, chosen.by, chosen.reason)
    log.info("%s %s is champion, promoted by %s: %s", *names)
    return 0


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
    parser.add_argument("version", type=_number, metavar="VERSION", help="its number, such as 3")
    parser.add_argument("--reason", type=_reason, required=True, help="why, for the record")
    parser.add_argument("--by", type=_reason, default=getpass.getuser(), help="who, for the record")
    chosen = Options(**vars(parser.parse_args(argv)))
    return command.exit_status("promote", lambda: run(chosen))


if __name__ == "__main__":
    raise SystemExit(main())

r"""Make a version of the registered model champion, whatever the gates say; it is recorded.

python -m stages.promote VERSION --reason "..." [--by NAME] [--params params.yaml]

The version's description and tags say who promoted it and why, and whom it replaced.
"""

from __future__ import annotations

import argparse
import getpass
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from knee import tracking
from knee.run import parameters
from knee.run.errors import UserError

MAXIMUM_REASON_LETTERS = 1000
log = logging.getLogger(__name__)


def run(model_name: str, number: str, reason: str, by: str) -> None:
    """Promote version `number` of `model_name`."""
    registry = tracking.Registry(model_name)
    registry.override(number, reason, by)
    log.info("%s %s is champion, promoted by %s: %s", model_name, number, by, reason)


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version", type=_number, metavar="VERSION")
    parser.add_argument("--reason", type=_reason, required=True)
    parser.add_argument("--by", type=_reason, default=getpass.getuser())
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    chosen = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        model_name = parameters.load(chosen.params).register.model_name
        run(model_name, chosen.version, chosen.reason, chosen.by)
    except UserError as error:
        sys.stderr.write(f"promote: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

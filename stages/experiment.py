r"""Run one experiment by `dvc exp run`, after its overrides were checked.

python -m stages.experiment -S data=folder -S data.path=/films [other flags of dvc exp run]

DVC and Hydra take seconds to start and tell of a mistake in their own words; this tells it at once,
and leaves params.yaml as it is. `make exp S="-S ..."` is the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from knee.health import before_run
from knee.run import command, overrides


def run(given: Sequence[str], conf: Path, passed_on: Sequence[str]) -> int:
    """Check the overrides, then become `dvc exp run` with all words of the command line."""
    before_run.check(overrides.checked(conf, given))
    words = [sys.executable, "-m", "dvc", "exp", "run", *passed_on]
    os.execv(sys.executable, words)  # noqa: S606  # nosec B606  # no shell, our own program


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=command.Help,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override of conf/, several times if need be",
    )
    known, _ = parser.parse_known_args(words)
    return command.exit_status("exp", lambda: run(known.set_param, Path("conf"), words))


if __name__ == "__main__":
    raise SystemExit(main())
